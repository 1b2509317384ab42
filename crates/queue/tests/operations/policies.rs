//! Stored policies: checked, compared, activated, rolled back; what fails leaves the old ones in force.

use std::collections::BTreeMap;
use std::sync::Arc;

use arbiter_core::model::{Json, Operation, Principal, Role, Target, TenantId};
use arbiter_core::ports::{
    Authorizer as _, DocumentContent, DocumentKey, DocumentWrite, Documents, Effects, PolicyEngine as _,
    Precondition, Verdict,
};
use arbiter_queue::RecordError;
use arbiter_queue::policies::{PolicyLoadError, PolicySets};
use arbiter_testkit::builders::user;

use crate::faults::Port;
use crate::policy::TablePolicy;
use crate::principals::{admin, code};
use crate::world::{TENANT, World, operator};

struct Bench {
    world: World,
    sets: PolicySets,
}

impl Bench {
    fn new() -> Self {
        let world = World::new();
        let sets = sets(&world, &world.policy);
        Self { world, sets }
    }

    async fn activate(&self, text: &str) -> Result<u64, RecordError> {
        let activated = self.sets.activate(&admin(), None, files(text)).await?;
        Ok(activated.set.map_or(0, |set| set.number))
    }

    async fn roll_back(&self, number: u64) -> Result<(), RecordError> {
        self.sets.roll_back(&admin(), None, number).await.map(|_| ())
    }
}

/// The service over the world's store, documents breakable.
fn sets(world: &World, engine: &Arc<TablePolicy>) -> PolicySets {
    let documents: Arc<dyn Documents> = Arc::new(crate::world::breakable(
        &world.faults,
        Arc::clone(&world.store) as Arc<dyn Documents>,
    ));
    PolicySets::new(Arc::clone(&world.queue), &documents, Arc::clone(engine) as _)
}

fn files(text: &str) -> BTreeMap<String, String> {
    BTreeMap::from([("extra".to_owned(), text.to_owned())])
}

fn allows(engine: &TablePolicy, operation: Operation) -> bool {
    let decided = engine.authorize(&operator(), operation, &Target::of(TENANT));
    decided.expect("decided") == Verdict::Allowed
}

const NO_CANCEL: &str = "one task.cancel";
const NO_RETRY: &str = "one task.retry\ntwo task.dead_letter";

#[tokio::test]
async fn activated_policies_are_in_force_for_calls_that_start_after() {
    let bench = Bench::new();
    let mark = bench.world.mark().await;
    assert_eq!(bench.activate(NO_CANCEL).await.expect("activated"), 1);
    assert!(!allows(&bench.world.policy, Operation::TaskCancel));
    assert_eq!(bench.activate(NO_RETRY).await.expect("activated"), 2);
    assert!(allows(&bench.world.policy, Operation::TaskCancel));
    assert!(!allows(&bench.world.policy, Operation::TaskRetry));
    let active = bench.sets.active(&admin()).await.expect("read");
    let set = active.set.expect("a set");
    assert_eq!((set.number, active.revision), (2, 2));
    assert_eq!(set.files[0].text, NO_RETRY);
    assert_eq!(active.activated_by, Some(admin().id));
    assert_eq!(
        bench.world.told(mark).await,
        ["policy.activate+document_written done -"; 2]
    );
    let leaf = bench.world.last_leaf().await;
    let detail = leaf.body.expect("detail");
    assert_eq!(detail["digest"], set.digest.to_string());
    assert_eq!(
        (&detail["number"], &detail["schema"]),
        (&2.into(), &"policy_set/1".into())
    );
}

#[tokio::test]
async fn an_earlier_set_is_put_into_force_again_and_all_can_be_taken_back() {
    let bench = Bench::new();
    bench.activate(NO_CANCEL).await.expect("activated");
    bench.activate(NO_RETRY).await.expect("activated");
    bench.roll_back(1).await.expect("rolled back");
    assert!(!allows(&bench.world.policy, Operation::TaskCancel));
    assert!(allows(&bench.world.policy, Operation::TaskRetry));
    bench.roll_back(0).await.expect("taken back");
    assert!(allows(&bench.world.policy, Operation::TaskCancel));
    let active = bench.sets.active(&admin()).await.expect("read");
    assert_eq!((active.set, active.revision), (None, 4));
    assert_eq!(code(&bench.roll_back(3).await), "not_found");
    // Numbers are never given twice.
    assert_eq!(bench.activate(NO_CANCEL).await.expect("activated"), 3);
    let listed = bench.sets.list(&admin(), None, 100).await.expect("listed");
    let numbers: Vec<u64> = listed.iter().map(|set| set.number).collect();
    assert_eq!(numbers, [1, 2, 3]);
    assert_eq!(listed[0].digest, listed[2].digest);
    let rest = bench.sets.list(&admin(), Some(1), 1).await.expect("listed");
    assert_eq!(rest[..], listed[1..2]);
    assert_eq!(bench.sets.get(&admin(), 2).await.expect("read"), listed[1]);
    assert_eq!(code(&bench.sets.get(&admin(), 9).await), "not_found");
}

