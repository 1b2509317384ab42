//! The offline verifier of exports: needs the file and the log's first key, nothing else.

use std::io::{self, BufRead, Read as _};
use std::num::NonZeroUsize;

use crate::entry::check_line;
use crate::export::{CHECKPOINT_PREFIX, ExportHeader, MAX_LINE_BYTES, read_checkpoint, read_header};
use crate::keyring::{Keyring, Vouched};
use crate::log::LogVerifier;
use crate::pipeline::{self, CHUNK_HEIGHT, CheckedChunk, Chunk, Hashes};
use crate::report::{Place, Problem, Report};
use crate::tile::TILE_WIDTH;

/// Bytes after which a chunk is closed although it has fewer than 256 lines.
const CHUNK_BYTES: usize = 1024 * 1024;

/// Verifies an export against the keys that the caller trusts.
///
/// Checked are, in this order: the header and its key hand-overs; each entry (canonical form, index, leaf against its
/// hash, detail against its digest); the checkpoint's signature under `trusted` and what the hand-overs add to it;
/// number and root of the entries; the end of the file. The report names the first fault. The versions of tasks are
/// followed as well; breaches are findings, as the bytes may be sound all the same.
///
/// A change of a single byte is named where it is, with one exception: a signature of a key that is not trusted here
/// vouches for nothing, so its line is not checked.
///
/// `threads` threads check entries beside the calling one, which reads. Memory is bounded by a few MiB per thread (more
/// only for single lines up to [`MAX_LINE_BYTES`]) plus 24 bytes per task.
///
/// # Errors
/// Returns the reader's error, or that of a thread that could not be started. Bad data is no error but a fault in the
/// report.
pub fn verify_export<R: BufRead>(reader: R, trusted: &Keyring, threads: NonZeroUsize) -> io::Result<Report> {
    let mut lines = Lines { reader, position: 0 };
    let mut log = LogVerifier::new();
    let mut keys = trusted.clone();
    let mut line = Vec::new();
    let header = match lines.read(&mut line)? {
        Line::Whole => read_trusted_header(without_newline(&line), &mut keys),
        Line::TooLong => Err(Problem::TooLong),
        Line::Cut | Line::End => Err(Problem::Truncated),
    };
    let header = match header {
        Ok(header) => header,
        Err(problem) => {
            log.fail(problem.at(Place::Header));
            return Ok(log.stop());
        }
    };

    let mut tail = None;
    let mut sound = true;
    pipeline::run(
        threads,
        |chunk| lines.fill(chunk, header.size, &mut tail),
        |checked| {
            sound = absorb(&mut log, checked);
            sound
        },
    )?;
    if !sound {
        return Ok(log.stop());
    }
    let tail = tail.unwrap_or(Tail {
        kind: Line::End,
        line: Vec::new(),
    });
    finish(lines, log, &header, &keys, &tail)
}

/// Reads the header and lets its hand-overs pass the trust on.
fn read_trusted_header(line: &[u8], keys: &mut Keyring) -> Result<ExportHeader, Problem> {
    let header = read_header(line)?;
    if header.origin != keys.origin() {
        return Err(Problem::Origin(header.origin));
    }
    for handover in &header.handovers {
        keys.adopt(handover).map_err(Problem::Adopt)?;
    }
    Ok(header)
}

/// Adds a checked chunk to the log; `false` if it has a fault.
fn absorb(log: &mut LogVerifier, checked: &CheckedChunk) -> bool {
    let grown = match &checked.hashes {
        Hashes::Tile(root) => log.grow(CHUNK_HEIGHT, *root),
        Hashes::Leaves(hashes) => hashes.iter().try_for_each(|hash| log.grow(0, *hash)),
    };
    log.note(checked.redacted, &checked.observations);
    if grown.is_err() {
        log.fail(Problem::Full.at(Place::Entry(log.entries())));
        return false;
    }
    if let Some((place, problem)) = &checked.fault {
        log.fail(problem.clone().at(*place));
        return false;
    }
    true
}

