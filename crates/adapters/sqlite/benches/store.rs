//! Rates of the store beside those of SQLite itself, in the same run and on the same disk.
//!
//! `cargo bench -p arbiter-adapter-sqlite` prints medians of alternating rounds. Audit is on; authorisation and
//! redaction are above the store and not part of it. An argument picks rounds by name: `life`, `submit`, `backlog`,
//! `audit`, `codec`.
#![expect(clippy::disallowed_methods, reason = "a bench measures real time")]
#![expect(clippy::print_stdout, reason = "a bench prints its table")]
#![expect(clippy::wildcard_imports, reason = "a bench uses most of the vocabulary")]
#![expect(clippy::unwrap_used, reason = "a bench that fails should stop")]

mod raw;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use arbiter_adapter_sqlite::{SqliteConfig, SqliteStore};
use arbiter_adapter_system::{OsEntropy, SystemClock};
use arbiter_core::lifecycle::{Command, Expect, Rules};
use arbiter_core::model::*;
use arbiter_core::ports::*;
use tempfile::TempDir;

const ROUNDS: usize = 5;
const TENANT: TenantId = TenantId::from_bytes([9; 16]);
const AGENT: AgentId = AgentId::from_bytes([7; 16]);
const PRINCIPAL: PrincipalId = PrincipalId::from_bytes([5; 16]);

struct Bench {
    store: Arc<SqliteStore>,
    ids: Arc<AtomicU64>,
    config: SqliteConfig,
    _folder: TempDir,
}

impl Bench {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let config = SqliteConfig::new(folder.path());
        let store = SqliteStore::open(
            &config,
            Rules::default(),
            Arc::new(SystemClock::new()),
            Arc::new(OsEntropy::new()),
        );
        Self {
            store: Arc::new(store.unwrap()),
            ids: Arc::new(AtomicU64::new(1)),
            config,
            _folder: folder,
        }
    }

    /// Time-ordered ids with random ends, as UUID version 7 are.
    fn id(ids: &AtomicU64) -> [u8; 16] {
        let number = ids.fetch_add(1, Ordering::Relaxed);
        let mut id = [0; 16];
        id[..8].copy_from_slice(&number.to_be_bytes());
        id[8..].copy_from_slice(&number.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
        id
    }

    /// How many commits there were, and how many leaves they hold.
    fn commits(&self) -> (f64, f64) {
        let connection = rusqlite::Connection::open(self.config.database()).unwrap();
        let counts = connection.query_row("SELECT count(*), sum(count) FROM audit_batch", [], |row| {
            Ok((row.get(0)?, row.get::<_, Option<f64>>(1)?))
        });
        counts
            .map(|(batches, leaves)| (batches, leaves.unwrap_or(0.0)))
            .unwrap()
    }
}

fn spec() -> TaskSpec {
    let mut spec = TaskSpec::new(
        TaskKind::new("analysis").unwrap(),
        "Count the words of a text",
        "Count the words of the text in the input and answer with the number of words.",
    );
    spec.input = Json::parse(format!("{{\"text\":\"{}\"}}", "one two three ".repeat(10))).ok();
    spec
}

fn new_task(ids: &AtomicU64, spec: &Arc<TaskSpec>) -> NewTask {
    NewTask {
        id: TaskId::from_bytes(Bench::id(ids)),
        command: CommandId::from_bytes(Bench::id(ids)),
        tenant: TENANT,
        submitter: PRINCIPAL,
        spec: Arc::clone(spec),
        idempotency: None,
        open_limit: Some(100_000_000),
        effects: Effects::of(RecordDraft::by(PRINCIPAL, Operation::TaskSubmit)),
    }
}

/// Gives every candidate to one agent, with a decision as the allocator makes them.
struct ToAgent;

