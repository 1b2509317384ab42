//! The contract of `TaskReader`.

use arbiter_core::model::{Holder, StateName, TaskId, TaskKind, TenantScope};
use arbiter_core::ports::{NewTask, Tally, TaskHistory, TaskQuery};

use crate::builders::{agent, new_task, new_task_with, task, tenant};
use crate::contract::desk::{TENANT, cancel_command, report_command};
use crate::contract::{Desk, Harness, suite};

suite!($ task_reader_contract, task_reader, [
    tasks_are_read_in_the_order_of_the_ids,
    what_a_tenant_may_not_see_is_absent,
    pages_are_ordered_and_complete,
    filters_narrow_a_page,
    a_history_is_ordered_and_empty_for_what_is_absent,
    held_tasks_are_those_with_an_open_lease,
    a_tally_counts_one_tenant,
]);

fn foreign(number: u64) -> NewTask {
    NewTask {
        tenant: tenant(2),
        ..new_task(number)
    }
}

/// Tasks stand in the order of the ids asked for; absent ones are none; an id asked twice is answered twice.
pub async fn tasks_are_read_in_the_order_of_the_ids(h: &dyn Harness) {
    let desk = Desk::at(h);
    desk.submit_many(vec![new_task(1), new_task(2)]).await;
    let ids = [task(2), task(9), task(1), task(2)];
    let found = desk
        .stores()
        .reader
        .get(TenantScope::All, &ids)
        .await
        .expect("get");
    let found: Vec<_> = found
        .into_iter()
        .map(|stored| stored.map(|stored| stored.task.id))
        .collect();
    assert_eq!(found, [Some(task(2)), None, Some(task(1)), Some(task(2))]);
    assert_eq!(
        desk.stores()
            .reader
            .get(TenantScope::All, &[])
            .await
            .expect("get"),
        []
    );
}

/// What a tenant may not see is absent, in every read.
pub async fn what_a_tenant_may_not_see_is_absent(h: &dyn Harness) {
    let desk = Desk::at(h);
    let work = desk.running(new_task(1)).await;
    desk.done(desk.by(work, report_command())).await;
    desk.submit(foreign(2)).await;
    let (own, other) = (TenantScope::Tenant(TENANT), TenantScope::Tenant(tenant(2)));
    assert!(desk.find(own, task(1)).await.is_some());
    assert_eq!(desk.find(other, task(1)).await, None);
    assert_eq!(desk.find(own, task(2)).await, None);
    let reader = &desk.stores().reader;
    assert_eq!(
        reader.history(other, task(1)).await.expect("history"),
        TaskHistory::default()
    );
    assert_eq!(
        reader
            .history(own, task(1))
            .await
            .expect("history")
            .attempts
            .len(),
        1
    );
    assert_eq!(ids(&desk, other, TaskQuery::default(), 10).await, [task(2)]);
    assert_eq!(
        ids(&desk, TenantScope::All, TaskQuery::default(), 10).await,
        [task(1), task(2)]
    );
}

/// Every page of a listing, put together.
async fn ids(desk: &Desk<'_>, scope: TenantScope, query: TaskQuery, limit: usize) -> Vec<TaskId> {
    let mut found = Vec::new();
    let mut query = TaskQuery { limit, ..query };
    for _ in 0..100 {
        let page = desk
            .stores()
            .reader
            .list(scope, query.clone())
            .await
            .expect("list");
        assert!(page.tasks.len() <= limit);
        found.extend(page.tasks.into_iter().map(|stored| stored.task.id));
        match page.next {
            Some(next) => query.after = Some(next),
            None => return found,
        }
    }
    panic!("the listing has no end");
}

/// Pages go by id, oldest first, and together give every task once; a limit of none counts as one.
pub async fn pages_are_ordered_and_complete(h: &dyn Harness) {
    let desk = Desk::at(h);
    desk.submit_many([5, 1, 4, 2, 3].map(new_task).to_vec()).await;
    desk.submit_many(vec![foreign(6), foreign(7)]).await;
    let own = TenantScope::Tenant(TENANT);
    for limit in [1, 2, 5, 6] {
        assert_eq!(
            ids(&desk, own, TaskQuery::default(), limit).await,
            (1..=5).map(task).collect::<Vec<_>>()
        );
        let all: Vec<_> = (1..=7).map(task).collect();
        assert_eq!(
            ids(&desk, TenantScope::All, TaskQuery::default(), limit).await,
            all
        );
    }
    let none = desk
        .stores()
        .reader
        .list(own, TaskQuery::default())
        .await
        .expect("list");
    assert_eq!((none.tasks.len(), none.next), (1, Some(task(1))));
    let after = TaskQuery {
        after: Some(task(3)),
        ..TaskQuery::default()
    };
    assert_eq!(ids(&desk, own, after, 10).await, [task(4), task(5)]);
    let last = TaskQuery {
        after: Some(TaskId::from_bytes([u8::MAX; 16])),
        ..TaskQuery::default()
    };
    assert_eq!(ids(&desk, own, last, 10).await, []);
}