#[tokio::test]
async fn what_is_not_valid_is_refused_by_file_and_line_and_changes_nothing() {
    let bench = Bench::new();
    bench.activate(NO_CANCEL).await.expect("activated");
    let (before, mark) = (
        bench.sets.active(&admin()).await.expect("read"),
        bench.world.mark().await,
    );
    let version = bench.world.policy.version();
    let refused = bench.activate("one task.retry\ntwo nonsense").await;
    let Err(RecordError::Invalid { field, problem }) = &refused else {
        panic!("{refused:?}");
    };
    assert_eq!(*field, "files");
    assert!(problem.contains("extra:2: `nonsense`"), "{problem}");
    assert_eq!(
        bench.world.told(mark).await,
        ["policy.activate+rejected refused invalid_value"]
    );
    assert_eq!(bench.sets.active(&admin()).await.expect("read"), before);
    assert_eq!(bench.world.policy.version(), version);
    assert!(!allows(&bench.world.policy, Operation::TaskCancel));
}

#[tokio::test]
async fn a_store_that_fails_leaves_the_old_set() {
    let bench = Bench::new();
    bench.activate(NO_CANCEL).await.expect("activated");
    bench.world.faults.break_port(Port::Documents);
    assert_eq!(code(&bench.activate(NO_RETRY).await), "unavailable");
    assert_eq!(code(&bench.roll_back(0).await), "unavailable");
    assert!(!allows(&bench.world.policy, Operation::TaskCancel));
    assert!(allows(&bench.world.policy, Operation::TaskRetry));
    bench.world.faults.mend();
    assert_eq!(bench.activate(NO_RETRY).await.expect("activated"), 2);
}

#[tokio::test]
async fn nobody_locks_itself_out() {
    let bench = Bench::new();
    assert_eq!(
        code(&bench.activate("all policy.activate").await),
        "invalid_value"
    );
    assert!(bench.sets.active(&admin()).await.expect("read").set.is_none());
}

#[tokio::test]
async fn a_check_tells_policies_or_every_problem_and_changes_nothing() {
    let bench = Bench::new();
    let version = bench.world.policy.version();
    // Whoever may read policies in its own tenant may check.
    for by in [operator(), user(8, [Role::Auditor]), admin()] {
        let checked = bench.sets.check(&by, files(NO_RETRY)).await.expect("checked");
        let ids: Vec<&str> = checked.policies.iter().map(|policy| policy.id.as_str()).collect();
        assert_eq!(
            (ids, checked.problems),
            (vec!["extra#one", "extra#two"], Vec::new())
        );
    }
    let checked = bench.sets.check(&operator(), files("bad\nworse")).await;
    let checked = checked.expect("checked");
    assert!(checked.policies.is_empty());
    let told: Vec<String> = checked.problems.iter().map(ToString::to_string).collect();
    assert_eq!(
        told,
        [
            "extra:1: `bad` is no operation",
            "extra:2: `worse` is no operation"
        ]
    );
    assert_eq!(bench.world.policy.version(), version);
}

#[tokio::test]
async fn a_diff_names_what_would_change() {
    let bench = Bench::new();
    bench
        .activate("one task.cancel\ntwo task.retry\nsame task.release")
        .await
        .expect("activated");
    let new = "one task.cancel_many\nthree task.retry\nsame task.release";
    let diff = bench.sets.diff(&admin(), files(new)).await.expect("compared");
    assert_eq!(
        (diff.added, diff.removed, diff.changed),
        (
            vec!["extra#three".to_owned()],
            vec!["extra#two".to_owned()],
            vec!["extra#one".to_owned()]
        )
    );
    assert_eq!(
        code(&bench.sets.diff(&admin(), files("bad")).await),
        "invalid_value"
    );
}

