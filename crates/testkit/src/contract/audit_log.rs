//! The contract of `AuditLog`.

use std::time::Duration;

use arbiter_audit::leaf::Leaf;
use arbiter_audit::word::Word;
use arbiter_core::model::{
    AuditAction, Operation, PrincipalId, Record, RecordDraft, RecordOutcome, Resource, TenantId, TenantScope,
    Timestamp,
};
use arbiter_core::ports::{AuditQuery, Seal, SealSubject, Sealed};

use crate::builders::{batch, json, principal, task, tenant};
use crate::contract::desk::{TENANT, acts};
use crate::contract::{Desk, Harness, suite};

suite!($ audit_log_contract, audit_log, [
    appended_records_are_read_in_order,
    an_appended_batch_is_taken_once,
    an_entry_keeps_its_index,
    a_search_gives_the_newest_first_page_by_page,
    a_search_can_be_narrowed,
    a_tenant_finds_its_own_entries_only,
    redacting_removes_the_detail_and_keeps_the_leaf,
    redacting_what_has_no_detail_gives_false,
    sealing_removes_the_details_that_the_rule_finds,
    a_seal_goes_on_where_it_stopped,
    a_seal_follows_the_tasks_that_somebody_submitted,
]);

fn record(at: Timestamp, owner: TenantId, by: PrincipalId, action: AuditAction) -> Record {
    Record {
        at,
        tenant: owner,
        principal: Some(by),
        operation: None,
        actions: vec![action],
        resource: Resource::new("key", by.to_string()),
        outcome: RecordOutcome::Done,
        reason: None,
        count: None,
        detail: None,
    }
}

/// Appends records and has them placed: only then does an entry have an index by which it is found and redacted.
async fn append(desk: &Desk<'_>, number: u64, records: Vec<Record>) {
    let stores = desk.stores();
    stores.log.append(batch(number), records).await.expect("append");
    stores.tree.sequence(usize::MAX).await.expect("sequence");
}

async fn failed_logins(desk: &Desk<'_>, numbers: impl IntoIterator<Item = u64>) {
    for number in numbers {
        let now = desk.now().await;
        let action = AuditAction::AuthenticationFailed;
        append(desk, number, vec![record(now, TENANT, principal(number), action)]).await;
        desk.advance(Duration::from_secs(1)).await;
    }
}

/// Records are read in the order of their appending, with everything that they say.
pub async fn appended_records_are_read_in_order(h: &dyn Harness) {
    let desk = Desk::at(h);
    let at = desk.now().await;
    let full = Record {
        operation: Some(Operation::TaskSubmit),
        actions: vec![AuditAction::Flagged, AuditAction::Rejected],
        outcome: RecordOutcome::Refused,
        reason: Some("rate_limited"),
        count: Some(7),
        detail: Some(json("{\"ip\":\"10.0.0.1\"}")),
        ..record(at, TENANT, principal(1), AuditAction::Flagged)
    };
    append(
        &desk,
        1,
        vec![full, record(at, tenant(2), principal(2), AuditAction::KeyCreated)],
    )
    .await;
    append(
        &desk,
        2,
        vec![record(at, TENANT, principal(3), AuditAction::KeyRevoked)],
    )
    .await;
    let leaves = desk.leaves().await;
    assert_eq!(acts(&leaves[0]), ["task.submit", "flagged", "rejected"]);
    assert_eq!(
        (leaves[0].outcome.as_str(), leaves[0].count, leaves[0].at),
        ("refused", Some(7), at)
    );
    assert_eq!(leaves[0].reason.as_ref().map(Word::as_str), Some("rate_limited"));
    assert_eq!(
        (acts(&leaves[1]), leaves[1].tenant),
        (vec!["key_created"], tenant(2))
    );
    assert_eq!(
        (acts(&leaves[2]), leaves[2].principal),
        (vec!["key_revoked"], Some(principal(3)))
    );
    assert_eq!(leaves.len(), 3);
    let entries = desk.entries().await;
    assert_eq!(
        entries[0].detail.as_ref().map(|detail| detail.body.as_str()),
        Some("{\"ip\":\"10.0.0.1\"}")
    );
    assert_eq!(
        entries.iter().map(|entry| entry.index).collect::<Vec<_>>(),
        [0, 1, 2]
    );
}