/// A page can be narrowed by state, kind and label.
pub async fn filters_narrow_a_page(h: &dyn Harness) {
    let desk = Desk::at(h);
    let research = TaskKind::new("research").expect("a kind");
    let mut tasks: Vec<_> = (1..=4).map(new_task).collect();
    tasks.push(new_task_with(5, |spec| spec.kind = research.clone()));
    tasks.push(new_task_with(6, |spec| {
        spec.labels.insert("team".to_owned(), "red".to_owned());
    }));
    tasks.push(new_task_with(7, |spec| {
        spec.labels.insert("team".to_owned(), "blue".to_owned());
    }));
    desk.submit_many(tasks).await;
    desk.done(desk.order(task(2), cancel_command())).await;
    let own = TenantScope::Tenant(TENANT);
    let cancelled = TaskQuery {
        state: Some(StateName::Cancelled),
        ..TaskQuery::default()
    };
    let of_kind = TaskQuery {
        kind: Some(research),
        ..TaskQuery::default()
    };
    let red = TaskQuery {
        label: Some(("team".to_owned(), "red".to_owned())),
        ..TaskQuery::default()
    };
    let both = TaskQuery {
        state: Some(StateName::Cancelled),
        ..red.clone()
    };
    for limit in [1, 10] {
        assert_eq!(ids(&desk, own, cancelled.clone(), limit).await, [task(2)]);
        assert_eq!(ids(&desk, own, of_kind.clone(), limit).await, [task(5)]);
        assert_eq!(ids(&desk, own, red.clone(), limit).await, [task(6)]);
        assert_eq!(ids(&desk, own, both.clone(), limit).await, []);
    }
}

/// A history gives attempts by fence; it is empty for what is absent or has none.
pub async fn a_history_is_ordered_and_empty_for_what_is_absent(h: &dyn Harness) {
    let desk = Desk::at(h);
    let queued = desk.submit(new_task(1)).await;
    assert_eq!(desk.history(task(1)).await, TaskHistory::default());
    assert_eq!(desk.history(task(9)).await, TaskHistory::default());
    for _ in 0..3 {
        let work = desk.start(&queued).await;
        let why = String::new();
        desk.done(desk.by(work, arbiter_core::lifecycle::Command::Decline { why }))
            .await;
    }
    let fences: Vec<_> = desk
        .history(task(1))
        .await
        .attempts
        .iter()
        .map(|attempt| attempt.open.fence.0)
        .collect();
    assert_eq!(fences, [1, 2, 3]);
}

/// Held tasks are those whose open lease the holder has, of every tenant.
pub async fn held_tasks_are_those_with_an_open_lease(h: &dyn Harness) {
    let desk = Desk::at(h);
    desk.running(new_task(1)).await;
    let ended = desk.running(new_task(2)).await;
    desk.done(desk.by(ended, report_command())).await;
    let other = desk.submit(foreign(3)).await;
    desk.start(&other).await;
    let third = desk.submit(new_task(4)).await;
    desk.start_by(&third, agent(2)).await;
    let held = async |number| {
        let held = desk
            .stores()
            .reader
            .held_by(Holder::Agent(agent(number)))
            .await
            .expect("held");
        held.into_iter().map(|stored| stored.task.id).collect::<Vec<_>>()
    };
    assert_eq!(held(1).await, [task(1), task(3)]);
    assert_eq!(held(2).await, [task(4)]);
    assert_eq!(held(3).await, []);
}

/// A tally counts the tasks of one tenant by where they stand.
pub async fn a_tally_counts_one_tenant(h: &dyn Harness) {
    let desk = Desk::at(h);
    desk.running(new_task(1)).await;
    desk.submit_many(vec![new_task(2), new_task(3), foreign(4)]).await;
    desk.done(desk.order(task(3), cancel_command())).await;
    let expected = Tally {
        open: 2,
        queued: 1,
        running: 1,
        ..Tally::default()
    };
    assert_eq!(desk.stores().reader.tally(TENANT).await.expect("tally"), expected);
    let empty = desk.stores().reader.tally(tenant(8)).await.expect("tally");
    assert_eq!(empty, Tally::default());
}