impl Chooser for ToAgent {
    fn choose(&self, candidates: &[Candidate], _now: Timestamp) -> Vec<Option<Choice>> {
        let choice = |candidate: &Candidate| {
            let part = |name| ScorePart {
                name,
                weight: 0.25,
                value: 0.8,
            };
            Some(Choice {
                to: Holder::Agent(AGENT),
                acknowledged: true,
                loads: vec![
                    (Scope::Agent(AGENT), 1_000_000),
                    (Scope::Tenant(TENANT), 1_000_000),
                ],
                decision: Some(Arc::new(Decision {
                    id: DecisionId::from_bytes([1; 16]),
                    task: candidate.task,
                    agent: AGENT,
                    strategy: "weighted",
                    policy_version: 1,
                    score: 0.8,
                    parts: ["success", "quality", "latency", "cost"].map(part).to_vec(),
                    candidates: 3,
                    alternatives: Vec::new(),
                    propensity: 0.9,
                    explore: false,
                    seed: Some(1),
                    rationale: "the highest score of 3 candidates: 0.80".into(),
                })),
            })
        };
        candidates.iter().map(choice).collect()
    }
}

async fn life(store: &SqliteStore, ids: &AtomicU64, spec: &Arc<TaskSpec>, lane: LaneId) {
    let request = SubmitRequest {
        tasks: vec![new_task(ids, spec)],
        all_or_nothing: false,
    };
    assert!(matches!(
        store.submit(request).await.unwrap()[0],
        Submitted::Stored(_)
    ));
    let request = ClaimRequest {
        lanes: vec![LaneQuota { lane, take: 1 }],
        chooser: Arc::new(ToAgent),
        command: CommandId::from_bytes(Bench::id(ids)),
        effects: Effects::of(RecordDraft::by(PRINCIPAL, Operation::WorkClaim)),
    };
    let claimed = store.claim(request).await.unwrap();
    let assignment = &claimed.assigned[0];
    let report = Report {
        output: Json::parse("{\"words\":30,\"note\":\"counted by splitting at white space\"}").ok(),
        ..Report::default()
    };
    let transition = Transition {
        command: CommandId::from_bytes(Bench::id(ids)),
        task: assignment.stored.task.id,
        tenant: TENANT,
        expect: Expect::Lease {
            fence: assignment.fence,
            holder: assignment.to,
        },
        action: Command::Report(Box::new(report)),
        effects: Effects::of(RecordDraft::by(PRINCIPAL, Operation::WorkReport)),
    };
    let done = store.apply(vec![transition]).await.unwrap();
    assert_eq!(done[0].as_ref().unwrap().state, State::Succeeded);
}

fn lane() -> LaneId {
    LaneKey {
        tenant: TENANT,
        band: Priority::NORMAL.band(),
        work: Work::Attempt(Shape::of(&spec())),
    }
    .id()
}

/// Runs `callers` that each do `each` lock-step lives; gives lives per second and calls per commit.
async fn lives(bench: &Bench, callers: u64, each: u64) -> (f64, f64) {
    let (commits, leaves) = bench.commits();
    let (start, lane) = (Instant::now(), lane());
    let mut running = tokio::task::JoinSet::new();
    for _ in 0..callers {
        let (store, ids) = (Arc::clone(&bench.store), Arc::clone(&bench.ids));
        let spec = Arc::new(spec());
        running.spawn(async move {
            for _ in 0..each {
                life(&store, &ids, &spec, lane).await;
            }
        });
    }
    while let Some(done) = running.join_next().await {
        done.unwrap();
    }
    let rate = (callers * each) as f64 / start.elapsed().as_secs_f64();
    let (commits_after, leaves_after) = bench.commits();
    (rate, (leaves_after - leaves) / (commits_after - commits))
}

async fn submits(bench: &Bench, callers: u64, each: u64, batch: usize) -> (f64, f64) {
    let (commits, leaves) = bench.commits();
    let start = Instant::now();
    let mut running = tokio::task::JoinSet::new();
    for _ in 0..callers {
        let (store, ids) = (Arc::clone(&bench.store), Arc::clone(&bench.ids));
        let spec = Arc::new(spec());
        running.spawn(async move {
            for _ in 0..each {
                let request = SubmitRequest {
                    tasks: (0..batch).map(|_| new_task(&ids, &spec)).collect(),
                    all_or_nothing: false,
                };
                store.submit(request).await.unwrap();
            }
        });
    }
    while let Some(done) = running.join_next().await {
        done.unwrap();
    }
    let rate = (callers * each) as f64 * batch as f64 / start.elapsed().as_secs_f64();
    let (commits_after, leaves_after) = bench.commits();
    (rate, (leaves_after - leaves) / (commits_after - commits))
}

