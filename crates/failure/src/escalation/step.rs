//! One step of an escalation. Pure: who is told at this moment, and when the next step is due.

use std::collections::BTreeSet;
use std::time::Duration;

use arbiter_core::model::{IncidentState, Timestamp};

use super::policy::Policy;
use super::silence::Silence;
use crate::incident::{IncidentRecord, TimelineEvent};

/// Puts an incident under a policy: its first level is due after its time.
pub(crate) fn begin(record: &mut IncidentRecord, policy: Option<(&str, &Policy)>, now: Timestamp) {
    let Some((name, policy)) = policy else {
        return;
    };
    record.escalation.policy = Some(name.to_owned());
    record.escalation.level = 0;
    record.escalation.repeats = 0;
    record.escalation.next_at = wait_of(policy, 0).map(|wait| now.plus(wait));
}

/// Does what is due, and gives the targets that are to be told now, each once.
///
/// Nobody is told of an incident that somebody took note of, or that is silenced; what is due then waits for the end of
/// the silence. A level outside of its hours is passed over, and the next one is told in its place.
pub(crate) fn advance(
    record: &mut IncidentRecord,
    policy: &Policy,
    silences: &[Silence],
    now: Timestamp,
) -> BTreeSet<String> {
    let mut told = BTreeSet::new();
    if record.state != IncidentState::Open {
        record.escalation.next_at = None;
        return told;
    }
    // each turn passes a level or a repeat, of which there are few; a policy that was changed meanwhile ends the loop
    while let Some(due) = record.escalation.next_at.filter(|due| *due <= now) {
        if let Some(until) = end_of_silences(record, silences, now) {
            record.escalation.next_at = Some(until);
            record.tell(
                now,
                TimelineEvent::Held,
                None,
                "nobody is told while it is silenced",
            );
            break;
        }
        let place = record.escalation.level as usize;
        let Some(level) = policy.levels.get(place) else {
            record.escalation.next_at = None;
            break;
        };
        if level.hours.as_ref().is_some_and(|hours| !hours.contain(now)) {
            let text = format!("level {} is passed over outside of its hours", place + 1);
            record.tell(now, TimelineEvent::Held, None, &text);
            // the next level is told in its place
            next_level(record, policy, due, Some(Duration::ZERO));
            continue;
        }
        told.extend(level.targets.iter().cloned());
        let targets: Vec<&str> = level.targets.iter().map(String::as_str).collect();
        let again = if record.escalation.repeats > 0 {
            " again"
        } else {
            ""
        };
        let text = format!("level {} is told{again}: {}", place + 1, targets.join(", "));
        record.tell(now, TimelineEvent::Escalated, None, &text);
        match level.repeat {
            Some(repeat) if record.escalation.repeats < repeat.times => {
                record.escalation.repeats += 1;
                let wait = Duration::from_secs(u64::from(repeat.every_seconds));
                record.escalation.next_at = Some(now.plus(wait));
            }
            _ => next_level(record, policy, now, None),
        }
    }
    told
}

fn next_level(record: &mut IncidentRecord, policy: &Policy, from: Timestamp, wait: Option<Duration>) {
    record.escalation.repeats = 0;
    record.escalation.level = record.escalation.level.saturating_add(1);
    let known = wait_of(policy, record.escalation.level as usize);
    record.escalation.next_at = known.map(|known| from.plus(wait.unwrap_or(known)));
}

fn wait_of(policy: &Policy, level: usize) -> Option<Duration> {
    let level = policy.levels.get(level)?;
    Some(Duration::from_secs(u64::from(level.after_seconds)))
}

/// When the last of the silences that hold now ends; none when none holds.
pub(crate) fn end_of_silences(
    record: &IncidentRecord,
    silences: &[Silence],
    now: Timestamp,
) -> Option<Timestamp> {
    let holding = silences
        .iter()
        .filter(|silence| silence.holds(&record.component, record.kind, now));
    holding.map(|silence| silence.terms.until).max()
}

#[cfg(test)]
mod tests {
    use arbiter_core::model::{FailureKind, Severity};
    use arbiter_testkit::builders::{component, principal, silence};
    use proptest::prelude::*;

