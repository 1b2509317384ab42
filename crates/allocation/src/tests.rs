//! Laws of choosing.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex};

use arbiter_core::model::*;
use arbiter_core::ports::{self, Chooser as _, IdSource, Scope};
use arbiter_core::services::Offer;
use proptest::prelude::*;

use crate::chooser::Choosing;
use crate::class::in_order;
use crate::explain::{NoAgent, Question, explain};
use crate::index::Snapshot;
use crate::settings::{Settings, Strategy};
use crate::slots::Slots;
use crate::strategy::{Candidate, select};

const NOW: Timestamp = Timestamp::from_micros(1_000_000_000);

struct Counter(Mutex<u64>);

impl IdSource for Counter {
    fn next(&self) -> [u8; 16] {
        let mut last = self.0.lock().expect("lock");
        *last += 1;
        u128::from(*last).to_be_bytes()
    }
}

fn agent(number: u8) -> RegisteredAgent {
    RegisteredAgent {
        profile: AgentProfile {
            id: AgentId::from_bytes([number; 16]),
            tenant: None,
            name: format!("agent {number}"),
            model_family: "none".into(),
            model_version: None,
            capabilities: Capabilities {
                kinds: [kind()].into(),
                ..Capabilities::default()
            },
            transport: Transport::Pull,
            slots: 4,
            clearance: SecurityLevel::Internal,
            cost: AgentCost::default(),
            labels: BTreeMap::new(),
        },
        mode: AgentMode::Active,
        registered_at: NOW,
        seen_at: NOW,
        beat: None,
        records: BTreeMap::new(),
    }
}

fn kind() -> TaskKind {
    TaskKind::new("analysis").expect("kind")
}

fn shape() -> Shape {
    Shape {
        kind: kind(),
        requires: Requires::default(),
        security: SecurityLevel::Internal,
    }
}

fn task(number: u8, shape: Shape) -> ports::Candidate {
    ports::Candidate {
        task: TaskId::from_bytes([number; 16]),
        lane: LaneId(0),
        key: Arc::new(LaneKey {
            tenant: TenantId::from_bytes([9; 16]),
            band: Band::HIGHEST,
            work: Work::Attempt(shape),
        }),
        priority: Priority::NORMAL,
        attempts: 0,
        avoid: Vec::new(),
        deadline: None,
        attempt_timeout: std::time::Duration::from_secs(300),
        budget: Budget::default(),
    }
}

fn choosing(strategy: Strategy, agents: &[RegisteredAgent], offers: &[(u8, u32)], seed: u64) -> Choosing {
    let agents: HashMap<_, _> = agents
        .iter()
        .map(|agent| (agent.profile.id, Arc::new(agent.clone())))
        .collect();
    let offers = offers.iter().map(|(number, free)| Offer {
        agent: AgentId::from_bytes([*number; 16]),
        free: *free,
        acknowledges: false,
        without: Vec::new(),
    });
    Choosing {
        settings: Arc::new(Settings {
            strategy,
            ..Settings::default()
        }),
        snapshot: Arc::new(Snapshot::new(agents, NOW)),
        ids: Arc::new(Counter(Mutex::new(0))),
        offers: Mutex::new(in_order(offers.collect())),
        seed,
        turns: Arc::default(),
    }
}

fn agent_of(choice: Option<&ports::Choice>) -> Option<u8> {
    match choice?.to {
        Holder::Agent(agent) => Some(agent.as_bytes()[0]),
        Holder::Node(_) => None,
    }
}

