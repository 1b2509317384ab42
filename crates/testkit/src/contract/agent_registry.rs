//! The contract of `AgentRegistry`.

use std::collections::BTreeMap;
use std::time::Duration;

use arbiter_core::model::{
    AgentBeat, AgentId, AgentMode, AgentProfile, OutcomeDelta, Ratio, RecordDraft, RegisteredAgent,
    TenantScope,
};
use arbiter_core::ports::{
    AgentChanges, AgentQuery, HeardFrom, OUTCOMES_KEPT, Registered, RegistryError, Revision,
};

use crate::builders::{agent, kind, new_task, principal, profile, task, tenant};
use crate::contract::desk::{TENANT, acts};
use crate::contract::{Desk, Harness, suite};

suite!($ agent_registry_contract, agent_registry, [
    registering_again_with_the_same_content_changes_nothing,
    another_content_replaces_the_profile_and_keeps_the_rest,
    a_profile_that_breaks_a_rule_is_refused,
    an_id_belongs_to_its_tenant,
    the_registry_takes_so_many_agents,
    a_mode_is_set_and_kept,
    a_heartbeat_is_noted_and_is_no_change,
    who_was_heard_of_since_a_moment_is_told,
    who_was_heard_of_is_told_in_pages,
    changes_give_each_agent_once_with_its_latest_content,
    changes_come_in_pages,
    removed_agents_are_named,
    silent_agents_are_removed,
    an_agent_is_removed_with_all_that_is_known_of_it,
    agents_are_read_in_the_order_of_the_ids,
    a_list_gives_every_agent_that_may_be_seen_once_by_id,
    an_outcome_is_counted_once,
    that_an_outcome_was_counted_is_known_for_a_while,
    every_change_leaves_a_record,
]);

async fn register(desk: &Desk<'_>, profile: AgentProfile) -> Result<Registered, RegistryError> {
    desk.stores()
        .agents
        .register(profile, RecordDraft::default())
        .await
}

async fn registered(desk: &Desk<'_>, number: u64) -> Registered {
    register(desk, profile(number)).await.expect("registered")
}

async fn set_mode(desk: &Desk<'_>, number: u64, mode: AgentMode) -> bool {
    desk.stores()
        .agents
        .set_mode(agent(number), mode, RecordDraft::default())
        .await
        .expect("set the mode")
}

async fn changes(desk: &Desk<'_>, after: Revision) -> AgentChanges {
    desk.stores().agents.changes(after, 1_000).await.expect("changes")
}

async fn revision(desk: &Desk<'_>) -> Revision {
    changes(desk, Revision::default()).await.revision
}

async fn find(desk: &Desk<'_>, number: u64) -> Option<RegisteredAgent> {
    let agents = changes(desk, Revision::default()).await.agents;
    agents.into_iter().find(|found| found.profile.id == agent(number))
}

fn beat(number: u64, able: bool) -> AgentBeat {
    AgentBeat {
        agent: agent(number),
        able,
        cpu: Ratio::new(0.25).ok(),
        memory: None,
    }
}

/// A new agent is active and has no record; registering again with the same content changes nothing.
pub async fn registering_again_with_the_same_content_changes_nothing(h: &dyn Harness) {
    let desk = Desk::at(h);
    let now = desk.now().await;
    assert_eq!(registered(&desk, 1).await, Registered::New);
    let expected = RegisteredAgent {
        profile: profile(1),
        mode: AgentMode::Active,
        registered_at: now,
        seen_at: now,
        beat: None,
        records: BTreeMap::new(),
    };
    assert_eq!(find(&desk, 1).await, Some(expected));
    let (before, leaves) = (revision(&desk).await, desk.leaves().await.len());
    assert_eq!(registered(&desk, 1).await, Registered::Unchanged);
    assert_eq!(
        (revision(&desk).await, desk.leaves().await.len()),
        (before, leaves)
    );
}