async fn appends(bench: &Bench, callers: u64, each: u64, records: usize) -> f64 {
    let start = Instant::now();
    let mut running = tokio::task::JoinSet::new();
    for _ in 0..callers {
        let (store, ids) = (Arc::clone(&bench.store), Arc::clone(&bench.ids));
        running.spawn(async move {
            let record = Record {
                at: Timestamp::from_micros(1),
                tenant: TENANT,
                principal: Some(PRINCIPAL),
                operation: Some(Operation::TaskGet),
                actions: vec![AuditAction::AuthorizationFailed],
                resource: Resource::new("task", TaskId::from_bytes([1; 16]).to_string()),
                outcome: RecordOutcome::Refused,
                reason: Some("forbidden"),
                count: None,
                detail: None,
            };
            for _ in 0..each {
                let batch = BatchId::from_bytes(Bench::id(&ids));
                store.append(batch, vec![record.clone(); records]).await.unwrap();
            }
        });
    }
    while let Some(done) = running.join_next().await {
        done.unwrap();
    }
    (callers * each) as f64 * records as f64 / start.elapsed().as_secs_f64()
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn show(name: &str, values: &[f64]) -> f64 {
    let middle = median(values.to_vec());
    println!("{name:<58} {middle:>12.0} /s");
    middle
}

async fn bench_life() {
    let (mut at_32, mut at_256, mut raw_32, mut raw_256, mut one) =
        (Vec::new(), Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let (mut groups_32, mut groups_256) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let bench = Bench::new();
        let (rate, group) = lives(&bench, 32, 500).await;
        at_32.push(rate);
        groups_32.push(group);
        raw_32.push(raw::lives(16_000, group));
        let bench = Bench::new();
        let (rate, group) = lives(&bench, 256, 100).await;
        at_256.push(rate);
        groups_256.push(group);
        raw_256.push(raw::lives(16_000, group));
        one.push(raw::rows(3000, 1));
    }
    println!("P1 whole life");
    let one = show("  raw: one row per commit", &one);
    println!("  one durable commit takes {:.3} ms", 1e3 / one);
    for (name, ours, raw, groups) in [
        ("32 lock-step callers", at_32, raw_32, groups_32),
        ("256 lock-step callers", at_256, raw_256, groups_256),
    ] {
        let group = median(groups);
        let ours = show(&format!("  {name}, {group:.0} calls per commit"), &ours);
        let raw = show(
            &format!("  raw: the same statements, {group:.0} per commit"),
            &raw,
        );
        println!("  ratio {:.2}", ours / raw);
    }
}

async fn bench_submit() {
    let (mut single, mut batches, mut one, mut thirty_two, mut hundred) =
        (Vec::new(), Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let mut groups = Vec::new();
    for _ in 0..ROUNDS {
        let bench = Bench::new();
        let (rate, group) = submits(&bench, 32, 1500, 1).await;
        single.push(rate);
        groups.push(group);
        one.push(raw::rows(3000, 1));
        thirty_two.push(raw::rows(50_000, 32));
        let bench = Bench::new();
        batches.push(submits(&bench, 4, 100, 100).await.0);
        hundred.push(raw::rows(50_000, 100));
    }
    println!("P2 submit");
    let group = median(groups);
    let single = show(
        &format!("  single calls, 32 callers, {group:.0} per commit"),
        &single,
    );
    let one = show("  raw: one row per commit", &one);
    let thirty_two = show("  raw: 32 rows per commit", &thirty_two);
    println!("  ratios {:.1} and {:.2}", single / one, single / thirty_two);
    show("  batches of 100, 4 callers", &batches);
    show("  raw: 100 rows per commit", &hundred);
}

async fn bench_backlog() {
    let (small, large) = (Bench::new(), Bench::new());
    submits(&small, 1, 1, 1000).await;
    submits(&large, 1, 1000, 1000).await;
    let (mut few, mut many) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        few.push(lives(&small, 32, 300).await.0);
        many.push(lives(&large, 32, 300).await.0);
    }
    println!("P9 whole life with a backlog, 32 lock-step callers");
    let few = show("  1 000 waiting", &few);
    let many = show("  1 000 000 waiting", &many);
    println!("  ratio {:.2}", many / few);
    let start = Instant::now();
    drop(large.store);
    println!("  closing took {:.2} s", start.elapsed().as_secs_f64());
    let start = Instant::now();
    let reopened = SqliteStore::open(
        &large.config,
        Rules::default(),
        Arc::new(SystemClock::new()),
        Arc::new(OsEntropy::new()),
    );
    let tally = reopened.unwrap().tally(TENANT).await.unwrap();
    println!(
        "P15 open with {} open tasks: {:.1} ms",
        tally.open,
        start.elapsed().as_secs_f64() * 1e3
    );
}

async fn bench_audit() {
    let (mut single, mut tens) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let bench = Bench::new();
        single.push(appends(&bench, 32, 500, 1).await);
        tens.push(appends(&bench, 32, 500, 10).await);
    }
    println!("P14 audit append");
    show("  32 callers, 1 record each", &single);
    show("  32 callers, 10 records each", &tens);
}

