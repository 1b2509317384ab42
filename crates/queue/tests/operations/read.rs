//! Reading: single tasks, pages, histories and counts.

use arbiter_core::model::{AttemptEnd, Operation, Principal, Role, StateName, TaskId};
use arbiter_core::ports::{Tally, TaskQuery};
use arbiter_core::services::WorkDesk as _;
use arbiter_queue::QueueError;
use arbiter_testkit::builders::{report, task, user};

use crate::world::{World, in_tenant, neighbour, operator, submission, submission_with, submitter, worker};

fn page_of(limit: usize) -> TaskQuery {
    TaskQuery {
        limit,
        ..TaskQuery::default()
    }
}

/// The ids of all pages.
async fn list_all(world: &World, who: &Principal, query: TaskQuery) -> Vec<TaskId> {
    let mut found = Vec::new();
    let mut after = query.after;
    loop {
        let query = TaskQuery {
            after,
            ..query.clone()
        };
        let page = world.queue.list(who, query).await.expect("page");
        found.extend(page.tasks.iter().map(|stored| stored.task.id));
        match page.next {
            Some(next) => {
                assert!(after.is_none_or(|before| before < next), "the cursor goes on");
                after = Some(next);
            }
            None => return found,
        }
    }
}

#[tokio::test]
async fn a_task_is_read_as_it_is_stored() {
    let world = World::new();
    let id = world.task().await;
    for who in [
        submitter(),
        operator(),
        user(9, [Role::Auditor]),
        user(9, [Role::Admin]),
    ] {
        assert_eq!(
            world.queue.get(&who, id).await.expect("read"),
            world.stored(id).await
        );
    }
    assert_eq!(world.mark().await, 1, "reading that is allowed leaves no record");
}

#[tokio::test]
async fn a_history_holds_the_attempts_with_their_reports() {
    let world = World::new();
    let work = world.work().await;
    world
        .queue
        .report(&worker(1), work, report())
        .await
        .expect("reported");
    let history = world
        .queue
        .history(&submitter(), work.task)
        .await
        .expect("history");
    assert_eq!(history, world.history(work.task).await);
    assert!(matches!(&history.attempts[..], [one] if one.outcome == AttemptEnd::Reported(report())));
}

#[tokio::test]
async fn pages_hold_each_task_once_oldest_first() {
    let world = World::new();
    let mut ids = Vec::new();
    for _ in 0..7 {
        ids.push(world.task().await);
    }
    for limit in [1, 2, 3, 7, 1_000] {
        assert_eq!(
            list_all(&world, &submitter(), page_of(limit)).await,
            ids,
            "pages of {limit}"
        );
    }
    let first = world.queue.list(&submitter(), page_of(3)).await.expect("page");
    assert_eq!(first.tasks.len(), 3);
}

#[tokio::test]
async fn a_page_has_between_one_and_a_thousand_tasks() {
    let world = World::new();
    for limit in [0, 1_001, usize::MAX] {
        let refused = world.queue.list(&submitter(), page_of(limit)).await;
        assert!(matches!(refused, Err(QueueError::InvalidTask { field, .. }) if field == "limit"));
    }
    for limit in [1, 1_000] {
        assert!(world.queue.list(&submitter(), page_of(limit)).await.is_ok());
    }
}

#[tokio::test]
async fn a_list_shows_what_the_principal_may_read_and_nothing_else() {
    let world = World::new();
    let mine = world.task().await;
    let other = world.task_of(&neighbour(), submission()).await;
    let theirs = world.task_of(&in_tenant(2, submitter()), submission()).await;
    let cases = [
        (submitter(), vec![mine]),
        (neighbour(), vec![other]),
        (operator(), vec![mine, other]),
        (user(9, [Role::Reviewer]), vec![mine, other]),
        (user(9, [Role::Auditor]), vec![mine, other]),
        (in_tenant(2, operator()), vec![theirs]),
        (user(9, [Role::Admin]), vec![mine, other, theirs]),
    ];
    for (who, expected) in cases {
        for limit in [1, 1_000] {
            assert_eq!(list_all(&world, &who, page_of(limit)).await, expected, "{who:?}");
        }
    }
    let refused = world.queue.list(&worker(1), page_of(10)).await;
    assert!(matches!(refused, Err(QueueError::Forbidden)));
}

