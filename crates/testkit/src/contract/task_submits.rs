//! Submitting.

use std::time::Duration;

use arbiter_audit::word::Word;
use arbiter_core::lifecycle::Command;
use arbiter_core::model::{OrderKey, State, TenantScope, Version, Wait};
use arbiter_core::ports::{NewTask, SubmitRefusal, Submitted};

use crate::builders::{
    command, idempotency, new_task, new_task_with, outbox_entry, principal, submit_all, submit_each, task,
    tenant,
};
use crate::contract::desk::{TENANT, acts, stored};
use crate::contract::{Desk, Harness, suite};

suite!($ task_submits_contract, task_submits, [
    a_new_task_is_queued_ready_with_version_1,
    the_same_task_again_is_known,
    the_same_key_and_content_is_known,
    the_same_key_with_another_content_conflicts,
    a_key_belongs_to_its_tenant_and_submitter,
    repeats_inside_a_request_are_found,
    one_bad_task_fails_alone,
    all_or_nothing_stores_nothing_when_one_is_refused,
    all_or_nothing_takes_repeats_for_good,
    a_prerequisite_must_exist_in_the_tenant,
    a_prerequisite_may_stand_anywhere_in_the_request,
    a_cycle_is_refused_with_those_that_wait_for_it,
    a_deadline_must_lie_ahead_unless_the_task_is_known,
    the_backlog_is_limited,
    a_task_behind_a_refused_one_is_refused,
    a_refused_task_sends_nothing_outside,
    a_task_of_another_tenant_is_never_replaced,
]);

/// A new task is queued, ready, with version 1 and its place by the store's clock.
pub async fn a_new_task_is_queued_ready_with_version_1(h: &dyn Harness) {
    let desk = Desk::at(h);
    let task = desk.submit(new_task(1)).await;
    assert_eq!(task.state, State::Queued { wait: Wait::Ready });
    assert_eq!((task.version, task.fence.0, task.attempts), (Version(1), 0, 0));
    assert_eq!(task.submitted_at, desk.now().await);
    assert_eq!(task.order_key, Some(OrderKey(desk.now().await.as_micros())));
    let found = desk
        .find(TenantScope::Tenant(TENANT), task.id)
        .await
        .expect("stored");
    assert_eq!((&found.task, &*found.spec), (&task, &*new_task(1).spec));
    let tally = desk.stores().reader.tally(TENANT).await.expect("tally");
    assert_eq!((tally.open, tally.queued, tally.running), (1, 1, 0));
}

/// The same task id again is known, and changes nothing.
pub async fn the_same_task_again_is_known(h: &dyn Harness) {
    let desk = Desk::at(h);
    let first = desk.submit(new_task(1)).await;
    let again = NewTask {
        command: command(2),
        ..new_task_with(1, |spec| "another title".clone_into(&mut spec.title))
    };
    assert_eq!(
        desk.submit_request(submit_each([again])).await,
        [Submitted::Known(task(1))]
    );
    let found = desk.find(TenantScope::All, task(1)).await.expect("stored");
    assert_eq!((found.task, found.spec), (first, new_task(1).spec));
    assert_eq!(desk.leaves().await.len(), 1, "a repeat has no leaf");
}

/// The same idempotency key with the same fingerprint is known.
pub async fn the_same_key_and_content_is_known(h: &dyn Harness) {
    let desk = Desk::at(h);
    desk.submit(keyed(1, "k", "content")).await;
    let again = desk.submit_request(submit_each([keyed(2, "k", "content")])).await;
    assert_eq!(again, [Submitted::Known(task(1))]);
    assert_eq!(desk.find(TenantScope::All, task(2)).await, None);
    assert_eq!(desk.leaves().await.len(), 1, "a repeat has no leaf");
}

/// The same key with another fingerprint is a conflict, which has a leaf.
pub async fn the_same_key_with_another_content_conflicts(h: &dyn Harness) {
    let desk = Desk::at(h);
    desk.submit(keyed(1, "k", "content")).await;
    let other = desk.submit_request(submit_each([keyed(2, "k", "another")])).await;
    assert_eq!(other, [Submitted::Conflict(task(1))]);
    check_refusal(&desk, 2, "idempotency_conflict").await;
    assert_eq!(desk.find(TenantScope::All, task(2)).await, None);
}

