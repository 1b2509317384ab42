//! The default policies against the published table, operators' policies, the cache.

use std::collections::BTreeSet;

use arbiter_core::model::{
    AgentId, Band, Operation, Principal, PrincipalId, PrincipalKind, Role, SecurityLevel, Target, TenantId,
};
use arbiter_core::ports::{Authorizer as _, PolicyEngine as _, PolicyFile, PolicyProblems, Verdict};

use crate::CedarAuthorizer;

const TABLE: &str = include_str!("../../../../docs/authorization.md");

/// The cell of an operation and a role in the published table.
fn cell(operation: Operation, role: Role) -> &'static str {
    let row = TABLE
        .lines()
        .find(|line| line.starts_with(&format!("| {} |", operation.word())))
        .expect("row");
    let header = TABLE
        .lines()
        .find(|line| line.starts_with("| operation |"))
        .expect("header");
    let column = header
        .split('|')
        .position(|name| name.trim() == role.word())
        .expect("column");
    row.split('|').nth(column).expect("cell").trim()
}

fn principal(number: u8, roles: &[Role]) -> Principal {
    Principal {
        id: PrincipalId::from_bytes([number; 16]),
        tenant: TenantId::from_bytes([1; 16]),
        kind: PrincipalKind::User,
        roles: roles.iter().copied().collect(),
        agent: Some(AgentId::from_bytes([number; 16])),
        kinds: None,
        highest_band: Band::HIGHEST,
    }
}

fn target(tenant: u8, owner: u8) -> Target {
    Target {
        tenant: Some(TenantId::from_bytes([tenant; 16])),
        submitter: Some(PrincipalId::from_bytes([owner; 16])),
        agent: Some(AgentId::from_bytes([owner; 16])),
        holder: Some(AgentId::from_bytes([owner; 16])),
        band: Some(Band::HIGHEST),
        security: Some(SecurityLevel::Internal),
        ..Target::default()
    }
}

/// What the table says, worked out without Cedar.
fn expected(who: &Principal, operation: Operation, what: &Target) -> Verdict {
    let same_tenant = what.tenant == Some(who.tenant);
    let agents = [Operation::AgentRegister, Operation::AgentHeartbeat];
    let own = if operation.word().starts_with("work.") || agents.contains(&operation) {
        what.agent.is_some() && what.agent == who.agent && (what.holder.is_none() || what.holder == who.agent)
    } else {
        what.submitter == Some(who.id)
    };
    // A shared agent hands in what it holds, whose tenant's that may be; it is not offered a tenant's work by name.
    let shared = who.is_shared()
        && what.tenant.is_some()
        && what.holder.is_some()
        && operation.word().starts_with("work.")
        && operation != Operation::WorkClaim;
    let permitted = who.roles.iter().any(|role| match cell(operation, *role) {
        "own" => own && (same_tenant || (*role == Role::Agent && shared)),
        "tenant" => same_tenant,
        "all" => true,
        "system" => who.is_shared(),
        "" => false,
        other => panic!("`{other}` is no cell"),
    });
    let too_high =
        operation == Operation::TaskSubmit && what.band.is_some_and(|band| band > who.highest_band);
    if permitted && !too_high {
        Verdict::Allowed
    } else {
        Verdict::Denied
    }
}

#[test]
fn every_cell_of_the_published_table_is_what_the_policies_say() {
    let authorizer = CedarAuthorizer::new(&[]).expect("policies");
    for role in Role::ALL {
        for operation in Operation::ALL {
            for (tenant, owner) in [(1, 7), (1, 8), (2, 7), (2, 8)] {
                let (who, what) = (principal(7, &[*role]), target(tenant, owner));
                let decided = authorizer.decide(&who, *operation, &what).expect("decided");
                assert_eq!(
                    decided,
                    expected(&who, *operation, &what),
                    "{role:?} {operation:?} {tenant} {owner}"
                );
            }
        }
    }
}

#[test]
fn nobody_is_allowed_anything_without_a_role_or_a_tenant() {
    let authorizer = CedarAuthorizer::new(&[]).expect("policies");
    for operation in Operation::ALL {
        assert_eq!(
            authorizer
                .authorize(&principal(7, &[]), *operation, &target(1, 7))
                .ok(),
            Some(Verdict::Denied)
        );
        for role in Role::ALL.iter().filter(|role| **role != Role::Admin) {
            let decided = authorizer.authorize(&principal(7, &[*role]), *operation, &Target::default());
            assert_eq!(decided.ok(), Some(Verdict::Denied));
        }
    }
}