/// Another content under the same id replaces the profile and keeps mode, records and time of registration.
pub async fn another_content_replaces_the_profile_and_keeps_the_rest(h: &dyn Harness) {
    let desk = Desk::at(h);
    registered(&desk, 1).await;
    set_mode(&desk, 1, AgentMode::Draining).await;
    desk.stores()
        .agents
        .learn(vec![outcome(1, 1)])
        .await
        .expect("learn");
    let before = find(&desk, 1).await.expect("registered");
    desk.advance(Duration::from_secs(5)).await;
    let changed = AgentProfile {
        slots: 7,
        ..profile(1)
    };
    assert_eq!(
        register(&desk, changed.clone()).await.expect("replaced"),
        Registered::Replaced
    );
    let expected = RegisteredAgent {
        profile: changed,
        seen_at: desk.now().await,
        ..before
    };
    assert_eq!(find(&desk, 1).await, Some(expected));
}

/// A profile that breaks a rule is refused with the field, and is not kept.
pub async fn a_profile_that_breaks_a_rule_is_refused(h: &dyn Harness) {
    let desk = Desk::at(h);
    let broken = AgentProfile {
        slots: 0,
        ..profile(1)
    };
    let answer = register(&desk, broken).await;
    assert!(
        matches!(&answer, Err(RegistryError::Invalid(invalid)) if invalid.field == "slots"),
        "{answer:?}"
    );
    assert_eq!(find(&desk, 1).await, None);
}

/// An id that is registered for one tenant is refused to another.
pub async fn an_id_belongs_to_its_tenant(h: &dyn Harness) {
    let desk = Desk::at(h);
    registered(&desk, 1).await;
    for owner in [Some(tenant(2)), None] {
        let foreign = AgentProfile {
            tenant: owner,
            ..profile(1)
        };
        let answer = register(&desk, foreign).await;
        let named = matches!(
            &answer,
            Err(RegistryError::OtherTenant { agent: id, tenant: Some(of) }) if *id == agent(1) && *of == TENANT
        );
        assert!(named, "{answer:?}");
    }
    assert_eq!(find(&desk, 1).await.map(|found| found.profile), Some(profile(1)));
}

/// The registry takes so many agents; those that it has may still change, and room comes back with removal.
pub async fn the_registry_takes_so_many_agents(h: &dyn Harness) {
    let desk = Desk::at(h);
    let limit = h.max_agents();
    for number in 1..=limit as u64 {
        assert_eq!(registered(&desk, number).await, Registered::New);
    }
    let answer = register(&desk, profile(limit as u64 + 1)).await;
    assert!(
        matches!(answer, Err(RegistryError::Full { limit: told }) if told == limit),
        "{answer:?}"
    );
    let changed = AgentProfile {
        slots: 3,
        ..profile(1)
    };
    assert_eq!(
        register(&desk, changed).await.expect("it is there"),
        Registered::Replaced
    );
    desk.advance(Duration::from_secs(1)).await;
    let since = desk.now().await;
    let removed = desk
        .stores()
        .agents
        .remove_silent(since, RecordDraft::default())
        .await
        .expect("remove");
    assert_eq!(removed.len(), limit);
    assert_eq!(registered(&desk, limit as u64 + 1).await, Registered::New);
}

/// A mode is set for an agent that exists, and stays over registering again.
pub async fn a_mode_is_set_and_kept(h: &dyn Harness) {
    let desk = Desk::at(h);
    assert!(!set_mode(&desk, 1, AgentMode::Draining).await);
    registered(&desk, 1).await;
    assert!(set_mode(&desk, 1, AgentMode::Quarantined).await);
    registered(&desk, 1).await;
    assert_eq!(
        find(&desk, 1).await.map(|found| found.mode),
        Some(AgentMode::Quarantined)
    );
    let before = revision(&desk).await;
    assert!(set_mode(&desk, 1, AgentMode::Active).await);
    assert!(revision(&desk).await > before);
}

