//! Random calls over HTTP are decided as Cedar's own engine for Python decides them, which is told nothing but a model of
//! the world: tenants, principals with their roles, tasks, and whose everything else is.

mod calls;
mod random;
mod world;

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};

use arbiter_core::model::Operation;
use arbiter_tests::http::{Answer, Kept};
use arbiter_tests::{python, samples, workspace};
use serde_json::json;

use calls::{Call, NOT_COVERED, call};
use random::Random;
use world::World;

/// The seed, unless `ARBITER_AUTHORIZATION_SEED` has another one.
const SEED: usize = 20_260_112;
/// So many connections call at once.
const CONNECTIONS: usize = 4;

/// A call that is made.
struct Asked {
    by: usize,
    operation: Operation,
    call: Call,
}

/// An answer: its status, the code of a problem, and for a denial all that a caller can tell it from another one by.
struct Told {
    words: String,
    shape: Option<String>,
}

impl Told {
    fn of(answer: &Answer) -> Self {
        if answer.status < 400 {
            return Self {
                words: answer.status.to_string(),
                shape: None,
            };
        }
        let mut problem = answer.json();
        let told = problem.as_object_mut().expect("a problem");
        told.remove("request_id");
        told.remove("instance");
        Self {
            words: format!("{} {}", answer.status, problem["code"].as_str().expect("a code")),
            shape: [403, 404].contains(&answer.status).then(|| problem.to_string()),
        }
    }
}

fn random_calls(random: &mut Random, world: &World, count: usize) -> Vec<Asked> {
    let of_tasks = |operation: &&Operation| operation.word().starts_with("task.");
    let of_tasks: Vec<Operation> = Operation::ALL.iter().filter(of_tasks).copied().collect();
    let mut asked = Vec::with_capacity(count);
    while asked.len() < count {
        let by = random.below(world.callers.len());
        // Most can be told apart by policies about tasks: they come more often than others.
        let among = if random.percent(30) {
            &of_tasks
        } else {
            Operation::ALL
        };
        let operation = *random.pick(among);
        if let Some(call) = call(random, world, &world.callers[by], operation) {
            asked.push(Asked { by, operation, call });
        }
    }
    asked
}

/// What the script says of each call, in their order.
fn decided(world: &World, asked: &[Asked]) -> Vec<String> {
    let root = workspace();
    let cedar = root.join("crates/adapters/cedar/policies");
    let mut script = Command::new(python())
        .arg(root.join("tests/check/authorization.py"))
        .arg(cedar.join("schema.cedarschema"))
        .arg(cedar.join("default.cedar"))
        .arg(root.join("tests/check/authorization.cedar"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the interpreter of ARBITER_TEST_PYTHON starts");
    let mut input = script.stdin.take().expect("piped");
    let output = std::thread::scope(|scope| {
        // Written beside the reading: neither side waits for ever for the other.
        scope.spawn(move || {
            let line = |one: &Asked| {
                let who = &world.callers[one.by].id;
                json!({"who": who, "operation": one.operation.word(), "on": one.call.on})
            };
            let mut lines = std::iter::once(world.facts.clone()).chain(asked.iter().map(line));
            // A script that ended early tells why itself; its exit status is checked below.
            let _ended = lines.try_for_each(|line| writeln!(input, "{line}"));
        });
        script.wait_with_output().expect("the script ends")
    });
    assert!(output.status.success(), "the script failed: {}", output.status);
    let text = String::from_utf8(output.stdout).expect("text");
    text.lines().map(str::to_owned).collect()
}

/// What the server answers to each call, in their order.
fn answered(world: &World, asked: &[Asked]) -> Vec<Told> {
    let next = AtomicUsize::new(0);
    let make = || {
        let (mut connection, mut told) = (Kept::default(), Vec::new());
        loop {
            let place = next.fetch_add(1, Ordering::Relaxed);
            let Some(Asked { by, call, .. }) = asked.get(place) else {
                return told;
            };
            let caller = &world.callers[*by].caller;
            let answer = connection.call(caller, call.method, &call.path, &call.headers, &call.body);
            told.push((place, Told::of(&answer)));
        }
    };
    let mut told: Vec<(usize, Told)> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..CONNECTIONS).map(|_| scope.spawn(make)).collect();
        let each = threads
            .into_iter()
            .flat_map(|thread| thread.join().expect("answered"));
        each.collect()
    });
    told.sort_by_key(|(place, _)| *place);
    told.into_iter().map(|(_, told)| told).collect()
}