/// SplitMix64 (Steele, Lea, Flood 2014), so that the requests are the same in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)) % bound
    }

    fn maybe<T>(&mut self, make: impl FnOnce(&mut Self) -> T) -> Option<T> {
        (self.below(4) > 0).then(|| make(self))
    }
}

#[test]
fn ten_thousand_random_requests_are_decided_alike_by_cache_policies_and_table() {
    let authorizer = CedarAuthorizer::new(&[]).expect("policies");
    let mut random = Random(1);
    let mut allowed = 0;
    for _ in 0..10_000 {
        let roles: BTreeSet<Role> = Role::ALL
            .iter()
            .filter(|_| random.below(3) == 0)
            .copied()
            .collect();
        let who = Principal {
            kind: PrincipalKind::ALL[random.below(3) as usize],
            agent: random.maybe(|random| AgentId::from_bytes([random.below(2) as u8; 16])),
            highest_band: Band::new(random.below(4) as u8).expect("band"),
            roles,
            tenant: TenantId::from_bytes([u8::from(random.below(4) > 0); 16]),
            ..principal(random.below(2) as u8, &[])
        };
        let what = Target {
            tenant: random.maybe(|random| TenantId::from_bytes([random.below(2) as u8; 16])),
            task: None,
            submitter: random.maybe(|random| PrincipalId::from_bytes([random.below(2) as u8; 16])),
            agent: random.maybe(|random| AgentId::from_bytes([random.below(2) as u8; 16])),
            holder: random.maybe(|random| AgentId::from_bytes([random.below(2) as u8; 16])),
            band: random.maybe(|random| Band::new(random.below(4) as u8).expect("band")),
            security: random.maybe(|_| SecurityLevel::Restricted),
        };
        let operation = Operation::ALL[random.below(Operation::ALL.len() as u64) as usize];
        let expected = expected(&who, operation, &what);
        assert_eq!(
            authorizer.decide(&who, operation, &what).ok(),
            Some(expected),
            "{who:?} {operation:?} {what:?}"
        );
        assert_eq!(
            authorizer.authorize(&who, operation, &what).ok(),
            Some(expected),
            "cached"
        );
        assert_eq!(
            authorizer.authorize(&who, operation, &what).ok(),
            Some(expected),
            "cached again"
        );
        allowed += u32::from(expected == Verdict::Allowed);
    }
    assert!(
        (2_000..8_000).contains(&allowed),
        "both answers are common: {allowed}"
    );
}

fn file(text: &str) -> Vec<PolicyFile> {
    vec![PolicyFile {
        name: "extra.cedar".to_owned(),
        text: text.to_owned(),
    }]
}

/// Where the problems are.
fn places(refused: &PolicyProblems) -> Vec<(&str, Option<usize>)> {
    let problems = refused.0.iter();
    problems
        .map(|problem| (problem.file.as_str(), problem.line))
        .collect()
}

const FORBID: &str = "forbid(principal, action == Arbiter::Action::\"task.cancel\", resource);";

#[test]
fn operators_policies_are_validated_and_replaced_whole() {
    let authorizer = CedarAuthorizer::new(&[]).expect("policies");
    let (who, what) = (principal(7, &[Role::Operator]), target(1, 8));
    let decide = || {
        authorizer
            .authorize(&who, Operation::TaskCancel, &what)
            .expect("decided")
    };
    assert_eq!(decide(), Verdict::Allowed);
    let broken = file("permit(principal, action, resource);\n\nforbid(principal action, resource);");
    let refused = authorizer.replace(&broken).expect_err("no Cedar");
    assert_eq!(places(&refused), [("extra.cedar", Some(3))]);
    assert_eq!(authorizer.check(&broken), Err(refused));
    let unknown = file("\n\npermit(principal, action, resource)\nwhen { principal.colour == \"red\" };");
    let refused = authorizer.replace(&unknown).expect_err("no such attribute");
    assert_eq!(places(&refused), [("extra.cedar", Some(4))]);
    assert!(refused.to_string().contains("colour"), "{refused}");
    assert_eq!((decide(), authorizer.version()), (Verdict::Allowed, 1));
    assert_eq!(authorizer.replace(&file(FORBID)).expect("valid"), 2);
    assert_eq!(
        decide(),
        Verdict::Denied,
        "a decision of the old set is not remembered"
    );
    assert_eq!(authorizer.replace(&broken).is_err(), decide() == Verdict::Denied);
    authorizer.replace(&[]).expect("valid");
    assert_eq!((decide(), authorizer.version()), (Verdict::Allowed, 3));
}