/// A heartbeat is noted with the store's time; unknown agents are named; it is no change.
pub async fn a_heartbeat_is_noted_and_is_no_change(h: &dyn Harness) {
    let desk = Desk::at(h);
    registered(&desk, 1).await;
    let (before, leaves) = (revision(&desk).await, desk.leaves().await.len());
    desk.advance(Duration::from_secs(15)).await;
    let unknown = desk
        .stores()
        .agents
        .beat(vec![beat(2, true), beat(1, false), beat(3, true)])
        .await;
    assert_eq!(unknown.expect("beat"), [agent(2), agent(3)]);
    let found = find(&desk, 1).await.expect("registered");
    assert_eq!(
        (found.beat, found.seen_at),
        (Some(beat(1, false)), desk.now().await)
    );
    assert_eq!(
        (revision(&desk).await, desk.leaves().await.len()),
        (before, leaves)
    );
    assert_eq!(find(&desk, 2).await, None, "a heartbeat invents no agent");
}

/// Agents that were heard of at or after a moment are told with their latest heartbeat; removed ones are not.
pub async fn who_was_heard_of_since_a_moment_is_told(h: &dyn Harness) {
    let desk = Desk::at(h);
    for number in 1..=3 {
        registered(&desk, number).await;
    }
    let start = desk.now().await;
    let agents = &desk.stores().agents;
    let told = async |since| {
        let heard = agents.heard(HeardFrom::since(since), 1_000).await.expect("heard");
        assert!(!heard.more);
        heard
            .agents
            .into_iter()
            .map(|seen| (seen.agent, seen.at, seen.beat))
            .collect::<Vec<_>>()
    };
    let all: Vec<_> = (1..=3).map(|number| (agent(number), start, None)).collect();
    assert_eq!(told(start).await, all, "to register is to be heard of");
    desk.advance(Duration::from_secs(1)).await;
    let later = desk.now().await;
    assert_eq!(told(later).await, []);
    agents
        .beat(vec![beat(3, false), beat(2, true)])
        .await
        .expect("beat");
    let beaten = [
        (agent(2), later, Some(beat(2, true))),
        (agent(3), later, Some(beat(3, false))),
    ];
    assert_eq!(told(later).await, beaten);
    desk.advance(Duration::from_secs(1)).await;
    remove(&desk, RecordDraft::default()).await;
    assert_eq!(told(start).await, [], "who was removed is not told of");
}

/// Who was heard of is told in pages: by when that was, then by id. One that is heard of meanwhile comes again.
pub async fn who_was_heard_of_is_told_in_pages(h: &dyn Harness) {
    let desk = Desk::at(h);
    for number in [5, 3, 1, 2, 4] {
        registered(&desk, number).await;
    }
    let agents = &desk.stores().agents;
    let note = async |number| {
        desk.advance(Duration::from_secs(1)).await;
        let unknown = agents.beat(vec![beat(number, true)]).await;
        assert_eq!(unknown.expect("beat"), []);
    };
    note(1).await;
    let page = async |from, limit| {
        let heard = agents.heard(from, limit).await.expect("heard");
        let ids: Vec<_> = heard.agents.iter().map(|seen| seen.agent).collect();
        (ids, heard.more, heard.agents.last().map(HeardFrom::after))
    };
    let (ids, more, next) = page(HeardFrom::START, 2).await;
    assert_eq!((ids, more), (vec![agent(2), agent(3)], true));
    note(3).await;
    let (ids, more, next) = page(next.expect("a place"), 2).await;
    assert_eq!((ids, more), (vec![agent(4), agent(5)], true));
    let (ids, more, next) = page(next.expect("a place"), 2).await;
    assert_eq!((ids, more), (vec![agent(1), agent(3)], false));
    assert_eq!(page(next.expect("a place"), 2).await, (Vec::new(), false, None));
    note(2).await;
    let (ids, more, _) = page(next.expect("a place"), 2).await;
    assert_eq!((ids, more), (vec![agent(2)], false));
}