#[tokio::test]
async fn a_list_is_filtered_by_state_kind_and_label() {
    let world = World::new();
    let running = world.work().await.task;
    let labelled = submission_with(|spec| {
        spec.labels.insert("team".to_owned(), "blue".to_owned());
    });
    let labelled = world.task_of(&submitter(), labelled).await;
    let writing = submission_with(|spec| {
        spec.kind = arbiter_core::model::TaskKind::new("writing").expect("kind");
    });
    let writing = world.task_of(&submitter(), writing).await;
    let by = async |change: fn(&mut TaskQuery)| {
        let mut query = page_of(10);
        change(&mut query);
        list_all(&world, &submitter(), query).await
    };
    assert_eq!(
        by(|query| query.state = Some(StateName::Running)).await,
        [running]
    );
    assert_eq!(
        by(|query| query.kind = Some(arbiter_testkit::builders::kind())).await,
        [running, labelled]
    );
    assert_eq!(
        by(|query| query.label = Some(("team".into(), "blue".into()))).await,
        [labelled]
    );
    assert_eq!(
        by(|query| query.label = Some(("team".into(), "red".into()))).await,
        []
    );
    assert_eq!(
        by(|query| query.state = Some(StateName::Queued)).await,
        [labelled, writing]
    );
}

#[tokio::test]
async fn a_cursor_that_names_no_task_or_one_of_another_tenant_only_marks_a_place() {
    let world = World::new();
    let mut ids = vec![world.task().await];
    let theirs = world.task_of(&in_tenant(2, submitter()), submission()).await;
    ids.push(world.task().await);
    let after = async |id| {
        let query = TaskQuery {
            after: Some(id),
            ..page_of(10)
        };
        list_all(&world, &submitter(), query).await
    };
    assert_eq!(after(theirs).await, ids[1..]);
    assert_eq!(after(TaskId::from_bytes([0; 16])).await, ids);
    assert_eq!(after(TaskId::from_bytes([u8::MAX; 16])).await, []);
    assert_eq!(after(task(0)).await, ids, "older than all");
}

#[tokio::test]
async fn the_tally_counts_the_tasks_of_the_principal_s_tenant_by_state() {
    let world = World::new();
    world.work().await;
    for _ in 0..3 {
        world.task().await;
    }
    let dead = world.task().await;
    world
        .queue
        .dead_letter(&operator(), dead, None, "no".to_owned())
        .await
        .expect("done");
    world.task_of(&in_tenant(2, submitter()), submission()).await;
    let expected = Tally {
        open: 4,
        queued: 3,
        running: 1,
        dead: 1,
        ..Tally::default()
    };
    assert_eq!(world.queue.tally(&operator()).await.expect("tally"), expected);
    for who in [worker(1), submitter()] {
        let refused = world.queue.tally(&who).await;
        assert!(
            matches!(refused, Err(QueueError::Forbidden)),
            "it tells of tasks of others"
        );
    }
}

#[tokio::test]
async fn other_services_ask_the_same_policies_through_the_queue() {
    let world = World::new();
    world
        .queue
        .permit(&operator(), Operation::AuditQuery)
        .await
        .expect("permitted");
    assert_eq!(world.mark().await, 0);
    let refused = world.queue.permit(&submitter(), Operation::AuditQuery).await;
    assert!(matches!(refused, Err(QueueError::Forbidden)));
    assert_eq!(
        world.last_leaf().await.told(),
        "audit.query+authorization_failed refused forbidden"
    );
}