/// A batch that is sent again is taken once, whatever it says then.
pub async fn an_appended_batch_is_taken_once(h: &dyn Harness) {
    let desk = Desk::at(h);
    let at = desk.now().await;
    let one = |action| vec![record(at, TENANT, principal(1), action)];
    append(&desk, 1, one(AuditAction::KeyCreated)).await;
    append(&desk, 1, one(AuditAction::KeyCreated)).await;
    append(&desk, 1, one(AuditAction::KeyRevoked)).await;
    assert_eq!(desk.leaves().await.len(), 1);
    append(&desk, 2, one(AuditAction::KeyCreated)).await;
    append(&desk, 3, Vec::new()).await;
    assert_eq!(desk.leaves().await.len(), 2);
}

/// An entry keeps its index and its bytes, whatever comes after it; reading starts and stops where it is told.
pub async fn an_entry_keeps_its_index(h: &dyn Harness) {
    let desk = Desk::at(h);
    failed_logins(&desk, 1..=3).await;
    let before = desk.entries().await;
    failed_logins(&desk, 4..=6).await;
    desk.stores().tree.sequence(1).await.expect("sequence");
    let after = desk.entries().await;
    assert_eq!(before, after[..3]);
    let read = async |from, limit| desk.stores().log.read(from, limit).await.expect("read");
    assert_eq!(read(2, 3).await, after[2..5]);
    assert_eq!(read(5, 10).await, after[5..]);
    assert_eq!(read(6, 10).await, []);
    assert_eq!(read(0, 0).await, []);
}

async fn search(desk: &Desk<'_>, scope: TenantScope, query: AuditQuery) -> Vec<u64> {
    let mut found = Vec::new();
    let mut query = AuditQuery {
        limit: query.limit.max(1),
        ..query
    };
    for _ in 0..100 {
        let page = desk
            .stores()
            .log
            .search(scope, query.clone())
            .await
            .expect("search");
        assert!(page.entries.len() <= query.limit);
        found.extend(page.entries.iter().map(|entry| entry.index));
        match page.next {
            Some(next) => query.before = Some(next),
            None => return found,
        }
    }
    panic!("the search has no end");
}

/// A search gives the newest first, page by page, each entry once.
pub async fn a_search_gives_the_newest_first_page_by_page(h: &dyn Harness) {
    let desk = Desk::at(h);
    failed_logins(&desk, 1..=5).await;
    for limit in [1, 2, 5, 9] {
        let query = AuditQuery {
            limit,
            ..AuditQuery::default()
        };
        assert_eq!(search(&desk, TenantScope::All, query).await, [4, 3, 2, 1, 0]);
    }
    let before = AuditQuery {
        before: Some(2),
        limit: 9,
        ..AuditQuery::default()
    };
    assert_eq!(search(&desk, TenantScope::All, before).await, [1, 0]);
}

/// A search can be narrowed by time, principal, action, resource and outcome.
pub async fn a_search_can_be_narrowed(h: &dyn Harness) {
    let desk = Desk::at(h);
    let start = desk.now().await;
    failed_logins(&desk, 1..=4).await;
    let refused = Record {
        outcome: RecordOutcome::Refused,
        ..record(
            start.plus(Duration::from_secs(4)),
            TENANT,
            principal(2),
            AuditAction::Rejected,
        )
    };
    append(&desk, 9, vec![refused]).await;
    let at = |seconds| Some(start.plus(Duration::from_secs(seconds)));
    let query = AuditQuery {
        limit: 10,
        ..AuditQuery::default()
    };
    let cases = [
        (
            AuditQuery {
                from: at(1),
                to: at(3),
                ..query.clone()
            },
            vec![2, 1],
        ),
        (
            AuditQuery {
                principal: Some(principal(2)),
                ..query.clone()
            },
            vec![4, 1],
        ),
        (
            AuditQuery {
                action: Some("rejected".to_owned()),
                ..query.clone()
            },
            vec![4],
        ),
        (
            AuditQuery {
                resource: Some(principal(3).to_string()),
                ..query.clone()
            },
            vec![2],
        ),
        (
            AuditQuery {
                outcome: Some("refused".to_owned()),
                ..query.clone()
            },
            vec![4],
        ),
        (
            AuditQuery {
                outcome: Some("done".to_owned()),
                principal: Some(principal(2)),
                ..query.clone()
            },
            vec![1],
        ),
        (
            AuditQuery {
                action: Some("reject".to_owned()),
                ..query
            },
            vec![],
        ),
    ];
    for (query, expected) in cases {
        assert_eq!(
            search(&desk, TenantScope::All, query.clone()).await,
            expected,
            "{query:?}"
        );
    }
}

