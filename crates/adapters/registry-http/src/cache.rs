//! Agents as they were read, for the time without the registry.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arbiter_core::model::{AgentId, AgentSeen, RegisteredAgent};
use arbiter_core::ports::{AgentChanges, Revision};

/// An agent, and when the registry told of it.
#[derive(Debug)]
struct Read {
    agent: RegisteredAgent,
    /// When the call that told of it began, by the process's own clock.
    at: Duration,
    /// The turn at which it was told.
    told: u64,
}

/// Remembers agents with the time of reading. Nothing is in it that the registry did not tell.
///
/// Answers come late, and in any order: what is older than a change that was asked for here, or may be older than what is
/// known, is not remembered.
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
    /// Counts what begins, is told and is forgotten: the generation of what is known.
    turn: u64,
    /// The turns at which the calls that are under way began.
    under_way: BTreeSet<u64>,
    /// When agents were forgotten while calls were under way, whose answers may be older than that.
    forgotten: BTreeMap<AgentId, u64>,
    /// When there were too many of them to know each: no answer to a call from before is remembered.
    all_forgotten: u64,
}

/// How many agents are known to be forgotten.
const MOST_FORGOTTEN: usize = 10_000;

impl Known {
    fn next(&mut self) -> u64 {
        self.turn += 1;
        self.turn
    }

    fn forget(&mut self, agent: AgentId) {
        self.agents.remove(&agent);
        let turn = self.next();
        if self.under_way.is_empty() {
            return;
        }
        if self.forgotten.len() >= MOST_FORGOTTEN {
            self.forgotten.clear();
            self.all_forgotten = turn;
        }
        self.forgotten.insert(agent, turn);
    }
}

/// A call that reads. What it tells was so at some time between its beginning and its end.
#[derive(Debug)]
pub(crate) struct Reading<'a> {
    cache: &'a Cache,
    began: u64,
    at: Duration,
}

impl Drop for Reading<'_> {
    fn drop(&mut self) {
        let mut known = self.cache.known();
        known.under_way.remove(&self.began);
        match known.under_way.first().copied() {
            None => known.forgotten.clear(),
            // What was forgotten before the oldest call began is no answer of any.
            Some(oldest) if oldest > self.began => known.forgotten.retain(|_, at| *at > oldest),
            Some(_) => {}
        }
    }
}

/// A call that changes an agent. Until it has ended nothing of the agent is remembered that was read before, also when the
/// call is given up: the registry may have done it all the same.
#[derive(Debug)]
pub(crate) struct Changing<'a> {
    cache: &'a Cache,
    agent: Option<AgentId>,
}

impl Changing<'_> {
    /// The registry says that nothing changed.
    pub(crate) fn nothing_changed(mut self) {
        self.agent = None;
    }
}

impl Drop for Changing<'_> {
    fn drop(&mut self) {
        if let Some(agent) = self.agent {
            self.cache.forget(&[agent]);
        }
    }
}

impl Cache {
    pub(crate) fn new(most: usize, stale_after: Duration) -> Self {
        Self {
            most,
            stale_after,
            known: Mutex::default(),
        }
    }

