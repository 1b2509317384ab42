//! The agents' side: acknowledging, reporting, failing and declining.

use arbiter_core::lifecycle::{Refusal, RetryPlan};
use arbiter_core::model::{AttemptEnd, Digest, Failure, HoldReason, Report};
use arbiter_core::ports::Hint;
use arbiter_core::services::{WorkDesk as _, WorkError};
use arbiter_testkit::builders::{agent, failure, json, report};

use crate::world::{World, worker};

#[tokio::test]
async fn the_holder_acknowledges_and_reports_and_the_task_succeeds() {
    let world = World::new();
    let accepted = world.task().await;
    let work = world.assigned(accepted, agent(1)).await;
    let from = world.mark().await;
    world
        .queue
        .acknowledge(&worker(1), work)
        .await
        .expect("acknowledged");
    assert_eq!(world.state(accepted).await, "running");
    let done = world
        .queue
        .report(&worker(1), world.again(work), report())
        .await
        .expect("reported");
    assert_eq!(done.state.name().word(), "succeeded");
    let told = [
        "work.acknowledge+acknowledged done -",
        "work.report+reported+closed done -",
    ];
    assert_eq!(world.told(from).await, told);
    assert_eq!(
        world
            .metrics
            .counter("queue.reports_total", &[("state", "succeeded")]),
        1
    );
}

#[tokio::test]
async fn dispatchers_hear_of_an_agent_that_is_free_again() {
    let world = World::new();
    let work = world.work().await;
    world.wakeups.take();
    world
        .queue
        .acknowledge(&worker(1), world.again(work))
        .await
        .expect("acknowledged");
    assert_eq!(world.wakeups.take(), [], "it is still busy");
    world
        .queue
        .report(&worker(1), work, report())
        .await
        .expect("reported");
    assert_eq!(world.wakeups.take(), [Hint::Task(work.task), Hint::Agents]);
}

#[tokio::test]
async fn a_repeated_report_gets_the_first_answer() {
    let world = World::new();
    let work = world.work().await;
    let first = world
        .queue
        .report(&worker(1), work, report())
        .await
        .expect("reported");
    let from = world.mark().await;
    let again = world
        .queue
        .report(&worker(1), work, report())
        .await
        .expect("again");
    assert_eq!(again, first);
    // another text under the same command is the same call
    let other = Report {
        output: Some(json("\"other\"")),
        ..Report::default()
    };
    assert_eq!(
        world.queue.report(&worker(1), work, other).await.expect("again"),
        first
    );
    assert_eq!(world.told(from).await, Vec::<String>::new());
    let history = world.history(work.task).await;
    assert!(matches!(&history.attempts[..], [one] if one.outcome == AttemptEnd::Reported(report())));
}

#[tokio::test]
async fn a_repeated_failure_or_decline_gets_the_first_answer() {
    let world = World::new();
    let work = world.work().await;
    let first = world
        .queue
        .decline(&worker(1), work, "busy".to_owned())
        .await
        .expect("declined");
    let again = world
        .queue
        .decline(&worker(1), work, "busy".to_owned())
        .await
        .expect("again");
    assert_eq!(again, first);
    let work = world.running(work.task, agent(2)).await;
    let first = world
        .queue
        .fail(&worker(2), work, failure())
        .await
        .expect("failed");
    let again = world
        .queue
        .fail(&worker(2), work, failure())
        .await
        .expect("again");
    assert_eq!(again, first);
    assert_eq!(world.history(work.task).await.attempts.len(), 2);
}

#[tokio::test]
async fn a_decline_gives_the_attempt_back() {
    let world = World::new();
    let accepted = world.task().await;
    let work = world.assigned(accepted, agent(1)).await;
    assert_eq!(world.now(accepted).await.attempts, 1);
    let declined = world
        .queue
        .decline(&worker(1), work, "not my language".to_owned())
        .await
        .expect("declined");
    assert_eq!((declined.attempts, declined.returns), (0, 1));
    assert_eq!(declined.avoid, [agent(1)]);
    assert_eq!(world.state(accepted).await, "queued");
    assert_eq!(
        world.last_leaf().await.told(),
        "work.decline+returned+retried done -"
    );
    world.running(accepted, agent(2)).await;
}