/// A tenant finds its own entries only.
pub async fn a_tenant_finds_its_own_entries_only(h: &dyn Harness) {
    let desk = Desk::at(h);
    let at = desk.now().await;
    let of = |owner| record(at, owner, principal(1), AuditAction::KeyCreated);
    append(&desk, 1, vec![of(TENANT), of(tenant(2)), of(TENANT)]).await;
    let query = AuditQuery {
        limit: 10,
        ..AuditQuery::default()
    };
    assert_eq!(
        search(&desk, TenantScope::Tenant(TENANT), query.clone()).await,
        [2, 0]
    );
    assert_eq!(search(&desk, TenantScope::Tenant(tenant(2)), query).await, [1]);
}

/// Redacting removes detail and salt, keeps the leaf and its hash, and leaves its own record in the same transaction.
pub async fn redacting_removes_the_detail_and_keeps_the_leaf(h: &dyn Harness) {
    let desk = Desk::at(h);
    let at = desk.now().await;
    let detailed = |number| Record {
        detail: Some(json("{\"name\":\"Ann\"}")),
        ..record(at, TENANT, principal(number), AuditAction::KeyCreated)
    };
    append(&desk, 1, vec![detailed(1), detailed(2)]).await;
    let before = desk.entries().await;
    let draft = RecordDraft {
        principal: Some(principal(9)),
        ..RecordDraft::default()
    };
    assert!(desk.stores().log.redact(0, TENANT, draft).await.expect("redact"));
    let after = desk.entries().await;
    assert_eq!((&after[0].leaf, &after[0].detail), (&before[0].leaf, &None));
    assert_eq!(after[1], before[1]);
    assert_eq!(after.len(), 3);
    let record = Leaf::decode(&after[2].leaf).expect("a leaf");
    assert_eq!((record.principal, record.tenant), (Some(principal(9)), TENANT));
    assert!(acts(&record).contains(&"redacted"));
    super::audit_tree::check_proofs(&desk).await;
}

/// An entry without a detail, of another tenant, or that does not exist gives false, and no record.
pub async fn redacting_what_has_no_detail_gives_false(h: &dyn Harness) {
    let desk = Desk::at(h);
    let at = desk.now().await;
    let plain = record(at, TENANT, principal(1), AuditAction::KeyCreated);
    let foreign = Record {
        detail: Some(json("{}")),
        ..record(at, tenant(2), principal(1), AuditAction::KeyCreated)
    };
    append(&desk, 1, vec![plain, foreign]).await;
    for index in [0, 1, 2] {
        let redacted = desk
            .stores()
            .log
            .redact(index, TENANT, RecordDraft::default())
            .await;
        assert!(!redacted.expect("redact"), "{index}");
    }
    let again = async || {
        desk.stores()
            .log
            .redact(1, tenant(2), RecordDraft::default())
            .await
            .expect("redact")
    };
    assert!(again().await);
    assert!(!again().await, "it is redacted already");
    assert_eq!(desk.leaves().await.len(), 3);
}

async fn detailed(desk: &Desk<'_>, number: u64, owner: TenantId, by: PrincipalId) {
    let now = desk.now().await;
    let records = vec![Record {
        detail: Some(json(&format!("{{\"number\":{number}}}"))),
        ..record(now, owner, by, AuditAction::KeyCreated)
    }];
    append(desk, number, records).await;
    desk.advance(Duration::from_secs(1)).await;
}

async fn seal(desk: &Desk<'_>, rule: Seal) -> Sealed {
    let draft = RecordDraft::by(principal(9), Operation::AuditRedact);
    desk.stores().log.seal(rule, draft).await.expect("seal")
}

async fn with_details(desk: &Desk<'_>) -> Vec<u64> {
    let entries = desk.entries().await;
    let kept = entries.iter().filter(|entry| entry.detail.is_some());
    kept.map(|entry| entry.index).collect()
}

