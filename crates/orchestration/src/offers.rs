//! Offers of agents that ask for work: each waits in a poll, and the dispatcher of this node serves it.
//!
//! An offer lives as long as its poll. What was assigned to an offer whose poll has gone meanwhile stays with the agent
//! by its lease: the agent's next poll gets it, since what a poll does not name as held is given again.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arbiter_core::model::{AgentId, Fence, TaskId};
use arbiter_core::ports::Assignment;
use tokio::sync::Notify;

/// The offers of this node.
#[derive(Debug, Default)]
pub struct Offers {
    polls: Mutex<Polls>,
    /// Tells the dispatcher of new offers.
    pub(crate) arrived: Notify,
}

#[derive(Debug, Default)]
struct Polls {
    next: u64,
    waiting: BTreeMap<u64, Waiting>,
}

/// One poll that waits.
#[derive(Debug)]
struct Waiting {
    agent: AgentId,
    /// How many tasks it could still start.
    free: u32,
    /// Whether the dispatcher may count on it.
    offered: bool,
    /// A claim that counts on it is under way.
    planned: bool,
    /// How many claims it was looked at for.
    rounds: u64,
    work: Vec<Assignment>,
    changed: Arc<Notify>,
}

impl Offers {
    /// Nobody asks yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Registers a poll that offers nothing yet, so that nothing which is assigned to its agent from now on is missed.
    pub(crate) fn register(self: &Arc<Self>, agent: AgentId, free: u32) -> Poll {
        let changed = Arc::new(Notify::new());
        let mut polls = self.polls();
        let id = polls.next;
        polls.next += 1;
        let waiting = Waiting {
            agent,
            free,
            offered: false,
            planned: false,
            rounds: 0,
            work: Vec::new(),
            changed: Arc::clone(&changed),
        };
        polls.waiting.insert(id, waiting);
        Poll {
            offers: Arc::clone(self),
            id,
            changed,
        }
    }

    /// Begins a claim: free slots by agent. Polls stay until [`Self::settle`].
    pub(crate) fn plan(&self) -> BTreeMap<AgentId, u32> {
        let mut free = BTreeMap::new();
        for poll in self.polls().waiting.values_mut() {
            if poll.offered && poll.free > 0 {
                poll.planned = true;
                let sum: &mut u32 = free.entry(poll.agent).or_default();
                *sum = sum.saturating_add(poll.free);
            }
        }
        free
    }

    /// Ends a claim: polls that were counted on may go.
    pub(crate) fn settle(&self) {
        for poll in self.polls().waiting.values_mut() {
            if poll.offered {
                poll.rounds += 1;
            }
            poll.planned = false;
            poll.changed.notify_one();
        }
    }

    /// Gives an assignment to a poll of its agent, one with a free slot first. Without a poll it waits, by its lease,
    /// for the agent's next one.
    pub(crate) fn deliver(&self, agent: AgentId, assignment: Assignment) {
        let mut polls = self.polls();
        let place = polls
            .waiting
            .iter()
            .filter(|(_, poll)| poll.agent == agent)
            .max_by_key(|(id, poll)| (poll.planned && poll.free > 0, **id))
            .map(|(id, _)| *id);
        if let Some(poll) = place.and_then(|id| polls.waiting.get_mut(&id)) {
            poll.free = poll.free.saturating_sub(1);
            poll.work.push(assignment);
            poll.changed.notify_one();
        }
    }

    /// What was given to polls of an agent that have not answered yet.
    pub(crate) fn in_hand(&self, agent: AgentId) -> BTreeSet<(TaskId, Fence)> {
        let polls = self.polls();
        let of_agent = polls.waiting.values().filter(|poll| poll.agent == agent);
        of_agent
            .flat_map(|poll| &poll.work)
            .map(|one| (one.stored.task.id, one.fence))
            .collect()
    }

    /// The agents that wait in a poll.
    pub(crate) fn agents(&self) -> BTreeSet<AgentId> {
        self.polls().waiting.values().map(|poll| poll.agent).collect()
    }

    /// How many tasks the waiting agents could start now, by agent.
    pub fn free(&self) -> BTreeMap<AgentId, u32> {
        let mut free: BTreeMap<AgentId, u32> = BTreeMap::new();
        for poll in self.polls().waiting.values().filter(|poll| poll.offered) {
            let sum = free.entry(poll.agent).or_default();
            *sum = sum.saturating_add(poll.free);
        }
        free
    }

    fn polls(&self) -> MutexGuard<'_, Polls> {
        self.polls.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One poll; its offer is withdrawn when it is dropped.
#[derive(Debug)]
pub(crate) struct Poll {
    offers: Arc<Offers>,
    id: u64,
    changed: Arc<Notify>,
}

impl Poll {
    /// Lets the dispatcher count on the poll.
    pub(crate) fn offer(&self) {
        if let Some(poll) = self.offers.polls().waiting.get_mut(&self.id) {
            poll.offered = true;
        }
        self.offers.arrived.notify_one();
    }

    /// Waits until there is work, and leaves it there for [`Self::close`].
    ///
    /// # Cancel safety
    /// Safe.
    pub(crate) async fn work(&self) {
        self.until(|poll| !poll.work.is_empty()).await;
    }

    /// Waits until a claim has looked at the poll.
    ///
    /// # Cancel safety
    /// Safe.
    pub(crate) async fn looked_at(&self) {
        self.until(|poll| poll.rounds > 0 || !poll.work.is_empty()).await;
    }

    /// Withdraws the offer, waits for the end of a claim that counts on it, and gives what was assigned.
    ///
    /// # Cancel safety
    /// What was assigned is then given to the agent's next poll.
    pub(crate) async fn close(self) -> Vec<Assignment> {
        if let Some(poll) = self.offers.polls().waiting.get_mut(&self.id) {
            poll.offered = false;
        }
        self.until(|poll| !poll.planned).await;
        let closed = self.offers.polls().waiting.remove(&self.id);
        closed.map_or_else(Vec::new, |poll| poll.work)
    }

    async fn until(&self, holds: impl Fn(&Waiting) -> bool) {
        loop {
            // Registered before the look, so that a change between look and wait is not missed.
            let changed = self.changed.notified();
            if self.offers.polls().waiting.get(&self.id).is_none_or(&holds) {
                return;
            }
            changed.await;
        }
    }
}

impl Drop for Poll {
    fn drop(&mut self) {
        self.offers.polls().waiting.remove(&self.id);
    }
}
