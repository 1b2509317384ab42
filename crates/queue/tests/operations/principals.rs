//! Principals: nobody makes one that may do more than it may give itself, and a disabled one is refused at once.

use std::collections::BTreeSet;
use std::sync::Arc;

use arbiter_core::mechanism::SecretText;
use arbiter_core::model::{Band, Principal, PrincipalKind, RecordDraft, Role, TaskKind, TenantId};
use arbiter_core::ports::{Clock as _, Credential};
use arbiter_queue::{Directory, KnownPrincipal, NewPrincipal, PrincipalChange, PrincipalRecord, RecordError};
use arbiter_testkit::builders::{agent, agent_principal, principal, tenant, user};

use crate::world::{TENANT, World, in_tenant, operator, submitter};

pub(crate) struct Bench {
    pub(crate) world: World,
    pub(crate) directory: Directory,
}

impl Bench {
    pub(crate) fn new() -> Self {
        let world = World::new();
        let directory = Directory::new(Arc::clone(&world.queue), world.keys.principals().clone());
        Self { world, directory }
    }

    /// Makes a principal that must be accepted.
    pub(crate) async fn made(&self, by: &Principal, new: NewPrincipal) -> KnownPrincipal {
        let made = self.directory.create(by, TENANT, new, None).await;
        made.expect("made").record
    }

    /// Stores a principal past all rules.
    pub(crate) async fn stored(&self, principal: Principal) -> Principal {
        let record = PrincipalRecord {
            principal: principal.clone(),
            name: "Ada".to_owned(),
        };
        let principals = self.world.keys.principals();
        principals
            .create(&record, RecordDraft::default())
            .await
            .expect("stored");
        principal
    }
}

pub(crate) fn new(roles: impl IntoIterator<Item = Role>) -> NewPrincipal {
    NewPrincipal {
        name: "Grace".to_owned(),
        kind: PrincipalKind::User,
        roles: roles.into_iter().collect(),
        agent: None,
        kinds: None,
        highest_band: Band::HIGHEST,
    }
}

pub(crate) fn admin() -> Principal {
    user(9, [Role::Admin])
}

/// The code of a refusal, or `done`.
pub(crate) fn code<T>(answer: &Result<T, RecordError>) -> &'static str {
    answer.as_ref().map_or_else(RecordError::code, |_| "done")
}

#[tokio::test]
async fn a_principal_is_made_read_listed_and_changed_on_record() {
    let bench = Bench::new();
    let mark = bench.world.mark().await;
    let made = bench.made(&operator(), new([Role::Submitter])).await;
    assert_eq!(
        (made.revision, made.created_by, made.created_at, made.disabled_at),
        (1, Some(operator().id), Some(bench.world.clock.now()), None)
    );
    assert_eq!((made.principal.tenant, made.principal.agent), (TENANT, None));
    let id = made.principal.id;
    let read = bench.directory.get(&operator(), TENANT, id).await.expect("read");
    assert_eq!(read, made);
    let change = PrincipalChange {
        name: Some("Hopper".to_owned()),
        roles: Some([Role::Reviewer].into()),
        kinds: Some(Some([TaskKind::new("analysis").expect("kind")].into())),
        highest_band: Some(Band::new(1).expect("band")),
        disabled: None,
    };
    let changed = bench
        .directory
        .update(&operator(), TENANT, id, Some(1), change)
        .await
        .expect("changed");
    assert_eq!((changed.revision, changed.name.as_str()), (2, "Hopper"));
    assert_eq!(changed.principal.roles, BTreeSet::from([Role::Reviewer]));
    assert_eq!(changed.principal.highest_band.get(), 1);
    let listed = bench
        .directory
        .list(&operator(), TENANT, None, 10)
        .await
        .expect("listed");
    assert_eq!(listed, [changed]);
    assert_eq!(
        bench.world.told(mark).await,
        [
            "principal.create+document_written done -",
            "principal.update+document_written done -",
        ]
    );
    let log = format!("{:?}", bench.world.leaves().await);
    assert!(!log.contains("Grace") && !log.contains("Hopper"));
}

