//! Rates and sizes of the embedded control plane: the secure queue with its policies, redaction and audit, over SQLite.
//!
//! `cargo bench -p arbiter-tests` prints medians of alternating rounds beside the raw rates of SQLite in the same run.
//! An argument picks parts by name: `life`, `submit`, `security`, `memory`, `start`, and of the
//! server `http`, `latency`, `idle`, `overload`; of the PostgreSQL store `shared` and `backlog`, only when named.
//! `round TASKS` is what `cargo xtask bench peers` asks for; `round TASKS life` is one of its measurements.
#![expect(clippy::disallowed_methods, reason = "a bench measures real time")]
#![expect(clippy::print_stdout, reason = "a bench prints its table")]
#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a bench that fails should stop"
)]

mod agents;
mod memory;
mod plane;
#[path = "../../crates/adapters/sqlite/benches/raw/mod.rs"]
mod raw;
mod security;
mod server;
mod shared;
mod start;

use plane::{Plane, Policies};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const ROUNDS: usize = 5;

fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[sorted.len() / 2]
}

fn show(name: &str, values: &[f64]) -> f64 {
    let middle = median(values);
    println!("{name:<58} {middle:>12.0} /s");
    middle
}

async fn life() {
    let mut one = Vec::new();
    let mut rates = [Vec::new(), Vec::new()];
    let mut raws = [Vec::new(), Vec::new()];
    let mut groups = [Vec::new(), Vec::new()];
    for _ in 0..ROUNDS {
        for (place, (callers, each)) in [(32, 500), (256, 100)].into_iter().enumerate() {
            let plane = Plane::new(Policies::On).await;
            let (rate, group) = plane.lives(callers, each).await;
            rates[place].push(rate);
            groups[place].push(group);
            raws[place].push(raw::lives(16_000, group));
        }
        one.push(raw::rows(3_000, 1));
    }
    println!("P1 whole life: submit, claim, report; policies, redaction, audit on");
    let one = show("  raw: one row per commit", &one);
    println!("  one durable commit takes {:.3} ms", 1e3 / one);
    for (place, name) in ["32 lock-step callers", "256 lock-step callers"]
        .into_iter()
        .enumerate()
    {
        let group = median(&groups[place]);
        let ours = show(&format!("  {name}, {group:.0} calls per commit"), &rates[place]);
        let raw = show(
            &format!("  raw: the same statements, {group:.0} per commit"),
            &raws[place],
        );
        println!("  ratio {:.2}", ours / raw);
    }
}

async fn submit() {
    let (mut single, mut one, mut thirty_two) = (Vec::new(), Vec::new(), Vec::new());
    let mut groups = Vec::new();
    for _ in 0..ROUNDS {
        let plane = Plane::new(Policies::On).await;
        let (rate, group) = plane.submits(32, 1_500).await;
        single.push(rate);
        groups.push(group);
        one.push(raw::rows(3_000, 1));
        thirty_two.push(raw::rows(50_000, 32));
    }
    println!("P2 submit, single calls; policies, redaction, audit on");
    let single = show(
        &format!("  32 callers, {:.0} per commit", median(&groups)),
        &single,
    );
    let one = show("  raw: one row per commit", &one);
    let thirty_two = show("  raw: 32 rows per commit", &thirty_two);
    println!("  ratios {:.1} and {:.2}", single / one, single / thirty_two);
}

fn main() {
    let wanted: Vec<String> = std::env::args()
        .skip(1)
        .filter(|word| !word.starts_with("--"))
        .collect();
    let is_wanted = |name: &str| wanted.is_empty() || wanted.iter().any(|word| word == name);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    if is_wanted("life") {
        runtime.block_on(life());
    }
    if is_wanted("submit") {
        runtime.block_on(submit());
    }
    if is_wanted("security") {
        runtime.block_on(security::run());
    }
    if is_wanted("memory") {
        runtime.block_on(memory::run());
    }
    // these need a PostgreSQL, so they are not among what runs without being named
    if wanted.iter().any(|word| word == "shared") {
        runtime.block_on(shared::run());
    }
    if wanted.iter().any(|word| word == "backlog") {
        runtime.block_on(shared::backlog());
    }
    if wanted.iter().any(|word| word == "round") {
        let tasks = wanted.iter().find_map(|word| word.parse().ok());
        let only = ["submit_single", "submit_batch", "life", "drain_batch"];
        let only = only
            .into_iter()
            .find(|name| wanted.iter().any(|word| word == name));
        runtime.block_on(shared::round(tasks.unwrap(), only));
    }
    if is_wanted("start") {
        runtime.block_on(start::run());
    }
    if is_wanted("http") {
        runtime.block_on(server::http());
    }
    if is_wanted("latency") {
        runtime.block_on(server::latency());
    }
    if is_wanted("idle") {
        runtime.block_on(server::idle());
    }
    if is_wanted("overload") {
        runtime.block_on(server::overload());
    }
}
