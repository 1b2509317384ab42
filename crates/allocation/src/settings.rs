//! What an operator can set.

use std::collections::BTreeMap;
use std::time::Duration;

use arbiter_core::model::{Digest, TaskKind, TenantId};
use arbiter_core::ports::Scope;

/// Settings of allocation.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// The strategy for kinds that name no other.
    pub strategy: Strategy,
    /// Strategies by kind.
    pub by_kind: BTreeMap<TaskKind, Strategy>,
    /// Tells these settings from others; kept with each decision.
    pub policy_version: u64,
    /// How often an agent should be heard of; 15 s.
    pub heartbeat: Duration,
    /// When the registry has not answered for so long, its agents are not offered any more; 5 min.
    pub stale_after: Duration,
    /// How many tasks of a tenant may run at once.
    pub running_per_tenant: BTreeMap<TenantId, u32>,
    /// How many tasks of one kind of a tenant may run at once.
    pub running_per_kind: BTreeMap<(TenantId, TaskKind), u32>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            strategy: Strategy::MatchScore,
            by_kind: BTreeMap::new(),
            policy_version: 1,
            heartbeat: Duration::from_secs(15),
            stale_after: Duration::from_secs(300),
            running_per_tenant: BTreeMap::new(),
            running_per_kind: BTreeMap::new(),
        }
    }
}

impl Settings {
    /// The strategy for a kind.
    pub fn strategy_of(&self, kind: &TaskKind) -> Strategy {
        self.by_kind.get(kind).copied().unwrap_or(self.strategy)
    }

    /// A number that these settings give and hardly any others, below 2^53: what they say, not when they were made.
    pub fn fingerprint(&self) -> u64 {
        let said = Self {
            policy_version: 0,
            ..self.clone()
        };
        let digest = Digest::of(format!("{said:?}").as_bytes());
        let mut first = [0; 8];
        first.copy_from_slice(&digest.as_bytes()[..8]);
        u64::from_be_bytes(first) >> 11
    }

    /// The limits that a running task of this kind counts against.
    pub fn running_limits(&self, tenant: TenantId, kind: &TaskKind) -> Vec<(Scope, u32)> {
        let whole = self.running_per_tenant.get(&tenant);
        let of_kind = self.running_per_kind.get(&(tenant, kind.clone()));
        let whole = whole.map(|limit| (Scope::Tenant(tenant), *limit));
        let of_kind = of_kind.map(|limit| (Scope::TenantKind(tenant, kind.clone()), *limit));
        whole.into_iter().chain(of_kind).collect()
    }
}

/// How one of the candidates is selected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Strategy {
    /// One after the other.
    RoundRobin,
    /// The one with the most free share of its slots; above 64 candidates the better of two random ones (Mitzenmacher,
    /// "The Power of Two Choices in Randomized Load Balancing", 2001).
    LeastLoaded,
    /// By free slots (0.5), processor (0.3) and memory (0.2); parts that an agent does not tell are left out.
    Weighted,
    /// The most free slots; tasks of high and critical priority go to healthy agents only.
    Priority,
    /// Any, with equal probability.
    Random,
    /// By success rate, within 0.01 by match score, then the least utilised, then by id.
    MatchScore,
}

impl Strategy {
    /// Every strategy.
    pub const ALL: [Self; 6] = [
        Self::RoundRobin,
        Self::LeastLoaded,
        Self::Weighted,
        Self::Priority,
        Self::Random,
        Self::MatchScore,
    ];

    /// The strategy's word.
    pub const fn word(self) -> &'static str {
        match self {
            Self::RoundRobin => "round_robin",
            Self::LeastLoaded => "least_loaded",
            Self::Weighted => "weighted",
            Self::Priority => "priority",
            Self::Random => "random",
            Self::MatchScore => "match_score",
        }
    }

    /// The strategy that has this word.
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|strategy| strategy.word() == word)
    }
}