#[tokio::test]
async fn a_list_goes_on_where_it_stopped_and_stays_in_its_tenant() {
    let bench = Bench::new();
    let mut made = BTreeSet::new();
    for _ in 0..5 {
        made.insert(bench.made(&operator(), new([Role::Submitter])).await.principal.id);
    }
    bench.stored(in_tenant(2, user(50, [Role::Submitter]))).await;
    let (mut seen, mut after) = (Vec::new(), None);
    loop {
        let page = bench.directory.list(&operator(), TENANT, after, 2).await;
        let page = page.expect("a page");
        seen.extend(page.iter().map(|known| known.principal.id));
        if page.len() < 2 {
            break;
        }
        after = seen.last().copied();
    }
    assert_eq!(seen, made.into_iter().collect::<Vec<_>>());
    for limit in [0, 1_001] {
        let refused = bench.directory.list(&operator(), TENANT, None, limit).await;
        assert_eq!(code(&refused), "invalid_value");
    }
}

#[tokio::test]
async fn only_an_admin_makes_admins() {
    let bench = Bench::new();
    let mark = bench.world.mark().await;
    let refused = bench
        .directory
        .create(&operator(), TENANT, new([Role::Submitter, Role::Admin]), None)
        .await;
    assert_eq!(code(&refused), "forbidden");
    assert_eq!(
        bench.world.told(mark).await,
        ["principal.create+rejected refused forbidden"]
    );
    let made = bench.made(&operator(), new([Role::Operator])).await;
    let rise = PrincipalChange {
        roles: Some([Role::Operator, Role::Admin].into()),
        ..PrincipalChange::default()
    };
    // Neither another one nor itself.
    for by in [operator(), made.principal.clone()] {
        let refused = bench
            .directory
            .update(&by, TENANT, made.principal.id, None, rise.clone())
            .await;
        assert_eq!(code(&refused), "forbidden");
    }
    let kept = bench.directory.get(&operator(), TENANT, made.principal.id).await;
    assert_eq!(kept.expect("read"), made, "nothing was changed");
    let raised = bench
        .directory
        .update(&admin(), TENANT, made.principal.id, None, rise)
        .await;
    assert_eq!(code(&raised), "done");
}

#[tokio::test]
async fn an_operator_does_not_touch_an_admin_of_its_tenant() {
    let bench = Bench::new();
    let boss = bench.stored(user(40, [Role::Admin, Role::Submitter])).await;
    let changes = [
        PrincipalChange {
            disabled: Some(true),
            ..PrincipalChange::default()
        },
        PrincipalChange {
            roles: Some([Role::Submitter].into()),
            ..PrincipalChange::default()
        },
        PrincipalChange {
            name: Some("Eve".to_owned()),
            ..PrincipalChange::default()
        },
    ];
    for change in changes {
        let refused = bench
            .directory
            .update(&operator(), TENANT, boss.id, None, change)
            .await;
        assert_eq!(code(&refused), "forbidden");
    }
}

#[tokio::test]
async fn whoever_is_permitted_by_a_careless_policy_gives_only_what_it_has() {
    let bench = Bench::new();
    bench.world.policy.allow_everything();
    let low = Principal {
        highest_band: Band::new(1).expect("band"),
        kinds: Some([TaskKind::new("analysis").expect("kind")].into()),
        ..submitter()
    };
    let fits = NewPrincipal {
        highest_band: Band::new(1).expect("band"),
        kinds: low.kinds.clone(),
        ..new([Role::Submitter])
    };
    let attempts = [
        (fits.clone(), "done"),
        (
            NewPrincipal {
                roles: [Role::Operator].into(),
                ..fits.clone()
            },
            "forbidden",
        ),
        (
            NewPrincipal {
                highest_band: Band::HIGHEST,
                ..fits.clone()
            },
            "forbidden",
        ),
        (
            NewPrincipal {
                kinds: None,
                ..fits.clone()
            },
            "forbidden",
        ),
    ];
    for (new, expected) in attempts {
        let answer = bench.directory.create(&low, TENANT, new.clone(), None).await;
        assert_eq!(code(&answer), expected, "{new:?}");
    }
    let elsewhere = bench.directory.create(&low, tenant(2), fits, None).await;
    assert_eq!(code(&elsewhere), "forbidden", "it belongs to tenant 1");
}

