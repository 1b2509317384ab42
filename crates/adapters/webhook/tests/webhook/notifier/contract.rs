//! The contract of the port, for both targets.

use std::sync::{Arc, Mutex};

use arbiter_testkit::StubAnswer;
use arbiter_testkit::contract::{NotifierHarness, StubTarget, TargetMood};

use super::support::{PATH, Sort, TOKEN, World, checked};

async fn harness(sort: Sort) -> NotifierHarness {
    let mood = Arc::new(Mutex::new(TargetMood::Takes));
    let script = Arc::clone(&mood);
    let world = World::answering(sort, move |_, clock| match *script.lock().unwrap() {
        TargetMood::Takes => StubAnswer::reply(200, ""),
        // the answer repeats the secrets, as that of a proxy might
        TargetMood::Refuses => {
            let words = format!("CONTRACT-REFUSAL {PATH} {TOKEN} {}", "x".repeat(9_000));
            StubAnswer::reply(400, serde_json::to_string(&words).unwrap())
        }
        TargetMood::Busy(wait) => StubAnswer::reply(503, "").with("retry-after", &wait.as_secs().to_string()),
        TargetMood::Silent => StubAnswer::never(clock, b""),
    })
    .await;
    let clock = world.clock;
    NotifierHarness {
        target: Box::new(StubTarget {
            stub: Arc::clone(&world.stub),
            mood,
            read: Box::new(move |request| checked(sort, request, &clock).to_string()),
            knows_keys: true,
            asks_for_time: true,
        }),
        notifier: Arc::new(world.notifier),
        secrets: match sort {
            Sort::Receiver => vec![PATH.to_owned(), "canary0123456789abcdef01".to_owned()],
            Sort::Alertmanager => vec![TOKEN.to_owned()],
        },
        kept: Box::new(world.stub),
    }
}

mod receiver {
    use super::*;

    arbiter_testkit::incident_notifier_contract!(harness(Sort::Receiver).await);
}

mod alertmanager {
    use super::*;

    arbiter_testkit::incident_notifier_contract!(harness(Sort::Alertmanager).await);
}
