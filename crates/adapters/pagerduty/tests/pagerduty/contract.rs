//! The contract of the port.

use std::sync::{Arc, Mutex};

use arbiter_testkit::StubAnswer;
use arbiter_testkit::contract::{NotifierHarness, StubTarget, TargetMood};

use crate::schema::event;
use crate::support::{KEY, World, refused, taken};

async fn harness() -> NotifierHarness {
    let mood = Arc::new(Mutex::new(TargetMood::Takes));
    let script = Arc::clone(&mood);
    let world = World::answering(move |request, clock| match *script.lock().unwrap() {
        TargetMood::Takes => taken(request),
        // the answer repeats the event, as an answer of a proxy might
        TargetMood::Refuses => {
            let message = format!("CONTRACT-REFUSAL {KEY} {}", "x".repeat(9_000));
            refused(400, &message, &["Length of 'routing_key' is incorrect"])
        }
        TargetMood::Busy(wait) => {
            let body = format!("slow down, {KEY}");
            StubAnswer::reply(429, body).with("retry-after", &wait.as_secs().to_string())
        }
        TargetMood::Silent => StubAnswer::never(clock, b""),
    })
    .await;
    NotifierHarness {
        notifier: Arc::new(world.notifier),
        target: Box::new(StubTarget {
            stub: world.stub,
            mood,
            read: Box::new(|request| event(&request.body).to_string()),
            knows_keys: true,
            asks_for_time: true,
        }),
        secrets: vec![KEY.to_owned()],
        kept: Box::new(world.clock),
    }
}

arbiter_testkit::incident_notifier_contract!(harness().await);
