//! What the audit log keeps of tasks.

use std::sync::Arc;
use std::time::Duration;

use arbiter_audit::detail::Detail;
use arbiter_core::lifecycle::{Command, RetryPlan};
use arbiter_core::model::{AgentId, AuditAction, Decision, Operation, RecordDraft, Stage, StageOutcome};
use arbiter_core::ports::{Choice, Effects, Transition};

use crate::builders::{agent, decision, json, new_task, new_task_with, principal, submit_each, task};
use crate::choosers::Fixed;
use crate::contract::desk::{TENANT, acts, cancel_command, fail_with, is_about, report_command};
use crate::contract::{Desk, Harness, suite};

suite!($ task_leaves_contract, task_leaves, [
    every_version_has_one_leaf,
    a_leaf_says_who_did_what_through_which_operation,
    a_leaf_carries_every_action_of_its_transition,
    a_detail_is_salted_and_stands_beside_the_leaf,
    an_assignment_keeps_its_decision,
    leaves_stand_in_the_order_of_the_changes,
    what_tasks_leave_stands_in_the_tree,
]);

/// Versions 1 to the last have one leaf each, over a whole life with retry, review and requeue.
pub async fn every_version_has_one_leaf(h: &dyn Harness) {
    let desk = Desk::at(h);
    let new = new_task_with(1, |spec| {
        spec.constraints.max_attempts = 2;
        spec.review.rubric = Some("clarity".to_owned());
    });
    let queued = desk.submit(new).await;
    let work = desk.start(&queued).await;
    let at_once = RetryPlan::Retry {
        after: Some(Duration::ZERO),
    };
    desk.done(desk.by(work, fail_with(at_once))).await;
    let work = desk.start(&queued).await;
    let reported = desk.done(desk.by(work, report_command())).await;
    let reasons = vec!["unclear".to_owned()];
    let dead = desk.verdict(&reported, StageOutcome::Failed { reasons }).await;
    desk.done(desk.order(dead.id, Command::Requeue { why: String::new() }))
        .await;
    let work = desk.start(&queued).await;
    desk.advance(h.rules().lease).await;
    desk.due_all().await;
    desk.refused(desk.by(work, report_command())).await;
    let work = desk.start(&queued).await;
    let reported = desk.done(desk.by(work, report_command())).await;
    let ended = desk.verdict(&reported, StageOutcome::Passed).await;
    assert_eq!(ended.state, arbiter_core::model::State::Succeeded);
    assert!(matches!(ended.terms.stages.as_slice(), [Stage::Judge]));
    desk.check_versions(task(1)).await;
}

/// A leaf says who did what through which operation, in which tenant, at the store's time.
pub async fn a_leaf_says_who_did_what_through_which_operation(h: &dyn Harness) {
    let desk = Desk::at(h);
    desk.submit(new_task(1)).await;
    desk.advance(Duration::from_secs(3)).await;
    let order = Transition {
        effects: Effects::of(RecordDraft::by(principal(7), Operation::TaskCancel)),
        ..desk.order(task(1), cancel_command())
    };
    desk.done(order).await;
    let leaves = desk.leaves_of(task(1)).await;
    let leaf = &leaves[1];
    assert_eq!(
        (leaf.principal, leaf.tenant, leaf.at),
        (Some(principal(7)), TENANT, desk.now().await)
    );
    assert_eq!(acts(leaf), ["task.cancel", "cancelled"]);
    assert_eq!((leaf.outcome.as_str(), &leaf.reason), ("done", &None));
    let resource = leaf.resource.as_ref().expect("a resource");
    assert_eq!((resource.kind.as_str(), resource.version), ("task", Some(2)));
}

/// A leaf carries every action of its transition, the caller's own first.
pub async fn a_leaf_carries_every_action_of_its_transition(h: &dyn Harness) {
    let desk = Desk::at(h);
    let mut new = new_task(1);
    new.effects.record.actions = vec![AuditAction::Sanitized];
    let work = desk.running(new).await;
    desk.done(desk.by(work, report_command())).await;
    let leaves = desk.leaves_of(task(1)).await;
    assert_eq!(acts(&leaves[0]), ["task.submit", "sanitized", "submitted"]);
    assert!(is_about(
        &leaves[1],
        &[AuditAction::Assigned, AuditAction::Acknowledged]
    ));
    assert!(is_about(
        &leaves[2],
        &[AuditAction::Reported, AuditAction::Closed]
    ));
}