proptest! {
    #[test]
    fn a_decision_never_violates_a_hard_constraint(
        fleet in prop::collection::vec((0_u8..16, 0_u8..4, 0_u32..3, any::<bool>(), 0_u8..3, 0_u64..3), 1..12),
        wants in prop::collection::vec((0_u8..16, any::<bool>(), 0_u64..3), 1..20),
        strategy in prop::sample::select(&Strategy::ALL),
        seed: u64,
    ) {
        let words = |bits: u8| -> BTreeSet<String> {
            ["a", "b", "c", "d"].iter().enumerate().filter(|(n, _)| bits >> n & 1 == 1).map(|(_, w)| (*w).to_owned()).collect()
        };
        let agents: Vec<RegisteredAgent> = fleet.iter().enumerate().map(|(number, (skills, minutes, _, shared, mode, cost))| {
            let mut made = agent(number as u8 + 1);
            made.profile.capabilities.languages = words(*skills);
            made.profile.tenant = (!shared).then_some(TenantId::from_bytes([9; 16]));
            made.seen_at = NOW.minus(std::time::Duration::from_secs(u64::from(*minutes) * 60));
            made.mode = AgentMode::ALL[usize::from(*mode)];
            made.profile.cost.per_task_micros = Some(*cost);
            made
        }).collect();
        let offers: Vec<(u8, u32)> = fleet.iter().enumerate().map(|(number, one)| (number as u8 + 1, one.2)).collect();
        let tasks: Vec<ports::Candidate> = wants.iter().enumerate().map(|(number, (skills, avoid, budget))| {
            let mut shape = shape();
            shape.requires.languages = words(*skills);
            let mut made = task(number as u8, shape);
            made.budget.cost_micros = Some(*budget);
            if *avoid { made.avoid = vec![AgentId::from_bytes([1; 16])]; }
            made
        }).collect();
        let chooser = choosing(strategy, &agents, &offers, seed);
        let choices = chooser.choose(&tasks, NOW);
        prop_assert_eq!(choices.len(), tasks.len());
        let mut taken: BTreeMap<u8, u32> = BTreeMap::new();
        for (task, choice) in tasks.iter().zip(&choices) {
            let Work::Attempt(shape) = &task.key.work else { unreachable!() };
            let able = |number: u8| {
                let agent = &agents[usize::from(number) - 1];
                let health = agent.health(NOW, std::time::Duration::from_secs(15));
                shape.requires.languages.is_subset(&agent.profile.capabilities.languages)
                    && agent.mode == AgentMode::Active
                    && matches!(health, Health::Healthy | Health::Degraded)
                    && agent.profile.cost.per_task_micros <= task.budget.cost_micros
                    && offers[usize::from(number) - 1].1 > taken.get(&number).copied().unwrap_or(0)
            };
            let possible: Vec<u8> = (1..=agents.len() as u8).filter(|number| able(*number)).collect();
            match agent_of(choice.as_ref()) {
                None => prop_assert!(possible.is_empty(), "somebody could: {:?}", possible),
                Some(number) => {
                    prop_assert!(possible.contains(&number));
                    let avoided = task.avoid.contains(&AgentId::from_bytes([number; 16]));
                    prop_assert!(!avoided || possible == [number]);
                    *taken.entry(number).or_default() += 1;
                    let decision = choice.as_ref().and_then(|choice| choice.decision.clone()).expect("decision");
                    prop_assert!(decision.propensity > 0.0 && decision.propensity <= 1.0);
                    prop_assert_eq!(decision.candidates as usize, if avoided { 1 } else {
                        possible.iter().filter(|other| !task.avoid.contains(&AgentId::from_bytes([**other; 16]))).count()
                    });
                }
            }
        }
        // The same seed gives the same decisions.
        let again = choosing(strategy, &agents, &offers, seed).choose(&tasks, NOW);
        let names = |all: &[Option<ports::Choice>]| all.iter().map(|one| agent_of(one.as_ref())).collect::<Vec<_>>();
        prop_assert_eq!(names(&again), names(&choices));
    }

    #[test]
    fn propensities_sum_to_one(
        strategy in prop::sample::select(&Strategy::ALL),
        free in prop::collection::vec(1_u32..5, 1..150),
        draw: u64,
        turn: u64,
    ) {
        let agents: Vec<RegisteredAgent> = (0..free.len()).map(|number| agent(number as u8)).collect();
        let candidates: Vec<Candidate<'_>> =
            agents.iter().zip(&free).map(|(agent, free)| Candidate::new(agent, *free, &shape())).collect();
        let selection = select(strategy, &candidates, draw, turn);
        let sum: f64 = selection.propensities.iter().sum();
        prop_assert!((sum - 1.0).abs() <= 1e-9, "{}", sum);
        prop_assert!(selection.propensities[selection.chosen] > 0.0);
    }
}

