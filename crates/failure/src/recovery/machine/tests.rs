//! The machine alone: the table of kinds and outcomes, and whatever order things come in.

use arbiter_testkit::builders::operation;
use proptest::prelude::*;

use super::*;

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_micros(seconds * 1_000_000)
}

fn recovery(kind: FailureKind) -> Recovery {
    let settings = Settings::default();
    Recovery::new(
        operation(1),
        kind,
        settings.actions.of(kind).to_vec(),
        &settings,
        at(0),
    )
}

/// Plays a recovery in which the action of each number up to `failing` fails, and gives what was begun and the outcome.
fn play(kind: FailureKind, failing: usize, ends: &Seen) -> (Vec<String>, Outcome) {
    let (mut recovery, mut now, mut begun) = (recovery(kind), at(0), Vec::new());
    for number in 2..1_000 {
        match recovery.next(now) {
            Next::Wait(until) => now = until,
            Next::Begin(action) => {
                begun.push(format!("{}@{}", action.word(), now.as_micros() / 1_000_000));
                recovery.begins(operation(number), None);
            }
            Next::Operate { action, .. } => {
                let seen = if begun.len() <= failing {
                    Seen::Failed("no".to_owned())
                } else if action.holds_for().is_some() {
                    Seen::Contained
                } else {
                    Seen::Succeeded
                };
                recovery.saw(&seen, now);
            }
            Next::Check => {
                if !recovery.saw(ends, now) {
                    now = now.plus(Recovery::LOOK_AGAIN);
                }
            }
            Next::Cancel(_) => {
                recovery.saw(&Seen::Stopped, now);
            }
            Next::End(outcome) => return (begun, outcome),
        }
    }
    panic!("it does not end");
}

