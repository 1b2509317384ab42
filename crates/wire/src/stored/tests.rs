//! Every form round-trips, ignores unknown fields, refuses unknown versions.

use std::time::Duration;

use arbiter_core::lifecycle::{Call, Command, Expect, RetryPlan, Rules, admit, apply};
use arbiter_core::model::*;
use arbiter_core::ports::{Effects, NewTask, Scope};

use super::*;

fn spec() -> TaskSpec {
    let mut spec = TaskSpec::new(TaskKind::new("acme/x").expect("kind"), "title \"q\" \n ü", "do");
    spec.input = Some(Json::parse("{\"a\": [1.50, \"\\u00e9\"]}").expect("json"));
    spec.artifacts = vec![ArtifactRef {
        name: "document".into(),
        digest: Digest::of(b"x"),
        size_bytes: 1,
    }];
    spec.requires.languages = ["rust".to_owned()].into();
    spec.requires.minimum_success_rate = Some(Ratio::new(0.123_456).expect("ratio"));
    spec.constraints.deadline = Some(Timestamp::from_micros(9_000_000_000_000_001));
    spec.constraints.budget.tokens = Some(5);
    spec.not_before = Some(Timestamp::from_micros(3));
    spec.after = vec![TaskId::from_bytes([3; 16])];
    spec.on_prerequisite_failure = OnPrerequisiteFailure::Hold;
    spec.review.verification = Some(VerificationPlan {
        methods: vec!["m".into()],
        minimum_confidence: Ratio::new(0.5).ok(),
    });
    spec.review.rubric = Some("r".into());
    spec.review.compliance = Some(CompliancePlan {
        gates: vec!["g".into()],
        working_spec: Some("w".into()),
    });
    spec.labels = [("a".to_owned(), "b".to_owned())].into();
    spec.security = SecurityLevel::Restricted;
    spec.trace = TraceContext::parse("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01").ok();
    spec
}

#[test]
fn specifications_and_lanes() {
    let full = spec();
    assert_eq!(
        decode_spec(&encode_spec(&full).expect("written")).expect("read"),
        full
    );
    let plain = TaskSpec::new(TaskKind::new("analysis").expect("kind"), "t", "");
    assert_eq!(
        decode_spec(&encode_spec(&plain).expect("written")).expect("read"),
        plain
    );
    for work in [
        Work::Attempt(Shape::of(&full)),
        Work::Attempt(Shape::of(&plain)),
        Work::Review(Stage::Judge),
    ] {
        let key = LaneKey {
            tenant: TenantId::from_bytes([9; 16]),
            band: Band::HIGHEST,
            work,
        };
        assert_eq!(
            decode_lane(&encode_lane(&key).expect("written")).expect("read"),
            key
        );
    }
}