    use super::super::hours::{Hours, Weekday};
    use super::super::policy::{Level, Repeat};
    use super::super::silence::{NewSilence, SilenceKind};
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_micros(seconds * 1_000_000)
    }

    fn record(now: i64) -> IncidentRecord {
        IncidentRecord::opened(
            component("store"),
            FailureKind::Internal,
            Severity::High,
            "t",
            at(now),
        )
    }

    fn level(target: &str, after_seconds: u32, repeat: Option<Repeat>) -> Level {
        Level {
            targets: [target.to_owned()].into(),
            after_seconds,
            repeat,
            hours: None,
        }
    }

    fn policy(levels: Vec<Level>) -> Policy {
        Policy {
            levels,
            ..Policy::plain([])
        }
    }

    /// Plays the escalation and gives who was told at which second.
    fn play(policy: &Policy, silences: &[Silence], until: i64) -> Vec<(i64, String)> {
        let mut record = record(0);
        begin(&mut record, Some(("p", policy)), at(0));
        let mut told = Vec::new();
        for second in 0..=until {
            let targets = advance(&mut record, policy, silences, at(second));
            told.extend(targets.into_iter().map(|target| (second, target)));
        }
        told
    }

    fn silenced(from: i64, until: i64) -> Silence {
        Silence {
            id: silence(1),
            terms: NewSilence {
                kind: SilenceKind::Silence,
                component: String::new(),
                failure: None,
                from: at(from),
                until: at(until),
                why: "w".to_owned(),
            },
            by: principal(1),
            made_at: at(0),
        }
    }

    fn told(list: &[(i64, &str)]) -> Vec<(i64, String)> {
        list.iter()
            .map(|(second, target)| (*second, (*target).to_owned()))
            .collect()
    }

    #[test]
    fn levels_follow_each_other_until_somebody_takes_note() {
        let repeat = Repeat {
            every_seconds: 60,
            times: 2,
        };
        let policy = policy(vec![level("on-call", 0, Some(repeat)), level("lead", 300, None)]);
        let expected = told(&[(0, "on-call"), (60, "on-call"), (120, "on-call"), (420, "lead")]);
        assert_eq!(play(&policy, &[], 2_000), expected);
        let mut record = record(0);
        begin(&mut record, Some(("p", &policy)), at(0));
        assert_eq!(advance(&mut record, &policy, &[], at(0)).len(), 1);
        record.state = IncidentState::Acknowledged;
        assert!(advance(&mut record, &policy, &[], at(500)).is_empty());
        assert_eq!(record.escalation.next_at, None);
    }

    #[test]
    fn what_is_due_in_a_silence_waits_for_its_end() {
        let policy = policy(vec![level("on-call", 0, None), level("lead", 300, None)]);
        assert_eq!(
            play(&policy, &[silenced(0, 100)], 1_000),
            told(&[(100, "on-call"), (400, "lead")])
        );
        let both = [silenced(0, 100), silenced(50, 200)];
        assert_eq!(
            play(&policy, &both, 1_000),
            told(&[(200, "on-call"), (500, "lead")])
        );
    }

    #[test]
    fn a_level_outside_of_its_hours_is_passed_over_for_the_next() {
        let mut office = level("office", 0, None);
        // the epoch was a Thursday
        office.hours = Some(Hours {
            zone: "UTC".to_owned(),
            days: [Weekday::Monday].into(),
            from_minute: 0,
            to_minute: 1_440,
        });
        let policy = policy(vec![office, level("on-call", 600, None)]);
        assert_eq!(play(&policy, &[], 1_000), told(&[(0, "on-call")]));
        let mut record = record(4 * 86_400);
        begin(&mut record, Some(("p", &policy)), at(4 * 86_400));
        let first = advance(&mut record, &policy, &[], at(4 * 86_400));
        assert!(first.contains("office"));
    }

    #[test]
    fn without_a_policy_nobody_is_told_and_a_shorter_one_ends_it() {
        let mut none = record(0);
        begin(&mut none, None, at(0));
        assert_eq!(none.escalation.next_at, None);
        let long = policy(vec![level("a", 0, None), level("b", 5, None)]);
        let mut shortened = record(0);
        begin(&mut shortened, Some(("p", &long)), at(0));
        advance(&mut shortened, &long, &[], at(0));
        let short = policy(vec![level("a", 0, None)]);
        assert!(advance(&mut shortened, &short, &[], at(9)).is_empty());
        assert_eq!(shortened.escalation.next_at, None);
    }

    proptest! {
        /// However late it is looked at: no level is told twice beyond its repeats, in order, and it ends.
        #[test]
        fn no_level_is_told_more_often_than_it_says(
            waits in prop::collection::vec((0_u32..400, 0_u32..4), 1..6),
            looks in prop::collection::vec(0_i64..900, 1..60),
        ) {
            let levels = waits.iter().enumerate().map(|(number, (after, times))| {
                let repeat = (*times > 0).then_some(Repeat { every_seconds: 30, times: *times });
                level(&number.to_string(), *after, repeat)
            });
            let policy = policy(levels.collect());
            let mut record = record(0);
            begin(&mut record, Some(("p", &policy)), at(0));
            let (mut now, mut order) = (0, Vec::new());
            for pass in looks.into_iter().chain([100_000; 40]) {
                now += pass;
                for target in advance(&mut record, &policy, &[], at(now)) {
                    order.push(target.parse::<usize>().unwrap());
                }
            }
            for (number, (_, times)) in waits.iter().enumerate() {
                let count = order.iter().filter(|level| **level == number).count();
                prop_assert!(count >= 1 && count <= 1 + *times as usize, "level {number}: {count}");
            }
            prop_assert!(order.is_sorted());
            prop_assert_eq!(record.escalation.next_at, None);
        }
    }
}
