//! Purging tasks after their retention.

use std::time::Duration;

use arbiter_core::model::{Operation, RecordDraft, TaskId, TenantScope, Timestamp};
use arbiter_core::ports::{Effects, NewTask, Purge, Retention, Tally, TaskHistory};

use crate::builders::{idempotency, new_task, new_task_with, principal, task, tenant};
use crate::contract::desk::{TENANT, acts, cancel_command, report_command};
use crate::contract::{Desk, Harness, suite};

suite!($ task_retention_contract, task_retention, [
    what_closed_before_is_deleted_with_all_that_belongs_to_it,
    what_is_open_or_closed_later_stays,
    the_oldest_go_first_up_to_the_limit,
    a_purge_leaves_one_leaf_per_tenant_and_those_of_the_tasks,
    what_is_still_needed_stays,
    a_tenants_closed_tasks_go_and_those_of_others_stay,
    named_tasks_go_if_they_are_closed,
    a_task_stays_while_a_repeat_of_its_submission_must_find_it,
]);

async fn purge(desk: &Desk<'_>, closed_before: Timestamp, limit: usize) -> usize {
    purge_which(desk, Purge::ClosedBefore(closed_before), limit).await
}

async fn purge_which(desk: &Desk<'_>, which: Purge, limit: usize) -> usize {
    let retention = Retention {
        keyed_before: None,
        which,
        limit,
        effects: Effects::of(RecordDraft::by(principal(5), Operation::AuditQuery)),
    };
    desk.stores().tasks.purge(retention).await.expect("purge")
}

async fn cancel(desk: &Desk<'_>, id: TaskId) {
    desk.done(desk.order(id, cancel_command())).await;
}

/// A task that closed before goes with its specification, attempts and idempotency key.
pub async fn what_closed_before_is_deleted_with_all_that_belongs_to_it(h: &dyn Harness) {
    let desk = Desk::at(h);
    let keyed = |number, content: &str| NewTask {
        idempotency: Some(idempotency("k", content)),
        ..new_task(number)
    };
    let work = desk.running(keyed(1, "one")).await;
    desk.done(desk.by(work, report_command())).await;
    desk.advance(Duration::from_secs(1)).await;
    assert_eq!(purge(&desk, desk.now().await, 10).await, 1);
    assert_eq!(desk.find(TenantScope::All, task(1)).await, None);
    assert_eq!(desk.history(task(1)).await, TaskHistory::default());
    let query = arbiter_core::ports::TaskQuery {
        limit: 10,
        ..Default::default()
    };
    let page = desk
        .stores()
        .reader
        .list(TenantScope::Tenant(TENANT), query)
        .await
        .expect("list");
    assert_eq!(page.tasks, []);
    desk.submit(keyed(2, "two")).await;
}

/// What is open, or closed at that moment or later, stays.
pub async fn what_is_open_or_closed_later_stays(h: &dyn Harness) {
    let desk = Desk::at(h);
    desk.submit_many(vec![new_task(1), new_task(2)]).await;
    desk.advance(Duration::from_secs(1)).await;
    cancel(&desk, task(2)).await;
    let closed_at = desk.now().await;
    desk.advance(Duration::from_secs(1)).await;
    assert_eq!(purge(&desk, closed_at, 10).await, 0);
    assert_eq!(
        purge(&desk, closed_at.plus(Duration::from_micros(1)), 10).await,
        1
    );
    assert!(desk.find(TenantScope::All, task(1)).await.is_some());
    assert!(desk.find(TenantScope::All, task(2)).await.is_none());
}

/// Those that closed first go first, at most so many at once.
pub async fn the_oldest_go_first_up_to_the_limit(h: &dyn Harness) {
    let desk = Desk::at(h);
    desk.submit_many((1..=3).map(new_task).collect()).await;
    for number in [2, 3, 1] {
        desk.advance(Duration::from_secs(1)).await;
        cancel(&desk, task(number)).await;
    }
    desk.advance(Duration::from_secs(1)).await;
    let now = desk.now().await;
    assert_eq!(purge(&desk, now, 2).await, 2);
    assert!(desk.find(TenantScope::All, task(1)).await.is_some());
    assert_eq!(purge(&desk, now, 2).await, 1);
    assert_eq!(purge(&desk, now, 2).await, 0);
}

/// A purge leaves one leaf per tenant that counts its tasks; the tasks' own leaves stay; nothing purged, no leaf.
pub async fn a_purge_leaves_one_leaf_per_tenant_and_those_of_the_tasks(h: &dyn Harness) {
    let desk = Desk::at(h);
    let foreign = NewTask {
        tenant: tenant(2),
        ..new_task(3)
    };
    desk.submit_many(vec![new_task(1), new_task(2), foreign]).await;
    for number in 1..=2 {
        cancel(&desk, task(number)).await;
    }
    desk.done(desk.in_tenant(2, desk.order(task(3), cancel_command())))
        .await;
    desk.advance(Duration::from_secs(1)).await;
    assert_eq!(purge(&desk, desk.now().await, 10).await, 3);
    assert_eq!(purge(&desk, desk.now().await, 10).await, 0);
    let leaves = desk.leaves().await;
    assert_eq!(
        leaves.len(),
        8,
        "three submitted, three cancelled, two tenants purged"
    );
    let purged: Vec<_> = leaves[6..].iter().map(|leaf| (leaf.tenant, leaf.count)).collect();
    assert_eq!(purged, [(tenant(1), Some(2)), (tenant(2), Some(1))]);
    assert_eq!(acts(&leaves[6]), ["audit.query", "purged"]);
    let resource = leaves[6].resource.as_ref().expect("a resource");
    assert_eq!(
        (resource.kind.as_str(), &resource.id),
        ("tenant", &tenant(1).to_string())
    );
    assert_eq!(leaves[6].principal, Some(principal(5)));
    assert_eq!(desk.leaves_of(task(1)).await.len(), 2);
}

