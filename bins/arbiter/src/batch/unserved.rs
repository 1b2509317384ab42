//! Tasks that no agent of the batch can do, and those that wait for them: the batch does not wait for either.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arbiter_allocation::{Allocation, NoAgent, Question};
use arbiter_core::model::{Shape, State, StoredTask, TaskId, TaskKind, Wait};
use arbiter_core::services::Offer;

use super::AgentEntry;

/// The reason of a task that waits for one that stands still.
const PREREQUISITE: &str = "prerequisite_waits";

/// Tells which tasks none of the batch's agents can do.
pub(crate) struct Unserved {
    allocation: Arc<Allocation>,
    offers: Vec<Offer>,
}

impl Unserved {
    /// Over these agents, with all of their slots: a full agent is one that only has to be waited for.
    pub(crate) fn new(allocation: Arc<Allocation>, agents: &[AgentEntry]) -> Self {
        let offers = agents.iter().map(|entry| Offer {
            agent: entry.profile.id,
            free: entry.profile.slots,
            acknowledges: true,
            without: Vec::new(),
        });
        Self {
            allocation,
            offers: offers.collect(),
        }
    }

    /// Why a queued task finds no agent however long it waits. Nobody else comes: this process owns the data folder.
    pub(crate) fn reason(&self, stored: &StoredTask) -> Option<NoAgent> {
        let State::Queued {
            wait: Wait::Ready | Wait::Until(_),
        } = stored.task.state
        else {
            return None;
        };
        let shape = Shape::of(&stored.spec);
        let question = Question {
            tenant: stored.task.tenant,
            shape: &shape,
            priority: stored.task.terms.priority,
            budget: stored.task.terms.budget,
            deadline: None,
            offers: &self.offers,
            running: &[],
            only_offered: true,
        };
        let reason = self.allocation.explain(&question).agents.err()?;
        match reason {
            NoAgent::NoCapableAgent | NoAgent::NoneHealthy | NoAgent::OverBudget | NoAgent::RateLimited => {
                Some(reason)
            }
            // These pass, or the timer ends the task.
            NoAgent::NoneFree | NoAgent::DeadlineImpossible | NoAgent::RegistryUnavailable => None,
        }
    }
}

/// The open tasks that will not go on by themselves.
#[derive(Debug, Default)]
pub(crate) struct Standstill {
    /// Tasks that a person decides.
    pub(crate) held: BTreeSet<TaskId>,
    /// Tasks that find no agent, or wait for one that stands still, and why.
    pub(crate) waiting: BTreeMap<TaskId, &'static str>,
    told: BTreeSet<(TaskKind, &'static str)>,
    looks: u32,
}

impl Standstill {
    /// Takes note of where an open task stands. Gives what people should be told, once for each kind and reason.
    pub(crate) fn note(&mut self, stored: &StoredTask, unserved: &Unserved) -> Option<String> {
        let id = stored.task.id;
        self.forget(id);
        match &stored.task.state {
            State::Held { .. } => {
                self.held.insert(id);
            }
            State::Queued {
                wait: Wait::Prerequisites(_),
            } => {
                let stands = |other: &TaskId| self.held.contains(other) || self.waiting.contains_key(other);
                if stored.spec.after.iter().any(stands) {
                    self.waiting.insert(id, PREREQUISITE);
                }
            }
            _ => {}
        }
        let reason = unserved.reason(stored)?.word();
        self.waiting.insert(id, reason);
        let kind = stored.spec.kind.clone();
        self.told.insert((kind.clone(), reason)).then(|| {
            format!(
                "no agent of the agents file can do the task `{}` of kind `{kind}`, nor others like it: {reason}; they \
                 stay queued: run again with an agent that can, or cancel them",
                stored.spec.title,
            )
        })
    }

    /// Takes note that a task has ended.
    pub(crate) fn forget(&mut self, id: TaskId) {
        self.held.remove(&id);
        self.waiting.remove(&id);
    }

    /// Whether none of so many open tasks goes on. What an agent has just earned can make it able, so tasks without one
    /// are looked at twice, with `full` looks at every open task.
    pub(crate) fn is_final(&mut self, open: usize, full: bool) -> bool {
        if self.held.len() + self.waiting.len() < open {
            self.looks = 0;
            return false;
        }
        self.looks += u32::from(full);
        self.waiting.is_empty() || self.looks >= 2
    }
}
