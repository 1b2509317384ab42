//! Spreads the checks of export lines over threads, and hands their results on in order.

use std::collections::VecDeque;
use std::io;
use std::num::NonZeroUsize;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{self, Scope};

use arbiter_core::model::Digest;

use crate::entry::check_line;
use crate::ledger::Observation;
use crate::report::{Place, Problem};
use crate::tile::{TILE_HEIGHT, TILE_WIDTH};
use crate::tree::perfect_root;

/// Chunks that may wait for each thread; together with their size this bounds memory.
const CHUNKS_PER_THREAD: usize = 2;

/// Consecutive lines of entries, without their newlines.
#[derive(Debug, Default)]
pub(crate) struct Chunk {
    /// The index of the first entry.
    pub(crate) first: u64,
    /// The lines, one after the other, each with its newline.
    pub(crate) bytes: Vec<u8>,
    /// Where each line ends, newline included.
    pub(crate) ends: Vec<usize>,
}

/// The result of a [`Chunk`].
#[derive(Debug)]
pub(crate) struct CheckedChunk {
    pub(crate) hashes: Hashes,
    pub(crate) redacted: u64,
    pub(crate) observations: Vec<Observation>,
    pub(crate) fault: Option<(Place, Problem)>,
    /// The chunk, to be filled again.
    pub(crate) used: Chunk,
}

/// What the tree grows by.
#[derive(Debug)]
pub(crate) enum Hashes {
    /// The root of a complete tile.
    Tile(Digest),
    /// Single leaves.
    Leaves(Vec<Digest>),
}

fn check_chunk(chunk: Chunk) -> CheckedChunk {
    let mut hashes = Vec::with_capacity(chunk.ends.len());
    let mut observations = Vec::with_capacity(chunk.ends.len());
    let (mut redacted, mut fault) = (0, None);
    let (mut start, mut scratch) = (0, Vec::new());
    for (index, &end) in (chunk.first..).zip(&chunk.ends) {
        let line = chunk.bytes.get(start..end.saturating_sub(1)).unwrap_or_default();
        start = end;
        match check_line(index, line, &mut scratch) {
            Ok(entry) => {
                hashes.push(entry.hash);
                redacted += u64::from(entry.redacted);
                observations.extend(entry.observation);
            }
            Err(problem) => {
                fault = Some((Place::Entry(index), problem));
                break;
            }
        }
    }
    let whole = hashes.len() == usize::from(TILE_WIDTH) && chunk.first.is_multiple_of(u64::from(TILE_WIDTH));
    let root = if whole { perfect_root(&hashes) } else { None };
    let hashes = root.map_or(Hashes::Leaves(hashes), Hashes::Tile);
    CheckedChunk {
        hashes,
        redacted,
        observations,
        fault,
        used: chunk,
    }
}

/// The height of the subtree that a tile stands for.
pub(crate) const CHUNK_HEIGHT: u8 = TILE_HEIGHT;

/// Reads chunks with `fill` (which gets an empty chunk to fill, and returns `None` at the end), checks them on
/// `threads` threads, and gives the results to `accept` in order until it returns `false`.
///
/// # Errors
/// Returns the error of `fill`, or that of a thread that could not be started.
pub(crate) fn run(
    threads: NonZeroUsize,
    mut fill: impl FnMut(Chunk) -> io::Result<Option<Chunk>>,
    mut accept: impl FnMut(&CheckedChunk) -> bool,
) -> io::Result<()> {
    thread::scope(|scope| {
        let lanes = (0..threads.get())
            .map(|_| Lane::start(scope))
            .collect::<io::Result<Vec<_>>>()?;
        let mut spare = Vec::new();
        let mut waiting = VecDeque::new();
        let mut turns = lanes.iter().cycle();
        loop {
            let chunk = fill(spare.pop().unwrap_or_default())?;
            let ended = chunk.is_none();
            if let (Some(chunk), Some(lane)) = (chunk, turns.next()) {
                lane.jobs.send(chunk).map_err(|_| stopped())?;
                waiting.push_back(lane);
            }
            while waiting.len() >= lanes.len() * CHUNKS_PER_THREAD || ended {
                let Some(lane) = waiting.pop_front() else {
                    return Ok(());
                };
                let mut checked: CheckedChunk = lane.results.recv().map_err(|_| stopped())?;
                if !accept(&checked) {
                    return Ok(());
                }
                checked.used.bytes.clear();
                checked.used.ends.clear();
                spare.push(checked.used);
            }
        }
    })
}

fn stopped() -> io::Error {
    io::Error::other("a verifying thread has stopped")
}

/// A thread with its own queues, so that results come back in the order of the chunks.
struct Lane {
    jobs: SyncSender<Chunk>,
    results: Receiver<CheckedChunk>,
}

impl Lane {
    fn start<'scope>(scope: &'scope Scope<'scope, '_>) -> io::Result<Self> {
        let (jobs, queue) = sync_channel(CHUNKS_PER_THREAD);
        let (done, results) = sync_channel(CHUNKS_PER_THREAD);
        thread::Builder::new()
            .name("audit-verify".to_owned())
            .spawn_scoped(scope, move || {
                for chunk in queue {
                    if done.send(check_chunk(chunk)).is_err() {
                        break;
                    }
                }
            })?;
        Ok(Self { jobs, results })
    }
}
