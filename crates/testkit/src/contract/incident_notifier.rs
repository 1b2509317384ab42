//! The contract of `IncidentNotifier`.

use std::time::Duration;

use arbiter_core::ports::{MAX_ANSWER_BYTES, NoticeStep, NotifyError};

use crate::builders::notice;
use crate::contract::{NotifierHarness, TargetMood, suite, whole};

suite!($ incident_notifier_contract, incident_notifier, [
    every_step_reaches_the_target_by_one_try,
    what_the_target_refuses_is_an_error_with_its_words,
    what_a_busy_target_did_not_take_may_be_tried_again,
    a_silent_target_ends_the_call_by_itself,
    a_target_that_works_again_takes_the_same_notice,
    long_texts_are_cut_and_not_refused,
]);

/// Each step is taken, with one try each; steps of one incident carry its key where the target knows keys.
pub async fn every_step_reaches_the_target_by_one_try(h: &NotifierHarness) {
    let mut reference = None;
    for (number, step) in NoticeStep::ALL.iter().enumerate() {
        let mut step = notice(1, *step);
        step.reference.clone_from(&reference);
        let taken = h.notifier.notify(&step).await.expect("taken");
        reference = reference.or(taken.reference);
        let told = h.target.told().await;
        assert_eq!(told.len(), number + 1, "{step:?} is one try");
        let last = told.last().expect("told");
        if h.target.knows_keys() {
            assert!(last.0.contains(&step.key), "{last:?}");
        }
        assert!(
            last.0.contains("store"),
            "the component, or the title, is told: {last:?}"
        );
    }
}

/// A refusal is an error that is not worth a repeat, holds what the target said, cut, and no secret.
pub async fn what_the_target_refuses_is_an_error_with_its_words(h: &NotifierHarness) {
    h.target.set(TargetMood::Refuses).await;
    let error = h
        .notifier
        .notify(&notice(1, NoticeStep::Open))
        .await
        .expect_err("refused");
    let NotifyError::Refused { message, .. } = &error else {
        panic!("refused for good, not {error:?}");
    };
    assert!(message.contains("CONTRACT-REFUSAL"), "{message}");
    assert!(message.len() <= MAX_ANSWER_BYTES + 3, "{} bytes", message.len());
    assert_eq!(h.target.told().await.len(), 1, "one call is one try");
    holds_no_secret(h, &error);
}

/// A busy target is tried again later, by whoever called.
pub async fn what_a_busy_target_did_not_take_may_be_tried_again(h: &NotifierHarness) {
    let wait = Duration::from_secs(7);
    h.target.set(TargetMood::Busy(wait)).await;
    let error = h
        .notifier
        .notify(&notice(1, NoticeStep::Open))
        .await
        .expect_err("busy");
    let NotifyError::Later { after, .. } = &error else {
        panic!("to be tried again, not {error:?}");
    };
    if h.target.asks_for_time() {
        assert_eq!(*after, Some(wait));
    }
    assert_eq!(h.target.told().await.len(), 1, "one call is one try");
    holds_no_secret(h, &error);
}

/// A target that answers nothing does not hold the call for ever.
pub async fn a_silent_target_ends_the_call_by_itself(h: &NotifierHarness) {
    h.target.set(TargetMood::Silent).await;
    let error = h
        .notifier
        .notify(&notice(1, NoticeStep::Open))
        .await
        .expect_err("silent");
    assert!(error.is_transient(), "{error:?}");
    holds_no_secret(h, &error);
}

/// What was not taken is taken under the same id once the target works again.
pub async fn a_target_that_works_again_takes_the_same_notice(h: &NotifierHarness) {
    h.target.set(TargetMood::Busy(Duration::ZERO)).await;
    let open = notice(1, NoticeStep::Open);
    h.notifier.notify(&open).await.expect_err("busy");
    h.target.set(TargetMood::Takes).await;
    h.notifier.notify(&open).await.expect("taken");
    assert_eq!(h.target.told().await.len(), 2);
}

/// Texts of any length and content reach the target, cut to what it takes.
pub async fn long_texts_are_cut_and_not_refused(h: &NotifierHarness) {
    let mut open = notice(1, NoticeStep::Open);
    open.incident.title = format!("store {}", "ü<&>*_`\"\\\r\n.\u{0}".repeat(5_000));
    open.why = "because ".repeat(5_000);
    open.key = "k".repeat(255);
    open.incident.details = (0..300)
        .map(|number| (format!("name {number}"), "\u{1F525}\r\n.\r\n".repeat(2_000)))
        .collect();
    open.incident.links = (0..100)
        .map(|number| {
            (
                format!("link {number}"),
                format!("https://arbiter.example/{number}"),
            )
        })
        .collect();
    h.notifier.notify(&open).await.expect("taken");
    let told = h.target.told().await;
    assert_eq!(told.len(), 1);
}

fn holds_no_secret(h: &NotifierHarness, error: &NotifyError) {
    let text = whole(error);
    for secret in &h.secrets {
        assert!(!text.contains(secret.as_str()), "`{secret}` is in {text}");
    }
}