#[test]
fn files_of_the_configuration_stay_whatever_is_put_into_force() {
    let configured = ("configured.cedar".to_owned(), FORBID.to_owned());
    let authorizer = CedarAuthorizer::new(&[configured]).expect("policies");
    let (who, what) = (principal(7, &[Role::Operator]), target(1, 8));
    let decide = |operation| authorizer.authorize(&who, operation, &what).expect("decided");
    let retry = "forbid(principal, action == Arbiter::Action::\"task.retry\", resource);";
    for files in [file(retry), Vec::new()] {
        authorizer.replace(&files).expect("valid");
        assert_eq!(decide(Operation::TaskCancel), Verdict::Denied);
        let retried = decide(Operation::TaskRetry) == Verdict::Allowed;
        assert_eq!(retried, files.is_empty());
    }
    let same_name = vec![PolicyFile {
        name: "configured.cedar".to_owned(),
        text: retry.to_owned(),
    }];
    let refused = authorizer
        .check(&same_name)
        .expect_err("it would take the place of another");
    assert_eq!(places(&refused), [("configured.cedar", None)]);
}

#[test]
fn a_check_names_policies_in_order_and_a_trial_decides_without_any_change() {
    let authorizer = CedarAuthorizer::new(&[]).expect("policies");
    let many: String = (0..12).map(|_| FORBID).collect();
    let named = authorizer
        .check(&file(&format!("@id(\"no-cancel\") {FORBID} // why\n{many}")))
        .expect("valid");
    let ids: Vec<&str> = named.iter().map(|policy| policy.id.as_str()).collect();
    assert_eq!(
        (ids[0], ids[1], ids[12]),
        ("extra.cedar#no-cancel", "extra.cedar#2", "extra.cedar#13")
    );
    let spaced = FORBID.replace(' ', "\n  ");
    let spaced = authorizer.check(&file(&spaced)).expect("valid");
    assert_eq!(spaced[0].text, named[1].text, "white space makes no difference");
    let (who, what) = (principal(7, &[Role::Operator]), target(1, 8));
    let tried = |files: &[PolicyFile]| authorizer.trial(files, &who, Operation::TaskCancel, &what);
    assert_eq!(tried(&file(FORBID)), Ok(Verdict::Denied));
    assert_eq!(tried(&[]), Ok(Verdict::Allowed));
    assert!(tried(&file("forbid(")).is_err());
    let now = authorizer.authorize(&who, Operation::TaskCancel, &what);
    assert_eq!((now.ok(), authorizer.version()), (Some(Verdict::Allowed), 1));
}

#[test]
fn decisions_while_policies_change_are_made_by_one_set_each() {
    let authorizer = CedarAuthorizer::new(&[]).expect("policies");
    let (who, what) = (principal(7, &[Role::Operator]), target(1, 8));
    std::thread::scope(|scope| {
        let changes = scope.spawn(|| {
            for round in 0..20 {
                let files = if round % 2 == 0 { file(FORBID) } else { Vec::new() };
                let version = authorizer.replace(&files).expect("valid");
                // A call that starts now is decided by the new set.
                let decided = authorizer.authorize(&who, Operation::TaskCancel, &what);
                let expected = if round % 2 == 0 {
                    Verdict::Denied
                } else {
                    Verdict::Allowed
                };
                assert_eq!((decided.ok(), version), (Some(expected), round + 2));
            }
        });
        while !changes.is_finished() {
            let decided = authorizer.authorize(&who, Operation::TaskRetry, &what);
            assert_eq!(decided.ok(), Some(Verdict::Allowed), "neither set forbids it");
        }
    });
}