#[tokio::test]
async fn a_decline_needs_a_reason_of_bounded_length() {
    let world = World::new();
    let work = world.work().await;
    for (why, expected) in [(" ".to_owned(), "invalid_task"), ("x".repeat(2_001), "too_large")] {
        let refused = world.queue.decline(&worker(1), work, why).await;
        assert!(matches!(refused, Err(WorkError::Invalid { ref field, .. }) if field == "reason"));
        let told = format!("work.decline+rejected refused {expected}");
        assert_eq!(world.last_leaf().await.told(), told);
    }
    assert_eq!(world.state(work.task).await, "running");
    world
        .queue
        .decline(&worker(1), work, "x".repeat(2_000))
        .await
        .expect("declined");
}

#[tokio::test]
async fn what_follows_a_failure_is_decided_by_the_failure_domain() {
    let plans = [
        (RetryPlan::Retry { after: None }, "queued"),
        (RetryPlan::Hold(HoldReason::RetryPlan), "held retry_plan"),
        (
            RetryPlan::Fail(arbiter_core::model::FailReason::Policy),
            "failed policy",
        ),
        (
            RetryPlan::DeadLetter(arbiter_core::model::DeadReason::Poison),
            "dead_lettered poison",
        ),
    ];
    for (after_failure, expected) in plans {
        let world = World::with(|plan| plan.after_failure = after_failure);
        let work = world.work().await;
        world
            .queue
            .fail(&worker(1), work, failure())
            .await
            .expect("failed");
        assert_eq!(world.state(work.task).await, expected);
        assert_eq!(world.failures.asked(), [(work.task, 1, failure())]);
        assert!(
            world
                .last_leaf()
                .await
                .actions
                .contains(&"attempt_failed".to_owned())
        );
        assert_eq!(
            world
                .metrics
                .counter("queue.failed_attempts_total", &[("class", "agent")]),
            1
        );
    }
}

#[tokio::test]
async fn a_failure_that_is_refused_is_not_counted() {
    let world = World::new();
    let work = world.work().await;
    let refused = world.queue.fail(&worker(2), work, failure()).await;
    assert!(matches!(refused, Err(WorkError::Refused(Refusal::LeaseLost))));
    assert_eq!(world.metrics.total("queue.failed_attempts_total"), 0);
}

#[tokio::test]
async fn reports_and_failures_are_limited_field_by_field() {
    let mebibyte = 1 << 20;
    let text = |bytes: usize| json(&format!("\"{}\"", "a".repeat(bytes - 2)));
    let file = |name: &str| arbiter_core::model::ArtifactRef {
        name: name.to_owned(),
        digest: Digest::of(b""),
        size_bytes: 0,
    };
    let of = |change: &dyn Fn(&mut Report)| {
        let mut report = Report::default();
        change(&mut report);
        report
    };
    let refused = [
        ("output", of(&|report| report.output = Some(text(mebibyte + 1)))),
        ("claims", of(&|report| report.claims = vec![json("1"); 1_001])),
        (
            "claims",
            of(&|report| report.claims = vec![text(mebibyte / 2); 3]),
        ),
        ("evidence", of(&|report| report.evidence = vec![json("1"); 1_001])),
        (
            "evidence",
            of(&|report| report.evidence = vec![text(mebibyte), json("1")]),
        ),
        (
            "artifacts",
            of(&|report| report.artifacts = vec![file("a"), file("a")]),
        ),
        ("artifacts", of(&|report| report.artifacts = vec![file("a/b")])),
    ];
    let world = World::new();
    let work = world.work().await;
    for (field, report) in refused {
        let answer = world.queue.report(&worker(1), work, report).await;
        assert!(
            matches!(&answer, Err(WorkError::Invalid { field: named, .. }) if named == field),
            "{answer:?}"
        );
        let leaf = world.last_leaf().await;
        assert!(
            leaf.told().starts_with("work.report+rejected refused "),
            "{leaf:?}"
        );
        assert_eq!(leaf.resource.expect("resource").id, work.task.to_string());
    }
    for (field, failed) in [
        (
            "message",
            Failure {
                message: "m".repeat(8_001),
                ..failure()
            },
        ),
        (
            "code",
            Failure {
                code: Some("c".repeat(65)),
                ..failure()
            },
        ),
    ] {
        let answer = world.queue.fail(&worker(1), work, failed).await;
        assert!(
            matches!(&answer, Err(WorkError::Invalid { field: named, .. }) if named == field),
            "{answer:?}"
        );
    }
    let largest = Report {
        output: Some(text(mebibyte)),
        claims: vec![text(mebibyte)],
        evidence: vec![json("1"); 1_000],
        ..Report::default()
    };
    world
        .queue
        .report(&worker(1), work, largest)
        .await
        .expect("all at their limits");
}
