//! One claim's choices, over a snapshot and the offers.

use std::sync::{Arc, Mutex, PoisonError};

use arbiter_core::model::{Alternative, Decision, Holder, Shape, TenantId, Timestamp, Work};
use arbiter_core::ports::{self, Choice, Chooser, IdSource, Scope};
use arbiter_core::services::Offer;

use crate::class::{Classes, Member};
use crate::constraints::fit;
use crate::index::Snapshot;
use crate::random::SplitMix64;
use crate::score::{parts, record};
use crate::settings::{Settings, Strategy};
use crate::strategy::{Candidate, Selection, select};

/// How many alternatives a decision keeps.
const ALTERNATIVES: usize = 3;

/// Chooses agents for the candidates of one claim.
pub(crate) struct Choosing {
    pub(crate) settings: Arc<Settings>,
    pub(crate) snapshot: Arc<Snapshot>,
    pub(crate) ids: Arc<dyn IdSource>,
    /// Offered agents in the order of their ids, each once: free slots as this claim leaves them.
    pub(crate) offers: Mutex<Vec<Offer>>,
    pub(crate) seed: u64,
    /// Counts selections over all claims, for strategies that take turns.
    pub(crate) turns: Arc<std::sync::atomic::AtomicU64>,
}

impl Chooser for Choosing {
    fn choose(&self, candidates: &[ports::Candidate], now: Timestamp) -> Vec<Option<Choice>> {
        let mut offers = self.offers.lock().unwrap_or_else(PoisonError::into_inner);
        let mut random = SplitMix64(self.seed);
        let mut classes = Classes::default();
        let stale = now.since(self.snapshot.fresh_at) > self.settings.stale_after;
        candidates
            .iter()
            .map(|candidate| {
                let draw = random.next();
                if stale {
                    None
                } else {
                    self.choose_one(candidate, &mut classes, &mut offers, draw, now)
                }
            })
            .collect()
    }
}

impl Choosing {
    fn choose_one<'a>(
        &'a self,
        task: &'a ports::Candidate,
        classes: &mut Classes<'a>,
        offers: &mut [Offer],
        draw: u64,
        now: Timestamp,
    ) -> Option<Choice> {
        let Work::Attempt(shape) = &task.key.work else {
            return None;
        };
        if task.deadline.is_some_and(|deadline| deadline <= now) {
            return None;
        }
        let strategy = self.settings.strategy_of(&shape.kind);
        let class = (task.key.tenant, shape);
        let members = classes.members(class, &self.snapshot, &self.settings, offers, now);
        let (candidates, places) = candidates(task, strategy, members, offers);
        if candidates.is_empty() {
            return None;
        }
        let turn = self.turns.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let selection = select(strategy, &candidates, draw, turn);
        let chosen = candidates[selection.chosen];
        let decision = self.decide(task, shape, strategy, &candidates, &selection, draw);
        let offer = offers.get_mut(places[selection.chosen])?;
        offer.free -= 1;
        Some(Choice {
            to: Holder::Agent(chosen.id()),
            acknowledged: offer.acknowledges,
            loads: self.loads(task.key.tenant, shape, chosen),
            decision: Some(Arc::new(decision)),
        })
    }

    fn loads(&self, tenant: TenantId, shape: &Shape, chosen: Candidate<'_>) -> Vec<(Scope, u32)> {
        let mut loads = vec![(Scope::Agent(chosen.id()), chosen.agent.profile.slots)];
        loads.extend(self.settings.running_limits(tenant, &shape.kind));
        loads
    }

    fn decide(
        &self,
        task: &ports::Candidate,
        shape: &Shape,
        strategy: Strategy,
        candidates: &[Candidate<'_>],
        selection: &Selection,
        draw: u64,
    ) -> Decision {
        let Selection {
            chosen,
            scores,
            propensities,
            random,
        } = selection;
        let best = scores.iter().copied().fold(f64::MIN, f64::max);
        let mut others: Vec<usize> = (0..candidates.len()).filter(|place| place != chosen).collect();
        let by_score = |a: &usize, b: &usize| scores[*b].total_cmp(&scores[*a]).then(a.cmp(b));
        if others.len() > ALTERNATIVES {
            others.select_nth_unstable_by(ALTERNATIVES - 1, by_score);
            others.truncate(ALTERNATIVES);
        }
        others.sort_by(by_score);
        let alternatives = others
            .into_iter()
            .map(|place| Alternative {
                agent: candidates[place].id(),
                score: scores[place],
                propensity: propensities[place],
                reason: reason(scores[place], scores[*chosen], *random),
            })
            .collect();
        let agent = candidates[*chosen].agent;
        let again = task.avoid.contains(&agent.profile.id);
        let rationale = format!(
            "{} among {} candidates: score {:.3}, {} of {} slots free{}",
            strategy.word(),
            candidates.len(),
            scores[*chosen],
            candidates[*chosen].free,
            agent.profile.slots,
            if again {
                "; it failed this task before and no other capable agent is free"
            } else {
                ""
            },
        );
        Decision {
            id: self.ids.decision(),
            task: task.task,
            agent: agent.profile.id,
            strategy: strategy.word(),
            policy_version: self.settings.policy_version,
            score: scores[*chosen],
            parts: parts(agent, record(agent, shape), shape).collect(),
            candidates: candidates.len() as u32,
            alternatives,
            propensity: propensities[*chosen],
            explore: *random && scores[*chosen] < best,
            seed: random.then_some(draw),
            rationale,
        }
    }
}

/// The members of a class that fulfil every hard constraint, and their places among the offers; those to avoid only when
/// there is no other.
fn candidates<'a>(
    task: &ports::Candidate,
    strategy: Strategy,
    members: &[Member<'a>],
    offers: &[Offer],
) -> (Vec<Candidate<'a>>, Vec<usize>) {
    let fitting = |avoided: bool| {
        members.iter().filter_map(move |member| {
            let offer = offers.get(member.offer).filter(|offer| offer.free > 0)?;
            let agent = member.candidate.agent;
            if task.avoid.contains(&agent.profile.id) != avoided {
                return None;
            }
            let hosted = offer.acknowledges;
            fit(
                agent,
                member.health,
                hosted,
                strategy,
                task.priority,
                &task.budget,
            )
            .ok()?;
            let free = offer.free;
            Some((
                Candidate {
                    free,
                    ..member.candidate
                },
                member.offer,
            ))
        })
    };
    let mut found = (
        Vec::with_capacity(members.len()),
        Vec::with_capacity(members.len()),
    );
    found.extend(fitting(false));
    if found.0.is_empty() {
        found.extend(fitting(true));
    }
    found
}

fn reason(score: f64, chosen: f64, random: bool) -> &'static str {
    if random && score >= chosen {
        "not drawn"
    } else if score < chosen {
        "lower score"
    } else {
        "same score, later in order"
    }
}
