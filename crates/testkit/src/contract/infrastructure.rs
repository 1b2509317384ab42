//! The contract of `InfrastructureController`.

use std::time::Duration;

use arbiter_core::ports::{
    ComponentHealth, InfrastructureError, OperationRequest, OperationState, OperationStatus, Verb, VerbName,
};

use crate::builders::{component, operation};
use crate::contract::{InfrastructureHarness, suite};

suite!($ infrastructure_contract, infrastructure, [
    every_declared_verb_ends_in_its_effect,
    a_repeat_of_an_operation_begins_nothing,
    an_id_is_not_used_for_something_else,
    a_verb_that_is_not_declared_is_unsupported,
    an_unknown_component_is_an_error,
    an_unknown_operation_is_none,
    what_has_ended_stays_as_it_is,
]);

fn request(h: &InfrastructureHarness, number: u64, verb: Verb) -> OperationRequest {
    OperationRequest {
        id: operation(number),
        component: h.component.clone(),
        verb,
    }
}

/// Begins an operation and waits until it has ended.
async fn ended(h: &InfrastructureHarness, request: &OperationRequest) -> OperationStatus {
    let mut status = h.controller.start(request.clone()).await.expect("begun");
    for _ in 0..3_000 {
        if status.state != OperationState::Running {
            return status;
        }
        let until = h.clock.monotonic() + Duration::from_millis(10);
        h.clock.sleep_until(until).await;
        status = h
            .controller
            .status(request.id)
            .await
            .expect("status")
            .expect("it is known");
    }
    panic!("it does not end: {status:?}");
}

/// Each verb is declared and succeeds, and the component is acted on; it is healthy, or isolated, afterwards.
pub async fn every_declared_verb_ends_in_its_effect(h: &InfrastructureHarness) {
    for (number, verb) in (1..).zip(&h.verbs) {
        assert!(h.controller.verbs().contains(&verb.name()), "{verb:?}");
        let before = h.scene.effects().await;
        let status = ended(h, &request(h, number, *verb)).await;
        assert_eq!(status.state, OperationState::Succeeded, "{status:?}");
        assert_eq!((status.verb, &status.component), (*verb, &h.component));
        assert!(status.ended_at.is_some() && status.why.is_none(), "{status:?}");
        assert!(!status.steps.is_empty() && status.steps.len() <= 64);
        assert!(h.scene.effects().await > before, "{verb:?} has an effect");
        let health = h.controller.health(&h.component).await.expect("health");
        if *verb == Verb::Isolate {
            assert_eq!(health, ComponentHealth::Isolated);
        } else {
            assert!(
                matches!(health, ComponentHealth::Healthy { .. }),
                "{verb:?}: {health:?}"
            );
        }
    }
}

/// The same request again gives how it stands, and acts on nothing.
pub async fn a_repeat_of_an_operation_begins_nothing(h: &InfrastructureHarness) {
    let request = request(h, 1, h.verbs[0]);
    let first = ended(h, &request).await;
    let effects = h.scene.effects().await;
    let again = h.controller.start(request).await.expect("known");
    assert_eq!(again, first);
    assert_eq!(h.scene.effects().await, effects);
}

/// An id names one operation for good.
pub async fn an_id_is_not_used_for_something_else(h: &InfrastructureHarness) {
    ended(h, &request(h, 1, h.verbs[0])).await;
    let effects = h.scene.effects().await;
    let mut other = request(h, 1, h.verbs[0]);
    other.verb = match other.verb {
        Verb::RestartForced => Verb::RestartGraceful,
        _ => Verb::RestartForced,
    };
    let error = h.controller.start(other).await.expect_err("taken");
    let is_conflict =
        matches!(error, InfrastructureError::Conflict { under_way } if under_way == operation(1));
    let is_unsupported = matches!(error, InfrastructureError::Unsupported { .. });
    assert!(is_conflict || is_unsupported, "{error:?}");
    assert_eq!(h.scene.effects().await, effects);
}

/// What a controller does not declare it refuses by name.
pub async fn a_verb_that_is_not_declared_is_unsupported(h: &InfrastructureHarness) {
    let every = [
        Verb::RestartGraceful,
        Verb::RestartForced,
        Verb::SwitchOver,
        Verb::Scale { to: 2 },
        Verb::Isolate,
        Verb::Reinstate,
    ];
    assert_eq!(every.len(), VerbName::ALL.len());
    let effects = h.scene.effects().await;
    let declared = h.controller.verbs();
    for (number, verb) in (1..).zip(every) {
        if !declared.contains(&verb.name()) {
            let error = h.controller.start(request(h, number, verb)).await;
            let error = error.expect_err("unsupported");
            assert!(
                matches!(&error, InfrastructureError::Unsupported { verb: named, .. } if *named == verb.name()),
                "{error:?}"
            );
        }
    }
    assert_eq!(h.scene.effects().await, effects);
}

/// A component that it does not know is named in the error.
pub async fn an_unknown_component_is_an_error(h: &InfrastructureHarness) {
    let unknown = component("no/such-component");
    let request = OperationRequest {
        id: operation(1),
        component: unknown.clone(),
        verb: h.verbs[0],
    };
    let error = h.controller.start(request).await.expect_err("unknown");
    assert!(
        matches!(&error, InfrastructureError::UnknownComponent(name) if *name == unknown),
        "{error:?}"
    );
    let error = h.controller.health(&unknown).await.expect_err("unknown");
    assert!(
        matches!(error, InfrastructureError::UnknownComponent(_)),
        "{error:?}"
    );
}

/// An operation that was never begun is none, for reading and for cancelling.
pub async fn an_unknown_operation_is_none(h: &InfrastructureHarness) {
    assert_eq!(h.controller.status(operation(9)).await.expect("status"), None);
    assert_eq!(h.controller.cancel(operation(9)).await.expect("cancel"), None);
}

/// To cancel what has ended changes nothing.
pub async fn what_has_ended_stays_as_it_is(h: &InfrastructureHarness) {
    let first = ended(h, &request(h, 1, h.verbs[0])).await;
    let cancelled = h.controller.cancel(operation(1)).await.expect("cancel");
    assert_eq!(cancelled.as_ref(), Some(&first));
    let status = h.controller.status(operation(1)).await.expect("status");
    assert_eq!(status, Some(first));
}