/// Changes after a revision give each agent once, with its latest content; after the last one there are none.
pub async fn changes_give_each_agent_once_with_its_latest_content(h: &dyn Harness) {
    let desk = Desk::at(h);
    for number in 1..=3 {
        registered(&desk, number).await;
    }
    let before = revision(&desk).await;
    set_mode(&desk, 2, AgentMode::Draining).await;
    set_mode(&desk, 2, AgentMode::Active).await;
    set_mode(&desk, 1, AgentMode::Draining).await;
    let later = changes(&desk, before).await;
    let told: Vec<_> = later
        .agents
        .iter()
        .map(|found| (found.profile.id, found.mode))
        .collect();
    assert_eq!(
        told,
        [(agent(2), AgentMode::Active), (agent(1), AgentMode::Draining)]
    );
    assert!(!later.more && later.revision > before);
    let none = changes(&desk, later.revision).await;
    assert_eq!(
        (none.agents.len(), none.removed.len(), none.revision),
        (0, 0, later.revision)
    );
}

/// Changes come in pages that together give every agent once.
pub async fn changes_come_in_pages(h: &dyn Harness) {
    let desk = Desk::at(h);
    for number in 1..=5 {
        registered(&desk, number).await;
    }
    let (mut after, mut found) = (Revision::default(), Vec::new());
    for more in [true, true, false] {
        let page = desk.stores().agents.changes(after, 2).await.expect("changes");
        assert_eq!(page.more, more);
        assert!(page.revision > after);
        after = page.revision;
        found.extend(page.agents.into_iter().map(|found| found.profile.id));
    }
    found.sort();
    assert_eq!(found, (1..=5).map(agent).collect::<Vec<_>>());
}

async fn remove(desk: &Desk<'_>, draft: RecordDraft) -> Vec<AgentId> {
    let since = desk.now().await;
    desk.stores()
        .agents
        .remove_silent(since, draft)
        .await
        .expect("remove")
}

/// Removed agents are named in the changes, and are new when they come again.
pub async fn removed_agents_are_named(h: &dyn Harness) {
    let desk = Desk::at(h);
    registered(&desk, 1).await;
    set_mode(&desk, 1, AgentMode::Draining).await;
    let before = revision(&desk).await;
    let removed = desk.stores().agents.remove(agent(1), RecordDraft::default());
    assert!(removed.await.expect("removed"));
    let later = changes(&desk, before).await;
    assert_eq!(
        (later.agents.len(), later.removed.as_slice()),
        (0, [agent(1)].as_slice())
    );
    assert!(!set_mode(&desk, 1, AgentMode::Active).await);
    assert_eq!(
        desk.stores()
            .agents
            .beat(vec![beat(1, true)])
            .await
            .expect("beat"),
        [agent(1)]
    );
    assert_eq!(registered(&desk, 1).await, Registered::New);
    let again = changes(&desk, later.revision).await;
    assert_eq!((again.agents.len(), again.removed.len()), (1, 0));
    assert_eq!(again.agents[0].mode, AgentMode::Active);
}

/// Agents that were last heard of before a moment are removed; registering and heartbeats are being heard of.
pub async fn silent_agents_are_removed(h: &dyn Harness) {
    let desk = Desk::at(h);
    for number in 1..=4 {
        registered(&desk, number).await;
    }
    desk.advance(Duration::from_secs(10)).await;
    desk.stores()
        .agents
        .beat(vec![beat(2, true)])
        .await
        .expect("beat");
    registered(&desk, 3).await;
    for (number, mode) in [(5, AgentMode::Quarantined), (6, AgentMode::Draining)] {
        registered(&desk, number).await;
        set_mode(&desk, number, mode).await;
    }
    desk.advance(Duration::from_secs(1)).await;
    let beats = vec![beat(2, true), beat(3, true)];
    desk.stores().agents.beat(beats).await.expect("beat");
    let mut removed = remove(&desk, RecordDraft::default()).await;
    removed.sort();
    assert_eq!(removed, [agent(1), agent(4)]);
    assert_eq!(remove(&desk, RecordDraft::default()).await, []);
}