/// A key belongs to its tenant and submitter.
pub async fn a_key_belongs_to_its_tenant_and_submitter(h: &dyn Harness) {
    let desk = Desk::at(h);
    desk.submit(keyed(1, "k", "content")).await;
    let other_submitter = NewTask {
        submitter: principal(2),
        ..keyed(2, "k", "another")
    };
    let other_tenant = NewTask {
        tenant: tenant(2),
        ..keyed(3, "k", "another")
    };
    desk.submit_many(vec![other_submitter, other_tenant]).await;
}

/// Repeats inside one request are found, by id and by key.
pub async fn repeats_inside_a_request_are_found(h: &dyn Harness) {
    let desk = Desk::at(h);
    let request = submit_each([
        keyed(1, "k", "a"),
        new_task(1),
        keyed(2, "k", "a"),
        keyed(3, "k", "b"),
        new_task(4),
    ]);
    let answers = desk.submit_request(request).await;
    assert!(matches!(answers[0], Submitted::Stored(_)));
    assert_eq!(
        answers[1..4],
        [
            Submitted::Known(task(1)),
            Submitted::Known(task(1)),
            Submitted::Conflict(task(1))
        ]
    );
    assert!(matches!(answers[4], Submitted::Stored(_)));
}

/// The answers stand in the order of the tasks, and one that is refused fails alone.
pub async fn one_bad_task_fails_alone(h: &dyn Harness) {
    let desk = Desk::at(h);
    let bad = new_task_with(2, |spec| spec.after = vec![task(77)]);
    let mut answers = desk
        .submit_request(submit_each([new_task(3), bad, new_task(1)]))
        .await;
    assert_eq!(stored(answers.remove(2)).id, task(1));
    assert_eq!(
        answers.remove(1),
        Submitted::Refused(SubmitRefusal::UnknownPrerequisite(task(77)))
    );
    assert_eq!(stored(answers.remove(0)).id, task(3));
    check_refusal(&desk, 2, "invalid_task").await;
}

/// A submit of all or nothing stores nothing when one task is refused; each refusal has a leaf.
pub async fn all_or_nothing_stores_nothing_when_one_is_refused(h: &dyn Harness) {
    let desk = Desk::at(h);
    let bad = new_task_with(2, |spec| spec.after = vec![task(77)]);
    let answers = desk
        .submit_request(submit_all([keyed(1, "k", "a"), bad, new_task(3)]))
        .await;
    let neighbour = Submitted::Refused(SubmitRefusal::NeighbourRefused);
    let unknown = Submitted::Refused(SubmitRefusal::UnknownPrerequisite(task(77)));
    assert_eq!(answers, [neighbour.clone(), unknown, neighbour]);
    for number in 1..=3 {
        assert_eq!(desk.find(TenantScope::All, task(number)).await, None);
        check_refusal(&desk, number, "invalid_task").await;
    }
    let tally = desk.stores().reader.tally(TENANT).await.expect("tally");
    assert_eq!(tally.open, 0);
    // the key was not taken either
    desk.submit(keyed(4, "k", "b")).await;
}

/// A submit of all or nothing takes tasks that are known for good ones.
pub async fn all_or_nothing_takes_repeats_for_good(h: &dyn Harness) {
    let desk = Desk::at(h);
    desk.submit(new_task(1)).await;
    let answers = desk.submit_request(submit_all([new_task(1), new_task(2)])).await;
    assert_eq!(answers[0], Submitted::Known(task(1)));
    assert!(matches!(answers[1], Submitted::Stored(_)));
    let conflict = desk
        .submit_request(submit_all([keyed(3, "k", "a"), new_task(1), keyed(4, "k", "b")]))
        .await;
    let neighbour = Submitted::Refused(SubmitRefusal::NeighbourRefused);
    assert_eq!(
        conflict,
        [neighbour, Submitted::Known(task(1)), Submitted::Conflict(task(3))]
    );
}