#[test]
fn chance_is_as_stated() {
    // 100 candidates, so that least_loaded draws two; frequencies over fixed draws against the stated propensities.
    let agents: Vec<RegisteredAgent> = (0..100).map(agent).collect();
    let candidates: Vec<Candidate<'_>> = agents
        .iter()
        .enumerate()
        .map(|(number, agent)| Candidate::new(agent, number as u32 % 4 + 1, &shape()))
        .collect();
    for strategy in [Strategy::Random, Strategy::LeastLoaded] {
        let mut counts = vec![0_u32; candidates.len()];
        let mut random = crate::random::SplitMix64(7);
        let rounds = 20_000;
        let mut stated = Vec::new();
        for _ in 0..rounds {
            let selection = select(strategy, &candidates, random.next(), 0);
            counts[selection.chosen] += 1;
            stated = selection.propensities;
        }
        for (count, propensity) in counts.iter().zip(&stated) {
            let expected = propensity * f64::from(rounds);
            // Five standard deviations of a binomial count.
            let tolerance = 5.0 * (expected * (1.0 - propensity)).sqrt() + 1.0;
            assert!(
                (f64::from(*count) - expected).abs() <= tolerance,
                "{strategy:?}: {count} for {expected}"
            );
        }
    }
}

#[test]
fn strategies_prefer_what_they_say() {
    let mut agents: Vec<RegisteredAgent> = (1..=3).map(agent).collect();
    agents[1].records.insert(
        kind(),
        AgentRecord {
            count: 96,
            successes: 96,
            ..AgentRecord::default()
        },
    );
    agents[2].beat = Some(AgentBeat {
        agent: agents[2].profile.id,
        able: true,
        cpu: Ratio::new(0.99).ok(),
        memory: Ratio::new(0.99).ok(),
    });
    let chosen = |strategy, offers: &[(u8, u32)]| {
        let choices = choosing(strategy, &agents, offers, 1).choose(&[task(1, shape())], NOW);
        agent_of(choices[0].as_ref())
    };
    assert_eq!(
        chosen(Strategy::MatchScore, &[(1, 4), (2, 1), (3, 4)]),
        Some(2),
        "the best record"
    );
    assert_eq!(
        chosen(Strategy::MatchScore, &[(1, 2), (3, 3)]),
        Some(3),
        "equal records: the least utilised"
    );
    assert_eq!(chosen(Strategy::LeastLoaded, &[(1, 1), (2, 3), (3, 2)]), Some(2));
    assert_eq!(
        chosen(Strategy::Weighted, &[(1, 3), (3, 4)]),
        Some(1),
        "its processor is nearly busy"
    );
    assert_eq!(chosen(Strategy::Priority, &[(1, 1), (3, 4)]), Some(3));
    let chooser = choosing(Strategy::RoundRobin, &agents, &[(1, 9), (2, 9), (3, 9)], 1);
    let tasks: Vec<_> = (0..6).map(|number| task(number, shape())).collect();
    let turns: Vec<_> = chooser
        .choose(&tasks, NOW)
        .iter()
        .map(|choice| agent_of(choice.as_ref()))
        .collect();
    assert_eq!(turns, [1, 2, 3, 1, 2, 3].map(Some));
}

#[test]
fn an_assignment_counts_against_every_limit_of_its_tenant_and_kind() {
    let tenant = TenantId::from_bytes([9; 16]);
    let other = TenantId::from_bytes([8; 16]);
    let mut chooser = choosing(Strategy::MatchScore, &[agent(1)], &[(1, 4)], 1);
    chooser.settings = Arc::new(Settings {
        running_per_tenant: [(tenant, 5), (other, 1)].into(),
        running_per_kind: [((tenant, kind()), 2), ((other, kind()), 1)].into(),
        ..Settings::default()
    });
    let choices = chooser.choose(&[task(1, shape())], NOW);
    let choice = choices[0].as_ref().expect("chosen");
    assert_eq!(
        choice.loads,
        [
            (Scope::Agent(AgentId::from_bytes([1; 16])), 4),
            (Scope::Tenant(tenant), 5),
            (Scope::TenantKind(tenant, kind()), 2),
        ]
    );
}

