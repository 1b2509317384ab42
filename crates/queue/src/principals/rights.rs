//! Nobody hands out more than it may give.

use std::collections::BTreeSet;

use arbiter_core::model::{Principal, Role, TenantId};

/// Whether `by` may make a principal what `given` is, or make keys for it: whoever holds its key can do what it may do.
///
/// Policies say who may make principals at all; this says what those may become. An admin gives everything, an operator
/// everything but admin and peer, whoever else is permitted only what it has itself.
pub(crate) fn covers(by: &Principal, given: &Principal) -> bool {
    if by.roles.contains(&Role::Admin) {
        return true;
    }
    let kinds = by.kinds.as_ref().is_none_or(|own| {
        given
            .kinds
            .as_ref()
            .is_some_and(|kinds| kinds.iter().all(|kind| own.contains(kind)))
    });
    by.tenant == given.tenant
        && given.roles.is_subset(&may_give(by))
        && given.highest_band <= by.highest_band
        && kinds
}

fn may_give(by: &Principal) -> BTreeSet<Role> {
    if by.roles.contains(&Role::Operator) {
        let all = Role::ALL.iter().copied();
        all.filter(|role| !matches!(role, Role::Admin | Role::Peer))
            .collect()
    } else {
        by.roles.clone()
    }
}

/// What is wrong with giving these roles to a principal of this tenant: one that permits nothing there looks like one that
/// does.
///
/// # Errors
/// The problem, for the field that names the roles.
pub fn roles_count_in(tenant: TenantId, roles: &BTreeSet<Role>) -> Result<(), &'static str> {
    if roles.contains(&Role::Peer) && tenant != TenantId::SYSTEM {
        return Err(
            "must not name `peer` here: it counts in the system's own tenant only, 00000000-0000-0000-0000-000000000000",
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use arbiter_core::model::{Band, TaskKind};
    use arbiter_testkit::builders::{tenant, user};

    use super::*;

    #[test]
    fn each_role_gives_what_the_table_says() {
        for by in Role::ALL {
            for given in Role::ALL {
                let expected = match by {
                    Role::Admin => true,
                    Role::Operator => !matches!(given, Role::Admin | Role::Peer),
                    own => own == given,
                };
                assert_eq!(
                    covers(&user(1, [*by]), &user(2, [*given])),
                    expected,
                    "{by:?} {given:?}"
                );
            }
        }
    }

    #[test]
    fn tenant_band_and_kinds_limit_all_but_admins() {
        let kinds = |words: &[&str]| -> Option<BTreeSet<TaskKind>> {
            Some(
                words
                    .iter()
                    .map(|word| TaskKind::new(word).expect("kind"))
                    .collect(),
            )
        };
        let of = |role, band, kinds| Principal {
            highest_band: Band::new(band).expect("band"),
            kinds,
            ..user(1, [role])
        };
        let by = of(Role::Operator, 1, kinds(&["analysis", "writing"]));
        let cases = [
            (of(Role::Submitter, 1, kinds(&["analysis"])), true),
            (of(Role::Submitter, 2, kinds(&["analysis"])), false),
            (of(Role::Submitter, 1, kinds(&["analysis", "testing"])), false),
            (of(Role::Submitter, 1, None), false),
            (
                Principal {
                    tenant: tenant(2),
                    ..of(Role::Submitter, 1, kinds(&["analysis"]))
                },
                false,
            ),
        ];
        for (given, expected) in cases {
            assert_eq!(covers(&by, &given), expected, "{given:?}");
            assert!(covers(&user(3, [Role::Admin]), &given));
        }
    }
}