/// A prerequisite must exist in the tenant, also when the same request stores one of that id for another tenant.
pub async fn a_prerequisite_must_exist_in_the_tenant(h: &dyn Harness) {
    let desk = Desk::at(h);
    let foreign = |number| NewTask {
        tenant: tenant(2),
        ..new_task(number)
    };
    desk.submit(foreign(1)).await;
    let unknown = |number| Submitted::Refused(SubmitRefusal::UnknownPrerequisite(task(number)));
    let waiting = |number, prerequisite| new_task_with(number, |spec| spec.after = vec![task(prerequisite)]);
    let answers = desk
        .submit_request(submit_each([waiting(2, 1), foreign(3), waiting(4, 3)]))
        .await;
    assert_eq!((&answers[0], &answers[2]), (&unknown(1), &unknown(3)));
    assert!(matches!(answers[1], Submitted::Stored(_)));
}

/// A prerequisite may stand anywhere in the request; naming it twice counts once.
pub async fn a_prerequisite_may_stand_anywhere_in_the_request(h: &dyn Harness) {
    let desk = Desk::at(h);
    let waiting = |number| new_task_with(number, |spec| spec.after = vec![task(2), task(2)]);
    let tasks = desk.submit_many(vec![waiting(1), new_task(2), waiting(3)]).await;
    let waits = State::Queued {
        wait: Wait::Prerequisites(1),
    };
    assert_eq!([&tasks[0].state, &tasks[2].state], [&waits, &waits]);
    assert!(desk.get(task(2)).await.has_dependants);
    assert_eq!(
        desk.get(task(2)).await.version,
        Version(1),
        "being waited for is no transition"
    );
}

/// A cycle inside the request is refused, with those that wait for a task on it; others are stored.
pub async fn a_cycle_is_refused_with_those_that_wait_for_it(h: &dyn Harness) {
    let desk = Desk::at(h);
    let after = |number, other| new_task_with(number, |spec| spec.after = vec![task(other)]);
    let request = submit_each([
        after(1, 2),
        after(2, 3),
        after(3, 1),
        after(4, 1),
        after(5, 5),
        new_task(6),
    ]);
    let answers = desk.submit_request(request).await;
    let cycle = |number| Submitted::Refused(SubmitRefusal::Cycle(task(number)));
    assert_eq!(answers[..3], [cycle(1), cycle(2), cycle(3)]);
    assert_eq!(
        answers[3],
        Submitted::Refused(SubmitRefusal::UnknownPrerequisite(task(1)))
    );
    assert_eq!(answers[4], cycle(5));
    assert!(matches!(answers[5], Submitted::Stored(_)));
}

/// A new task's deadline must lie ahead by the store's clock; a repeat is known although it has passed meanwhile.
pub async fn a_deadline_must_lie_ahead_unless_the_task_is_known(h: &dyn Harness) {
    let desk = Desk::at(h);
    let deadline = desk.now().await.plus(Duration::from_secs(5));
    let timed = |number, key: &str| {
        let new = new_task_with(number, |spec| spec.constraints.deadline = Some(deadline));
        NewTask {
            idempotency: Some(idempotency(key, "content")),
            ..new
        }
    };
    desk.submit(timed(1, "k")).await;
    desk.advance(Duration::from_secs(5)).await;
    let behind = new_task_with(3, |spec| spec.after = vec![task(2)]);
    let answers = desk
        .submit_request(submit_each([
            timed(2, "other"),
            behind,
            timed(4, "k"),
            timed(1, "k"),
        ]))
        .await;
    assert_eq!(
        answers[0],
        Submitted::Refused(SubmitRefusal::DeadlinePassed(deadline))
    );
    assert_eq!(
        answers[1],
        Submitted::Refused(SubmitRefusal::UnknownPrerequisite(task(2)))
    );
    assert_eq!(
        answers[2..],
        [Submitted::Known(task(1)), Submitted::Known(task(1))]
    );
    check_refusal(&desk, 2, "invalid_task").await;
}

