//! What must be true of the history, whatever happened.

use std::collections::{BTreeMap, BTreeSet};

use arbiter_audit::leaf::Leaf;
use arbiter_audit::tree::{Frontier, leaf_hash};
use arbiter_core::model::{AttemptEnd, Fence, Holder, State, StoredTask, TaskId, TenantScope, Version};
use arbiter_core::ports::TaskQuery;
use arbiter_testkit::builders::tenant;
use arbiter_testkit::contract::Stores;

use crate::node::{SLOTS, hosted};
use crate::people::TENANTS;
use crate::world::World;

/// Every task, by id.
pub(crate) async fn tasks(stores: &Stores) -> Vec<StoredTask> {
    let query = TaskQuery {
        limit: 1_000,
        ..TaskQuery::default()
    };
    let page = stores.reader.list(TenantScope::All, query).await.expect("list");
    assert!(page.next.is_none(), "a schedule has fewer tasks than a page");
    page.tasks
}

/// No agent holds more leases than it has slots. True at every moment.
pub(crate) async fn check_slots(stores: &Stores, nodes: usize) {
    for agent in (0..nodes).flat_map(hosted) {
        let held = stores.reader.held_by(Holder::Agent(agent)).await.expect("held");
        assert!(held.len() <= SLOTS as usize, "{agent} holds {} tasks", held.len());
    }
}

/// The history of a schedule that has come to rest.
pub(crate) async fn check(world: &World, stores: &Stores, nodes: usize) {
    let tasks = tasks(stores).await;
    check_accepted(world, &tasks);
    check_leaves(stores, &tasks).await;
    for stored in &tasks {
        check_attempts(world, stores, stored).await;
    }
    for agent in (0..nodes).flat_map(hosted) {
        let held = stores.reader.held_by(Holder::Agent(agent)).await.expect("held");
        assert_eq!(held.len(), 0, "{agent} still holds work");
    }
    for number in 1..=TENANTS {
        let tally = stores.reader.tally(tenant(number)).await.expect("tally");
        let counts = (
            tally.open,
            tally.queued,
            tally.running,
            tally.reviewing,
            tally.held,
        );
        assert_eq!(counts, (0, 0, 0, 0, 0), "the tally of tenant {number}");
    }
}

/// Each accepted task is there and closed; each key stands for one task.
fn check_accepted(world: &World, tasks: &[StoredTask]) {
    let states: BTreeMap<TaskId, &State> = tasks
        .iter()
        .map(|stored| (stored.task.id, &stored.task.state))
        .collect();
    let journal = world.journal();
    let mut keys: BTreeMap<&str, TaskId> = BTreeMap::new();
    for (key, task) in &journal.accepted {
        let state = states
            .get(task)
            .unwrap_or_else(|| panic!("the accepted task {task} is lost"));
        assert!(state.is_closed(), "the accepted task {task} is {state:?}");
        let before = keys.insert(key, *task);
        assert!(
            before.is_none_or(|before| before == *task),
            "two tasks of one key: {key}"
        );
    }
    let distinct: BTreeSet<TaskId> = keys.values().copied().collect();
    assert_eq!(distinct.len(), keys.len(), "one task for two keys");
    assert_eq!(distinct.len(), tasks.len(), "tasks that nobody was told of");
}

/// The log adds up to its head, and each version of each task has exactly one leaf, in order.
async fn check_leaves(stores: &Stores, tasks: &[StoredTask]) {
    let head = stores.tree.sequence(usize::MAX).await.expect("sequence");
    let mut frontier = Frontier::new();
    let mut versions: BTreeMap<String, u64> = BTreeMap::new();
    loop {
        let entries = stores.log.read(frontier.size(), 1_000).await.expect("read");
        if entries.is_empty() {
            break;
        }
        for entry in entries {
            assert_eq!(entry.index, frontier.size(), "entries stand in order");
            frontier.push(leaf_hash(&entry.leaf)).expect("room");
            let leaf = Leaf::decode(&entry.leaf).expect("a canonical leaf");
            let Some(resource) = leaf.resource else { continue };
            if let Some(version) = resource.version {
                let last = versions.entry(resource.id.clone()).or_default();
                assert_eq!(version, *last + 1, "the versions of {}", resource.id);
                *last = version;
            }
        }
    }
    assert_eq!(
        (frontier.size(), frontier.root()),
        (head.size, head.root),
        "the root"
    );
    for stored in tasks {
        let told = versions.get(&stored.task.id.to_string()).copied().unwrap_or(0);
        assert_eq!(
            Version(told),
            stored.task.version,
            "the last version of {}",
            stored.task.id
        );
    }
}

/// Attempts do not overlap, tokens rise, and what is recorded was handed in by who held the token.
async fn check_attempts(world: &World, stores: &Stores, of: &StoredTask) {
    let task = &of.task;
    let history = stores
        .reader
        .history(TenantScope::All, task.id)
        .await
        .expect("history");
    let delivered: BTreeSet<(TaskId, Fence)> = world.journal().delivered.iter().copied().collect();
    let mut before: Option<&arbiter_core::model::Attempt> = None;
    for attempt in &history.attempts {
        if let Some(before) = before {
            assert!(
                before.open.fence < attempt.open.fence,
                "tokens of {} rise",
                task.id
            );
            assert!(
                before.ended_at <= attempt.open.assigned_at,
                "attempts of {} overlap: {before:?} {attempt:?}",
                task.id
            );
        }
        if let AttemptEnd::Reported(report) = &attempt.outcome {
            let fence = attempt.open.fence;
            assert!(
                delivered.contains(&(task.id, fence)),
                "{} reports what it was not given",
                task.id
            );
            let expected = format!("{{\"fence\":{},\"task\":\"{}\"}}", fence.0, task.id);
            let output = report.output.as_ref().map(|output| output.as_str().to_owned());
            assert_eq!(
                output,
                Some(expected),
                "the output of {} is that of its attempt",
                task.id
            );
        }
        before = Some(attempt);
    }
    let counted = history
        .attempts
        .iter()
        .filter(|attempt| counts(&attempt.outcome))
        .count();
    let retried = task.attempts;
    assert!(
        usize::from(retried) <= counted.max(usize::from(task.terms.max_attempts)),
        "{} counts {retried} attempts of {counted}",
        task.id
    );
    assert!(
        retried <= task.terms.max_attempts,
        "{} made more attempts than it may",
        task.id
    );
    if matches!(task.state, State::Succeeded) {
        let result = task.result.expect("a task that succeeded has a result");
        let of_result = |attempt: &&arbiter_core::model::Attempt| attempt.open.fence == result;
        let found = history
            .attempts
            .iter()
            .find(of_result)
            .expect("the attempt of the result");
        assert!(
            matches!(found.outcome, AttemptEnd::Reported(_)),
            "the result was reported"
        );
    }
}

fn counts(outcome: &AttemptEnd) -> bool {
    !matches!(outcome, AttemptEnd::Returned { .. })
}
