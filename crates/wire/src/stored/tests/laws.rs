//! Laws of the stored forms: whatever is written is read as it was.

use std::time::Duration;

use arbiter_core::model::*;
use arbiter_core::ports::Scope;
use proptest::collection::{btree_map, btree_set, vec};
use proptest::option;
use proptest::prelude::*;

use super::*;

fn bytes() -> impl Strategy<Value = [u8; 16]> {
    any::<[u8; 16]>()
}

fn text() -> impl Strategy<Value = String> + Clone {
    any::<String>()
}

fn time() -> impl Strategy<Value = Timestamp> {
    any::<i64>().prop_map(Timestamp::from_micros)
}

fn kind() -> impl Strategy<Value = TaskKind> {
    prop_oneof![Just("analysis"), Just("acme/label-images")].prop_map(|word| TaskKind::new(word).unwrap())
}

fn ratio() -> impl Strategy<Value = Ratio> {
    (0_u32..=1_000_000).prop_map(|millionths| Ratio::new(f64::from(millionths) / 1e6).unwrap())
}

fn span() -> impl Strategy<Value = Duration> {
    (any::<u64>(), prop_oneof![Just(0), 0_u32..1_000_000_000]).prop_map(|(s, n)| Duration::new(s, n))
}

fn json() -> impl Strategy<Value = Json> {
    (text(), any::<i64>()).prop_map(|(text, number)| {
        let quoted = serde_json::to_string(&text).unwrap();
        Json::parse(format!("{{\"a\" : [1.50, {quoted}, {number}], \"a\":null}}")).unwrap()
    })
}

fn digest() -> impl Strategy<Value = Digest> {
    any::<[u8; 32]>().prop_map(Digest::from_bytes)
}

fn artifact() -> impl Strategy<Value = ArtifactRef> {
    (text(), digest(), any::<u64>()).prop_map(|(name, digest, size_bytes)| ArtifactRef {
        name,
        digest,
        size_bytes,
    })
}

fn one_of<T: Copy + std::fmt::Debug + 'static>(all: &'static [T]) -> impl Strategy<Value = T> {
    proptest::sample::select(all)
}

const STAGES: &[Stage] = &Stage::ALL;
const LEVELS: &[SecurityLevel] = &[
    SecurityLevel::Internal,
    SecurityLevel::Confidential,
    SecurityLevel::Restricted,
];

fn scope() -> impl Strategy<Value = Scope> {
    prop_oneof![
        bytes().prop_map(|id| Scope::Agent(AgentId::from_bytes(id))),
        bytes().prop_map(|id| Scope::Node(NodeId::from_bytes(id))),
        bytes().prop_map(|id| Scope::Tenant(TenantId::from_bytes(id))),
        (bytes(), kind()).prop_map(|(id, kind)| Scope::TenantKind(TenantId::from_bytes(id), kind)),
    ]
}

fn holder() -> impl Strategy<Value = Holder> {
    prop_oneof![
        bytes().prop_map(|id| Holder::Agent(AgentId::from_bytes(id))),
        bytes().prop_map(|id| Holder::Node(NodeId::from_bytes(id))),
    ]
}

fn lease() -> impl Strategy<Value = Lease> {
    (holder(), any::<u64>(), time(), vec(scope(), 0..3)).prop_map(|(holder, fence, until, loads)| Lease {
        holder,
        fence: Fence(fence),
        until,
        loads,
    })
}

fn state() -> impl Strategy<Value = State> {
    let resume = prop_oneof![Just(Resume::Queue), one_of(STAGES).prop_map(Resume::Stage)];
    prop_oneof![
        Just(State::Queued { wait: Wait::Ready }),
        time().prop_map(|at| State::Queued {
            wait: Wait::Until(at)
        }),
        any::<u32>().prop_map(|open| State::Queued {
            wait: Wait::Prerequisites(open)
        }),
        lease().prop_map(State::Assigned),
        lease().prop_map(State::Running),
        (one_of(STAGES), option::of(lease()), option::of(time())).prop_map(|(stage, lease, not_before)| {
            State::Reviewing {
                stage,
                lease,
                not_before,
            }
        }),
        (one_of(HoldReason::ALL), resume).prop_map(|(reason, resume)| State::Held { reason, resume }),
        Just(State::Succeeded),
        one_of(FailReason::ALL).prop_map(|reason| State::Failed { reason }),
        Just(State::Cancelled),
        one_of(DeadReason::ALL).prop_map(|reason| State::DeadLettered { reason }),
    ]
}