/// Judges what follows the entries, which are sound.
fn finish<R: BufRead>(
    mut lines: Lines<R>,
    mut log: LogVerifier,
    header: &ExportHeader,
    keys: &Keyring,
    tail: &Tail,
) -> io::Result<Report> {
    let entries = log.entries();
    let here = if entries < header.size {
        Place::Entry(entries)
    } else {
        Place::Checkpoint
    };
    let vouched = match tail.kind {
        Line::Whole => open_checkpoint(without_newline(&tail.line), keys),
        Line::TooLong => Err(Problem::TooLong),
        Line::Cut | Line::End => Err(Problem::Truncated),
    };
    let Vouched { checkpoint, signers } = match vouched {
        Ok(vouched) => vouched,
        Err(problem) => {
            // a sound entry where the checkpoint belongs: the header counts too few
            let more = entries == header.size
                && check_line(entries, without_newline(&tail.line), &mut Vec::new()).is_ok();
            let size = Problem::Size { stated: header.size }.at(Place::Header);
            log.fail(if more { size } else { problem.at(here) });
            return Ok(log.stop());
        }
    };
    if checkpoint.size() != header.size && checkpoint.size() <= entries {
        log.fail(Problem::Size { stated: header.size }.at(Place::Header));
    }
    let mut report = log.finish(&checkpoint);
    report.signers = signers;
    if report.fault.is_none() && !matches!(lines.read(&mut Vec::new())?, Line::End) {
        report.fault = Some(Problem::Trailing.at(Place::Checkpoint));
    }
    Ok(report)
}

fn open_checkpoint(line: &[u8], keys: &Keyring) -> Result<Vouched, Problem> {
    keys.open(&read_checkpoint(line)?).map_err(Problem::Open)
}

fn without_newline(line: &[u8]) -> &[u8] {
    line.strip_suffix(b"\n").unwrap_or(line)
}

/// How a line ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Line {
    /// With a newline.
    Whole,
    /// With the end of the data.
    Cut,
    /// Not within [`MAX_LINE_BYTES`].
    TooLong,
    /// There is no further line.
    End,
}

/// What stands after the entries.
struct Tail {
    kind: Line,
    line: Vec<u8>,
}

/// Reads an export line by line.
struct Lines<R> {
    reader: R,
    /// The index of the next entry.
    position: u64,
}

impl<R: BufRead> Lines<R> {
    /// Appends the next line to `into`.
    fn read(&mut self, into: &mut Vec<u8>) -> io::Result<Line> {
        let read = (&mut self.reader)
            .take(MAX_LINE_BYTES as u64)
            .read_until(b'\n', into)?;
        Ok(match into.last() {
            _ if read == 0 => Line::End,
            Some(b'\n') => Line::Whole,
            _ if read == MAX_LINE_BYTES => Line::TooLong,
            _ => Line::Cut,
        })
    }

    /// Fills a chunk with entries up to the next multiple of 256; `None` when there are none left, with the line that
    /// follows them in `tail`.
    fn fill(&mut self, mut chunk: Chunk, size: u64, tail: &mut Option<Tail>) -> io::Result<Option<Chunk>> {
        chunk.first = self.position;
        while tail.is_none() && chunk.bytes.len() < CHUNK_BYTES {
            let start = chunk.bytes.len();
            let kind = self.read(&mut chunk.bytes)?;
            let line = chunk.bytes.get(start..).unwrap_or_default();
            if self.position == size || kind != Line::Whole || line.starts_with(CHECKPOINT_PREFIX) {
                *tail = Some(Tail {
                    kind,
                    line: chunk.bytes.split_off(start),
                });
                break;
            }
            chunk.ends.push(chunk.bytes.len());
            self.position += 1;
            if self.position.is_multiple_of(u64::from(TILE_WIDTH)) {
                break;
            }
        }
        Ok(if chunk.ends.is_empty() { None } else { Some(chunk) })
    }
}

#[cfg(test)]
#[path = "verify_tests.rs"]
mod tests;
