//! The contract of the port, for both targets.

use std::sync::{Arc, Mutex};

use arbiter_testkit::StubAnswer;
use arbiter_testkit::contract::{NotifierHarness, StubTarget, TargetMood};

use crate::schema::message;
use crate::support::{PART, PATH, Sort, TOKEN, World, not_ok, ok, posted};

async fn harness(sort: Sort) -> NotifierHarness {
    let mood = Arc::new(Mutex::new(TargetMood::Takes));
    let script = Arc::clone(&mood);
    let world = World::answering(sort, move |request, clock| {
        // answers repeat the secret, as those of a proxy might
        let refusal = format!("CONTRACT-REFUSAL {PATH} {TOKEN} {}", "x".repeat(9_000));
        match (*script.lock().unwrap(), sort) {
            (TargetMood::Takes, Sort::Webhook) => ok(),
            (TargetMood::Takes, Sort::Bot) => posted(request),
            (TargetMood::Refuses, Sort::Webhook) => StubAnswer::reply(400, refusal),
            (TargetMood::Refuses, Sort::Bot) => not_ok(&refusal.replace(PATH, "")),
            (TargetMood::Busy(wait), _) => {
                StubAnswer::reply(429, "").with("retry-after", &wait.as_secs().to_string())
            }
            (TargetMood::Silent, _) => StubAnswer::never(clock, b""),
        }
    })
    .await;
    NotifierHarness {
        notifier: Arc::new(world.notifier),
        target: Box::new(StubTarget {
            stub: world.stub,
            mood,
            read: Box::new(|request| message(&request.body).to_string()),
            knows_keys: false,
            asks_for_time: true,
        }),
        secrets: match sort {
            Sort::Webhook => vec![PATH.to_owned(), PART.to_owned()],
            Sort::Bot => vec![TOKEN.to_owned()],
        },
        kept: Box::new(world.clock),
    }
}

mod webhook {
    use super::*;

    arbiter_testkit::incident_notifier_contract!(harness(Sort::Webhook).await);
}

mod bot {
    use super::*;

    arbiter_testkit::incident_notifier_contract!(harness(Sort::Bot).await);
}