fn open_attempt() -> impl Strategy<Value = OpenAttempt> {
    let times = (time(), time(), option::of(time()));
    let told = (text(), option::of(vec(text(), 0..3)));
    (any::<u16>(), bytes(), any::<u64>(), times, bytes(), told).prop_map(
        |(
            number,
            agent,
            fence,
            (assigned_at, started_at, acknowledged_at),
            decision,
            (rationale, not_enforced),
        )| {
            OpenAttempt {
                number,
                agent: AgentId::from_bytes(agent),
                fence: Fence(fence),
                assigned_at,
                started_at,
                acknowledged_at,
                decision: DecisionId::from_bytes(decision),
                rationale: rationale.into(),
                not_enforced,
            }
        },
    )
}

fn budget() -> impl Strategy<Value = Budget> {
    (option::of(any::<u64>()), option::of(any::<u64>())).prop_map(|(files, cost_micros)| Budget {
        files,
        cost_micros,
        ..Budget::default()
    })
}

fn usage() -> impl Strategy<Value = Usage> {
    (option::of(any::<u64>()), option::of(span())).prop_map(|(tokens, duration)| Usage {
        tokens,
        duration,
        ..Usage::default()
    })
}

fn spec() -> impl Strategy<Value = TaskSpec> {
    let texts = (
        kind(),
        text(),
        text(),
        option::of(json()),
        vec(artifact(), 0..3),
        0_u8..=100,
    );
    let words = btree_set(text(), 0..3);
    let requires = (words.clone(), words.clone(), words, option::of(ratio()));
    let limits = (
        option::of(time()),
        span(),
        any::<u16>(),
        budget(),
        option::of(time()),
    );
    let verification = option::of((vec(text(), 0..3), option::of(ratio())));
    let compliance = option::of((vec(text(), 0..3), option::of(text())));
    let review = (verification, option::of(text()), compliance);
    let rest = (
        vec(bytes(), 0..3),
        any::<bool>(),
        btree_map(text(), text(), 0..3),
        one_of(LEVELS),
        any::<bool>(),
    );
    (texts, requires, limits, review, rest).prop_map(|(texts, requires, limits, review, rest)| {
        let traced = TraceContext::parse("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01").unwrap();
        TaskSpec {
            kind: texts.0,
            title: texts.1,
            instructions: texts.2,
            input: texts.3,
            artifacts: texts.4,
            priority: Priority::new(texts.5).unwrap(),
            requires: Requires {
                languages: requires.0,
                specialisations: requires.1,
                tools: requires.2,
                minimum_success_rate: requires.3,
            },
            constraints: Constraints {
                deadline: limits.0,
                attempt_timeout: limits.1,
                max_attempts: limits.2,
                budget: limits.3,
            },
            not_before: limits.4,
            after: rest.0.into_iter().map(TaskId::from_bytes).collect(),
            on_prerequisite_failure: if rest.1 {
                OnPrerequisiteFailure::Hold
            } else {
                OnPrerequisiteFailure::Fail
            },
            review: ReviewPlan {
                verification: review.0.map(|(methods, minimum_confidence)| VerificationPlan {
                    methods,
                    minimum_confidence,
                }),
                rubric: review.1,
                compliance: review
                    .2
                    .map(|(gates, working_spec)| CompliancePlan { gates, working_spec }),
            },
            labels: rest.2,
            security: rest.3,
            trace: rest.4.then_some(traced),
        }
    })
}

fn task() -> impl Strategy<Value = Task> {
    let ids = (
        bytes(),
        bytes(),
        bytes(),
        any::<i64>(),
        option::of(any::<i64>()),
        option::of(bytes()),
    );
    let counts = (
        any::<u64>(),
        any::<u64>(),
        any::<[u16; 5]>(),
        option::of(any::<u64>()),
        any::<bool>(),
    );
    let lists = (vec(bytes(), 0..3), vec(lease(), 0..3));
    let progress = option::of((time(), option::of(ratio()), text()));
    let parts = (state(), option::of(open_attempt()), progress, time(), time());
    (ids, counts, lists, parts, spec()).prop_map(|(ids, counts, lists, parts, spec)| Task {
        id: TaskId::from_bytes(ids.0),
        tenant: TenantId::from_bytes(ids.1),
        submitter: PrincipalId::from_bytes(ids.2),
        lane: LaneId(ids.3),
        order_key: ids.4.map(OrderKey),
        submitted_at: parts.3,
        changed_at: parts.4,
        terms: Terms::of(&spec),
        state: parts.0,
        version: Version(counts.0),
        fence: Fence(counts.1),
        attempts: counts.2[0],
        returns: counts.2[1],
        losses: counts.2[2],
        lost_leases: counts.2[4],
        stage_errors: counts.2[3],
        attempt: parts.1,
        result: counts.3.map(Fence),
        avoid: lists.0.into_iter().map(AgentId::from_bytes).collect(),
        releases: (lists.1.into_iter())
            .map(|lease| Release {
                fence: lease.fence,
                holder: lease.holder,
                until: lease.until,
                loads: lease.loads,
            })
            .collect(),
        has_dependants: counts.4,
        progress: parts.2.map(|(at, fraction, message)| Progress {
            at,
            fraction,
            message,
        }),
        last_command: ids.5.map(CommandId::from_bytes),
    })
}

