//! One node on SQLite that dies at any point, in the middle of a commit too.

use std::path::PathBuf;
use std::sync::Arc;

use arbiter_adapter_sqlite::{JobQueue, SqliteConfig, SqliteStore, Writer};
use arbiter_core::lifecycle::Rules;
use arbiter_core::ports::Clock as _;
use arbiter_testkit::SeededEntropy;
use arbiter_testkit::contract::Stores;
use tempfile::TempDir;

use crate::schedule::{Ground, Outcome};
use crate::world::{Event, World, yield_now};
use crate::{schedule, seeds};

/// Of a thousand commits so many are torn.
const TORN: u64 = 4;

/// The folder of the present life; what was in memory dies with the node.
struct Disk {
    folder: TempDir,
    lives: u64,
}

/// In memory where the system has such a file system: flushing it costs nothing, and what a crash leaves of a file is
/// decided here anyway.
fn folder() -> TempDir {
    let memory = PathBuf::from("/dev/shm");
    let made = if memory.is_dir() {
        tempfile::tempdir_in(memory)
    } else {
        tempfile::tempdir()
    };
    made.expect("a folder")
}

impl Disk {
    fn config(&self) -> SqliteConfig {
        SqliteConfig::new(self.folder.path())
    }

    fn log(&self) -> PathBuf {
        self.config().database().with_extension("db-wal")
    }
}

impl Ground for Disk {
    fn nodes(&self) -> usize {
        1
    }

    fn stores(&mut self, world: &Arc<World>, node: usize) -> Stores {
        self.lives += 1;
        let entropy = Arc::new(SeededEntropy::new(self.lives));
        let clock = Arc::clone(&world.clock);
        let opened = SqliteStore::open_without_threads(
            &self.config(),
            Rules::default(),
            Arc::clone(&clock) as _,
            entropy,
        );
        let (store, writer, queue) = opened.expect("what a crash left can be opened");
        let serve = serve(Arc::clone(world), node, self.log(), writer, queue);
        world.executor.spawner(node).spawn("writer", Box::pin(serve));
        Stores::of(&Arc::new(store))
    }

    fn crashed(&mut self, world: &World, _: usize, kept: Option<u64>) {
        // No orderly end: what the next life finds is what the files hold now, not what closing would leave.
        let next = folder();
        let copy = SqliteConfig::new(next.path());
        std::fs::copy(self.config().database(), copy.database()).expect("the database");
        let mut log = std::fs::read(self.log()).unwrap_or_default();
        if let Some(kept) = kept {
            log.truncate(kept as usize);
            if world.happens(500) {
                // the last page that was under way holds something else
                let page = log.len().saturating_sub(world.draw(4_096) as usize);
                let torn = page.max(answered(world));
                log[torn..].fill(0x5a);
            }
        }
        std::fs::write(copy.database().with_extension("db-wal"), log).expect("the log");
        self.folder = next;
    }
}

/// How much of the log belongs to commits that were answered: no crash takes it back.
fn answered(world: &World) -> usize {
    world.answered.load(std::sync::atomic::Ordering::Relaxed) as usize
}

/// The loop that production runs on a thread.
async fn serve(world: Arc<World>, node: usize, log: PathBuf, mut writer: Writer, mut queue: JobQueue) {
    let length = || std::fs::metadata(&log).map_or(0, |file| file.len());
    while let Some(jobs) = queue.next_group().await {
        // it can die with the group taken and nothing written
        yield_now().await;
        let before = length();
        world.answered.store(before, std::sync::atomic::Ordering::Relaxed);
        writer.run(jobs, world.clock.now());
        let after = length();
        if world.wild() && after > before && world.happens(TORN) {
            let kept = before + world.draw(after - before + 1);
            world.tell(Event::Torn { node, kept });
            // nobody sees an answer of this group: the node is dead before anybody is polled
            std::future::pending::<()>().await;
        }
    }
}

fn schedule(seed: u64) -> Outcome {
    let disk = Disk {
        folder: folder(),
        lives: 0,
    };
    schedule::run(seed, disk)
}

#[test]
fn nothing_answered_is_lost_when_the_process_dies_in_a_commit() {
    seeds::run("one node on SQLite, crashes inside of commits", 5, schedule);
}

#[test]
fn a_seed_replays_exactly() {
    for seed in 0..2 {
        assert_eq!(schedule(seed), schedule(seed), "seed {seed}");
    }
}