#[test]
fn a_strategy_by_kind_goes_before_the_general_one() {
    let mut agents: Vec<RegisteredAgent> = (1..=2).map(agent).collect();
    let writing = TaskKind::new("writing").expect("kind");
    for agent in &mut agents {
        agent.profile.capabilities.kinds.insert(writing.clone());
    }
    for strategy in Strategy::ALL {
        let mut chooser = choosing(Strategy::MatchScore, &agents, &[(1, 4), (2, 4)], 1);
        chooser.settings = Arc::new(Settings {
            by_kind: [(writing.clone(), strategy)].into(),
            ..Settings::default()
        });
        let of_kind = Shape {
            kind: writing.clone(),
            ..shape()
        };
        let choices = chooser.choose(&[task(1, of_kind), task(2, shape())], NOW);
        let words = choices.iter().flatten().flat_map(|choice| &choice.decision);
        let words: Vec<&str> = words.map(|decision| decision.strategy).collect();
        assert_eq!(words, [strategy.word(), "match_score"]);
    }
}

#[test]
fn a_stale_registry_offers_nobody() {
    let chooser = choosing(Strategy::MatchScore, &[agent(1)], &[(1, 4)], 1);
    let late = NOW.plus(std::time::Duration::from_secs(301));
    assert!(chooser.choose(&[task(1, shape())], late)[0].is_none());
}

#[test]
fn every_reason_for_no_agent_has_its_word() {
    let tenant = TenantId::from_bytes([9; 16]);
    let mut dear = agent(1);
    dear.profile.cost.per_task_micros = Some(10);
    let settings = Settings {
        running_per_tenant: [(tenant, 2)].into(),
        running_per_kind: [((tenant, kind()), 1)].into(),
        ..Settings::default()
    };
    let (shape, agents) = (
        shape(),
        HashMap::from([(dear.profile.id, Arc::new(dear.clone()))]),
    );
    let snapshot = Snapshot::new(agents, NOW);
    let offer = |free| Offer {
        agent: dear.profile.id,
        free,
        acknowledges: false,
        without: Vec::new(),
    };
    let (free, full) = ([offer(1)], [offer(0)]);
    let question = Question {
        tenant,
        shape: &shape,
        priority: Priority::NORMAL,
        budget: Budget::default(),
        deadline: None,
        offers: &free,
        running: &[],
        only_offered: false,
    };
    let ask = |question: &Question<'_>, now| explain(&settings, &snapshot, question, now).agents;
    let found = ask(&question, NOW).expect("it can");
    assert_eq!(
        found.iter().map(|one| one.agent).collect::<Vec<_>>(),
        [dear.profile.id]
    );

    let mut french = shape.clone();
    french.requires.languages.insert("fr".into());
    let silent = NOW.plus(std::time::Duration::from_secs(151));
    let stale = NOW.plus(std::time::Duration::from_secs(301));
    let budget = Budget {
        cost_micros: Some(9),
        ..Budget::default()
    };
    let (one, two) = (
        [(Scope::TenantKind(tenant, kind()), 1)],
        [(Scope::Tenant(tenant), 2)],
    );
    let cases = [
        (
            Question {
                shape: &french,
                ..question
            },
            NOW,
            "no_capable_agent",
        ),
        // nobody but those that offer themselves will ever come
        (
            Question {
                offers: &[],
                only_offered: true,
                ..question
            },
            NOW,
            "no_capable_agent",
        ),
        (question, silent, "none_healthy"),
        (
            Question {
                offers: &full,
                ..question
            },
            NOW,
            "none_free",
        ),
        (
            Question {
                offers: &[],
                ..question
            },
            NOW,
            "none_free",
        ),
        (Question { budget, ..question }, NOW, "over_budget"),
        (
            Question {
                running: &one,
                ..question
            },
            NOW,
            "rate_limited",
        ),
        (
            Question {
                running: &two,
                ..question
            },
            NOW,
            "rate_limited",
        ),
        (
            Question {
                deadline: Some(NOW),
                ..question
            },
            NOW,
            "deadline_impossible",
        ),
        (question, stale, "registry_unavailable"),
    ];
    let mut seen = BTreeSet::new();
    for (question, now, word) in cases {
        let reason = ask(&question, now).expect_err(word);
        assert_eq!(reason.word(), word);
        seen.insert(word);
    }
    let words: BTreeSet<&str> = NoAgent::ALL.iter().map(|reason| reason.word()).collect();
    assert_eq!(seen, words, "a case for each reason");
}