fn strings(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

#[test]
fn every_kind_and_outcome_gives_its_actions_in_order() {
    let by = |action| Outcome::Recovered { by: action };
    let contained = |action| Outcome::Contained { by: action };
    let graceful = Action::RestartGraceful { after_seconds: 0 };
    let late = Action::RestartGraceful { after_seconds: 30 };
    let forced = Action::RestartForced { after_seconds: 0 };
    let isolate = Action::Isolate { for_seconds: 300 };
    let shed = Action::ShedLow { for_seconds: 300 };
    let quarantine = Action::Quarantine { for_seconds: 900 };
    let table: &[(FailureKind, usize, &[&str], Outcome)] = &[
        (FailureKind::HealthCheck, 0, &["restart_graceful@0"], by(graceful)),
        (
            FailureKind::HealthCheck,
            1,
            &["restart_graceful@0"],
            Outcome::Exhausted,
        ),
        (
            FailureKind::Connection,
            0,
            &["switch_over@0"],
            by(Action::SwitchOver),
        ),
        (
            FailureKind::Connection,
            1,
            &["switch_over@0", "restart_graceful@30"],
            by(late),
        ),
        (
            FailureKind::Connection,
            2,
            &["switch_over@0", "restart_graceful@30"],
            Outcome::Exhausted,
        ),
        (FailureKind::Timeout, 0, &["scale_up@0"], by(Action::ScaleUp)),
        (
            FailureKind::Timeout,
            1,
            &["scale_up@0", "restart_graceful@0"],
            by(graceful),
        ),
        (
            FailureKind::Timeout,
            2,
            &["scale_up@0", "restart_graceful@0"],
            Outcome::Exhausted,
        ),
        (FailureKind::Internal, 0, &["restart_forced@0"], by(forced)),
        (
            FailureKind::Internal,
            1,
            &["restart_forced@0"],
            Outcome::Exhausted,
        ),
        (FailureKind::Dependency, 0, &["isolate@0"], contained(isolate)),
        (FailureKind::Dependency, 1, &["isolate@0"], Outcome::Exhausted),
        (FailureKind::Capacity, 0, &["scale_up@0"], by(Action::ScaleUp)),
        (
            FailureKind::Capacity,
            1,
            &["scale_up@0", "shed_low@0"],
            contained(shed),
        ),
        (
            FailureKind::Capacity,
            2,
            &["scale_up@0", "shed_low@0"],
            Outcome::Exhausted,
        ),
        (
            FailureKind::InvalidOutput,
            0,
            &["quarantine@0"],
            contained(quarantine),
        ),
        (
            FailureKind::InvalidOutput,
            1,
            &["quarantine@0"],
            Outcome::Exhausted,
        ),
        (FailureKind::Poison, 0, &["quarantine@0"], contained(quarantine)),
        (FailureKind::Poison, 1, &["quarantine@0"], Outcome::Exhausted),
        // an alert is no recovery
        (FailureKind::Policy, 0, &[], Outcome::Exhausted),
    ];
    for (kind, failing, begun, outcome) in table {
        let played = play(*kind, *failing, &Seen::Healthy);
        assert_eq!(played, (strings(begun), *outcome), "{kind:?}, {failing} fail");
    }
    let kinds: std::collections::BTreeSet<FailureKind> = table.iter().map(|row| row.0).collect();
    assert_eq!(kinds.len(), FailureKind::ALL.len(), "every kind is in the table");
}

#[test]
fn health_is_checked_and_not_assumed() {
    let sick = Seen::Unhealthy("no answer".to_owned());
    let (begun, outcome) = play(FailureKind::Timeout, 0, &sick);
    assert_eq!(begun, strings(&["scale_up@0", "restart_graceful@30"]));
    assert_eq!(outcome, Outcome::Exhausted);
}

#[test]
fn an_operation_that_does_not_end_is_cancelled_at_the_time_limit() {
    let mut recovery = recovery(FailureKind::HealthCheck);
    recovery.begins(operation(2), None);
    assert!(!recovery.saw(&Seen::Running, at(299)));
    assert!(matches!(recovery.next(at(299)), Next::Operate { .. }));
    assert_eq!(recovery.next(at(300)), Next::Cancel(operation(2)));
    recovery.saw(&Seen::Stopped, at(301));
    assert_eq!(recovery.next(at(301)), Next::End(Outcome::TimedOut));
}

#[test]
fn whatever_it_waits_for_the_time_limit_ends_it_as_timed_out() {
    let mut waiting = recovery(FailureKind::Connection);
    waiting.begins(operation(2), None);
    waiting.saw(&Seen::Failed("no".to_owned()), at(290));
    assert_eq!(waiting.next(at(299)), Next::Wait(at(300)));
    assert_eq!(waiting.next(at(300)), Next::End(Outcome::TimedOut));
    let mut checking = recovery(FailureKind::HealthCheck);
    checking.begins(operation(2), None);
    checking.saw(&Seen::Succeeded, at(290));
    assert_eq!(checking.next(at(299)), Next::Check);
    assert!(!checking.saw(&Seen::Healthy, at(300)), "too late");
    assert_eq!(checking.next(at(300)), Next::End(Outcome::TimedOut));
}

#[test]
fn what_runs_is_cancelled_when_it_is_ended_from_outside() {
    let mut stopped = recovery(FailureKind::HealthCheck);
    stopped.begins(operation(2), None);
    stopped.stop(Outcome::Cancelled, at(1));
    assert_eq!(stopped.next(at(1)), Next::Cancel(operation(2)));
    assert!(!stopped.saw(&Seen::Running, at(1)), "it is asked again");
    stopped.saw(&Seen::Succeeded, at(2));
    assert_eq!(stopped.next(at(2)), Next::End(Outcome::Cancelled));
    let mut waiting = recovery(FailureKind::HealthCheck);
    waiting.stop(Outcome::Cancelled, at(1));
    assert_eq!(waiting.next(at(1)), Next::End(Outcome::Cancelled));
}

#[test]
fn scaling_up_is_bounded() {
    assert_eq!(one_more(Some(2), Some(3)), Ok(3));
    for (instances, most) in [(Some(3), Some(3)), (None, Some(3)), (Some(3), None)] {
        assert!(one_more(instances, most).is_err());
    }
}

proptest! {
    /// Whatever is seen in whatever order: there is one outcome, it never changes, nothing is begun after it, and time ends
    /// every recovery.
    #[test]
    fn there_is_one_outcome_ever(
        kind in prop::sample::select(FailureKind::ALL),
        steps in prop::collection::vec((0_u8..9, 0_i64..40), 1..120),
    ) {
        let mut recovery = recovery(kind);
        let (mut now, mut outcome, mut number) = (0, None, 2);
        for (seen, pass) in steps {
            now += pass;
            match recovery.next(at(now)) {
                Next::End(ended) => {
                    prop_assert_eq!(*outcome.get_or_insert(ended), ended);
                }
                Next::Begin(_) => {
                    prop_assert!(outcome.is_none());
                    recovery.begins(operation(number), None);
                    number += 1;
                }
                Next::Operate { .. } | Next::Check | Next::Wait(_) => prop_assert!(outcome.is_none()),
                // what runs is cancelled before there is an outcome
                Next::Cancel(_) => prop_assert!(outcome.is_none()),
            }
            let seen = match seen {
                0 => Seen::Running,
                1 => Seen::Succeeded,
                2 => Seen::Failed(String::new()),
                3 => Seen::Healthy,
                4 => Seen::Unhealthy(String::new()),
                5 => Seen::Contained,
                6 => Seen::Stopped,
                7 => {
                    recovery.stop(Outcome::Cancelled, at(now));
                    Seen::Running
                }
                _ => continue,
            };
            if matches!(recovery.next(at(now)), Next::End(_)) {
                prop_assert!(!recovery.saw(&seen, at(now)), "nothing changes after the end");
            } else {
                recovery.saw(&seen, at(now));
            }
            let stored: Recovery = serde_json::from_str(&serde_json::to_string(&recovery).unwrap()).unwrap();
            prop_assert_eq!(&stored, &recovery, "it is stored as it is");
        }
        let late = at(100_000);
        let last = recovery.next(late);
        if let Next::Cancel(_) = last {
            recovery.saw(&Seen::Stopped, late);
        }
        prop_assert!(matches!(recovery.next(late), Next::End(_)));
    }
}
