//! The agents that this process runs itself, as far as the registry has taken them.

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arbiter_core::mechanism::Backoff;
use arbiter_core::model::{AgentId, AgentProfile};

use super::EVERY;

/// When an agent that the registry refuses is told to it again.
const AGAIN: Backoff = Backoff {
    base: Duration::from_secs(10),
    factor: 2,
    cap: Duration::from_mins(5),
};

/// Agents that a registry is to have, each with how it stands. One that is refused is in nobody's way.
#[derive(Debug)]
pub(crate) struct Hosted(Mutex<Vec<Agent>>);

#[derive(Debug)]
struct Agent {
    profile: AgentProfile,
    standing: Standing,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Standing {
    /// The registry has it, as far as is known.
    Registered,
    /// It is to be registered at a moment of the process's clock.
    Due(Duration),
    /// The registry refused it for this reason, so many times; it is tried again at a moment.
    Refused { why: String, tries: u32, at: Duration },
}

impl Hosted {
    /// These agents, which the registry was not told of yet.
    pub(crate) fn new(profiles: impl IntoIterator<Item = AgentProfile>) -> Self {
        let agents = profiles.into_iter().map(|profile| Agent {
            profile,
            standing: Standing::Due(Duration::ZERO),
        });
        Self(Mutex::new(agents.collect()))
    }

    /// Whether there are none.
    pub(crate) fn is_empty(&self) -> bool {
        self.agents().is_empty()
    }

    /// What all of them say of themselves.
    pub(super) fn profiles(&self) -> Vec<AgentProfile> {
        self.agents().iter().map(|agent| agent.profile.clone()).collect()
    }

    /// Those that the registry has.
    pub(super) fn registered(&self) -> Vec<AgentId> {
        let agents = self.agents();
        let registered = agents
            .iter()
            .filter(|agent| agent.standing == Standing::Registered);
        registered.map(|agent| agent.profile.id).collect()
    }

    /// Those that are to be registered now, the longest due first.
    pub(super) fn due(&self, now: Duration) -> Vec<AgentProfile> {
        let agents = self.agents();
        let mut due: Vec<(Duration, &AgentProfile)> = agents
            .iter()
            .filter_map(|agent| match agent.standing {
                Standing::Due(at) | Standing::Refused { at, .. } if at <= now => Some((at, &agent.profile)),
                _ => None,
            })
            .collect();
        due.sort_by_key(|(at, _)| *at);
        due.into_iter().map(|(_, profile)| profile.clone()).collect()
    }

    /// Notes that the registry took an agent. Gives why it refused it before, if it did.
    pub(super) fn taken(&self, agent: AgentId) -> Option<String> {
        let mut agents = self.agents();
        let found = agents.iter_mut().find(|known| known.profile.id == agent)?;
        match std::mem::replace(&mut found.standing, Standing::Registered) {
            Standing::Refused { why, .. } => Some(why),
            _ => None,
        }
    }

    /// Notes that an agent could not be told to a registry that is away; others are before it next time.
    pub(super) fn missed(&self, agent: AgentId, now: Duration) {
        let mut agents = self.agents();
        if let Some(found) = agents.iter_mut().find(|known| known.profile.id == agent) {
            match &mut found.standing {
                Standing::Refused { at, .. } => *at = now + EVERY,
                standing => *standing = Standing::Due(now + EVERY),
            }
        }
    }

    /// Notes that the registry refused an agent; `unit` is 64 bits by chance. Gives whether that is news, and after how long
    /// it is tried again.
    pub(super) fn refused(&self, agent: AgentId, why: String, now: Duration, unit: u64) -> (bool, Duration) {
        let mut agents = self.agents();
        let Some(found) = agents.iter_mut().find(|known| known.profile.id == agent) else {
            return (false, Duration::ZERO);
        };
        let (is_news, tries) = match &found.standing {
            Standing::Refused {
                why: before, tries, ..
            } => (*before != why, tries.saturating_add(1)),
            _ => (true, 1),
        };
        let wait = AGAIN.ceiling(tries) / 2 + AGAIN.delay(tries, unit) / 2;
        let at = now + wait;
        found.standing = Standing::Refused { why, tries, at };
        (is_news, wait)
    }

    /// Notes that the registry does not have these any more, as it says itself.
    pub(super) fn gone(&self, gone: &BTreeSet<AgentId>, now: Duration) {
        for agent in self.agents().iter_mut() {
            if gone.contains(&agent.profile.id) {
                agent.standing = Standing::Due(now);
            }
        }
    }

