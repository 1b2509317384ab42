//! Which schedules run: `ARBITER_SIM_SEEDS` of them from `ARBITER_SIM_SEED` on.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::schedule::Outcome;

fn setting(name: &str, default: u64) -> u64 {
    #[expect(
        clippy::disallowed_methods,
        reason = "the tests' own settings come from the environment"
    )]
    let value = std::env::var(name);
    value.map_or(default, |text| {
        text.parse()
            .unwrap_or_else(|_| panic!("{name} is no number: `{text}`"))
    })
}

/// Runs schedules side by side, each on one thread, and sums up what they were. A failing one is named with the
/// command that replays it.
pub(crate) fn run(name: &str, share: u64, schedule: impl Fn(u64) -> Outcome + Sync) {
    let count = setting("ARBITER_SIM_SEEDS", 500).div_ceil(share);
    let first = setting("ARBITER_SIM_SEED", 0);
    let next = AtomicU64::new(0);
    let sum = Mutex::new(Outcome::default());
    let failed = Mutex::new(Vec::new());
    let work = || {
        loop {
            let place = next.fetch_add(1, Ordering::Relaxed);
            if place >= count || failed.lock().expect("not poisoned").len() > 3 {
                return;
            }
            let seed = first + place;
            match catch_unwind(AssertUnwindSafe(|| schedule(seed))) {
                Ok(outcome) => {
                    let mut sum = sum.lock().expect("not poisoned");
                    sum.tasks += outcome.tasks;
                    sum.attempts += outcome.attempts;
                    sum.kills += outcome.kills;
                    sum.pauses += outcome.pauses;
                    sum.partitions += outcome.partitions;
                    sum.torn += outcome.torn;
                    sum.faults += outcome.faults;
                }
                Err(_) => failed.lock().expect("not poisoned").push(seed),
            }
        }
    };
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(work);
        }
    });
    let failed = failed.into_inner().expect("not poisoned");
    assert!(
        failed.is_empty(),
        "schedules {failed:?} of `{name}` broke a rule (see above); replay one with `cargo xtask simulate --seeds 1 --seed {}`",
        failed[0]
    );
    let sum = sum.into_inner().expect("not poisoned");
    println!(
        "report: {name}: {count} schedules from seed {first}: {} tasks, {} attempts, {} kills, {} pauses, {} partitions, \
         {} failed calls, {} torn commits; nothing lost, nothing recorded twice",
        sum.tasks, sum.attempts, sum.kills, sum.pauses, sum.partitions, sum.faults, sum.torn
    );
    assert!(
        sum.tasks > 0 && sum.attempts > 0 && sum.kills + sum.pauses + sum.partitions > 0,
        "the schedules were idle"
    );
}