/// Tenant, time and subject narrow what a seal removes. Leaves stay as they are, and one record counts what went.
pub async fn sealing_removes_the_details_that_the_rule_finds(h: &dyn Harness) {
    let desk = Desk::at(h);
    for (number, owner, by) in [(1, 1, 1), (2, 2, 1), (3, 1, 2), (4, 1, 1)] {
        detailed(&desk, number, tenant(owner), principal(by)).await;
    }
    let whole = Seal {
        scope: TenantScope::Tenant(tenant(1)),
        before: None,
        about: None,
        submitted_by: None,
        told: tenant(1),
        from: 0,
        limit: 100,
    };
    let leaves = desk.leaves().await;
    let third = Seal {
        before: Some(leaves[3].at),
        about: Some(vec![SealSubject::Principal(principal(2))]),
        ..whole.clone()
    };
    let done = |removed| Sealed {
        removed,
        ..Sealed::default()
    };
    assert_eq!(seal(&desk, third.clone()).await, done(1));
    assert_eq!(with_details(&desk).await, [0, 1, 3]);
    assert_eq!(seal(&desk, third).await, done(0), "a repeat finds nothing more");
    let old = Seal {
        before: Some(leaves[3].at),
        ..whole.clone()
    };
    assert_eq!(seal(&desk, old).await, done(1));
    assert_eq!(
        with_details(&desk).await,
        [1, 3],
        "the last one is too young, one is another tenant's"
    );
    assert_eq!(seal(&desk, whole).await, done(1));
    assert_eq!(with_details(&desk).await, [1]);
    let all = Seal {
        scope: TenantScope::All,
        before: None,
        about: None,
        submitted_by: None,
        told: TenantId::SYSTEM,
        from: 0,
        limit: 100,
    };
    assert_eq!(seal(&desk, all).await, done(1));
    assert_eq!(with_details(&desk).await, [0; 0]);
    let after = desk.leaves().await;
    assert_eq!(leaves, after[..4], "leaves stay as they are");
    let told: Vec<_> = (after[4..].iter())
        .map(|leaf| (leaf.tenant, leaf.count, leaf.principal))
        .collect();
    let by = Some(principal(9));
    let own = (tenant(1), Some(1), by);
    assert_eq!(told, [own, own, own, (TenantId::SYSTEM, Some(1), by)]);
    assert_eq!(acts(&after[4]), ["audit.redact", "redacted"]);
    let resource = after[4].resource.as_ref().expect("a resource");
    assert_eq!(
        (resource.kind.as_str(), &resource.id),
        ("tenant", &tenant(1).to_string())
    );
}

/// A call looks at so many entries and says where the next one goes on, until the end of the log.
pub async fn a_seal_goes_on_where_it_stopped(h: &dyn Harness) {
    let desk = Desk::at(h);
    for number in 1..=5 {
        detailed(&desk, number, tenant(1), principal(1)).await;
    }
    let mut rule = Seal {
        scope: TenantScope::All,
        before: Some(desk.now().await),
        about: None,
        submitted_by: None,
        told: TenantId::SYSTEM,
        from: 0,
        limit: 2,
    };
    let (mut calls, mut removed) = (0, 0);
    loop {
        let sealed = seal(&desk, rule.clone()).await;
        (calls, removed) = (calls + 1, removed + sealed.removed);
        match sealed.next {
            Some(next) => {
                assert!(next > rule.from, "it goes on");
                rule.from = next;
            }
            None => break,
        }
    }
    assert_eq!(removed, 5);
    assert!(calls >= 3, "{calls} calls of two entries each");
    assert_eq!(with_details(&desk).await, [0; 0]);
}

/// What a principal submitted is known from the log itself, also when the task is purged; its tasks are told.
pub async fn a_seal_follows_the_tasks_that_somebody_submitted(h: &dyn Harness) {
    let desk = Desk::at(h);
    let now = desk.now().await;
    let submitted = |number: u64, who| Record {
        resource: Resource::new("task", task(number).to_string()),
        ..record(now, TENANT, principal(who), AuditAction::Submitted)
    };
    append(&desk, 7, vec![submitted(1, 1), submitted(2, 2)]).await;
    let about = |number: u64| Record {
        resource: Resource::new("task", task(number).to_string()),
        detail: Some(json("{\"why\":\"x\"}")),
        ..record(now, TENANT, principal(9), AuditAction::Cancelled)
    };
    append(&desk, 1, vec![about(1), about(2)]).await;
    let rule = Seal {
        scope: TenantScope::Tenant(TENANT),
        before: None,
        about: Some(vec![SealSubject::Principal(principal(1))]),
        submitted_by: Some(principal(1)),
        told: TENANT,
        from: 0,
        limit: 100,
    };
    let sealed = seal(&desk, rule).await;
    assert_eq!((sealed.removed, sealed.submitted), (1, vec![task(1)]));
    assert_eq!(
        with_details(&desk).await,
        [3],
        "what is about another's task stays"
    );
}
