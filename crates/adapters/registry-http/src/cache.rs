//! Agents as they were read, for the time without the registry.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arbiter_core::model::{AgentId, AgentSeen, RegisteredAgent};
use arbiter_core::ports::{AgentChanges, Revision};

/// An agent, and when the registry told of it.
#[derive(Debug)]
struct Read {
    agent: RegisteredAgent,
    /// By the process's own clock.
    at: Duration,
}

/// Remembers agents with the time of reading. Nothing is in it that the registry did not tell.
#[derive(Debug)]
pub(crate) struct Cache {
    most: usize,
    stale_after: Duration,
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    agents: BTreeMap<AgentId, Read>,
    /// How far the feed of changes was followed without a gap.
    followed: Revision,
    /// When the feed last told of everything that had changed: what it did not name is as it was read.
    confirmed: Duration,
}

impl Cache {
    pub(crate) fn new(most: usize, stale_after: Duration) -> Self {
        Self {
            most,
            stale_after,
            known: Mutex::default(),
        }
    }

    /// Remembers what was read now.
    pub(crate) fn keep<'a>(&self, agents: impl IntoIterator<Item = &'a RegisteredAgent>, at: Duration) {
        let mut known = self.known();
        for agent in agents {
            self.insert(&mut known.agents, agent, at);
        }
    }

    /// Remembers what the feed told after a revision. When that is all, what was read before and is not named is still so.
    pub(crate) fn follow(&self, after: Revision, changes: &AgentChanges, at: Duration) {
        let mut known = self.known();
        for gone in &changes.removed {
            known.agents.remove(gone);
        }
        for agent in &changes.agents {
            self.insert(&mut known.agents, agent, at);
        }
        if after <= known.followed {
            known.followed = known.followed.max(changes.revision);
            if !changes.more {
                known.confirmed = at;
            }
        }
    }

    fn insert(&self, known: &mut BTreeMap<AgentId, Read>, agent: &RegisteredAgent, at: Duration) {
        if known.len() >= self.most && !known.contains_key(&agent.profile.id) {
            // What is read again comes back.
            known.clear();
        }
        let agent = agent.clone();
        known.insert(agent.profile.id, Read { agent, at });
    }

    /// Notes who was heard of. The profile is not younger for it.
    pub(crate) fn heard(&self, seen: &[AgentSeen]) {
        let mut known = self.known();
        for seen in seen {
            if let Some(read) = known.agents.get_mut(&seen.agent) {
                (read.agent.seen_at, read.agent.beat) = (seen.at, seen.beat);
            }
        }
    }

    /// Forgets agents that are gone, or that changed and were not read since.
    pub(crate) fn forget(&self, agents: &[AgentId]) {
        let mut known = self.known();
        for agent in agents {
            known.agents.remove(agent);
        }
    }

    /// The agents in the order of the ids, if all of them were read recently; absence is never told from memory.
    pub(crate) fn recent(&self, ids: &[AgentId], now: Duration) -> Option<Vec<Option<RegisteredAgent>>> {
        let known = self.known();
        let found = ids.iter().map(|id| {
            let read = known.agents.get(id)?;
            let age = now.saturating_sub(read.at.max(known.confirmed));
            (age <= self.stale_after).then(|| Some(read.agent.clone()))
        });
        found.collect()
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
