//! Smaller operations: previews, events of a task, progress by itself, removing an agent.

use arbiter_core::model::{AgentId, Operation, Progress, RecordDraft, Role, TaskKind};
use arbiter_core::ports::{AgentRegistry, Clock as _, Hint, LeaseStatus};
use arbiter_core::services::{Beat, WorkDesk as _};
use arbiter_queue::QueueError;
use arbiter_testkit::builders::{agent, profile, report, user};

use crate::world::{World, beat, code, operator, submission, submission_with, submitter, worker};

#[tokio::test]
async fn a_preview_checks_as_a_submit_does_and_stores_nothing() {
    let world = World::new();
    world
        .queue
        .preview(&operator(), &submission())
        .await
        .expect("it could be submitted");
    assert_eq!((world.count().await, world.mark().await), (0, 0));
    let strange = submission_with(|spec| spec.kind = TaskKind::new("acme/strange").expect("a kind"));
    let refused = world.queue.preview(&operator(), &strange).await;
    assert_eq!(code(&refused), "kind_not_allowed");
    let reviewed = submission_with(|spec| spec.review.rubric = Some("r".into()));
    let refused = world.queue.preview(&operator(), &reviewed).await;
    assert_eq!(code(&refused), "invalid_task");
    let refused = world.queue.preview(&submitter(), &submission()).await;
    assert_eq!(code(&refused), "forbidden");
    assert_eq!(
        world.told(0).await,
        [
            "routing.route+rejected refused kind_not_allowed",
            "routing.route+rejected refused invalid_task",
            "routing.route+authorization_failed refused forbidden",
        ]
    );
    assert_eq!(world.count().await, 0);
}

#[tokio::test]
async fn the_events_of_a_task_are_what_was_done_to_it() {
    let world = World::new();
    let work = world.work().await;
    world.work().await;
    let neighbour = user(7, [Role::Submitter]);
    let refused = world
        .queue
        .cancel(&neighbour, work.task, None, "mine".into())
        .await;
    assert_eq!(code(&refused), "not_found");
    world
        .queue
        .report(&worker(1), work, report())
        .await
        .expect("reported");
    let page = async |before, limit| {
        world
            .queue
            .events(&submitter(), work.task, before, limit)
            .await
            .expect("events")
    };
    let whole = page(None, 50).await;
    let told: Vec<String> = whole
        .entries
        .iter()
        .map(|entry| {
            let leaf: serde_json::Value = serde_json::from_slice(&entry.leaf).expect("a leaf");
            assert_eq!(leaf["resource"]["id"], work.task.to_string());
            leaf["actions"].to_string()
        })
        .collect();
    assert_eq!(
        told,
        [
            r#"["work.report","reported","closed"]"#,
            r#"["assigned","acknowledged"]"#,
            r#"["task.submit","submitted"]"#
        ]
    );
    let first = page(None, 1).await;
    let rest = page(first.next, 50).await;
    assert_eq!([first.entries, rest.entries].concat(), whole.entries);
    let hidden = world.queue.events(&neighbour, work.task, None, 50).await;
    assert!(matches!(hidden, Err(QueueError::NotFound)), "{hidden:?}");
}

#[tokio::test]
async fn progress_by_itself_keeps_the_lease_and_is_redacted() {
    let world = World::new();
    let work = world.work().await;
    let told = Beat {
        progress: Some(Progress {
            at: world.clock.now(),
            fraction: None,
            message: "half done, password=hunter2hunter2".into(),
        }),
        ..beat(work)
    };
    world.pass(std::time::Duration::from_secs(40)).await;
    let status = world
        .queue
        .progress(&worker(1), told.clone())
        .await
        .expect("told");
    assert!(matches!(status, LeaseStatus::Held { .. }), "{status:?}");
    let kept = world.now(work.task).await.progress.expect("progress");
    assert!(
        kept.message.starts_with("half done") && !kept.message.contains("hunter2"),
        "{kept:?}"
    );
    let stolen = world
        .queue
        .progress(&worker(2), told.clone())
        .await
        .expect("told");
    assert_eq!(stolen, LeaseStatus::Lost);
    let person = world.queue.progress(&submitter(), told.clone()).await;
    assert_eq!(code(&person), "forbidden");
    world.policy.forbid(Operation::WorkProgress);
    let forbidden = world.queue.progress(&worker(1), told).await;
    assert_eq!(code(&forbidden), "forbidden");
}

async fn registered(world: &World, id: AgentId) -> bool {
    let registry: &dyn AgentRegistry = &*world.store;
    registry.get(&[id]).await.expect("get")[0].is_some()
}

#[tokio::test]
async fn an_agent_is_removed_when_it_holds_nothing() {
    let world = World::new();
    let registry: &dyn AgentRegistry = &*world.store;
    registry
        .register(profile(1), RecordDraft::default())
        .await
        .expect("registered");
    let work = world.work().await;
    let remove = async |who| world.queue.remove_agent(&who, registry, agent(1)).await;
    let from = world.mark().await;
    let refused = remove(operator()).await;
    assert!(
        matches!(refused, Err(QueueError::AgentHoldsWork { held: 1 })),
        "{refused:?}"
    );
    assert_eq!(code(&remove(submitter()).await), "forbidden");
    assert!(registered(&world, agent(1)).await);
    world
        .queue
        .report(&worker(1), work, report())
        .await
        .expect("reported");
    world.wakeups.take();
    remove(operator()).await.expect("removed");
    assert_eq!(world.wakeups.take(), [Hint::Registry]);
    assert!(!registered(&world, agent(1)).await);
    assert_eq!(code(&remove(operator()).await), "not_found");
    assert_eq!(
        world.told(from).await,
        [
            "agent.remove+rejected refused in_use",
            "agent.remove+authorization_failed refused forbidden",
            "work.report+reported+closed done -",
            "agent.remove+agent_removed done -",
        ]
    );
}
