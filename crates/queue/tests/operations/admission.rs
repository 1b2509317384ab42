//! Who may submit what: rights, bands, security levels, stages and admission rules.

use std::sync::Arc;

use arbiter_core::model::{Priority, Role, SecurityLevel, Stage};
use arbiter_core::services::{Admission, AdmissionError, AdmissionRule};
use arbiter_queue::QueueError;
use arbiter_testkit::builders::user;
use arbiter_testkit::mocks::MockReviewStage;
use async_trait::async_trait;

use crate::world::{World, code, codes, submission, submission_with, submitter};

#[tokio::test]
async fn nobody_submits_above_its_highest_band() {
    let world = World::new();
    let mut modest = submitter();
    modest.highest_band = Priority::NORMAL.band();
    let at =
        |priority: u8| submission_with(|spec| spec.priority = Priority::new(priority).expect("priority"));
    for (priority, expected) in [
        (0, "accepted"),
        (74, "accepted"),
        (75, "forbidden"),
        (100, "forbidden"),
    ] {
        let answer = world.queue.submit(&modest, at(priority)).await;
        assert_eq!(code(&answer), expected, "priority {priority}");
    }
    let from = world.mark().await;
    let mixed = world
        .queue
        .submit_many(&modest, vec![at(0), at(75), at(0)], false)
        .await;
    assert!(
        matches!(mixed, Err(QueueError::Forbidden)),
        "one band that is too high refuses the call"
    );
    assert_eq!(
        world.told(from).await,
        ["task.submit+authorization_failed refused forbidden"]
    );
    assert_eq!(world.count().await, 2);
}

#[tokio::test]
async fn who_may_not_submit_is_refused_and_audited() {
    let world = World::new();
    for role in [Role::Agent, Role::Reviewer, Role::Auditor] {
        let from = world.mark().await;
        let refused = world.queue.submit(&user(9, [role]), submission()).await;
        assert!(matches!(refused, Err(QueueError::Forbidden)), "{role:?}");
        assert_eq!(
            world.told(from).await,
            ["task.submit+authorization_failed refused forbidden"]
        );
    }
    assert_eq!(world.count().await, 0);
}

#[tokio::test]
async fn every_security_level_of_a_call_is_authorised() {
    let world = World::new();
    world.policy.forbid_restricted();
    let restricted = submission_with(|spec| {
        spec.security = SecurityLevel::Restricted;
        spec.priority = Priority::LOW;
    });
    let urgent = submission_with(|spec| spec.priority = Priority::CRITICAL);
    let call = vec![submission(), restricted, urgent];
    let refused = world.queue.submit_many(&submitter(), call, false).await;
    assert!(matches!(refused, Err(QueueError::Forbidden)));
    assert_eq!(world.count().await, 0);
    world.task().await;
}

fn stage(of: Stage, accepts: bool) -> Arc<MockReviewStage> {
    let mut stage = MockReviewStage::new();
    stage.expect_stage().return_const(of);
    stage.expect_accepts().return_const(accepts);
    Arc::new(stage)
}

#[tokio::test]
async fn a_task_that_asks_for_a_stage_that_is_not_installed_is_refused() {
    let judged = || submission_with(|spec| spec.review.rubric = Some("clarity".to_owned()));
    let cases = [
        (Vec::new(), "invalid_task"),
        (vec![stage(Stage::Verify, true)], "invalid_task"),
        (vec![stage(Stage::Judge, false)], "invalid_task"),
        (vec![stage(Stage::Judge, true)], "accepted"),
    ];
    for (number, (stages, expected)) in cases.into_iter().enumerate() {
        let world = World::with(|plan| {
            plan.stages = stages.into_iter().map(|stage| stage as _).collect();
        });
        let answer = world.queue.submit(&submitter(), judged()).await;
        assert_eq!(code(&answer), expected, "case {number}");
    }
}

struct Rule(fn(&str) -> Result<Admission, AdmissionError>);

#[async_trait]
impl AdmissionRule for Rule {
    async fn admit(
        &self,
        _: arbiter_core::model::TenantId,
        spec: &arbiter_core::model::TaskSpec,
    ) -> Result<Admission, AdmissionError> {
        (self.0)(&spec.title)
    }
}

#[tokio::test]
async fn admission_rules_refuse_change_or_fail_a_submission() {
    let world = World::with(|plan| {
        plan.rules = vec![Arc::new(Rule(|title| match title {
            "deny" => Ok(Admission::Deny {
                reason: "is not wanted".to_owned(),
            }),
            "change" => Ok(Admission::Modify(Box::new(
                submission_with(|spec| spec.title = "changed".to_owned()).spec,
            ))),
            "break" => Err(AdmissionError("on purpose".into())),
            _ => Ok(Admission::Allow),
        }))];
    });
    let titles = ["deny", "change", "break", "other"];
    let submissions = titles.map(|title| submission_with(|spec| spec.title = title.to_owned()));
    let answers = world
        .queue
        .submit_many(&submitter(), submissions.to_vec(), false)
        .await
        .expect("answers");
    assert_eq!(
        codes(&answers),
        ["invalid_task", "accepted", "internal", "accepted"]
    );
    assert!(
        answers[0]
            .as_ref()
            .is_err_and(|error| error.to_string() == "`rule` is not wanted")
    );
    let changed = answers[1].as_ref().expect("accepted").task;
    assert_eq!(world.stored(changed).await.spec.title, "changed");
    assert_eq!(world.count().await, 2);
}