#[test]
fn an_agent_that_this_process_runs_is_healthy_without_a_word() {
    let (tenant, made) = (TenantId::from_bytes([9; 16]), agent(1));
    let agents = HashMap::from([(made.profile.id, Arc::new(made.clone()))]);
    let later = NOW.plus(std::time::Duration::from_secs(200));
    let offers = [Offer {
        agent: made.profile.id,
        free: 1,
        acknowledges: true,
        without: Vec::new(),
    }];
    let question = Question {
        tenant,
        shape: &shape(),
        priority: Priority::NORMAL,
        budget: Budget::default(),
        deadline: None,
        offers: &offers,
        running: &[],
        only_offered: true,
    };
    let told = explain(
        &Settings::default(),
        &Snapshot::new(agents, NOW),
        &question,
        later,
    );
    assert_eq!(told.agents.expect("it can").len(), 1);
}

#[test]
fn an_agent_gets_none_of_the_kinds_that_it_is_offered_without() {
    let agents = [agent(1), agent(2)];
    let chooser = choosing(Strategy::MatchScore, &agents, &[(1, 5), (2, 1)], 1);
    chooser.offers.lock().expect("the offers")[0].without = vec![kind()];
    let choices = chooser.choose(&[task(1, shape()), task(2, shape())], NOW);
    let chosen: Vec<_> = choices.iter().map(|choice| agent_of(choice.as_ref())).collect();
    assert_eq!(chosen, [Some(2), None], "the other one has one slot");
}

#[test]
fn slots_are_taken_together_and_given_back_once() {
    let slots = Slots::new();
    let (one, two) = (
        Scope::Agent(AgentId::from_bytes([1; 16])),
        Scope::Tenant(TenantId::from_bytes([2; 16])),
    );
    let loads = [(one.clone(), 2), (two.clone(), 1)];
    assert_eq!(slots.take(&loads), Ok(()));
    assert_eq!(slots.take(&loads), Err(two.clone()));
    assert_eq!(slots.used(&one), 1, "a refused take takes nothing");
    assert_eq!(slots.give_back(&[one.clone(), two.clone()]), []);
    assert_eq!(slots.give_back(std::slice::from_ref(&one)), [one]);
}

