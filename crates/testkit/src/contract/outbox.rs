//! The contract of `Outbox`.

use std::collections::BTreeSet;
use std::time::Duration;

use arbiter_core::model::OutboxId;
use arbiter_core::ports::{
    DocumentContent, DocumentKey, DocumentWrite, Effects, NewOutboxEntry, OutboxEntry, Precondition,
};
use futures_util::future::join_all;

use crate::builders::{json, outbox, outbox_entry, task, tenant};
use crate::contract::{Desk, Harness, suite};

suite!($ outbox_contract, outbox, [
    entries_are_offered_by_due_time_then_id,
    a_topic_offers_its_own_entries_only,
    an_entry_that_was_not_settled_is_offered_again_after_its_lease,
    a_delivered_entry_is_gone,
    an_entry_can_be_put_off,
    a_quarantined_entry_is_never_offered_again,
    takers_at_the_same_time_get_different_entries,
    entries_about_what_is_erased_are_removed,
]);

const LEASE: Duration = Duration::from_secs(30);

/// Commits entries with a document.
async fn tell(desk: &Desk<'_>, topic: &str, numbers: &[u64]) {
    let entries = numbers.iter().map(|number| outbox_entry(*number, topic));
    tell_of(desk, topic, entries.collect()).await;
}

async fn tell_of(desk: &Desk<'_>, topic: &str, outbox: Vec<NewOutboxEntry>) {
    let effects = Effects {
        outbox,
        ..Effects::default()
    };
    let write = DocumentWrite {
        key: DocumentKey {
            kind: "told",
            tenant: tenant(1),
            id: topic.to_owned(),
        },
        precondition: Precondition::Any,
        content: Some(DocumentContent {
            body: json("{}"),
            index: Vec::new(),
            expires_at: None,
        }),
    };
    let documents = &desk.stores().documents;
    documents.write(vec![write], effects).await.expect("write");
}

async fn take(desk: &Desk<'_>, topic: &str, limit: usize) -> Vec<OutboxEntry> {
    desk.stores()
        .outbox
        .take(topic, limit, LEASE)
        .await
        .expect("take")
}

fn ids(entries: &[OutboxEntry]) -> Vec<OutboxId> {
    entries.iter().map(|entry| entry.id).collect()
}

/// Entries are offered by the time at which they are due, then by id, up to the limit.
pub async fn entries_are_offered_by_due_time_then_id(h: &dyn Harness) {
    let desk = Desk::at(h);
    tell(&desk, "mail", &[3, 2]).await;
    desk.advance(Duration::from_secs(1)).await;
    tell(&desk, "mail", &[1]).await;
    let first = take(&desk, "mail", 2).await;
    assert_eq!(ids(&first), [outbox(2), outbox(3)]);
    let expected = OutboxEntry {
        id: outbox(2),
        topic: "mail".to_owned(),
        tries: 0,
        body: outbox_entry(2, "mail").body,
    };
    assert_eq!(first[0], expected);
    assert_eq!(ids(&take(&desk, "mail", 9).await), [outbox(1)]);
    assert_eq!(take(&desk, "mail", 9).await, []);
}

/// A topic offers its own entries only, whatever its name begins with.
pub async fn a_topic_offers_its_own_entries_only(h: &dyn Harness) {
    let desk = Desk::at(h);
    tell(&desk, "mail", &[1]).await;
    tell(&desk, "mailing", &[2]).await;
    assert_eq!(ids(&take(&desk, "mailing", 9).await), [outbox(2)]);
    assert_eq!(take(&desk, "mai", 9).await, []);
    assert_eq!(ids(&take(&desk, "mail", 9).await), [outbox(1)]);
}

/// An entry that was taken and not settled is offered again after its lease, and not before.
pub async fn an_entry_that_was_not_settled_is_offered_again_after_its_lease(h: &dyn Harness) {
    let desk = Desk::at(h);
    tell(&desk, "mail", &[1]).await;
    assert_eq!(take(&desk, "mail", 9).await.len(), 1);
    desk.advance(LEASE.checked_sub(Duration::from_micros(1)).expect("time"))
        .await;
    assert_eq!(take(&desk, "mail", 9).await, []);
    desk.advance(Duration::from_micros(1)).await;
    assert_eq!(ids(&take(&desk, "mail", 9).await), [outbox(1)]);
}

