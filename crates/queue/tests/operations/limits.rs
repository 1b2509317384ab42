//! Limits of fields, each measured by itself and at its border, and which kinds may be submitted.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use arbiter_core::model::{
    ArtifactRef, CompliancePlan, Digest, Stage, TaskKind, TaskSpec, TenantId, VerificationPlan,
};
use arbiter_core::ports::Clock as _;
use arbiter_queue::{Prerequisite, QueueError, Submission};
use arbiter_testkit::ManualClock;
use arbiter_testkit::builders::{json, task, tenant};
use arbiter_testkit::mocks::MockReviewStage;

use crate::world::{World, code, keyed, submission, submission_with, submitter};

/// A JSON string that is exactly so many bytes long.
fn json_of(bytes: usize) -> arbiter_core::model::Json {
    json(&format!("\"{}\"", "a".repeat(bytes - 2)))
}

fn words(count: usize) -> BTreeSet<String> {
    (0..count).map(|number| format!("word{number}")).collect()
}

fn artifacts(count: usize) -> Vec<ArtifactRef> {
    let artifact = |number| ArtifactRef {
        name: format!("file-{number}"),
        digest: Digest::of(b"content"),
        size_bytes: 7,
    };
    (0..count).map(artifact).collect()
}

/// A world in which every stage is installed.
fn with_stages() -> World {
    World::with(|plan| {
        for of in Stage::ALL {
            let mut stage = MockReviewStage::new();
            stage.expect_stage().return_const(of);
            stage.expect_accepts().return_const(true);
            plan.stages.push(Arc::new(stage));
        }
    })
}

/// The largest field that is taken is accepted, one unit more is refused by name with limit and size.
async fn check_border(field: &str, limit: usize, of: impl Fn(usize) -> Submission) {
    let world = with_stages();
    let at_limit = world.queue.submit(&submitter(), of(limit)).await;
    assert_eq!(
        code(&at_limit),
        "accepted",
        "`{field}` at its limit: {at_limit:?}"
    );
    let above = world.queue.submit(&submitter(), of(limit + 1)).await;
    let Err(QueueError::TooLarge {
        field: named,
        limit: told,
        actual,
    }) = above
    else {
        panic!("`{field}` above its limit: {above:?}");
    };
    assert_eq!((named.as_str(), told, actual), (field, limit, limit + 1));
    assert_eq!(world.count().await, 1);
    assert_eq!(
        world.last_leaf().await.told(),
        "task.submit+rejected refused too_large"
    );
}

async fn check_spec(field: &str, limit: usize, set: impl Fn(&mut TaskSpec, usize)) {
    check_border(field, limit, |size| submission_with(|spec| set(spec, size))).await;
}

#[tokio::test]
async fn a_title_has_two_hundred_characters() {
    // of two bytes each: characters are counted, not bytes
    check_spec("title", 200, |spec, size| spec.title = "ä".repeat(size)).await;
}

#[tokio::test]
async fn instructions_have_a_hundred_thousand_characters() {
    check_spec("instructions", 100_000, |spec, size| {
        spec.instructions = "ä".repeat(size);
    })
    .await;
}

#[tokio::test]
async fn an_input_has_one_mebibyte() {
    check_spec("input", 1 << 20, |spec, size| spec.input = Some(json_of(size))).await;
}

#[tokio::test]
async fn a_call_names_64_artifacts() {
    check_spec("artifacts", 64, |spec, size| spec.artifacts = artifacts(size)).await;
}

#[tokio::test]
async fn labels_are_limited_in_number_name_and_value() {
    check_spec("labels", 64, |spec, size| {
        spec.labels = words(size)
            .into_iter()
            .map(|word| (word, String::new()))
            .collect();
    })
    .await;
    check_spec("labels", 64, |spec, size| {
        spec.labels = BTreeMap::from([("n".repeat(size), "value".to_owned())]);
    })
    .await;
    check_spec("labels", 256, |spec, size| {
        spec.labels = BTreeMap::from([("name".to_owned(), "ä".repeat(size))]);
    })
    .await;
}

#[tokio::test]
async fn requirements_are_limited_in_number_and_length() {
    type Part = fn(&mut TaskSpec) -> &mut BTreeSet<String>;
    let parts: [(&str, Part); 3] = [
        ("requires.languages", |spec| &mut spec.requires.languages),
        ("requires.specialisations", |spec| {
            &mut spec.requires.specialisations
        }),
        ("requires.tools", |spec| &mut spec.requires.tools),
    ];
    for (field, part) in parts {
        check_spec(field, 32, |spec, size| *part(spec) = words(size)).await;
        check_spec(field, 64, |spec, size| {
            part(spec).insert("w".repeat(size));
        })
        .await;
    }
}