#[tokio::test]
async fn another_tenants_principals_cannot_be_told_from_absent_ones() {
    let bench = Bench::new();
    let other = bench.stored(in_tenant(2, user(50, [Role::Submitter]))).await;
    for id in [other.id, principal(77)] {
        let read = bench.directory.get(&operator(), TENANT, id).await;
        assert_eq!(code(&read), "not_found");
        let change = PrincipalChange::default();
        let updated = bench
            .directory
            .update(&operator(), TENANT, id, None, change)
            .await;
        assert_eq!(code(&updated), "not_found");
        let read = bench.directory.get(&operator(), tenant(2), id).await;
        assert_eq!(code(&read), "forbidden");
    }
    let read = bench.directory.get(&admin(), tenant(2), other.id).await;
    assert_eq!(read.expect("an admin reads all").principal, other);
    for by in [submitter(), user(8, [Role::Reviewer])] {
        let listed = bench.directory.list(&by, TENANT, None, 10).await;
        assert_eq!(code(&listed), "forbidden");
    }
}

#[tokio::test]
async fn an_agent_always_has_an_agent_id() {
    let bench = Bench::new();
    let by_role = bench.made(&operator(), new([Role::Agent])).await;
    let kind = NewPrincipal {
        kind: PrincipalKind::Agent,
        ..new([Role::Submitter])
    };
    let by_kind = bench.made(&operator(), kind).await;
    let (one, other) = (by_role.principal.agent, by_kind.principal.agent);
    assert!(one.is_some() && other.is_some() && one != other);
    let given = NewPrincipal {
        agent: Some(agent(5)),
        ..new([Role::Agent])
    };
    let given = bench.made(&operator(), given).await;
    assert_eq!(given.principal.agent, Some(agent(5)));
    let person = bench.made(&operator(), new([Role::Submitter])).await;
    assert_eq!(person.principal.agent, None);
    let change = PrincipalChange {
        roles: Some([Role::Agent].into()),
        ..PrincipalChange::default()
    };
    let turned = bench
        .directory
        .update(&operator(), TENANT, person.principal.id, None, change)
        .await
        .expect("changed");
    assert!(turned.principal.agent.is_some());
}

#[tokio::test]
async fn nobody_poses_as_an_agent_of_another_tenant() {
    let bench = Bench::new();
    bench.stored(in_tenant(2, agent_principal(50, agent(5)))).await;
    let theirs = NewPrincipal {
        agent: Some(agent(5)),
        ..new([Role::Agent])
    };
    let posed = bench.directory.create(&operator(), TENANT, theirs, None).await;
    assert_eq!(code(&posed), "invalid_value");
    let person = NewPrincipal {
        agent: Some(agent(6)),
        ..new([Role::Submitter])
    };
    let refused = bench.directory.create(&operator(), TENANT, person, None).await;
    assert_eq!(code(&refused), "invalid_value");
}

#[tokio::test]
async fn nobody_is_made_in_a_tenant_that_does_not_exist() {
    let bench = Bench::new();
    let made = bench
        .directory
        .create(&admin(), tenant(2), new([Role::Submitter]), None)
        .await;
    assert_eq!(code(&made), "not_found");
    let shared = arbiter_core::model::TenantId::SYSTEM;
    let made = bench
        .directory
        .create(&admin(), shared, new([Role::Agent]), None)
        .await;
    assert_eq!(code(&made), "done", "agents that serve every tenant");
}

#[tokio::test]
async fn fields_that_break_a_rule_are_refused_and_named() {
    let bench = Bench::new();
    let named = |name: &str| NewPrincipal {
        name: name.to_owned(),
        ..new([Role::Submitter])
    };
    let kinds = |kinds: BTreeSet<TaskKind>| NewPrincipal {
        kinds: Some(kinds),
        ..new([Role::Submitter])
    };
    let many = (0..65).map(|number| TaskKind::new(&format!("acme/kind{number}")).expect("kind"));
    let cases = [
        (named(""), "name"),
        (named("  "), "name"),
        (named("a\nb"), "name"),
        (named(&"x".repeat(101)), "name"),
        (new([]), "roles"),
        (kinds(BTreeSet::new()), "kinds"),
        (kinds(many.collect()), "kinds"),
    ];
    for (new, expected) in cases {
        let mark = bench.world.mark().await;
        let refused = bench.directory.create(&operator(), TENANT, new, None).await;
        let Err(RecordError::Invalid { field, .. }) = refused else {
            panic!("{expected}: {refused:?}");
        };
        assert_eq!(field, expected);
        assert_eq!(
            bench.world.told(mark).await,
            ["principal.create+rejected refused invalid_value"]
        );
    }
}

