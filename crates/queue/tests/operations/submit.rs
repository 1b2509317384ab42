//! Submitting: what is stored, what is told, and what is refused as a whole or by item.

use arbiter_core::model::TraceContext;
use arbiter_core::ports::Hint;
use arbiter_queue::{Prerequisite, QueueError, Submission};
use arbiter_testkit::builders::{json, task, tenant};

use crate::world::{
    TENANT, World, code, codes, in_tenant, keyed, neighbour, operator, submission, submission_with, submitter,
};

#[tokio::test]
async fn an_accepted_task_is_stored_and_audited_in_one_write() {
    let world = World::new();
    let accepted = world
        .queue
        .submit(&submitter(), submission())
        .await
        .expect("accepted");
    let stored = world.stored(accepted.task).await;
    assert_eq!(
        (stored.task.tenant, stored.task.submitter),
        (TENANT, submitter().id)
    );
    assert_eq!(*stored.spec, submission().spec);
    assert_eq!(world.state(accepted.task).await, "queued");
    let leaves = world.leaves().await;
    assert_eq!(world.told(0).await, ["task.submit+submitted done -"]);
    let resource = leaves[0].resource.clone().expect("a resource");
    assert_eq!((resource.kind.as_str(), resource.version), ("task", Some(1)));
    assert_eq!(resource.id, accepted.task.to_string());
    assert_eq!(leaves[0].principal, Some(submitter().id.to_string()));
    assert_eq!(leaves[0].tenant, TENANT.to_string());
}

#[tokio::test]
async fn dispatchers_hear_of_accepted_tasks_only() {
    let world = World::new();
    let accepted = world.task().await;
    assert_eq!(world.wakeups.take(), [Hint::Task(accepted)]);
    let refused = world
        .queue
        .submit(&submitter(), submission_with(|spec| spec.title.clear()))
        .await;
    assert_eq!(code(&refused), "invalid_task");
    assert_eq!(world.wakeups.take(), []);
}

#[tokio::test]
async fn answers_stand_in_the_order_of_the_submissions() {
    let world = World::new();
    let titles = ["one", "", "three", "\n", "five"];
    let submissions = titles.map(|title| submission_with(|spec| spec.title = title.to_owned()));
    let answers = world
        .queue
        .submit_many(&submitter(), submissions.to_vec(), false)
        .await
        .expect("answers");
    assert_eq!(
        codes(&answers),
        ["accepted", "invalid_task", "accepted", "invalid_task", "accepted"]
    );
    for (title, answer) in titles.iter().zip(answers) {
        if let Ok(accepted) = answer {
            assert_eq!(world.stored(accepted.task).await.spec.title, *title);
        }
    }
    assert_eq!(world.count().await, 3);
}

#[tokio::test]
async fn one_refused_task_refuses_all_when_asked_so() {
    let world = World::new();
    let submissions = vec![
        submission(),
        submission_with(|spec| spec.title.clear()),
        submission(),
    ];
    let answers = world
        .queue
        .submit_many(&submitter(), submissions, true)
        .await
        .expect("answers");
    assert!(matches!(
        answers.as_slice(),
        [
            Err(QueueError::NeighbourRefused),
            Err(QueueError::InvalidTask { field, .. }),
            Err(QueueError::NeighbourRefused)
        ] if field == "title"
    ));
    assert_eq!(world.count().await, 0);
    assert_eq!(world.told(0).await, ["task.submit+rejected refused invalid_task"]);
}

#[tokio::test]
async fn a_task_that_only_the_store_refuses_refuses_its_neighbours_too() {
    let world = World::new();
    let waiting = Submission {
        after: vec![Prerequisite::Task(task(99))],
        ..submission()
    };
    let submissions = vec![submission(), waiting];
    let answers = world
        .queue
        .submit_many(&submitter(), submissions, true)
        .await
        .expect("answers");
    assert!(matches!(answers[0], Err(QueueError::NeighbourRefused)));
    assert!(matches!(&answers[1], Err(QueueError::InvalidTask { field, .. }) if field == "after"));
    assert_eq!(world.count().await, 0);
}

