//! The contract of `Documents`.

use std::time::Duration;

use arbiter_core::model::{AuditAction, RecordDraft, TenantId, TenantScope, Timestamp};
use arbiter_core::ports::{
    Clearance, Cleared, Document, DocumentContent, DocumentError, DocumentKey, DocumentQuery, DocumentWrite,
    Effects, Precondition,
};
use futures_util::future::join_all;

use crate::builders::{json, outbox_entry, principal, tenant};
use crate::contract::desk::{TENANT, acts};
use crate::contract::{Desk, Harness, suite};

suite!($ documents_contract, documents, [
    a_document_is_read_as_it_was_written,
    revisions_rise_by_one_and_start_again_after_deletion,
    a_precondition_that_does_not_hold_fails_the_whole_call,
    preconditions_see_the_writes_before_them,
    an_expired_document_is_absent,
    documents_are_read_in_the_order_of_the_keys,
    what_a_tenant_may_not_see_is_absent_here_too,
    a_listing_goes_by_id_within_its_limit,
    a_listing_by_a_declared_value_finds_what_declares_it_now,
    a_write_leaves_a_record_and_what_goes_outside,
    of_two_writers_one_wins,
    clearing_deletes_what_a_tenant_has_but_what_is_kept,
]);

const KIND: &str = "api_key";

fn key(owner: u64, id: &str) -> DocumentKey {
    DocumentKey {
        kind: KIND,
        tenant: tenant(owner),
        id: id.to_owned(),
    }
}

fn content(text: &str) -> DocumentContent {
    DocumentContent {
        body: json(&format!("{{\"text\":\"{text}\"}}")),
        index: Vec::new(),
        expires_at: None,
    }
}

fn put(id: &str, precondition: Precondition, text: &str) -> DocumentWrite {
    DocumentWrite {
        key: key(1, id),
        precondition,
        content: Some(content(text)),
    }
}

fn delete(id: &str, precondition: Precondition) -> DocumentWrite {
    DocumentWrite {
        key: key(1, id),
        precondition,
        content: None,
    }
}

async fn write(desk: &Desk<'_>, writes: Vec<DocumentWrite>) -> Result<Vec<u64>, (DocumentKey, u64)> {
    match desk.stores().documents.write(writes, Effects::default()).await {
        Ok(revisions) => Ok(revisions),
        Err(DocumentError::Precondition { key, found }) => Err((key, found)),
        Err(other) => panic!("the store fails: {other:?}"),
    }
}

async fn get(desk: &Desk<'_>, key: DocumentKey) -> Option<Document> {
    desk.stores()
        .documents
        .get(TenantScope::All, &[key])
        .await
        .expect("get")
        .remove(0)
}

/// A document is read as it was written, with its declared values and expiry.
pub async fn a_document_is_read_as_it_was_written(h: &dyn Harness) {
    let desk = Desk::at(h);
    let written = DocumentContent {
        index: vec![("owner", "ann".to_owned()), ("state", "live".to_owned())],
        expires_at: Some(desk.now().await.plus(Duration::from_secs(9))),
        ..content("one")
    };
    let put = DocumentWrite {
        key: key(1, "a"),
        precondition: Precondition::Absent,
        content: Some(written.clone()),
    };
    assert_eq!(write(&desk, vec![put]).await, Ok(vec![1]));
    let expected = Document {
        key: key(1, "a"),
        revision: 1,
        body: written.body,
        index: written.index,
        expires_at: written.expires_at,
    };
    assert_eq!(get(&desk, key(1, "a")).await, Some(expected));
}

/// Revisions start at 1 and rise by one; a deleted document that is written again starts at 1.
pub async fn revisions_rise_by_one_and_start_again_after_deletion(h: &dyn Harness) {
    let desk = Desk::at(h);
    for revision in 1..=3 {
        assert_eq!(
            write(&desk, vec![put("a", Precondition::Any, "x")]).await,
            Ok(vec![revision])
        );
    }
    assert_eq!(
        write(&desk, vec![delete("a", Precondition::Any)]).await,
        Ok(vec![0])
    );
    assert_eq!(get(&desk, key(1, "a")).await, None);
    assert_eq!(
        write(&desk, vec![delete("a", Precondition::Any)]).await,
        Ok(vec![0]),
        "there is nothing to delete"
    );
    assert_eq!(
        write(&desk, vec![put("a", Precondition::Absent, "y")]).await,
        Ok(vec![1])
    );
}