    /// The registry is there again: all that it was not told of are due.
    pub(super) fn back(&self, now: Duration) {
        for agent in self.agents().iter_mut() {
            match &mut agent.standing {
                Standing::Registered => {}
                Standing::Due(at) | Standing::Refused { at, .. } => *at = now,
            }
        }
    }

    /// How many the registry refuses.
    pub(super) fn refusals(&self) -> usize {
        let agents = self.agents();
        let refused = |agent: &&Agent| matches!(agent.standing, Standing::Refused { .. });
        agents.iter().filter(refused).count()
    }

    /// Which of them the registry refuses, and why, if there are any.
    pub(crate) fn trouble(&self) -> Option<String> {
        let agents = self.agents();
        let told: Vec<String> = agents
            .iter()
            .filter_map(|agent| match &agent.standing {
                Standing::Refused { why, .. } => {
                    Some(format!("the registry refuses `{}`: {why}", agent.profile.name))
                }
                _ => None,
            })
            .collect();
        (!told.is_empty()).then(|| told.join("; "))
    }

    fn agents(&self) -> MutexGuard<'_, Vec<Agent>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use arbiter_core::model::{AgentCost, Capabilities, SecurityLevel, Transport};

    use super::*;

    const NOW: Duration = Duration::from_secs(100);

    fn id(number: u8) -> AgentId {
        AgentId::from_bytes([number; 16])
    }

    fn profile(number: u8) -> AgentProfile {
        AgentProfile {
            id: id(number),
            tenant: None,
            name: format!("agent {number}"),
            model_family: "none".to_owned(),
            model_version: None,
            capabilities: Capabilities::default(),
            transport: Transport::Exec,
            slots: 1,
            clearance: SecurityLevel::Internal,
            cost: AgentCost::default(),
            labels: BTreeMap::new(),
        }
    }

    fn due(hosted: &Hosted, now: Duration) -> Vec<AgentId> {
        hosted.due(now).iter().map(|profile| profile.id).collect()
    }

    #[test]
    fn one_that_is_refused_is_tried_again_ever_later_and_told_once() {
        let hosted = Hosted::new([1, 2].map(profile));
        assert_eq!(hosted.taken(id(2)), None);
        let mut now = NOW;
        for (tries, least) in [5, 10, 20, 40, 80, 150, 150].into_iter().enumerate() {
            assert_eq!(due(&hosted, now), [id(1)]);
            let (is_news, wait) = hosted.refused(id(1), "full".to_owned(), now, 0);
            assert_eq!((is_news, wait), (tries == 0, Duration::from_secs(least)));
            assert_eq!(
                due(&hosted, now + wait.saturating_sub(Duration::from_millis(1))),
                []
            );
            now += wait;
        }
        let most = hosted.refused(id(1), "full".to_owned(), now, u64::MAX).1;
        assert!(most <= AGAIN.cap && most > AGAIN.cap / 2, "{most:?}");
        assert!(hosted.refused(id(1), "another tenant's".to_owned(), now, 0).0);
        let told = "the registry refuses `agent 1`: another tenant's";
        assert_eq!((hosted.refusals(), hosted.trouble().as_deref()), (1, Some(told)));
        assert_eq!(hosted.taken(id(1)).as_deref(), Some("another tenant's"));
        assert_eq!((hosted.refusals(), hosted.trouble()), (0, None));
        assert_eq!(hosted.registered(), [id(1), id(2)]);
    }

    #[test]
    fn while_the_registry_is_away_each_has_its_turn_and_then_all_are_due() {
        let hosted = Hosted::new([1, 2, 3].map(profile));
        hosted.refused(id(3), "full".to_owned(), NOW, 0);
        hosted.missed(id(1), NOW);
        assert_eq!(due(&hosted, NOW), [id(2)]);
        hosted.missed(id(2), NOW + Duration::from_secs(1));
        assert_eq!(due(&hosted, NOW + EVERY), [id(1), id(3)]);
        hosted.back(NOW);
        assert_eq!(due(&hosted, NOW), [id(1), id(2), id(3)]);
        assert_eq!(hosted.refusals(), 1, "that it was away changes no refusal");
    }

    #[test]
    fn one_that_somebody_removed_is_due_again() {
        let hosted = Hosted::new([1, 2].map(profile));
        hosted.taken(id(1));
        hosted.taken(id(2));
        hosted.gone(&[id(2)].into(), NOW);
        assert_eq!(
            (due(&hosted, NOW), hosted.registered()),
            (vec![id(2)], vec![id(1)])
        );
    }
}