#[tokio::test]
async fn a_call_holds_a_thousand_tasks_and_no_more() {
    let world = World::new();
    let answers = world
        .queue
        .submit_many(&submitter(), vec![submission(); 1_000], true)
        .await
        .expect("a thousand");
    assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 1_000);
    let from = world.mark().await;
    let refused = world
        .queue
        .submit_many(&submitter(), vec![submission(); 1_001], true)
        .await;
    assert!(matches!(
        refused,
        Err(QueueError::TooLarge { ref field, limit: 1_000, actual: 1_001 }) if field == "tasks"
    ));
    assert_eq!(world.count().await, 1_000);
    assert_eq!(world.told(from).await, ["task.submit+rejected refused too_large"]);
}

#[tokio::test]
async fn a_call_without_tasks_has_no_answers_and_is_no_error() {
    let world = World::new();
    let answers = world
        .queue
        .submit_many(&submitter(), Vec::new(), true)
        .await
        .expect("nothing");
    assert!(answers.is_empty());
    assert_eq!(world.mark().await, 0);
}

#[tokio::test]
async fn the_same_key_and_content_give_the_first_answer_again() {
    let world = World::new();
    let first = world
        .queue
        .submit(&submitter(), keyed("k", submission()))
        .await
        .expect("first");
    let from = world.mark().await;
    let again = world
        .queue
        .submit(&submitter(), keyed("k", submission()))
        .await
        .expect("again");
    assert_eq!(
        (again.task, again.repeated, first.repeated),
        (first.task, true, false)
    );
    assert_eq!(world.count().await, 1);
    assert_eq!(world.told(from).await, Vec::<String>::new(), "nothing happened");
}

#[tokio::test]
async fn the_first_answer_is_given_again_after_the_task_has_ended() {
    let world = World::new();
    let first = world
        .queue
        .submit(&submitter(), keyed("k", submission()))
        .await
        .expect("first");
    let cancelled = world
        .queue
        .cancel(&submitter(), first.task, None, "no".to_owned())
        .await;
    assert_eq!(code(&cancelled), "accepted");
    let again = world
        .queue
        .submit(&submitter(), keyed("k", submission()))
        .await
        .expect("again");
    assert_eq!((again.task, again.repeated), (first.task, true));
}

#[tokio::test]
async fn the_same_key_with_another_content_is_a_conflict() {
    let world = World::new();
    let first = world.task_of(&submitter(), keyed("k", submission())).await;
    let from = world.mark().await;
    let other = keyed("k", submission_with(|spec| spec.instructions.push('!')));
    let refused = world.queue.submit(&submitter(), other).await;
    assert!(matches!(refused, Err(QueueError::IdempotencyConflict { task }) if task == first));
    assert_eq!(world.count().await, 1);
    assert_eq!(
        world.told(from).await,
        ["task.submit+rejected refused idempotency_conflict"]
    );
}

#[tokio::test]
async fn contents_are_compared_before_redaction() {
    let world = World::new();
    let with = |secret: &str| {
        let input = json(&format!("{{\"password\":\"{secret}\"}}"));
        keyed("k", submission_with(|spec| spec.input = Some(input)))
    };
    world.task_of(&submitter(), with("first-secret")).await;
    let refused = world.queue.submit(&submitter(), with("other-secret")).await;
    assert_eq!(code(&refused), "idempotency_conflict");
}

#[tokio::test]
async fn an_idempotency_key_belongs_to_tenant_and_submitter() {
    let world = World::new();
    let elsewhere = in_tenant(2, submitter());
    for who in [submitter(), neighbour(), elsewhere] {
        world.task_of(&who, keyed("k", submission())).await;
    }
    assert_eq!(world.count().await, 3);
}

#[tokio::test]
async fn the_trace_context_does_not_count_as_content() {
    let world = World::new();
    let traced = |trace: &str| {
        let trace = TraceContext::parse(trace).expect("trace");
        keyed("k", submission_with(|spec| spec.trace = Some(trace)))
    };
    let first = traced("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01");
    let first = world.task_of(&submitter(), first).await;
    let again = traced("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01");
    let again = world.queue.submit(&submitter(), again).await.expect("again");
    assert_eq!((again.task, again.repeated), (first, true));
}