/// An agent is removed with mode and records, named in the changes, and new when it comes again; removing what is absent
/// gives false and changes nothing.
pub async fn an_agent_is_removed_with_all_that_is_known_of_it(h: &dyn Harness) {
    let desk = Desk::at(h);
    let remove = async |number| {
        let agents = &desk.stores().agents;
        agents
            .remove(agent(number), RecordDraft::default())
            .await
            .expect("remove")
    };
    assert!(!remove(1).await);
    registered(&desk, 1).await;
    registered(&desk, 2).await;
    set_mode(&desk, 1, AgentMode::Draining).await;
    desk.stores()
        .agents
        .learn(vec![outcome(1, 1)])
        .await
        .expect("learn");
    let before = revision(&desk).await;
    assert!(remove(1).await);
    assert_eq!(
        (find(&desk, 1).await, find(&desk, 2).await.is_some()),
        (None, true)
    );
    let later = changes(&desk, before).await;
    assert_eq!(
        (later.agents.len(), later.removed.as_slice()),
        (0, [agent(1)].as_slice())
    );
    let leaves = desk.leaves().await.len();
    assert!(!remove(1).await);
    assert_eq!(
        (revision(&desk).await, desk.leaves().await.len()),
        (later.revision, leaves)
    );
    assert_eq!(registered(&desk, 1).await, Registered::New);
    let again = find(&desk, 1).await.expect("registered");
    assert_eq!((again.mode, again.records.len()), (AgentMode::Active, 0));
}

/// Agents stand in the order of the ids asked for; absent and removed ones are none; an id asked twice is answered twice.
pub async fn agents_are_read_in_the_order_of_the_ids(h: &dyn Harness) {
    let desk = Desk::at(h);
    for number in 1..=3 {
        registered(&desk, number).await;
    }
    let agents = &desk.stores().agents;
    agents
        .remove(agent(3), RecordDraft::default())
        .await
        .expect("remove");
    desk.advance(Duration::from_secs(1)).await;
    agents.beat(vec![beat(2, false)]).await.expect("beat");
    let ids = [2, 9, 1, 3, 2].map(agent);
    let found = agents.get(&ids).await.expect("get");
    let told: Vec<_> = found
        .iter()
        .map(|found| found.as_ref().map(|found| found.profile.id))
        .collect();
    assert_eq!(told, [Some(agent(2)), None, Some(agent(1)), None, Some(agent(2))]);
    assert_eq!(found[0], find(&desk, 2).await, "the latest heartbeat included");
    assert_eq!(agents.get(&[]).await.expect("get"), []);
}

/// Pages by id together give every agent that may be seen once: those of the tenant and those that serve every tenant.
pub async fn a_list_gives_every_agent_that_may_be_seen_once_by_id(h: &dyn Harness) {
    let desk = Desk::at(h);
    for (number, owner) in [
        (4, Some(TENANT)),
        (2, None),
        (1, Some(TENANT)),
        (5, Some(tenant(2))),
        (3, Some(tenant(2))),
        (6, Some(TENANT)),
    ] {
        let profile = AgentProfile {
            tenant: owner,
            ..profile(number)
        };
        register(&desk, profile).await.expect("registered");
    }
    let agents = &desk.stores().agents;
    agents
        .remove(agent(6), RecordDraft::default())
        .await
        .expect("remove");
    for (scope, expected) in [
        (TenantScope::Tenant(TENANT), vec![1, 2, 4]),
        (TenantScope::Tenant(tenant(2)), vec![2, 3, 5]),
        (TenantScope::Tenant(tenant(3)), vec![2]),
        (TenantScope::All, vec![1, 2, 3, 4, 5]),
    ] {
        for limit in [1, 2, 100] {
            let (mut after, mut found) = (None, Vec::new());
            loop {
                let page = agents
                    .list(scope, AgentQuery { after, limit })
                    .await
                    .expect("list");
                assert!(page.agents.len() <= limit);
                found.extend(page.agents.into_iter().map(|found| found.profile.id));
                let Some(next) = page.next else { break };
                assert!(after.is_none_or(|after| after < next), "the cursor goes on");
                after = Some(next);
            }
            assert_eq!(
                found,
                expected.iter().copied().map(agent).collect::<Vec<_>>(),
                "{scope:?} by {limit}"
            );
        }
    }
}

fn outcome(number: u64, of_task: u64) -> OutcomeDelta {
    OutcomeDelta {
        agent: agent(number),
        kind: kind(),
        attempt: (task(of_task), arbiter_core::model::Fence(1)),
        succeeded: true,
        quality: Ratio::new(0.5).ok(),
        latency: Duration::from_secs(4),
        cost_micros: Some(10),
    }
}