/// A life that visits most states; each must round-trip.
#[test]
fn every_state_of_a_life() {
    let agent = AgentId::from_bytes([7; 16]);
    let rules = Rules::default();
    let mut plain = spec();
    plain.review = ReviewPlan {
        rubric: Some("r".into()),
        ..ReviewPlan::default()
    };
    plain.not_before = None;
    let new = NewTask {
        id: TaskId::from_bytes([1; 16]),
        command: CommandId::from_bytes([1; 16]),
        tenant: TenantId::from_bytes([2; 16]),
        submitter: PrincipalId::from_bytes([3; 16]),
        spec: plain.into(),
        idempotency: None,
        open_limit: None,
        effects: Effects::default(),
    };
    let draft = RecordDraft::default();
    let mut task = admit(&new, LaneId(-5), 0, false, Timestamp::from_micros(10)).next;
    let check = |task: &Task| {
        assert_eq!(
            &decode_status(&encode_status(task).expect("written")).expect("read"),
            task
        );
    };
    check(&task);
    let loads = vec![
        Scope::Agent(agent),
        Scope::TenantKind(TenantId::from_bytes([2; 16]), TaskKind::new("a/b").expect("kind")),
    ];
    let failure = Failure {
        class: FailureClass::Crash,
        code: Some("c".into()),
        message: "m".into(),
        usage: Usage {
            duration: Some(Duration::from_micros(7)),
            ..Usage::default()
        },
        not_enforced: None,
    };
    let lease = |task: &Task| {
        task.state.lease().map_or(Expect::Any, |lease| Expect::Lease {
            fence: lease.fence,
            holder: lease.holder,
        })
    };
    let assign = |holder| Command::Assign {
        to: holder,
        acknowledged: false,
        decision: None,
        loads: loads.clone(),
    };
    let steps: Vec<Command> = vec![
        assign(Holder::Agent(agent)),
        Command::Acknowledge,
        Command::Fail {
            failure,
            plan: RetryPlan::Retry {
                after: Some(Duration::ZERO),
            },
        },
        assign(Holder::Agent(agent)),
        Command::Report(Box::new(Report {
            output: Some(Json::parse("[1]").expect("json")),
            ..Report::default()
        })),
        assign(Holder::Node(NodeId::from_bytes([8; 16]))),
        Command::Stage {
            outcome: StageOutcome::Unsure {
                why: HoldReason::Unscored,
            },
            schema: "s".into(),
            body: None,
            plan: RetryPlan::Retry { after: None },
        },
        Command::Cancel { why: "w".into() },
    ];
    let (mut attempts, mut stages) = (0, 0);
    for (number, step) in steps.into_iter().enumerate() {
        let command = CommandId::from_bytes([number as u8 + 10; 16]);
        let call = Call {
            command,
            expect: lease(&task),
            draft: &draft,
            rules: &rules,
            now: Timestamp::from_micros(20),
        };
        let change = apply(&task, &step, call).expect("legal");
        if let Some(ended) = change.ended {
            attempts += 1;
            assert_eq!(
                decode_attempt(&encode_attempt(&ended).expect("written")).expect("read"),
                ended
            );
        }
        if let Some(report) = change.stage {
            stages += 1;
            assert_eq!(
                decode_stage_report(&encode_stage_report(&report).expect("written")).expect("read"),
                report
            );
        }
        task = change.next;
        check(&task);
    }
    assert_eq!((attempts, stages, task.state), (2, 1, State::Cancelled));
}

#[test]
fn unknown_fields_are_ignored_and_unknown_versions_refused() {
    let text = encode_spec(&spec()).expect("written");
    let newer = text.replacen('{', "{\"added_later\":[1],", 1);
    assert_eq!(decode_spec(&newer).expect("read"), spec());
    let other = text.replacen("\"v\":1", "\"v\":2", 1);
    assert!(matches!(decode_spec(&other), Err(CodecError::Version(2))));
    assert!(matches!(decode_status("{}"), Err(CodecError::Malformed(_))));
}

#[test]
fn limits_that_were_not_enforced_are_known_or_not() {
    // What programs wrote that knew nothing of such limits, a newer one's word, and none.
    let end = |outcome: &str| {
        let (agent, decision) = ("07".repeat(16), "08".repeat(16));
        let open = format!(r#"{{"n":1,"a":"{agent}","f":1,"t":1,"b":1,"d":"{decision}","y":""}}"#);
        let command = CommandId::from_bytes([9; 16]);
        format!(r#"{{"v":1,"open":{open},"ended":2,"command":"{command}","outcome":{outcome}}}"#)
    };
    let known: Option<&[String]> = Some(&["network".to_owned(), "added later".to_owned()]);
    for (outcome, expected) in [
        (r#"{"reported":{}}"#, None),
        (r#"{"failed":{"class":"crash","message":"m"}}"#, None),
        (r#"{"reported":{"not_enforced":[]}}"#, Some(&[][..])),
        (
            r#"{"reported":{"not_enforced":["network","added later"]}}"#,
            known,
        ),
        (
            r#"{"failed":{"class":"crash","message":"m","not_enforced":["network","added later"]}}"#,
            known,
        ),
        (r#""lost""#, None),
    ] {
        let read = decode_attempt(&end(outcome)).expect("read");
        assert_eq!(read.not_enforced(), expected, "{outcome}");
        let again = encode_attempt(&read).expect("written");
        assert_eq!(decode_attempt(&again).expect("read"), read);
        assert_eq!(again.contains("not_enforced"), expected.is_some());
    }
}
