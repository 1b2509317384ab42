//! Selecting one of the candidates, with the exact probability of each.

use std::cmp::Ordering;

use arbiter_core::model::{AgentId, RegisteredAgent, Shape};

use crate::random::below;
use crate::score::{mean, parts, record};
use crate::settings::Strategy;

/// Above so many candidates `least_loaded` looks at two random ones.
const TWO_CHOICES_ABOVE: usize = 64;
/// Success rates that are closer than this count as equal.
const SUCCESS_TIE: f64 = 0.01;

/// An agent that fulfils every hard constraint, with its slots as this claim leaves them.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Candidate<'a> {
    pub(crate) agent: &'a RegisteredAgent,
    /// Slots that are free now, at least one.
    pub(crate) free: u32,
    /// The success rate that it has shown with the kind of task.
    pub(crate) success_rate: f64,
    /// How well it fits, 0–1.
    pub(crate) match_score: f64,
}

impl<'a> Candidate<'a> {
    /// A candidate for a class of tasks.
    pub(crate) fn new(agent: &'a RegisteredAgent, free: u32, shape: &Shape) -> Self {
        let record = record(agent, shape);
        Self {
            agent,
            free,
            success_rate: record.success_rate(),
            match_score: mean(parts(agent, record, shape)),
        }
    }

    pub(crate) fn id(&self) -> AgentId {
        self.agent.profile.id
    }

    /// The free share of its slots.
    fn free_share(&self) -> f64 {
        f64::from(self.free) / f64::from(self.agent.profile.slots.max(1))
    }

    /// Free slots 0.5, processor 0.3, memory 0.2; what is not told is left out.
    fn weighted(&self) -> f64 {
        let beat = self.agent.beat;
        let told = [
            Some((0.5, self.free_share())),
            beat.and_then(|beat| beat.cpu).map(|used| (0.3, 1.0 - used.get())),
            beat.and_then(|beat| beat.memory)
                .map(|used| (0.2, 1.0 - used.get())),
        ];
        let (sum, weights) = told
            .into_iter()
            .flatten()
            .fold((0.0, 0.0), |(sum, all), (weight, value)| {
                (sum + weight * value, all + weight)
            });
        sum / weights
    }
}

/// A selection.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Selection {
    /// The place of the selected candidate.
    pub(crate) chosen: usize,
    /// The strategy's score of each candidate, 0–1.
    pub(crate) scores: Vec<f64>,
    /// The probability with which each candidate would be selected; their sum is 1.
    pub(crate) propensities: Vec<f64>,
    /// Whether chance was used.
    pub(crate) random: bool,
}

/// Selects one of at least one candidate. `draw` is 64 random bits, `turn` counts the selections of the strategy so far.
pub(crate) fn select(strategy: Strategy, candidates: &[Candidate<'_>], draw: u64, turn: u64) -> Selection {
    match strategy {
        Strategy::RoundRobin => round_robin(candidates, turn),
        Strategy::Random => random(candidates, draw),
        Strategy::LeastLoaded if candidates.len() > TWO_CHOICES_ABOVE => two_choices(candidates, draw),
        Strategy::LeastLoaded => best(candidates, Candidate::free_share),
        Strategy::Weighted => best(candidates, Candidate::weighted),
        Strategy::Priority => most_slots(candidates),
        Strategy::MatchScore => by_record(candidates),
    }
}

fn certain(chosen: usize, scores: Vec<f64>) -> Selection {
    let mut propensities = vec![0.0; scores.len()];
    propensities[chosen] = 1.0;
    Selection {
        chosen,
        scores,
        propensities,
        random: false,
    }
}

/// Candidates come in the order of their ids, so turns go round.
fn round_robin(candidates: &[Candidate<'_>], turn: u64) -> Selection {
    let chosen = (turn % candidates.len() as u64) as usize;
    certain(chosen, vec![1.0; candidates.len()])
}

fn random(candidates: &[Candidate<'_>], draw: u64) -> Selection {
    let count = candidates.len();
    Selection {
        chosen: below(draw, count),
        scores: vec![1.0; count],
        propensities: vec![1.0 / count as f64; count],
        random: count > 1,
    }
}

/// The highest score, then the lowest id.
fn best<'a>(candidates: &[Candidate<'a>], score: impl Fn(&Candidate<'a>) -> f64) -> Selection {
    let scores: Vec<f64> = candidates.iter().map(score).collect();
    certain(first_max(&scores), scores)
}

fn most_slots(candidates: &[Candidate<'_>]) -> Selection {
    let most = candidates
        .iter()
        .map(|candidate| candidate.free)
        .max()
        .unwrap_or(1)
        .max(1);
    best(candidates, |candidate| {
        f64::from(candidate.free) / f64::from(most)
    })
}

fn first_max(scores: &[f64]) -> usize {
    scores.iter().enumerate().fold(
        0,
        |top, (place, score)| if *score > scores[top] { place } else { top },
    )
}

/// Two different candidates at random, the better of them: with n candidates ranked by score and id, the one of rank r
/// (0 is best) is selected with probability 2·(n − 1 − r) / (n·(n − 1)).
fn two_choices(candidates: &[Candidate<'_>], draw: u64) -> Selection {
    let count = candidates.len();
    let scores: Vec<f64> = candidates.iter().map(Candidate::free_share).collect();
    let first = below(draw, count);
    let mut second = below(
        draw.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ draw.rotate_left(32),
        count - 1,
    );
    if second >= first {
        second += 1;
    }
    let mut ranked: Vec<usize> = (0..count).collect();
    ranked.sort_unstable_by(|a, b| scores[*b].total_cmp(&scores[*a]).then(a.cmp(b)));
    let mut propensities = vec![0.0; count];
    for (rank, place) in ranked.iter().enumerate() {
        propensities[*place] = 2.0 * (count - 1 - rank) as f64 / (count * (count - 1)) as f64;
    }
    let chosen = match scores[first].total_cmp(&scores[second]) {
        Ordering::Greater => first,
        Ordering::Less => second,
        Ordering::Equal => first.min(second),
    };
    Selection {
        chosen,
        scores,
        propensities,
        random: true,
    }
}

/// By success rate; those within 0.01 of the best by match score, then the most free share, then id.
fn by_record(candidates: &[Candidate<'_>]) -> Selection {
    let rates = candidates.iter().map(|candidate| candidate.success_rate);
    let top = rates.fold(0.0, f64::max);
    let scores: Vec<f64> = candidates.iter().map(|candidate| candidate.match_score).collect();
    let contenders =
        (0..candidates.len()).filter(|place| candidates[*place].success_rate >= top - SUCCESS_TIE);
    let chosen = contenders.reduce(|a, b| {
        let order = scores[b]
            .total_cmp(&scores[a])
            .then(candidates[b].free_share().total_cmp(&candidates[a].free_share()))
            .then(candidates[a].id().cmp(&candidates[b].id()));
        if order == Ordering::Greater { b } else { a }
    });
    certain(chosen.unwrap_or(0), scores)
}