/// An outcome is counted once per attempt, inside a call as over several; one of an unknown agent is ignored.
pub async fn an_outcome_is_counted_once(h: &dyn Harness) {
    let desk = Desk::at(h);
    registered(&desk, 1).await;
    let before = revision(&desk).await;
    let learn = async |outcomes| desk.stores().agents.learn(outcomes).await.expect("learn");
    learn(vec![outcome(1, 1), outcome(1, 1), outcome(1, 2), outcome(9, 3)]).await;
    learn(vec![outcome(1, 2)]).await;
    let found = find(&desk, 1).await.expect("registered");
    let record = found.records.get(&kind()).expect("a record");
    assert_eq!(
        (record.count, record.successes, record.cost_micros),
        (2, 2, (20, 2))
    );
    assert!((record.latency_seconds - 8.0).abs() < 1e-9);
    assert!(
        revision(&desk).await > before,
        "what is known of an agent has changed"
    );
    assert_eq!(find(&desk, 9).await, None);
}

/// The outcome of a task that is not in the store is counted once for a while, and anew after it; of one that is there it is
/// counted once.
pub async fn that_an_outcome_was_counted_is_known_for_a_while(h: &dyn Harness) {
    let desk = Desk::at(h);
    registered(&desk, 1).await;
    let counted = async |of_task, count| {
        let learnt = desk.stores().agents.learn(vec![outcome(1, of_task)]).await;
        learnt.expect("learn");
        let found = find(&desk, 1).await.expect("registered");
        let record = found.records.get(&kind()).expect("a record");
        assert_eq!(record.count, count, "task {of_task}");
    };
    let here = desk.submit(new_task(72)).await;
    assert_eq!(here.id, task(72));
    counted(72, 1).await;
    counted(70, 2).await;
    desk.advance(OUTCOMES_KEPT).await;
    counted(70, 2).await;
    counted(71, 3).await;
    desk.advance(Duration::from_millis(1)).await;
    counted(70, 4).await;
    counted(71, 4).await;
    counted(72, 4).await;
}

/// Registering, setting a mode and removing leave a record each, in the agent's tenant.
pub async fn every_change_leaves_a_record(h: &dyn Harness) {
    let desk = Desk::at(h);
    // A registry elsewhere was asked by an operation, which its records name as well.
    let acts = |leaf| -> Vec<&str> {
        let words = acts(leaf).into_iter();
        words.filter(|word| !word.contains('.')).collect()
    };
    let draft = || RecordDraft {
        principal: Some(principal(4)),
        ..RecordDraft::default()
    };
    let agents = &desk.stores().agents;
    agents.register(profile(1), draft()).await.expect("registered");
    agents
        .register(
            AgentProfile {
                slots: 2,
                ..profile(1)
            },
            draft(),
        )
        .await
        .expect("replaced");
    agents
        .set_mode(agent(1), AgentMode::Draining, draft())
        .await
        .expect("set the mode");
    agents.register(profile(2), draft()).await.expect("registered");
    assert!(agents.remove(agent(2), draft()).await.expect("removed"));
    let words: Vec<_> = desk.leaves_of(agent(2)).await;
    assert_eq!(
        words.iter().map(acts).collect::<Vec<_>>(),
        [["agent_registered"], ["agent_removed"]]
    );
    let active = agents.set_mode(agent(1), AgentMode::Active, draft()).await;
    assert!(active.expect("set the mode"));
    desk.advance(Duration::from_secs(1)).await;
    remove(&desk, draft()).await;
    let leaves = desk.leaves_of(agent(1)).await;
    let words: Vec<_> = leaves.iter().map(acts).collect();
    assert_eq!(
        words,
        [
            ["agent_registered"],
            ["agent_registered"],
            ["agent_mode_set"],
            ["agent_mode_set"],
            ["agent_removed"]
        ]
    );
    assert!(
        leaves
            .iter()
            .all(|leaf| leaf.principal == Some(principal(4)) && leaf.tenant == TENANT)
    );
}