#[tokio::test]
async fn what_the_review_names_is_limited() {
    check_spec("review.verification.methods", 32, |spec, size| {
        spec.review.verification = Some(VerificationPlan {
            methods: words(size).into_iter().collect(),
            minimum_confidence: None,
        });
    })
    .await;
    check_spec("review.rubric", 64, |spec, size| {
        spec.review.rubric = Some("r".repeat(size));
    })
    .await;
    check_spec("review.gates", 32, |spec, size| {
        spec.review.compliance = Some(CompliancePlan {
            gates: words(size).into_iter().collect(),
            working_spec: None,
        });
    })
    .await;
    check_spec("review.compliance", 64, |spec, size| {
        spec.review.compliance = Some(CompliancePlan {
            gates: Vec::new(),
            working_spec: Some("s".repeat(size)),
        });
    })
    .await;
}

#[tokio::test]
async fn an_idempotency_key_has_255_characters() {
    check_border("idempotency_key", 255, |size| {
        keyed(&"ä".repeat(size), submission())
    })
    .await;
    let world = World::new();
    for bad in ["", "line\nbreak", "\u{0}"] {
        let refused = world.queue.submit(&submitter(), keyed(bad, submission())).await;
        assert!(
            matches!(&refused, Err(QueueError::InvalidTask { field, .. }) if field == "idempotency_key"),
            "{bad:?}: {refused:?}"
        );
    }
}

#[tokio::test]
async fn a_task_has_a_hundred_prerequisites() {
    let world = World::new();
    let answers = world
        .queue
        .submit_many(&submitter(), vec![submission(); 101], true)
        .await
        .expect("answers");
    let ids: Vec<_> = answers
        .into_iter()
        .map(|answer| answer.expect("accepted").task)
        .collect();
    let after = |count: usize| Submission {
        after: ids.iter().take(count).map(|id| Prerequisite::Task(*id)).collect(),
        ..submission()
    };
    world.task_of(&submitter(), after(100)).await;
    let refused = world.queue.submit(&submitter(), after(101)).await;
    assert!(
        matches!(refused, Err(QueueError::TooLarge { field, limit: 100, actual: 101 }) if field == "after")
    );
}

#[tokio::test]
async fn all_fields_may_be_at_their_limits_at_once() {
    let world = World::new();
    let full = submission_with(|spec| {
        spec.title = "t".repeat(200);
        spec.instructions = "i".repeat(100_000);
        spec.input = Some(json_of(1 << 20));
        spec.artifacts = artifacts(64);
        spec.labels = words(64)
            .into_iter()
            .map(|word| (word, "v".repeat(256)))
            .collect();
        spec.requires.tools = words(32);
    });
    world.task_of(&submitter(), keyed(&"k".repeat(255), full)).await;
}

#[tokio::test]
async fn a_field_that_breaks_a_rule_is_named() {
    type Change = fn(&mut TaskSpec);
    let cases: [(&str, Change); 17] = [
        ("title", |spec| spec.title.clear()),
        ("title", |spec| spec.title = " \u{a0} ".to_owned()),
        ("title", |spec| spec.title = "two\nlines".to_owned()),
        ("title", |spec| spec.title = "escape\u{1b}[31m".to_owned()),
        ("labels", |spec| {
            drop(spec.labels.insert(" ".to_owned(), "v".to_owned()));
        }),
        ("requires.tools", |spec| {
            spec.requires.tools.insert("\t".to_owned());
        }),
        ("constraints.attempt_timeout", |spec| {
            spec.constraints.attempt_timeout = Duration::from_micros(999);
        }),
        ("constraints.attempt_timeout", |spec| {
            spec.constraints.attempt_timeout = Duration::from_secs(24 * 3_600) + Duration::from_nanos(1);
        }),
        ("constraints.max_attempts", |spec| {
            spec.constraints.max_attempts = 0;
        }),
        ("constraints.max_attempts", |spec| {
            spec.constraints.max_attempts = 101;
        }),
        ("constraints.deadline", |spec| {
            spec.constraints.deadline = Some(ManualClock::START);
        }),
        ("not_before", |spec| {
            spec.constraints.deadline = Some(ManualClock::START.plus(Duration::from_secs(9)));
            spec.not_before = spec.constraints.deadline;
        }),
        ("after", |spec| spec.after.push(task(1))),
        ("artifacts", |spec| {
            spec.artifacts = [artifacts(1), artifacts(1)].concat();
        }),
        ("artifacts", |spec| {
            spec.artifacts = artifacts(1);
            spec.artifacts[0].name = "../secret".to_owned();
        }),
        ("review.rubric", |spec| spec.review.rubric = Some(String::new())),
        ("review.compliance", |spec| {
            spec.review.compliance = Some(CompliancePlan {
                gates: vec!["\u{7f}".to_owned()],
                working_spec: None,
            });
        }),
    ];
    let world = with_stages();
    for (number, (field, change)) in cases.into_iter().enumerate() {
        let refused = world.queue.submit(&submitter(), submission_with(change)).await;
        assert!(
            matches!(&refused, Err(QueueError::InvalidTask { field: named, .. }) if named == field),
            "case {number}, `{field}`: {refused:?}"
        );
    }
    assert_eq!(world.count().await, 0);
}