#[tokio::test]
async fn a_repeat_inside_one_call_gets_the_first_answer() {
    let world = World::new();
    let submissions = vec![keyed("k", submission()), keyed("k", submission())];
    let answers = world
        .queue
        .submit_many(&submitter(), submissions, true)
        .await
        .expect("answers");
    let [Ok(first), Ok(second)] = answers.as_slice() else {
        panic!("both are answered: {answers:?}");
    };
    assert_eq!(
        (second.task, first.repeated, second.repeated),
        (first.task, false, true)
    );
    assert_eq!(world.count().await, 1);
}

#[tokio::test]
async fn a_prerequisite_that_does_not_exist_is_refused() {
    let world = World::new();
    let theirs = world.task_of(&in_tenant(2, submitter()), submission()).await;
    let mut told = Vec::new();
    for unknown in [task(99), theirs] {
        let waiting = Submission {
            after: vec![Prerequisite::Task(unknown)],
            ..submission()
        };
        let error = world
            .queue
            .submit(&submitter(), waiting)
            .await
            .expect_err("refused");
        assert_eq!(error.code(), "invalid_task");
        told.push(error.to_string().replace(&unknown.to_string(), "<id>"));
    }
    assert_eq!(told[0], told[1], "a task of another tenant looks absent");
    assert_eq!(world.count().await, 1);
}

#[tokio::test]
async fn a_task_may_wait_for_another_of_the_same_call() {
    let world = World::new();
    let waiting = Submission {
        after: vec![Prerequisite::Sibling(1), Prerequisite::Sibling(1)],
        ..submission()
    };
    let answers = world
        .queue
        .submit_many(&submitter(), vec![waiting, submission()], true)
        .await
        .expect("answers");
    let [Ok(waiting), Ok(first)] = answers.as_slice() else {
        panic!("both are accepted: {answers:?}");
    };
    assert_eq!(world.stored(waiting.task).await.spec.after, [first.task]);
}

#[tokio::test]
async fn a_cycle_inside_one_call_is_refused() {
    let world = World::new();
    let after = |place| Submission {
        after: vec![Prerequisite::Sibling(place)],
        ..submission()
    };
    let submissions = vec![after(1), after(2), after(0), submission()];
    let answers = world
        .queue
        .submit_many(&submitter(), submissions, false)
        .await
        .expect("answers");
    assert_eq!(
        codes(&answers),
        ["invalid_task", "invalid_task", "invalid_task", "accepted"]
    );
    assert!(
        answers[0]
            .as_ref()
            .is_err_and(|error| error.to_string().contains("cycle"))
    );
    assert_eq!(world.count().await, 1);
}

#[tokio::test]
async fn a_task_cannot_wait_for_itself_or_for_a_place_outside_of_the_call() {
    let world = World::new();
    for place in [0, 1, usize::MAX] {
        let waiting = Submission {
            after: vec![Prerequisite::Sibling(place)],
            ..submission()
        };
        assert_eq!(
            code(&world.queue.submit(&submitter(), waiting).await),
            "invalid_task"
        );
    }
    assert_eq!(world.count().await, 0);
}

#[tokio::test]
async fn a_task_is_stored_in_the_tenant_of_its_submitter() {
    let world = World::new();
    let accepted = world.task_of(&in_tenant(2, operator()), submission()).await;
    assert_eq!(world.now(accepted).await.tenant, tenant(2));
    assert_eq!(world.last_leaf().await.tenant, tenant(2).to_string());
}

#[tokio::test]
async fn what_was_submitted_is_counted_once_it_is_stored() {
    let world = World::with(|plan| plan.settings.open_tasks_per_tenant = 1);
    let labels = [("kind", "analysis")];
    world.task_of(&submitter(), keyed("k", submission())).await;
    world
        .queue
        .submit(&submitter(), keyed("k", submission()))
        .await
        .expect("a repeat");
    let full = world.queue.submit(&submitter(), submission()).await;
    assert_eq!(code(&full), "backlog_full");
    assert_eq!(world.metrics.counter("queue.submitted_total", &labels), 1);
    assert_eq!(world.metrics.total("queue.backlog_full_total"), 1);
}