fn bench_codec() {
    use arbiter_wire::stored::{decode_spec, decode_status, encode_spec, encode_status};
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let bench = Bench::new();
    let (task, spec) = runtime.block_on(async {
        let spec = Arc::new(spec());
        let request = SubmitRequest {
            tasks: vec![new_task(&bench.ids, &spec)],
            all_or_nothing: false,
        };
        bench.store.submit(request).await.unwrap();
        let request = ClaimRequest {
            lanes: vec![LaneQuota {
                lane: lane(),
                take: 1,
            }],
            chooser: Arc::new(ToAgent),
            command: CommandId::from_bytes([1; 16]),
            effects: Effects::default(),
        };
        let claimed = bench.store.claim(request).await.unwrap();
        (claimed.assigned[0].stored.task.clone(), spec)
    });
    println!("codec, ns each");
    let time = |name: &str, work: &dyn Fn()| {
        let times = (0..ROUNDS).map(|_| {
            let start = Instant::now();
            (0..20_000).for_each(|_| work());
            start.elapsed().as_nanos() as f64 / 20_000.0
        });
        println!("  {name:<56} {:>12.0}", median(times.collect()));
    };
    let (status, body) = (encode_status(&task).unwrap(), encode_spec(&spec).unwrap());
    println!(
        "  a running task's status has {} bytes, its specification {}",
        status.len(),
        body.len()
    );
    time("encode status", &|| {
        drop(std::hint::black_box(encode_status(&task)));
    });
    time("decode status", &|| {
        drop(std::hint::black_box(decode_status(&status)));
    });
    time("encode specification", &|| {
        drop(std::hint::black_box(encode_spec(&spec)));
    });
    time("decode specification", &|| {
        drop(std::hint::black_box(decode_spec(&body)));
    });
}

fn main() {
    let chosen: Vec<String> = std::env::args()
        .skip(1)
        .filter(|word| !word.starts_with('-'))
        .collect();
    let is_chosen = |name: &str| chosen.is_empty() || chosen.iter().any(|word| word == name);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_time()
        .build()
        .unwrap();
    if is_chosen("codec") {
        bench_codec();
    }
    if is_chosen("life") {
        runtime.block_on(bench_life());
    }
    if is_chosen("submit") {
        runtime.block_on(bench_submit());
    }
    if is_chosen("audit") {
        runtime.block_on(bench_audit());
    }
    if is_chosen("backlog") {
        runtime.block_on(bench_backlog());
    }
}