fn expected<'a>(decision: &str, call: &'a Call) -> &'a str {
    match decision {
        "allow" => call.allowed,
        "forbidden" => "403 forbidden",
        "hidden" | "absent" => "404 not_found",
        other => unreachable!("`{other}` is no decision"),
    }
}

#[test]
fn random_calls_are_decided_as_cedarpy_decides_them() {
    let count = samples("ARBITER_AUTHORIZATION_REQUESTS", 10_000);
    let seed = samples("ARBITER_AUTHORIZATION_SEED", SEED);
    println!("seed {seed}");
    let mut random = Random(seed as u64);
    let world = World::new(&mut random);
    let asked = random_calls(&mut random, &world, count);
    let before = world.state();
    let (decided, answered) = std::thread::scope(|scope| {
        let decided = scope.spawn(|| decided(&world, &asked));
        let answered = answered(&world, &asked);
        (decided.join().expect("decided"), answered)
    });
    assert_eq!((decided.len(), answered.len()), (count, count));

    let mut wrong = Vec::new();
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    let mut by_operation: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    // A denied call and one of something that is not there cannot be told apart.
    let mut shapes: BTreeMap<(&str, &str), &str> = BTreeMap::new();
    for ((one, decision), told) in asked.iter().zip(&decided).zip(&answered) {
        let operation = one.operation.word();
        *counts.entry(decision).or_default() += 1;
        by_operation.entry(operation).or_default().insert(decision);
        let who = &world.callers[one.by];
        let mut differs = !told.words.starts_with(expected(decision, &one.call));
        if let (Some(shape), true) = (&told.shape, decision != "allow") {
            let first = shapes.entry((operation, &told.words)).or_insert(shape);
            differs |= first != shape;
        }
        if differs {
            wrong.push(format!(
                "{operation} by {:?} of {}: {decision}, but `{}` to {} {} {} {:?}",
                who.roles,
                who.tenant,
                told.words,
                one.call.method,
                one.call.path,
                String::from_utf8_lossy(&one.call.body),
                told.shape,
            ));
        }
    }
    let first: Vec<&String> = wrong.iter().take(20).collect();
    assert!(
        wrong.is_empty(),
        "{} of {count} differ by seed {seed}: {first:#?}",
        wrong.len()
    );
    assert_eq!(world.state(), before, "no call changed anything");

    let of = |words: &[&str]| -> usize { words.iter().filter_map(|word| counts.get(word)).sum() };
    let (allowed, denied, absent) = (of(&["allow"]), of(&["forbidden", "hidden"]), of(&["absent"]));
    println!(
        "report: {count} random calls over HTTP by seed {seed}, {allowed} allowed, {denied} denied ({} of them hidden), {absent} of \
         something absent, all as cedarpy decides; {} of {} operations",
        of(&["hidden"]),
        by_operation.len(),
        Operation::ALL.len(),
    );
    for (what, how_many) in [("allowed", allowed), ("denied", denied)] {
        assert!(how_many * 5 >= count, "{what} is rare: {how_many} of {count}");
    }
    covered(&by_operation);
    assert_eq!(world.served.serving.stop().code(), Some(0));
}

/// Every operation is called, with both answers, or it stands in the list of those that are not.
fn covered(by_operation: &BTreeMap<&str, BTreeSet<&str>>) {
    for operation in Operation::ALL {
        let reason = NOT_COVERED.iter().find(|(known, _)| known == operation);
        let decisions = by_operation.get(operation.word());
        match (decisions, reason) {
            (Some(decisions), None) => {
                let granted = decisions.contains("allow") || decisions.contains("absent");
                let denied = decisions.contains("forbidden") || decisions.contains("hidden");
                assert!(
                    granted && denied,
                    "{operation:?} has one answer only: {decisions:?}"
                );
            }
            (None, Some((_, reason))) => assert!(!reason.is_empty(), "{operation:?} has no reason"),
            (None, None) => unreachable!("{operation:?} is new: add a call, or a reason why there is none"),
            (Some(_), Some(_)) => {
                unreachable!("{operation:?} is covered, but stands in the list of what is not")
            }
        }
    }
}
