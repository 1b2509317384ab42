//! The registry with several nodes.

use std::collections::BTreeSet;
use std::time::Duration;

use arbiter_core::model::{AgentBeat, Fence, OutcomeDelta, RecordDraft};
use arbiter_core::ports::{AgentRegistry, AuditTree as _, OUTCOMES_KEPT, Registered, Revision};
use arbiter_testkit::builders::{agent, kind, profile, task};
use futures_util::future::{join, join_all};

use crate::support::Place;

/// Whoever follows the changes while many nodes make some passes none by.
#[tokio::test]
async fn a_follower_sees_every_change_of_writers_at_the_same_time() {
    let place = Place::new().await;
    let stores = [place.open().await, place.open().await];
    let follower = place.open().await;
    let writers = join_all((1..=20_u64).map(|number| {
        let store = &stores[usize::from(number % 2 == 0)];
        async move {
            let registered = store.register(profile(number), RecordDraft::default()).await;
            assert_eq!(registered.unwrap(), Registered::New);
        }
    }));
    let follow = async {
        let (mut after, mut seen) = (Revision::default(), BTreeSet::new());
        while seen.len() < 20 {
            let changes = follower.changes(after, 3).await.unwrap();
            assert!(changes.revision >= after);
            after = changes.revision;
            seen.extend(changes.agents.into_iter().map(|found| found.profile.id));
        }
        (after, seen)
    };
    let (_, (after, seen)) = join(writers, follow).await;
    assert_eq!(seen, (1..=20).map(agent).collect());
    assert_eq!(after, Revision(20), "each change has a revision of its own");
    assert_eq!(follower.sequence(usize::MAX).await.unwrap().size, 20);
}

/// Heartbeats of the same agents in different orders, amid changes of them, wait for each other in no circle.
#[tokio::test]
async fn heartbeats_and_changes_do_not_block_each_other_for_ever() {
    let place = Place::new().await;
    let store = place.open().await;
    for number in 1..=10 {
        store
            .register(profile(number), RecordDraft::default())
            .await
            .unwrap();
    }
    let beat = |number| AgentBeat {
        agent: agent(number),
        able: number % 2 == 0,
        cpu: None,
        memory: None,
    };
    let beats = join_all((0..12).map(|round| {
        let mut beats: Vec<_> = (1..=10).map(beat).collect();
        if round % 2 == 0 {
            beats.reverse();
        }
        store.beat(beats)
    }));
    let changes = join_all((1..=10).rev().map(|number| {
        let mut changed = profile(number);
        changed.slots = 2;
        store.register(changed, RecordDraft::default())
    }));
    let (beats, changes) = join(beats, changes).await;
    for unknown in beats {
        assert_eq!(unknown.unwrap(), []);
    }
    for changed in changes {
        assert_eq!(changed.unwrap(), Registered::Replaced);
    }
    let found = store.get(&[agent(4)]).await.unwrap().remove(0).unwrap();
    assert_eq!((found.profile.slots, found.beat), (2, Some(beat(4))));
}

/// What is kept of outcomes whose tasks are not here goes after a while.
#[tokio::test]
async fn outcomes_of_tasks_that_are_not_here_go_after_a_while() {
    let place = Place::new().await;
    let store = place.open().await;
    store.register(profile(1), RecordDraft::default()).await.unwrap();
    let learn = async |number| {
        let outcome = OutcomeDelta {
            agent: agent(1),
            kind: kind(),
            attempt: (task(number), Fence(1)),
            succeeded: true,
            quality: None,
            latency: Duration::from_secs(1),
            cost_micros: None,
        };
        AgentRegistry::learn(&store, vec![outcome]).await.unwrap();
    };
    learn(1).await;
    learn(2).await;
    let client = place.client().await;
    let count = async || {
        let row = client.query_one("SELECT count(*) FROM agent_outcome", &[]).await;
        row.unwrap().get::<_, i64>(0)
    };
    let kept = i64::try_from(OUTCOMES_KEPT.as_micros()).unwrap();
    let older = "UPDATE agent_outcome SET at = at - $1 WHERE task = $2::text::uuid";
    client
        .execute(older, &[&kept, &task(1).to_string()])
        .await
        .unwrap();
    learn(3).await;
    assert_eq!(count().await, 2);
}