#[test]
fn an_explanation_names_who_could_do_it_or_the_last_thing_that_is_missing() {
    use crate::explain::{NoAgent, Question, explain};

    let offer = |number: u8, free| Offer {
        agent: AgentId::from_bytes([number; 16]),
        free,
        acknowledges: false,
        without: Vec::new(),
    };
    let ask = |agents: &[RegisteredAgent], offers: &[Offer], budget: Budget, deadline, now| {
        let agents = agents
            .iter()
            .map(|agent| (agent.profile.id, Arc::new(agent.clone())));
        let question = Question {
            tenant: TenantId::from_bytes([9; 16]),
            shape: &shape(),
            priority: Priority::NORMAL,
            budget,
            deadline,
            offers,
            running: &[],
            only_offered: false,
        };
        explain(
            &Settings::default(),
            &Snapshot::new(agents.collect(), NOW),
            &question,
            now,
        )
    };
    let plain = |agents: &[RegisteredAgent], offers: &[Offer]| {
        ask(agents, offers, Budget::default(), None, NOW).agents
    };
    let mut known = agent(2);
    known.records.insert(
        kind(),
        AgentRecord {
            count: 96,
            successes: 96,
            ..AgentRecord::default()
        },
    );
    let told = ask(
        &[agent(1), known.clone()],
        &[offer(1, 1), offer(2, 1)],
        Budget::default(),
        None,
        NOW,
    );
    let agents = told.agents.expect("two");
    assert_eq!(
        (
            told.strategy,
            agents[0].agent.as_bytes()[0],
            agents[1].agent.as_bytes()[0]
        ),
        (Strategy::MatchScore.word(), 2, 1)
    );
    let weights: f64 = agents[0].parts.iter().map(|part| part.weight).sum();
    let mean: f64 = agents[0].parts.iter().map(|part| part.weight * part.value).sum();
    assert!((agents[0].score - mean / weights).abs() < 1e-12);
    assert_eq!(plain(&[], &[]), Err(NoAgent::NoCapableAgent));
    let drained = RegisteredAgent {
        mode: AgentMode::Draining,
        ..agent(1)
    };
    assert_eq!(plain(&[drained], &[offer(1, 1)]), Err(NoAgent::NoneHealthy));
    assert_eq!(plain(&[agent(1)], &[offer(1, 0)]), Err(NoAgent::NoneFree));
    assert_eq!(plain(&[agent(1)], &[]), Err(NoAgent::NoneFree));
    let mut dear = agent(1);
    dear.profile.cost.per_task_micros = Some(11);
    let budget = Budget {
        cost_micros: Some(10),
        ..Budget::default()
    };
    let over = ask(&[dear], &[offer(1, 1)], budget, None, NOW);
    assert_eq!(over.agents, Err(NoAgent::OverBudget));
    let late = ask(
        &[known.clone()],
        &[offer(2, 1)],
        Budget::default(),
        Some(NOW),
        NOW,
    );
    assert_eq!(late.agents, Err(NoAgent::DeadlineImpossible));
    let stale = NOW.plus(std::time::Duration::from_secs(301));
    let stale = ask(&[known], &[offer(2, 1)], Budget::default(), None, stale);
    assert_eq!(stale.agents, Err(NoAgent::RegistryUnavailable));
}

#[test]
fn a_claim_of_several_classes_keeps_them_apart() {
    let mut agents: Vec<RegisteredAgent> = (1..=3).map(agent).collect();
    let (own, other) = (TenantId::from_bytes([9; 16]), TenantId::from_bytes([8; 16]));
    agents[0].profile.tenant = Some(own);
    agents[1].profile.tenant = Some(other);
    agents[2].profile.capabilities.kinds = [TaskKind::new("writing").expect("kind")].into();
    let of = |number: u8, tenant: TenantId, kind: &str| {
        let mut made = task(number, shape());
        let shape = Shape {
            kind: TaskKind::new(kind).expect("kind"),
            ..shape()
        };
        made.key = Arc::new(LaneKey {
            tenant,
            band: Band::HIGHEST,
            work: Work::Attempt(shape),
        });
        made
    };
    let tasks = [
        of(1, own, "analysis"),
        of(2, other, "analysis"),
        of(3, own, "writing"),
        of(4, other, "writing"),
        of(5, own, "analysis"),
        of(6, own, "analysis"),
        of(7, other, "writing"),
    ];
    for strategy in Strategy::ALL {
        let choices = choosing(strategy, &agents, &[(1, 2), (2, 1), (3, 2)], 1).choose(&tasks, NOW);
        let chosen: Vec<Option<u8>> = choices.iter().map(|choice| agent_of(choice.as_ref())).collect();
        // The slots of the first agent are gone after two tasks, those of the third one over both tenants.
        assert_eq!(
            chosen,
            [Some(1), Some(2), Some(3), Some(3), Some(1), None, None],
            "{strategy:?}"
        );
    }
}

#[test]
fn of_two_offers_of_one_agent_the_later_one_counts() {
    let offer = |number: u8, free| Offer {
        agent: AgentId::from_bytes([number; 16]),
        free,
        acknowledges: false,
        without: Vec::new(),
    };
    let offers = in_order(vec![
        offer(2, 1),
        offer(1, 7),
        offer(2, 3),
        offer(1, 4),
        offer(3, 9),
    ]);
    assert_eq!(offers, [offer(1, 4), offer(2, 3), offer(3, 9)]);
}