/// A precondition that does not hold is named, and nothing of the call is written, not even a leaf.
pub async fn a_precondition_that_does_not_hold_fails_the_whole_call(h: &dyn Harness) {
    let desk = Desk::at(h);
    write(&desk, vec![put("a", Precondition::Any, "one")])
        .await
        .expect("written");
    let leaves = desk.leaves().await.len();
    let broken = [
        (put("a", Precondition::Absent, "two"), 1),
        (put("a", Precondition::Revision(2), "two"), 1),
        (put("b", Precondition::Revision(1), "two"), 0),
        (put("b", Precondition::Revision(0), "two"), 0),
        (delete("a", Precondition::Revision(9)), 1),
        (delete("b", Precondition::Revision(1)), 0),
    ];
    for (bad, found) in broken {
        let key = bad.key.clone();
        let mut effects = Effects::default();
        effects.outbox.push(outbox_entry(1, "documents"));
        let writes = vec![
            put("c", Precondition::Any, "three"),
            bad,
            put("d", Precondition::Any, "four"),
        ];
        let answer = desk.stores().documents.write(writes, effects).await;
        let told = matches!(&answer, Err(DocumentError::Precondition { key: of, found: is }) if *of == key && *is == found);
        assert!(told, "{answer:?}");
    }
    assert_eq!(
        get(&desk, key(1, "a")).await.map(|document| document.body),
        Some(content("one").body)
    );
    for absent in ["b", "c", "d"] {
        assert_eq!(get(&desk, key(1, absent)).await, None);
    }
    assert_eq!(desk.leaves().await.len(), leaves);
    let told = desk
        .stores()
        .outbox
        .take("documents", 9, Duration::from_secs(1))
        .await
        .expect("take");
    assert_eq!(told, []);
    assert_eq!(
        write(&desk, vec![put("a", Precondition::Revision(1), "two")]).await,
        Ok(vec![2])
    );
}

/// Writes of one call are done in order: a precondition sees the writes before it.
pub async fn preconditions_see_the_writes_before_them(h: &dyn Harness) {
    let desk = Desk::at(h);
    let writes = vec![
        put("a", Precondition::Absent, "one"),
        put("a", Precondition::Revision(1), "two"),
        delete("a", Precondition::Revision(2)),
        put("a", Precondition::Absent, "three"),
    ];
    assert_eq!(write(&desk, writes).await, Ok(vec![1, 2, 0, 1]));
    assert_eq!(
        get(&desk, key(1, "a")).await.map(|document| document.body),
        Some(content("three").body)
    );
}

/// An expired document is absent for reads, listings and preconditions from that moment on.
pub async fn an_expired_document_is_absent(h: &dyn Harness) {
    let desk = Desk::at(h);
    let end = desk.now().await.plus(Duration::from_secs(10));
    let expiring = || DocumentWrite {
        content: Some(DocumentContent {
            index: vec![("owner", "ann".to_owned())],
            expires_at: Some(end),
            ..content("one")
        }),
        ..put("a", Precondition::Absent, "")
    };
    write(&desk, vec![expiring()]).await.expect("written");
    write(&desk, vec![expiring()]).await.expect_err("it is there");
    desk.advance(
        Duration::from_secs(10)
            .checked_sub(Duration::from_micros(1))
            .expect("time"),
    )
    .await;
    assert!(get(&desk, key(1, "a")).await.is_some());
    desk.advance(Duration::from_micros(1)).await;
    assert_eq!(get(&desk, key(1, "a")).await, None);
    for index in [None, Some(("owner", "ann".to_owned()))] {
        assert_eq!(
            list(&desk, TenantScope::All, index, None, 10).await,
            Vec::<String>::new()
        );
    }
    let gone = write(&desk, vec![put("a", Precondition::Revision(1), "two")]).await;
    assert_eq!(gone, Err((key(1, "a"), 0)));
    assert_eq!(
        write(&desk, vec![put("a", Precondition::Absent, "two")]).await,
        Ok(vec![1])
    );
    assert_eq!(
        get(&desk, key(1, "a")).await.map(|document| document.expires_at),
        Some(None)
    );
}

/// Documents stand in the order of the keys asked for; absent ones are none.
pub async fn documents_are_read_in_the_order_of_the_keys(h: &dyn Harness) {
    let desk = Desk::at(h);
    write(
        &desk,
        vec![put("a", Precondition::Any, "1"), put("b", Precondition::Any, "2")],
    )
    .await
    .expect("written");
    let other_kind = DocumentKey {
        kind: "principal",
        ..key(1, "a")
    };
    let keys = [key(1, "b"), other_kind, key(1, "a"), key(2, "a")];
    let found = desk
        .stores()
        .documents
        .get(TenantScope::All, &keys)
        .await
        .expect("get");
    let ids: Vec<_> = found
        .into_iter()
        .map(|document| document.map(|document| document.key.id))
        .collect();
    assert_eq!(ids, [Some("b".to_owned()), None, Some("a".to_owned()), None]);
}