#[tokio::test]
async fn policies_of_all_tenants_are_for_admins_only() {
    let bench = Bench::new();
    bench.activate(NO_CANCEL).await.expect("activated");
    for by in [operator(), user(8, [Role::Auditor]), user(7, [Role::Submitter])] {
        let answers = [
            code(&bench.sets.active(&by).await),
            code(&bench.sets.list(&by, None, 10).await),
            code(&bench.sets.get(&by, 1).await),
            code(&bench.sets.diff(&by, files(NO_RETRY)).await),
            code(&bench.sets.activate(&by, None, files(NO_RETRY)).await),
            code(&bench.sets.roll_back(&by, None, 0).await),
        ];
        assert_eq!(answers, ["forbidden"; 6]);
    }
    let by: Principal = user(7, [Role::Submitter]);
    assert_eq!(code(&bench.sets.check(&by, files(NO_RETRY)).await), "forbidden");
    assert!(!allows(&bench.world.policy, Operation::TaskCancel));
}

#[tokio::test]
async fn names_and_sizes_have_limits() {
    let bench = Bench::new();
    let text = |name: &str, bytes: usize| BTreeMap::from([(name.to_owned(), "x".repeat(bytes))]);
    let many = (0..65)
        .map(|number| (format!("f{number}"), String::new()))
        .collect();
    for files in [
        text("a/b", 1),
        text("", 1),
        text(".x", 1),
        text("a", 256 * 1024 + 1),
        many,
    ] {
        assert_eq!(
            code(&bench.sets.check(&operator(), files.clone()).await),
            "invalid_value"
        );
        let refused = bench.sets.activate(&admin(), None, files).await;
        assert_eq!(code(&refused), "invalid_value");
    }
}

#[tokio::test]
async fn an_activation_of_something_else_than_was_read_is_refused() {
    let bench = Bench::new();
    let activate = async |revision, text| {
        let activated = bench.sets.activate(&admin(), Some(revision), files(text)).await;
        activated.map(|active| active.revision)
    };
    assert_eq!(activate(0, NO_CANCEL).await.expect("the first"), 1);
    let late = activate(0, NO_RETRY).await;
    assert!(
        matches!(late, Err(RecordError::Changed { current: 1 })),
        "{late:?}"
    );
    let late = bench.sets.roll_back(&admin(), Some(0), 0).await;
    assert!(
        matches!(late, Err(RecordError::Changed { current: 1 })),
        "{late:?}"
    );
    assert!(!allows(&bench.world.policy, Operation::TaskCancel));
    assert_eq!(activate(1, NO_RETRY).await.expect("it was read"), 2);
}

#[tokio::test]
async fn a_start_puts_the_stored_set_into_force() {
    let bench = Bench::new();
    assert_eq!(bench.sets.load().await.expect("nothing is stored"), 0);
    bench.activate(NO_CANCEL).await.expect("activated");
    bench.activate(NO_RETRY).await.expect("activated");
    bench.roll_back(1).await.expect("rolled back");
    let engine = Arc::new(TablePolicy::default());
    let again = sets(&bench.world, &engine);
    assert!(allows(&engine, Operation::TaskCancel));
    assert_eq!(again.load().await.expect("loaded"), 1);
    assert!(!allows(&engine, Operation::TaskCancel));
    let version = engine.version();
    assert_eq!(again.load().await.expect("in force already"), 1);
    assert_eq!(engine.version(), version);
    // What another node activates is followed.
    bench.activate(NO_RETRY).await.expect("activated");
    assert_eq!(again.load().await.expect("followed"), 3);
    assert!(!allows(&engine, Operation::TaskRetry));
}

#[tokio::test]
async fn a_stored_set_that_is_not_valid_any_more_is_a_clear_error_and_changes_nothing() {
    let bench = Bench::new();
    bench.activate(NO_CANCEL).await.expect("activated");
    let body = r#"{"version":1,"files":{"extra":"one nonsense"},"created_at":0,"created_by":"019b0000-0000-7003-8000-000000000001"}"#;
    let damaged = DocumentWrite {
        key: DocumentKey {
            kind: "policy_set",
            tenant: TenantId::SYSTEM,
            id: format!("{:020}", 1),
        },
        precondition: Precondition::Any,
        content: Some(DocumentContent {
            body: Json::parse(body).expect("JSON"),
            index: Vec::new(),
            expires_at: None,
        }),
    };
    let documents: &dyn Documents = &*bench.world.store;
    documents
        .write(vec![damaged], Effects::default())
        .await
        .expect("written");
    let engine = Arc::new(TablePolicy::default());
    let refused = sets(&bench.world, &engine).load().await;
    let Err(PolicyLoadError::Invalid { number: 1, source }) = refused else {
        panic!("{refused:?}");
    };
    assert_eq!(source.to_string(), "extra:1: `nonsense` is no operation");
    assert_eq!(engine.version(), 1);
}