/// A closed task stays while others wait for its end, or while its attempt holds a slot.
pub async fn what_is_still_needed_stays(h: &dyn Harness) {
    let desk = Desk::at(h);
    let waiting = new_task_with(2, |spec| spec.after = vec![task(1)]);
    desk.submit_many(vec![new_task(1), waiting]).await;
    cancel(&desk, task(1)).await;
    let queued = desk.submit(new_task(3)).await;
    let chooser = crate::choosers::AssignAll {
        loads: vec![(arbiter_core::ports::Scope::Tenant(TENANT), 9)],
        ..crate::choosers::AssignAll::to(arbiter_core::model::Holder::Agent(crate::builders::agent(1)))
    };
    desk.start_with(&queued, chooser).await;
    cancel(&desk, task(3)).await;
    desk.advance(Duration::from_secs(1)).await;
    assert_eq!(purge(&desk, desk.now().await, 10).await, 0);
    desk.advance(h.rules().lease).await;
    desk.due_all().await;
    desk.advance(Duration::from_secs(1)).await;
    assert_eq!(purge(&desk, desk.now().await, 10).await, 3);
}

/// Closed tasks of a tenant go by id, up to the limit, whenever they closed; its open ones stay, and so do other tenants'.
/// With the last of them its counts are gone, and it can begin anew.
pub async fn a_tenants_closed_tasks_go_and_those_of_others_stay(h: &dyn Harness) {
    let desk = Desk::at(h);
    let foreign = NewTask {
        tenant: tenant(2),
        ..new_task(9)
    };
    desk.submit_many((1..=4).map(new_task).chain([foreign]).collect())
        .await;
    for number in [3, 1, 2] {
        cancel(&desk, task(number)).await;
    }
    desk.done(desk.in_tenant(2, desk.order(task(9), cancel_command())))
        .await;
    let own = || Purge::Tenant(TENANT);
    assert_eq!(purge_which(&desk, own(), 2).await, 2);
    for (number, is_there) in [(1, false), (2, false), (3, true), (4, true), (9, true)] {
        let found = desk.find(TenantScope::All, task(number)).await;
        assert_eq!(found.is_some(), is_there, "task {number}");
    }
    assert_eq!(purge_which(&desk, own(), 2).await, 1);
    assert_eq!(purge_which(&desk, own(), 2).await, 0, "one is open");
    let open = desk.stores().reader.tally(TENANT).await.expect("tally");
    assert_eq!(open.open, 1);
    cancel(&desk, task(4)).await;
    assert_eq!(purge_which(&desk, own(), 2).await, 1);
    assert_eq!(purge_which(&desk, own(), 2).await, 0);
    let none = desk.stores().reader.tally(TENANT).await.expect("tally");
    assert_eq!(none, Tally::default());
    assert!(desk.find(TenantScope::All, task(9)).await.is_some());
    let work = desk.running(new_task(5)).await;
    desk.done(desk.by(work, report_command())).await;
    assert_eq!(purge_which(&desk, own(), 2).await, 1, "its lanes are made again");
}

/// Of the named tasks those go that are closed and of that tenant.
pub async fn named_tasks_go_if_they_are_closed(h: &dyn Harness) {
    let desk = Desk::at(h);
    let foreign = NewTask {
        tenant: tenant(2),
        ..new_task(4)
    };
    desk.submit_many(vec![new_task(1), new_task(2), new_task(3), foreign])
        .await;
    for number in [1, 2] {
        cancel(&desk, task(number)).await;
    }
    desk.done(desk.in_tenant(2, desk.order(task(4), cancel_command())))
        .await;
    let named = || Purge::Tasks(TENANT, [4, 3, 2, 7, 2].map(task).to_vec());
    assert_eq!(purge_which(&desk, named(), 10).await, 1);
    for (number, is_there) in [(1, true), (2, false), (3, true), (4, true)] {
        let found = desk.find(TenantScope::All, task(number)).await;
        assert_eq!(found.is_some(), is_there, "task {number}");
    }
    assert_eq!(purge_which(&desk, named(), 10).await, 0);
}

/// A young task with an idempotency key stays, one without or an older one goes.
pub async fn a_task_stays_while_a_repeat_of_its_submission_must_find_it(h: &dyn Harness) {
    let desk = Desk::at(h);
    let keyed = |number: u64| NewTask {
        idempotency: Some(idempotency(&format!("k{number}"), "x")),
        ..new_task(number)
    };
    desk.submit(keyed(1)).await;
    desk.advance(Duration::from_secs(1)).await;
    let moment = desk.now().await;
    desk.submit_many(vec![keyed(2), new_task(3)]).await;
    for number in 1..=3 {
        cancel(&desk, task(number)).await;
    }
    let ids: Vec<TaskId> = (1..=3).map(task).collect();
    let retention = |keyed_before| Retention {
        which: Purge::Tasks(TENANT, ids.clone()),
        keyed_before,
        limit: 10,
        effects: Effects::default(),
    };
    let purge = async |keyed_before| {
        desk.stores()
            .tasks
            .purge(retention(keyed_before))
            .await
            .expect("purge")
    };
    assert_eq!(purge(Some(moment)).await, 2);
    assert!(desk.find(TenantScope::All, task(2)).await.is_some());
    assert_eq!(purge(None).await, 1);
}
