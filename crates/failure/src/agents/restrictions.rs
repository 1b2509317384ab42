//! Which agents are restricted: counted here, shared by all nodes through the store.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use arbiter_core::model::{AgentId, AuditAction, ComponentName, Json, RecordDraft, TaskKind, Timestamp};
use arbiter_core::ports::{Clock, Documents, Effects, Hint, Metrics, StoreError, Wakeups};
use async_trait::async_trait;
use serde_json::json;

use super::restriction::{BreakerSettings, Restriction};
use crate::actions::Action;
use crate::records::{Kept, Placed, Shelf, written};
use crate::recovery::Containment;

/// What a restriction's kind is called in the store.
const KIND: &str = "agent_restriction";
/// How many agents in a row of failures are counted; the one with the fewest goes first.
const COUNTED: usize = 10_000;
/// How many restricted agents there may be. They are read whole.
const RESTRICTED: usize = 1_000;
/// How often a change is tried that others come before.
const TRIES: usize = 8;

/// Settings that cannot work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "an agent's breaker opens after at least one failure, for at least a second, and not longer than at most"
)]
pub struct InvalidRestrictions;

type Snapshot = Arc<BTreeMap<AgentId, Restriction>>;

/// Keeps restrictions of agents.
pub struct Restrictions {
    records: Shelf,
    clock: Arc<dyn Clock>,
    wakeups: Arc<dyn Wakeups>,
    metrics: Arc<dyn Metrics>,
    settings: BreakerSettings,
    known: RwLock<Snapshot>,
    in_a_row: Mutex<BTreeMap<AgentId, u32>>,
}

impl std::fmt::Debug for Restrictions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Restrictions")
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}

impl Restrictions {
    /// Nobody is restricted, as far as is known yet.
    ///
    /// # Errors
    /// [`InvalidRestrictions`].
    pub fn new(
        documents: &Arc<dyn Documents>,
        clock: Arc<dyn Clock>,
        wakeups: Arc<dyn Wakeups>,
        metrics: Arc<dyn Metrics>,
        settings: BreakerSettings,
    ) -> Result<Self, InvalidRestrictions> {
        let too_short = settings.cool_down < Duration::from_secs(1);
        if settings.failures == 0 || too_short || settings.longest_cool_down < settings.cool_down {
            return Err(InvalidRestrictions);
        }
        Ok(Self {
            records: Shelf::new(documents, KIND),
            clock,
            wakeups,
            metrics,
            settings,
            known: RwLock::default(),
            in_a_row: Mutex::default(),
        })
    }