/// A tenant may have so many open tasks, the new one included; closed ones do not count.
pub async fn the_backlog_is_limited(h: &dyn Harness) {
    let desk = Desk::at(h);
    let limited = |number| NewTask {
        open_limit: Some(2),
        ..new_task(number)
    };
    let answers = desk
        .submit_request(submit_each([limited(1), limited(2), limited(3)]))
        .await;
    assert!(
        answers[..2]
            .iter()
            .all(|answer| matches!(answer, Submitted::Stored(_)))
    );
    let full = Submitted::Refused(SubmitRefusal::BacklogFull { open: 2, limit: 2 });
    assert_eq!(answers[2], full);
    check_refusal(&desk, 3, "backlog_full").await;
    assert_eq!(desk.submit_request(submit_each([limited(4)])).await, [full]);
    let other = NewTask {
        tenant: tenant(2),
        ..limited(5)
    };
    desk.submit(other).await;
    let why = "make room".to_owned();
    desk.done(desk.order(task(1), Command::Cancel { why })).await;
    desk.submit(limited(6)).await;
}

/// A task that waits for one which the limit refuses is refused as well, and leaves its room to others.
pub async fn a_task_behind_a_refused_one_is_refused(h: &dyn Harness) {
    let desk = Desk::at(h);
    let limited = |number, after: &[u64]| {
        let after = after.iter().map(|number| task(*number)).collect();
        NewTask {
            open_limit: Some(2),
            ..new_task_with(number, |spec| spec.after = after)
        }
    };
    let answers = desk
        .submit_request(submit_each([limited(1, &[3]), limited(2, &[]), limited(3, &[])]))
        .await;
    assert_eq!(
        answers[0],
        Submitted::Refused(SubmitRefusal::UnknownPrerequisite(task(3)))
    );
    assert!(matches!(answers[1], Submitted::Stored(_)));
    assert_eq!(
        answers[2],
        Submitted::Refused(SubmitRefusal::BacklogFull { open: 2, limit: 2 }),
        "a refusal stands, whatever room the refused make"
    );
}

/// Entries for outside are written with the task, and not with a refused or known one.
pub async fn a_refused_task_sends_nothing_outside(h: &dyn Harness) {
    let desk = Desk::at(h);
    let telling = |mut new: NewTask, number| {
        new.effects.outbox = vec![outbox_entry(number, "told")];
        new
    };
    let bad = new_task_with(2, |spec| spec.after = vec![task(77)]);
    desk.submit_request(submit_each([telling(new_task(1), 1), telling(bad, 2)]))
        .await;
    desk.submit_request(submit_each([telling(new_task(1), 3)])).await;
    let minute = std::time::Duration::from_secs(60);
    let entries = desk.stores().outbox.take("told", 10, minute).await.expect("take");
    let ids: Vec<_> = entries.iter().map(|entry| entry.id).collect();
    assert_eq!(ids, [outbox_entry(1, "told").id]);
}

/// A task of another tenant is never replaced, whatever the answer.
pub async fn a_task_of_another_tenant_is_never_replaced(h: &dyn Harness) {
    let desk = Desk::at(h);
    let first = desk.submit(new_task(1)).await;
    let foreign = NewTask {
        tenant: tenant(2),
        ..new_task(1)
    };
    let answer = desk.stores().tasks.submit(submit_each([foreign])).await;
    assert!(
        !matches!(
            answer.as_deref(),
            Ok([Submitted::Stored(_) | Submitted::Known(_)])
        ),
        "{answer:?}"
    );
    assert_eq!(desk.get(task(1)).await, first);
}

fn keyed(number: u64, key: &str, content: &str) -> NewTask {
    NewTask {
        idempotency: Some(idempotency(key, content)),
        ..new_task(number)
    }
}

/// The one leaf of a refused submission.
async fn check_refusal(desk: &Desk<'_>, number: u64, reason: &str) {
    let leaves = desk.leaves_of(task(number)).await;
    assert_eq!(leaves.len(), 1);
    let leaf = &leaves[0];
    assert_eq!(leaf.outcome.as_str(), "refused");
    assert_eq!(leaf.reason.as_ref().map(Word::as_str), Some(reason));
    assert_eq!(leaf.resource.as_ref().and_then(|resource| resource.version), None);
    assert_eq!((leaf.tenant, leaf.principal), (TENANT, Some(principal(1))));
    assert_eq!(acts(leaf), ["task.submit", "rejected"]);
}