/// A delivered entry is gone; unknown ids are ignored.
pub async fn a_delivered_entry_is_gone(h: &dyn Harness) {
    let desk = Desk::at(h);
    tell(&desk, "mail", &[1, 2]).await;
    take(&desk, "mail", 9).await;
    desk.stores()
        .outbox
        .done(&[outbox(1), outbox(77), outbox(1)])
        .await
        .expect("done");
    desk.advance(LEASE).await;
    assert_eq!(ids(&take(&desk, "mail", 9).await), [outbox(2)]);
}

/// An entry that is put off is offered from then on, and counts one more try.
pub async fn an_entry_can_be_put_off(h: &dyn Harness) {
    let desk = Desk::at(h);
    tell(&desk, "mail", &[1]).await;
    for tries in 0..3 {
        let taken = take(&desk, "mail", 9).await;
        assert_eq!((taken.len(), taken[0].tries), (1, tries));
        let at = desk.now().await.plus(Duration::from_secs(60));
        desk.stores().outbox.later(outbox(1), at).await.expect("later");
        desk.advance(LEASE).await;
        assert_eq!(take(&desk, "mail", 9).await, []);
        desk.advance(LEASE).await;
    }
    let now = desk.now().await;
    desk.stores()
        .outbox
        .later(outbox(77), now)
        .await
        .expect("an unknown id is ignored");
}

/// A quarantined entry is never offered again, also when somebody puts it off.
pub async fn a_quarantined_entry_is_never_offered_again(h: &dyn Harness) {
    let desk = Desk::at(h);
    tell(&desk, "mail", &[1, 2]).await;
    take(&desk, "mail", 1).await;
    desk.stores()
        .outbox
        .quarantine(outbox(1), "refused by the receiver")
        .await
        .expect("quarantine");
    desk.stores()
        .outbox
        .quarantine(outbox(77), "unknown")
        .await
        .expect("an unknown id is ignored");
    let now = desk.now().await;
    desk.stores().outbox.later(outbox(1), now).await.expect("later");
    desk.advance(LEASE * 100).await;
    assert_eq!(ids(&take(&desk, "mail", 9).await), [outbox(2)]);
}

/// Takers at the same time get different entries, and together all of them.
pub async fn takers_at_the_same_time_get_different_entries(h: &dyn Harness) {
    let desk = Desk::at(h);
    let numbers: Vec<u64> = (1..=10).collect();
    tell(&desk, "mail", &numbers).await;
    let taken: Vec<_> = join_all((0..6).map(|_| take(&desk, "mail", 2)))
        .await
        .into_iter()
        .flatten()
        .collect();
    let distinct: BTreeSet<_> = ids(&taken).into_iter().collect();
    assert_eq!((taken.len(), distinct.len()), (10, 10));
}

/// Entries about tasks of a tenant, or about the tenant, are removed whatever became of them; others stay.
pub async fn entries_about_what_is_erased_are_removed(h: &dyn Harness) {
    let desk = Desk::at(h);
    tell(&desk, "mail", &[1, 2, 3, 4]).await;
    let mut foreign = outbox_entry(5, "mail");
    foreign.about = Some((tenant(2), Some(task(1))));
    let mut nobodys = outbox_entry(6, "mail");
    nobodys.about = None;
    tell_of(&desk, "mail", vec![foreign, nobodys]).await;
    let outbox_port = &desk.stores().outbox;
    assert_eq!(take(&desk, "mail", 1).await.len(), 1, "the first one is leased");
    outbox_port
        .quarantine(outbox(2), "bad")
        .await
        .expect("quarantine");
    let clear = async |tasks: Option<&[_]>| outbox_port.clear(tenant(1), tasks).await.expect("clear");
    assert_eq!(clear(Some(&[task(1), task(2), task(9)])).await, 2);
    assert_eq!(clear(Some(&[])).await, 0);
    assert_eq!(ids(&take(&desk, "mail", 9).await), [3, 4, 5, 6].map(outbox));
    assert_eq!(clear(None).await, 2);
    desk.advance(LEASE * 2).await;
    assert_eq!(ids(&take(&desk, "mail", 9).await), [5, 6].map(outbox));
}