/// What a tenant may not see is absent.
pub async fn what_a_tenant_may_not_see_is_absent_here_too(h: &dyn Harness) {
    let desk = Desk::at(h);
    write(&desk, vec![put("a", Precondition::Any, "1")])
        .await
        .expect("written");
    let scope = |owner: TenantId| TenantScope::Tenant(owner);
    let documents = &desk.stores().documents;
    assert!(documents.get(scope(TENANT), &[key(1, "a")]).await.expect("get")[0].is_some());
    assert_eq!(
        documents
            .get(scope(tenant(2)), &[key(1, "a")])
            .await
            .expect("get"),
        [None]
    );
    assert_eq!(
        list(&desk, scope(tenant(2)), None, None, 10).await,
        Vec::<String>::new()
    );
}

async fn list(
    desk: &Desk<'_>,
    scope: TenantScope,
    index: Option<(&'static str, String)>,
    after: Option<(TenantId, String)>,
    limit: usize,
) -> Vec<String> {
    let query = DocumentQuery {
        kind: KIND,
        index,
        after,
        limit,
    };
    let found = desk.stores().documents.list(scope, query).await.expect("list");
    found.into_iter().map(|document| document.key.id).collect()
}

/// A listing goes by tenant and id, from a place on, within its limit.
pub async fn a_listing_goes_by_id_within_its_limit(h: &dyn Harness) {
    let desk = Desk::at(h);
    let foreign = DocumentWrite {
        key: key(2, "aa"),
        ..put("", Precondition::Any, "x")
    };
    let other_kind = DocumentWrite {
        key: DocumentKey {
            kind: "principal",
            ..key(1, "ab")
        },
        ..put("", Precondition::Any, "x")
    };
    let mut writes: Vec<_> = ["c", "a", "b", "d"]
        .map(|id| put(id, Precondition::Any, "x"))
        .to_vec();
    writes.extend([foreign, other_kind]);
    write(&desk, writes).await.expect("written");
    let own = TenantScope::Tenant(TENANT);
    assert_eq!(list(&desk, own, None, None, 10).await, ["a", "b", "c", "d"]);
    assert_eq!(list(&desk, own, None, None, 2).await, ["a", "b"]);
    assert_eq!(
        list(&desk, own, None, Some((TENANT, "b".to_owned())), 10).await,
        ["c", "d"]
    );
    assert_eq!(
        list(&desk, own, None, Some((TENANT, "bb".to_owned())), 1).await,
        ["c"]
    );
    assert_eq!(
        list(&desk, TenantScope::All, None, None, 10).await,
        ["a", "b", "c", "d", "aa"]
    );
    assert_eq!(
        list(&desk, TenantScope::All, None, Some((TENANT, "d".to_owned())), 10).await,
        ["aa"]
    );
}

/// A listing by a declared value finds what declares it now, not what once did.
pub async fn a_listing_by_a_declared_value_finds_what_declares_it_now(h: &dyn Harness) {
    let desk = Desk::at(h);
    let owned = |id: &str, owner: &str| DocumentWrite {
        content: Some(DocumentContent {
            index: vec![("owner", owner.to_owned()), ("sort", "x".to_owned())],
            ..content("x")
        }),
        ..put(id, Precondition::Any, "")
    };
    let foreign = DocumentWrite {
        key: key(2, "aa"),
        ..owned("", "ann")
    };
    write(
        &desk,
        vec![owned("c", "ann"), owned("a", "ann"), owned("b", "bob"), foreign],
    )
    .await
    .expect("written");
    let by = |owner: &str| Some(("owner", owner.to_owned()));
    let own = TenantScope::Tenant(TENANT);
    assert_eq!(list(&desk, own, by("ann"), None, 10).await, ["a", "c"]);
    assert_eq!(list(&desk, own, by("ann"), None, 1).await, ["a"]);
    assert_eq!(
        list(&desk, own, by("ann"), Some((TENANT, "a".to_owned())), 10).await,
        ["c"]
    );
    assert_eq!(
        list(&desk, TenantScope::All, by("ann"), None, 10).await,
        ["a", "c", "aa"]
    );
    assert_eq!(list(&desk, own, by("an"), None, 10).await, Vec::<String>::new());
    write(&desk, vec![owned("a", "bob"), delete("c", Precondition::Any)])
        .await
        .expect("written");
    assert_eq!(list(&desk, own, by("ann"), None, 10).await, Vec::<String>::new());
    assert_eq!(list(&desk, own, by("bob"), None, 10).await, ["a", "b"]);
    assert_eq!(
        list(&desk, own, Some(("sort", "x".to_owned())), None, 10).await,
        ["a", "b"]
    );
}

/// A write leaves a record with the caller's part and commits what goes outside.
pub async fn a_write_leaves_a_record_and_what_goes_outside(h: &dyn Harness) {
    let desk = Desk::at(h);
    let effects = Effects {
        record: RecordDraft {
            principal: Some(principal(3)),
            actions: vec![AuditAction::KeyCreated],
            ..RecordDraft::default()
        },
        outbox: vec![outbox_entry(1, "documents")],
    };
    let writes = vec![put("a", Precondition::Any, "1")];
    desk.stores()
        .documents
        .write(writes, effects)
        .await
        .expect("written");
    let leaves = desk.leaves().await;
    assert_eq!(leaves.len(), 1);
    assert_eq!(
        (leaves[0].principal, leaves[0].tenant),
        (Some(principal(3)), TENANT)
    );
    assert!(acts(&leaves[0]).contains(&"key_created"));
    let told = desk
        .stores()
        .outbox
        .take("documents", 9, Duration::from_secs(1))
        .await
        .expect("take");
    assert_eq!(told.len(), 1);
    let at: Timestamp = leaves[0].at;
    assert_eq!(at, desk.now().await);
}

/// Of writers that expect the same revision one wins.
pub async fn of_two_writers_one_wins(h: &dyn Harness) {
    let desk = Desk::at(h);
    write(&desk, vec![put("a", Precondition::Absent, "0")])
        .await
        .expect("written");
    let writers = (1..=6).map(|number| {
        let text = number.to_string();
        let desk = &desk;
        async move { write(desk, vec![put("a", Precondition::Revision(1), &text)]).await }
    });
    let answers = join_all(writers).await;
    assert_eq!(answers.iter().filter(|answer| **answer == Ok(vec![2])).count(), 1);
    assert_eq!(
        answers
            .iter()
            .filter(|answer| **answer == Err((key(1, "a"), 2)))
            .count(),
        5
    );
}

/// Documents of a tenant go whatever their kind, up to the limit, and one record counts them; kept kinds stay, and so do
/// other tenants'. What was declared of them is gone as well.
pub async fn clearing_deletes_what_a_tenant_has_but_what_is_kept(h: &dyn Harness) {
    let desk = Desk::at(h);
    let declared = |kind, owner, id: &str| DocumentWrite {
        key: DocumentKey {
            kind,
            ..key(owner, id)
        },
        precondition: Precondition::Absent,
        content: Some(DocumentContent {
            index: vec![("owner", "ann".to_owned())],
            ..content(id)
        }),
    };
    for (kind, owner, id) in [
        (KIND, 1, "a"),
        (KIND, 1, "b"),
        (KIND, 2, "a"),
        ("hook", 1, "c"),
        ("tenant", 1, "d"),
    ] {
        write(&desk, vec![declared(kind, owner, id)])
            .await
            .expect("written");
    }
    let clear = async |which, limit| {
        let clearance = Clearance {
            which,
            told: TENANT,
            limit,
            effects: Effects::of(RecordDraft {
                principal: Some(principal(3)),
                ..RecordDraft::default()
            }),
        };
        desk.stores().documents.clear(clearance).await.expect("clear")
    };
    let own = || Cleared::Tenant {
        tenant: TENANT,
        keep: vec!["tenant"],
    };
    assert_eq!(clear(own(), 2).await, 2);
    assert_eq!(clear(own(), 2).await, 1);
    assert_eq!(clear(own(), 2).await, 0);
    let mut left = Vec::new();
    for kind in [KIND, "hook", "tenant"] {
        for index in [None, Some(("owner", "ann".to_owned()))] {
            let query = DocumentQuery {
                kind,
                index,
                after: None,
                limit: 10,
            };
            let found = desk.stores().documents.list(TenantScope::All, query).await;
            left.push(
                found
                    .expect("list")
                    .into_iter()
                    .map(|found| found.key.id)
                    .collect::<String>(),
            );
        }
    }
    assert_eq!(left, ["a", "a", "", "", "d", "d"]);
    assert!(get(&desk, key(2, "a")).await.is_some());
    let leaves = desk.leaves().await;
    let told: Vec<_> = (leaves[5..].iter())
        .map(|leaf| (leaf.tenant, leaf.count, leaf.principal))
        .collect();
    let by = Some(principal(3));
    assert_eq!(told, [(TENANT, Some(2), by), (TENANT, Some(1), by)]);
    assert_eq!(acts(&leaves[5]), ["erased"]);
    let named = || Cleared::Keys(vec![key(2, "a"), key(1, "a"), key(2, "a")]);
    assert_eq!(clear(named(), 2).await, 1);
    assert_eq!(clear(named(), 2).await, 0);
    assert_eq!(get(&desk, key(2, "a")).await, None);
    let again = write(&desk, vec![declared(KIND, 1, "a")]).await;
    assert_eq!(again, Ok(vec![1]), "it can be made anew");
}