    /// Who is restricted, as far as is known here.
    pub fn all(&self) -> Arc<BTreeMap<AgentId, Restriction>> {
        Arc::clone(&self.known.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Reads what all nodes have written.
    ///
    /// # Errors
    /// The store's; what was known stays.
    pub async fn refresh(&self) -> Result<(), StoreError> {
        let kept = self.records.list::<Restriction>(None, None, RESTRICTED).await?;
        let all = kept
            .into_iter()
            .filter_map(|kept| Some((kept.id.parse().ok()?, kept.body)));
        self.know(all.collect());
        Ok(())
    }

    /// Takes note of an attempt. Gives what is to be written then: to trip a breaker, or to close it.
    pub(crate) fn attempted(&self, agent: AgentId, succeeded: bool) -> Option<Turn> {
        let restricted = self
            .all()
            .get(&agent)
            .is_some_and(|kept| kept.open_until.is_some());
        let mut in_a_row = self.in_a_row.lock().unwrap_or_else(PoisonError::into_inner);
        if succeeded {
            in_a_row.remove(&agent);
            return restricted.then_some(Turn::Close);
        }
        if in_a_row.len() >= COUNTED && !in_a_row.contains_key(&agent) {
            let least = in_a_row
                .iter()
                .min_by_key(|(_, count)| **count)
                .map(|(agent, _)| *agent);
            least.and_then(|agent| in_a_row.remove(&agent));
        }
        let count = in_a_row.entry(agent).or_insert(0);
        *count += 1;
        // while it is half-open, one failure is enough
        let trips = restricted || *count >= self.settings.failures;
        if trips {
            *count = 0;
        }
        trips.then_some(Turn::Trip)
    }

    /// Writes what an attempt led to.
    pub(crate) async fn turn(&self, agent: AgentId, turn: Turn) -> Result<(), StoreError> {
        let settings = self.settings;
        self.change(agent, turn.word(), |restriction, now| match turn {
            // two failures that ran at the same time open it once
            Turn::Trip if restriction.open_until.is_some_and(|until| now < until) => false,
            Turn::Trip => {
                restriction.trip(&settings, now);
                true
            }
            Turn::Close => {
                let was_open = restriction.open_until.is_some();
                restriction.close();
                was_open
            }
        })
        .await
    }

    /// Keeps a kind of task away from an agent until a moment.
    ///
    /// # Errors
    /// The store's.
    pub async fn quarantine(
        &self,
        agent: AgentId,
        kind: &TaskKind,
        until: Timestamp,
    ) -> Result<(), StoreError> {
        self.change(agent, "quarantined", |restriction, _| {
            restriction.quarantine(kind, until);
            true
        })
        .await
    }

    async fn change(
        &self,
        agent: AgentId,
        what: &'static str,
        change: impl Fn(&mut Restriction, Timestamp) -> bool,
    ) -> Result<(), StoreError> {
        let id = agent.to_string();
        for _ in 0..TRIES {
            let now = self.clock.now();
            let mut kept = self.records.get::<Restriction>(&id).await?.unwrap_or(Kept {
                id: id.clone(),
                body: Restriction::default(),
                revision: 0,
            });
            kept.body.forget(now);
            if !change(&mut kept.body, now) {
                return Ok(());
            }
            let write = if kept.body.is_empty() && kept.revision > 0 {
                self.records.delete(&id, kept.unchanged())
            } else {
                self.records
                    .put(&id, kept.unchanged(), &kept.body, Placed::default())?
            };
            let draft = RecordDraft {
                actions: vec![AuditAction::AgentRestricted],
                detail: Some(Json::of(&json!({ "agent": id, "what": what }))),
                ..RecordDraft::default()
            };
            let result = self
                .records
                .documents
                .write(vec![write], Effects::of(draft))
                .await;
            if !written(result)? {
                continue;
            }
            self.metrics
                .count("failure_manager.agent_restrictions_total", &[("what", what)], 1);
            tracing::warn!(event = "agent_restricted", agent.id = %agent, what, "what an agent may do has changed");
            let mut all = self.all().as_ref().clone();
            if kept.body.is_empty() {
                all.remove(&agent);
            } else {
                all.insert(agent, kept.body);
            }
            self.know(all);
            self.wakeups.publish(&[Hint::Agents]);
            return Ok(());
        }
        tracing::warn!(event = "agent_not_restricted", agent.id = %agent, what, "others changed it too often at the same time");
        Ok(())
    }

    fn know(&self, all: BTreeMap<AgentId, Restriction>) {
        *self.known.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(all);
    }
}

/// What an attempt leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Turn {
    /// The breaker opens.
    Trip,
    /// It closes.
    Close,
}

impl Turn {
    const fn word(self) -> &'static str {
        match self {
            Self::Trip => "breaker_opened",
            Self::Close => "breaker_closed",
        }
    }
}

#[async_trait]
impl Containment for Restrictions {
    async fn contain(
        &self,
        component: &ComponentName,
        action: Action,
        subject: Option<&str>,
        until: Timestamp,
    ) -> Result<(), String> {
        if !matches!(action, Action::Quarantine { .. }) {
            return Err(format!(
                "`{}` is not something that can be done to an agent",
                action.word()
            ));
        }
        let agent = component
            .as_agent()
            .ok_or("only agents can be put in quarantine")?;
        let kind = subject.ok_or("it is not known at which kind of task it fails")?;
        let kind = TaskKind::new(kind).map_err(|error| error.to_string())?;
        self.quarantine(agent, &kind, until)
            .await
            .map_err(|error| error.to_string())
    }
}