    /// Begins a call that reads.
    pub(crate) fn reading(&self, at: Duration) -> Reading<'_> {
        let mut known = self.known();
        let began = known.next();
        known.under_way.insert(began);
        Reading {
            cache: self,
            began,
            at,
        }
    }

    /// Begins a call that changes an agent, which is forgotten when it ends.
    pub(crate) fn changing(&self, agent: AgentId) -> Changing<'_> {
        Changing {
            cache: self,
            agent: Some(agent),
        }
    }

    fn insert(&self, known: &mut Known, reading: &Reading<'_>, agent: &RegisteredAgent) {
        let id = agent.profile.id;
        let forgotten = known.forgotten.get(&id).copied().unwrap_or_default();
        if forgotten.max(known.all_forgotten) > reading.began {
            return;
        }
        // Of two calls at the same time nobody knows which the registry answered first.
        let contradicts = |read: &Read| {
            read.told > reading.began
                && (&read.agent.profile, read.agent.mode) != (&agent.profile, agent.mode)
        };
        if known.agents.get(&id).is_some_and(contradicts) {
            known.forget(id);
            return;
        }
        if known.agents.len() >= self.most && !known.agents.contains_key(&id) {
            // What is read again comes back.
            if let Some(other) = known.agents.keys().next().copied() {
                known.forget(other);
            }
        }
        let told = known.next();
        let (agent, at) = (agent.clone(), reading.at);
        known.agents.insert(id, Read { agent, at, told });
    }

    /// Notes who was heard of. The profile is not younger for it.
    pub(crate) fn heard(&self, seen: &[AgentSeen]) {
        let mut known = self.known();
        for seen in seen {
            if let Some(read) = known.agents.get_mut(&seen.agent)
                && read.agent.seen_at <= seen.at
            {
                (read.agent.seen_at, read.agent.beat) = (seen.at, seen.beat);
            }
        }
    }

    /// Forgets agents that are gone, or that changed and were not read since.
    pub(crate) fn forget(&self, agents: &[AgentId]) {
        let mut known = self.known();
        for agent in agents {
            known.forget(*agent);
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

impl Reading<'_> {
    /// Remembers what was read.
    pub(crate) fn keep<'a>(&self, agents: impl IntoIterator<Item = &'a RegisteredAgent>) {
        let mut known = self.cache.known();
        for agent in agents {
            self.cache.insert(&mut known, self, agent);
        }
    }

    /// Remembers what the feed told after a revision. When that is all, what was read before and is not named is still so.
    pub(crate) fn follow(&self, after: Revision, changes: &AgentChanges) {
        let mut known = self.cache.known();
        for gone in &changes.removed {
            known.forget(*gone);
        }
        for agent in &changes.agents {
            self.cache.insert(&mut known, self, agent);
        }
        if after <= known.followed {
            known.followed = known.followed.max(changes.revision);
            if !changes.more {
                known.confirmed = known.confirmed.max(self.at);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use arbiter_core::model::{AgentMode, Timestamp};
    use arbiter_testkit::builders::{agent, profile};

    use super::*;

    const NOW: Duration = Duration::from_secs(100);

    fn cache() -> Cache {
        Cache::new(10, Duration::from_secs(60))
    }

    fn known(mode: AgentMode) -> RegisteredAgent {
        RegisteredAgent {
            profile: profile(1),
            mode,
            registered_at: Timestamp::default(),
            seen_at: Timestamp::default(),
            beat: None,
            records: BTreeMap::new(),
        }
    }

    fn mode(cache: &Cache) -> Option<AgentMode> {
        let found = cache.recent(&[agent(1)], NOW)?;
        found[0].as_ref().map(|agent| agent.mode)
    }

    #[test]
    fn a_late_answer_does_not_bring_back_what_was_changed_meanwhile() {
        let cache = cache();
        let late = cache.reading(NOW);
        let changing = cache.changing(agent(1));
        let later = cache.reading(NOW);
        drop(changing);
        late.keep([&known(AgentMode::Active)]);
        assert_eq!(mode(&cache), None, "it began before the change");
        later.keep([&known(AgentMode::Active)]);
        assert_eq!(mode(&cache), None, "it began before the change was done");
        drop((late, later));
        let new = cache.reading(NOW);
        new.keep([&known(AgentMode::Quarantined)]);
        assert_eq!(mode(&cache), Some(AgentMode::Quarantined));
    }

    #[test]
    fn what_was_forgotten_is_known_as_long_as_a_call_from_before_is_under_way() {
        let cache = cache();
        let first = cache.reading(NOW);
        cache.forget(&[agent(1)]);
        let second = cache.reading(NOW);
        let third = cache.reading(NOW);
        drop(second);
        first.keep([&known(AgentMode::Active)]);
        assert_eq!(mode(&cache), None);
        drop(first);
        third.keep([&known(AgentMode::Active)]);
        assert_eq!(mode(&cache), Some(AgentMode::Active));
        drop(third);
        let left = cache.known();
        assert!(left.forgotten.is_empty() && left.under_way.is_empty(), "{left:?}");
    }

    #[test]
    fn of_two_answers_at_the_same_time_that_differ_neither_is_believed() {
        for first_mode in [AgentMode::Active, AgentMode::Quarantined] {
            let cache = cache();
            let (one, other) = (cache.reading(NOW), cache.reading(NOW));
            one.keep([&known(first_mode)]);
            other.keep([&known(AgentMode::Draining)]);
            assert_eq!(mode(&cache), None);
            one.keep([&known(first_mode)]);
            assert_eq!(mode(&cache), None, "nor afterwards");
        }
        let cache = cache();
        let (one, other) = (cache.reading(NOW), cache.reading(NOW));
        one.keep([&known(AgentMode::Active)]);
        other.keep([&known(AgentMode::Active)]);
        assert_eq!(mode(&cache), Some(AgentMode::Active));
    }

    #[test]
    fn what_was_read_is_as_old_as_the_beginning_of_the_call() {
        let cache = cache();
        let reading = cache.reading(NOW.saturating_sub(Duration::from_secs(61)));
        reading.keep([&known(AgentMode::Active)]);
        assert_eq!(mode(&cache), None);
        let reading = cache.reading(NOW.saturating_sub(Duration::from_secs(61)));
        let nothing_new = AgentChanges::default();
        reading.follow(Revision::default(), &nothing_new);
        assert_eq!(mode(&cache), None, "the feed is no younger");
        let reading = cache.reading(NOW);
        reading.follow(Revision::default(), &nothing_new);
        assert_eq!(mode(&cache), Some(AgentMode::Active));
    }

    #[test]
    fn what_gave_its_place_to_another_does_not_come_back_older() {
        let small = Cache::new(1, Duration::from_secs(60));
        let late = small.reading(NOW);
        small.reading(NOW).keep([&known(AgentMode::Quarantined)]);
        let mut other = known(AgentMode::Active);
        other.profile.id = agent(2);
        small.reading(NOW).keep([&other]);
        late.keep([&known(AgentMode::Active)]);
        assert_eq!(mode(&small), None);
    }

    #[test]
    fn more_than_can_be_known_to_be_forgotten_is_all_forgotten() {
        let cache = cache();
        let late = cache.reading(NOW);
        for number in 2..=MOST_FORGOTTEN as u64 + 3 {
            cache.forget(&[agent(number)]);
        }
        assert!(cache.known().forgotten.len() <= MOST_FORGOTTEN);
        late.keep([&known(AgentMode::Active)]);
        assert_eq!(mode(&cache), None);
        drop(late);
        cache.reading(NOW).keep([&known(AgentMode::Active)]);
        assert_eq!(mode(&cache), Some(AgentMode::Active));
    }

    #[test]
    fn a_change_that_did_not_happen_forgets_nothing() {
        let cache = cache();
        cache.reading(NOW).keep([&known(AgentMode::Active)]);
        cache.changing(agent(1)).nothing_changed();
        assert_eq!(mode(&cache), Some(AgentMode::Active));
        drop(cache.changing(agent(1)));
        assert_eq!(mode(&cache), None);
    }
}