fn outcome() -> impl Strategy<Value = AttemptEnd> {
    let report = (
        option::of(json()),
        vec(artifact(), 0..3),
        vec(json(), 0..3),
        vec(json(), 0..3),
        usage(),
        option::of(vec(text(), 0..3)),
    );
    let failure = (
        one_of(FailureClass::ALL),
        option::of(text()),
        text(),
        usage(),
        option::of(vec(text(), 0..3)),
    );
    prop_oneof![
        report.prop_map(
            |(output, artifacts, claims, evidence, usage, not_enforced)| AttemptEnd::Reported(Report {
                output,
                artifacts,
                claims,
                evidence,
                usage,
                not_enforced,
            })
        ),
        failure.prop_map(
            |(class, code, message, usage, not_enforced)| AttemptEnd::Failed(Failure {
                class,
                code,
                message,
                usage,
                not_enforced,
            })
        ),
        Just(AttemptEnd::Lost),
        text().prop_map(|why| AttemptEnd::Returned { why }),
        text().prop_map(|why| AttemptEnd::Ended { why }),
    ]
}

fn attempt() -> impl Strategy<Value = Attempt> {
    (open_attempt(), time(), bytes(), outcome(), usage()).prop_map(
        |(open, ended_at, command, outcome, usage)| Attempt {
            open,
            ended_at,
            command: CommandId::from_bytes(command),
            outcome,
            usage,
        },
    )
}

fn stage_report() -> impl Strategy<Value = StageReport> {
    let outcome = prop_oneof![
        Just(StageOutcome::Passed),
        vec(text(), 0..3).prop_map(|reasons| StageOutcome::Failed { reasons }),
        one_of(HoldReason::ALL).prop_map(|why| StageOutcome::Unsure { why }),
        text().prop_map(|message| StageOutcome::Errored { message }),
    ];
    (
        one_of(STAGES),
        any::<u64>(),
        bytes(),
        time(),
        outcome,
        text(),
        option::of(json()),
    )
        .prop_map(|(stage, fence, command, at, outcome, schema, body)| StageReport {
            stage,
            fence: Fence(fence),
            command: CommandId::from_bytes(command),
            at,
            outcome,
            schema,
            body,
        })
}