#[tokio::test]
async fn times_and_attempts_are_accepted_up_to_their_borders() {
    let world = World::new();
    let soon = world.clock.now().plus(Duration::from_micros(2));
    for (timeout, attempts) in [
        (Duration::from_millis(1), 1),
        (Duration::from_secs(24 * 3_600), 100),
    ] {
        let edge = submission_with(|spec| {
            spec.constraints.attempt_timeout = timeout;
            spec.constraints.max_attempts = attempts;
            spec.constraints.deadline = Some(soon);
            spec.not_before = Some(soon.minus(Duration::from_micros(1)));
        });
        world.task_of(&submitter(), edge).await;
    }
}

fn kind(word: &str) -> TaskKind {
    TaskKind::new(word).expect("a kind")
}

fn of_kind(word: &str) -> Submission {
    submission_with(|spec| spec.kind = kind(word))
}

#[tokio::test]
async fn an_unknown_kind_is_refused_and_every_built_in_one_is_taken() {
    let world = World::new();
    for word in TaskKind::BUILT_IN {
        world.task_of(&submitter(), of_kind(word)).await;
    }
    let refused = world.queue.submit(&submitter(), of_kind("acme/paint")).await;
    assert!(matches!(refused, Err(QueueError::KindNotAllowed { kind }) if kind == "acme/paint"));
    assert_eq!(
        world.last_leaf().await.told(),
        "task.submit+rejected refused kind_not_allowed"
    );
    assert_eq!(world.count().await, TaskKind::BUILT_IN.len());
}

#[tokio::test]
async fn kinds_are_those_of_the_principal_else_of_the_tenant_else_of_all() {
    let world = World::with(|plan| {
        plan.settings.extra_kinds = BTreeSet::from([kind("extra")]);
        plan.settings.tenant_kinds = BTreeMap::from([(tenant(2), BTreeSet::from([kind("acme/paint")]))]);
    });
    let of = |tenant: TenantId, kinds: Option<&str>| {
        let mut principal = submitter();
        principal.tenant = tenant;
        principal.kinds = kinds.map(|word| BTreeSet::from([kind(word)]));
        principal
    };
    let cases = [
        (
            of(tenant(1), None),
            ["accepted", "accepted", "kind_not_allowed", "kind_not_allowed"],
        ),
        (
            of(tenant(2), None),
            [
                "kind_not_allowed",
                "kind_not_allowed",
                "accepted",
                "kind_not_allowed",
            ],
        ),
        (
            of(tenant(1), Some("own")),
            [
                "kind_not_allowed",
                "kind_not_allowed",
                "kind_not_allowed",
                "accepted",
            ],
        ),
        (
            of(tenant(2), Some("own")),
            [
                "kind_not_allowed",
                "kind_not_allowed",
                "kind_not_allowed",
                "accepted",
            ],
        ),
        (
            of(tenant(2), Some("extra")),
            [
                "kind_not_allowed",
                "accepted",
                "kind_not_allowed",
                "kind_not_allowed",
            ],
        ),
    ];
    for (number, (principal, expected)) in cases.into_iter().enumerate() {
        for (word, expected) in ["analysis", "extra", "acme/paint", "own"]
            .into_iter()
            .zip(expected)
        {
            let answer = world.queue.submit(&principal, of_kind(word)).await;
            assert_eq!(code(&answer), expected, "case {number}, kind {word}");
        }
    }
}

#[tokio::test]
async fn a_principal_without_any_kind_submits_nothing() {
    let world = World::new();
    let mut nothing = submitter();
    nothing.kinds = Some(BTreeSet::new());
    assert_eq!(
        code(&world.queue.submit(&nothing, submission()).await),
        "kind_not_allowed"
    );
}
