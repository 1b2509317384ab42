//! The contract of `Authorizer`, with the default policies of `docs/authorization.md` or policies that permit no more.

use std::sync::Arc;

use arbiter_core::model::{Band, Operation, Principal, Role, Target};
use arbiter_core::ports::{Authorizer, Verdict};

use crate::builders::{task, tenant, user};
use crate::contract::suite;

suite!($ authorizer_contract, authorizer, [
    without_a_role_everything_is_denied,
    no_role_but_admin_reaches_into_another_tenant,
    what_concerns_every_tenant_is_for_admins,
    nobody_submits_above_its_band,
    the_same_question_has_the_same_answer,
]);

fn allowed(authorizer: &Arc<dyn Authorizer>, by: &Principal, operation: Operation, target: &Target) -> bool {
    authorizer.authorize(by, operation, target).expect("a decision") == Verdict::Allowed
}

fn targets(by: &Principal, number: u64) -> [Target; 3] {
    let whole = Target::of(tenant(number));
    let own = Target {
        task: Some(task(1)),
        submitter: Some(by.id),
        ..whole.clone()
    };
    let held = Target {
        agent: by.agent,
        holder: by.agent,
        ..own.clone()
    };
    [whole, own, held]
}

/// Without a role everything is denied, also what one submitted oneself.
pub async fn without_a_role_everything_is_denied(authorizer: &Arc<dyn Authorizer>) {
    let nobody = user(1, []);
    for operation in Operation::ALL {
        for target in targets(&nobody, 1) {
            assert!(
                !allowed(authorizer, &nobody, *operation, &target),
                "{operation:?}"
            );
        }
        assert!(!allowed(authorizer, &nobody, *operation, &Target::default()));
    }
}

/// No role but admin reaches into another tenant.
pub async fn no_role_but_admin_reaches_into_another_tenant(authorizer: &Arc<dyn Authorizer>) {
    for role in Role::ALL.iter().filter(|role| **role != Role::Admin) {
        let by = user(1, [*role]);
        for operation in Operation::ALL {
            for target in targets(&by, 2) {
                assert!(
                    !allowed(authorizer, &by, *operation, &target),
                    "{role:?} {operation:?}"
                );
            }
        }
    }
}

/// What concerns every tenant is for admins.
pub async fn what_concerns_every_tenant_is_for_admins(authorizer: &Arc<dyn Authorizer>) {
    for role in Role::ALL {
        let by = user(1, [*role]);
        let allowed = allowed(authorizer, &by, Operation::AuditExport, &Target::default());
        assert_eq!(allowed, *role == Role::Admin, "{role:?}");
    }
}

/// Nobody submits above its band.
pub async fn nobody_submits_above_its_band(authorizer: &Arc<dyn Authorizer>) {
    for highest in Band::DESCENDING {
        for role in [Role::Submitter, Role::Operator, Role::Admin] {
            let by = Principal {
                highest_band: highest,
                ..user(1, [role])
            };
            for band in Band::DESCENDING {
                let target = Target {
                    submitter: Some(by.id),
                    band: Some(band),
                    ..Target::of(by.tenant)
                };
                let allowed = allowed(authorizer, &by, Operation::TaskSubmit, &target);
                assert_eq!(allowed, band <= highest, "{role:?} {highest} {band}");
            }
        }
    }
}

/// The same question has the same answer.
pub async fn the_same_question_has_the_same_answer(authorizer: &Arc<dyn Authorizer>) {
    for role in Role::ALL {
        let by = user(1, [*role]);
        for operation in Operation::ALL {
            let [target, ..] = targets(&by, 1);
            let first = allowed(authorizer, &by, *operation, &target);
            assert_eq!(allowed(authorizer, &by, *operation, &target), first);
        }
    }
}