#[tokio::test]
async fn a_disabled_principal_is_refused_at_once_and_works_again_when_it_is_enabled() {
    let bench = Bench::new();
    let made = bench.made(&operator(), new([Role::Submitter])).await;
    let id = made.principal.id;
    let key = bench
        .world
        .keys
        .create(None, TENANT, id, None)
        .await
        .expect("a key");
    let credential = Credential::ApiKey(SecretText::new(key.text.expose()));
    let accepted = async || {
        let answer = bench.world.queue.authenticate(&credential, "here").await;
        answer.map_err(|error| error.code())
    };
    assert_eq!(accepted().await.expect("accepted").id, id);
    let disable = async |disabled| {
        let change = PrincipalChange {
            disabled: Some(disabled),
            ..PrincipalChange::default()
        };
        let changed = bench
            .directory
            .update(&operator(), TENANT, id, None, change)
            .await;
        changed.expect("changed").disabled_at
    };
    let since = disable(true).await;
    assert_eq!(since, Some(bench.world.clock.now()));
    assert_eq!(accepted().await, Err("auth_failed"));
    let leaf = bench.world.last_leaf().await;
    assert_eq!(leaf.told(), "authentication_failed refused disabled");
    bench.world.clock.advance(std::time::Duration::from_secs(5));
    assert_eq!(disable(true).await, since, "it stays as it was");
    assert_eq!(disable(false).await, None);
    assert!(accepted().await.is_ok());
}

#[tokio::test]
async fn nobody_disables_itself() {
    let bench = Bench::new();
    let me = bench.stored(operator()).await;
    let change = PrincipalChange {
        disabled: Some(true),
        ..PrincipalChange::default()
    };
    let refused = bench.directory.update(&me, TENANT, me.id, None, change).await;
    assert_eq!(code(&refused), "invalid_value");
}

#[tokio::test]
async fn a_change_of_something_else_than_was_read_is_refused() {
    let bench = Bench::new();
    let made = bench.made(&operator(), new([Role::Submitter])).await;
    let rename = |name: &str| PrincipalChange {
        name: Some(name.to_owned()),
        ..PrincipalChange::default()
    };
    let update = async |revision, name| {
        let id = made.principal.id;
        let change = rename(name);
        bench
            .directory
            .update(&operator(), TENANT, id, revision, change)
            .await
    };
    assert_eq!(update(Some(1), "one").await.expect("changed").revision, 2);
    let refused = update(Some(1), "two").await;
    assert!(
        matches!(refused, Err(RecordError::Changed { current: 2 })),
        "{refused:?}"
    );
    assert_eq!(update(None, "three").await.expect("changed").revision, 3);
}

#[tokio::test]
async fn a_peer_is_made_in_the_systems_own_tenant_only() {
    let bench = Bench::new();
    let problem = |answer: Result<(), RecordError>| answer.map_err(|error| error.to_string());
    for roles in [vec![Role::Peer], vec![Role::Peer, Role::Submitter]] {
        let made = bench.directory.create(&admin(), TENANT, new(roles), None).await;
        assert_eq!(code(&made), "invalid_value");
        let told = problem(made.map(drop)).expect_err("refused");
        assert!(
            told.contains("roles") && told.contains("system's own tenant"),
            "{told}"
        );
    }
    let made = bench
        .directory
        .create(&admin(), TenantId::SYSTEM, new([Role::Peer]), None)
        .await;
    assert_eq!(code(&made), "done");
    let plain = bench.made(&admin(), new([Role::Submitter])).await.principal.id;
    let change = |roles: Option<Role>| PrincipalChange {
        roles: roles.map(|role| [role].into()),
        disabled: roles.is_none().then_some(true),
        ..PrincipalChange::default()
    };
    let update = async |id, change| {
        let changed = bench.directory.update(&admin(), TENANT, id, None, change).await;
        code(&changed)
    };
    assert_eq!(update(plain, change(Some(Role::Peer))).await, "invalid_value");
    // One that was made before may still be disabled, or become something else.
    let before = bench.stored(user(60, [Role::Peer])).await.id;
    assert_eq!(update(before, change(None)).await, "done");
    assert_eq!(update(before, change(Some(Role::Auditor))).await, "done");
}