/// A detail stands beside its leaf with a fresh salt; the leaf has only their digest.
pub async fn a_detail_is_salted_and_stands_beside_the_leaf(h: &dyn Harness) {
    let desk = Desk::at(h);
    let body = json("{\"note\":\"in confidence\"}");
    let detailed = |number| {
        let mut new = new_task(number);
        new.effects.record.detail = Some(body.clone());
        new
    };
    desk.submit_request(submit_each([detailed(1), detailed(2), new_task(3)]))
        .await;
    let entries = desk.entries().await;
    let leaves = desk.leaves().await;
    let mut salts = Vec::new();
    for place in [0, 1] {
        let kept = entries[place].detail.as_ref().expect("a detail");
        assert_eq!(kept.body, body);
        let detail = Detail {
            salt: kept.salt,
            body: body.as_str().as_bytes().to_vec(),
        };
        assert_eq!(leaves[place].detail, Some(detail.digest()));
        let text = String::from_utf8(entries[place].leaf.clone()).expect("text");
        assert!(!text.contains("confidence"));
        salts.push(kept.salt);
    }
    assert_ne!(salts[0], salts[1]);
    assert_eq!((&entries[2].detail, leaves[2].detail), (&None, None));
}

/// An assignment keeps the decision that chose the agent as the detail of its leaf.
pub async fn an_assignment_keeps_its_decision(h: &dyn Harness) {
    let desk = Desk::at(h);
    let queued = desk.submit(new_task(1)).await;
    let made = Arc::new(decided(agent(3)));
    let choice = Choice {
        to: arbiter_core::model::Holder::Agent(agent(3)),
        acknowledged: true,
        loads: Vec::new(),
        decision: Some(Arc::clone(&made)),
    };
    desk.claim(queued.lane, 1, Fixed([(queued.id, choice)].into()))
        .await;
    let open = desk.get(queued.id).await.attempt.expect("an open attempt");
    assert_eq!(
        (open.decision, &*open.rationale),
        (made.id, made.rationale.as_str())
    );
    let entries = desk.entries().await;
    assert_eq!(
        entries[1].detail.as_ref().map(|detail| &detail.body),
        Some(&made.to_json())
    );
}

fn decided(agent: AgentId) -> Decision {
    Decision {
        id: decision(1),
        task: task(1),
        agent,
        strategy: "best",
        policy_version: 1,
        score: 0.5,
        parts: Vec::new(),
        candidates: 1,
        alternatives: Vec::new(),
        propensity: 1.0,
        explore: false,
        seed: None,
        rationale: "the only one".to_owned(),
    }
}

/// The leaves of a call stand in the order of its changes, after those of the calls before.
pub async fn leaves_stand_in_the_order_of_the_changes(h: &dyn Harness) {
    let desk = Desk::at(h);
    let unknown = new_task_with(3, |spec| spec.after = vec![task(77)]);
    desk.submit_request(submit_each([new_task(4), unknown, new_task(2)]))
        .await;
    desk.apply_all(vec![
        desk.order(task(2), cancel_command()),
        desk.order(task(9), cancel_command()),
        desk.order(task(4), cancel_command()),
    ])
    .await;
    let leaves = desk.leaves().await;
    let about = leaves
        .iter()
        .map(|leaf| leaf.resource.as_ref().map(|resource| resource.id.clone()));
    let about: Vec<_> = about.map(Option::unwrap_or_default).collect();
    assert_eq!(about, [4, 3, 2, 2, 9, 4].map(|number| task(number).to_string()));
}

/// The leaves of tasks stand in the tree in the order in which they are read.
pub async fn what_tasks_leave_stands_in_the_tree(h: &dyn Harness) {
    let desk = Desk::at(h);
    desk.submit_many(vec![new_task(1), new_task(2)]).await;
    desk.done(desk.order(task(1), cancel_command())).await;
    super::audit_tree::check_root(&desk).await;
    super::audit_tree::check_proofs(&desk).await;
}