fn agent() -> impl Strategy<Value = RegisteredAgent> {
    let words = btree_set(text(), 0..3);
    let beat = option::of((any::<bool>(), option::of(ratio()), option::of(ratio())));
    let record = (
        any::<u64>(),
        any::<u64>(),
        (0.0..1e6, any::<u64>()),
        0.0..1e9,
        (any::<u64>(), any::<u64>()),
    );
    let names = (
        bytes(),
        option::of(bytes()),
        text(),
        text(),
        option::of(text()),
        any::<u32>(),
    );
    let moods = (
        one_of(Transport::ALL),
        one_of(AgentMode::ALL),
        one_of(LEVELS),
        time(),
        time(),
    );
    let able = (btree_set(kind(), 0..3), words.clone(), words.clone(), words);
    let cost = (option::of(any::<u64>()), option::of(any::<u64>()));
    let records = btree_map(kind(), record, 0..2);
    (
        names,
        moods,
        able,
        cost,
        btree_map(text(), text(), 0..3),
        beat,
        records,
    )
        .prop_map(
            |(names, moods, able, cost, labels, beat, records)| RegisteredAgent {
                profile: AgentProfile {
                    id: AgentId::from_bytes(names.0),
                    tenant: names.1.map(TenantId::from_bytes),
                    name: names.2,
                    model_family: names.3,
                    model_version: names.4,
                    capabilities: Capabilities {
                        kinds: able.0,
                        languages: able.1,
                        specialisations: able.2,
                        tools: able.3,
                    },
                    transport: moods.0,
                    slots: names.5,
                    clearance: moods.2,
                    cost: AgentCost {
                        per_task_micros: cost.0,
                        per_1k_tokens_micros: cost.1,
                    },
                    labels,
                },
                mode: moods.1,
                registered_at: moods.3,
                seen_at: moods.4,
                beat: beat.map(|(able, cpu, memory)| AgentBeat {
                    agent: AgentId::from_bytes(names.0),
                    able,
                    cpu,
                    memory,
                }),
                records: (records.into_iter())
                    .map(
                        |(kind, (count, successes, quality, latency_seconds, cost_micros))| {
                            let record = AgentRecord {
                                count,
                                successes,
                                quality,
                                latency_seconds,
                                cost_micros,
                            };
                            (kind, record)
                        },
                    )
                    .collect(),
            },
        )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_status_is_read_as_it_was_written(task in task()) {
        let text = encode_status(&task).unwrap();
        prop_assert_eq!(decode_status(&text).unwrap(), task);
    }

    #[test]
    fn a_specification_is_read_as_it_was_written(spec in spec()) {
        prop_assert_eq!(decode_spec(&encode_spec(&spec).unwrap()).unwrap(), spec);
    }

    #[test]
    fn an_attempt_is_read_as_it_was_written(attempt in attempt()) {
        prop_assert_eq!(decode_attempt(&encode_attempt(&attempt).unwrap()).unwrap(), attempt);
    }

    #[test]
    fn a_stage_report_is_read_as_it_was_written(report in stage_report()) {
        prop_assert_eq!(decode_stage_report(&encode_stage_report(&report).unwrap()).unwrap(), report);
    }

    #[test]
    fn a_lane_is_read_as_it_was_written(spec in spec(), tenant in bytes(), review in option::of(one_of(STAGES))) {
        let key = LaneKey {
            tenant: TenantId::from_bytes(tenant),
            band: spec.priority.band(),
            work: review.map_or_else(|| Work::Attempt(Shape::of(&spec)), Work::Review),
        };
        prop_assert_eq!(decode_lane(&encode_lane(&key).unwrap()).unwrap(), key);
    }

    #[test]
    fn an_agent_is_read_as_it_was_written(agent in agent()) {
        prop_assert_eq!(decode_agent(&encode_agent(&agent).unwrap()).unwrap(), agent);
    }

    #[test]
    fn no_text_makes_a_reader_panic(text in text()) {
        prop_assert!(decode_status(&text).is_err());
        prop_assert!(decode_spec(&text).is_err());
    }
}

const STATUS_1: &str = concat!(
    r#"{"v":1,"id":"01010101010101010101010101010101","in":"02020202020202020202020202020202","#,
    r#""by":"03030303030303030303030303030303","lane":-4,"k":5,"t0":6,"t":7,"#,
    r#""c":{"t":300,"a":3,"p":50},"s":"queued","n":1}"#
);

#[test]
fn the_status_of_version_1_stays_readable() {
    let task = decode_status(STATUS_1).unwrap();
    assert_eq!((task.id, task.version), (TaskId::from_bytes([1; 16]), Version(1)));
    assert_eq!(task.state, State::Queued { wait: Wait::Ready });
    assert_eq!(encode_status(&task).unwrap(), STATUS_1);
    let wider = STATUS_1.replacen('{', r#"{"later":[1,{"a":2}],"#, 1);
    assert_eq!(decode_status(&wider).unwrap(), task);
}

#[test]
fn other_versions_and_damage_of_a_status_are_told_apart() {
    for newer in [
        STATUS_1.replace(r#""v":1"#, r#""v":2"#),
        r#"{"v":2,"quite":"other"}"#.to_owned(),
    ] {
        assert!(
            matches!(decode_status(&newer), Err(CodecError::Version(2))),
            "{newer}"
        );
    }
    for damaged in [
        "",
        "{",
        "[]",
        r#"{"v":1}"#,
        &STATUS_1.replace(r#""n":1"#, r#""n":-1"#),
    ] {
        assert!(
            matches!(decode_status(damaged), Err(CodecError::Malformed(_))),
            "{damaged}"
        );
    }
    for (from, to) in [
        ("queued", "dreaming"),
        ("queued", "running"),
        ("queued", "held"),
        (r#""p":50"#, r#""p":101"#),
    ] {
        let error = decode_status(&STATUS_1.replace(from, to)).expect_err(to);
        assert!(matches!(error, CodecError::Value { .. }), "{to}: {error}");
    }
}

#[test]
fn carried_json_keeps_its_text() {
    let mut spec = TaskSpec::new(TaskKind::new("analysis").unwrap(), "t", "i");
    let text = "{\"b\": 1.0,\n \"a\": 1e2, \"a\": 10000000000000000000001}";
    spec.input = Some(Json::parse(text).unwrap());
    let read = decode_spec(&encode_spec(&spec).unwrap()).unwrap();
    assert_eq!(read.input.as_ref().map(Json::as_str), Some(text));
}
