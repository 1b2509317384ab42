//! The verifier of a log that is read entry by entry, from a store or from an export.

use arbiter_core::model::Digest;

use crate::checkpoint::Checkpoint;
use crate::detail::Detail;
use crate::entry::{CheckedEntry, check};
use crate::ledger::{Observation, VersionLedger};
use crate::report::{Fault, MAX_FINDINGS, Place, Problem, Report};
use crate::tree::{Frontier, FrontierError};
use crate::view::LeafView;

/// Checks entries in order, then the root that they add up to.
///
/// Memory: the edge of the tree, and 24 bytes per task. After the first fault nothing more is accepted.
#[derive(Debug, Clone)]
pub struct LogVerifier {
    frontier: Frontier,
    ledger: VersionLedger,
    report: Report,
}

impl Default for LogVerifier {
    fn default() -> Self {
        Self::new()
    }
}

impl LogVerifier {
    /// A verifier before the first entry.
    pub fn new() -> Self {
        let frontier = Frontier::new();
        let report = Report {
            entries: 0,
            redacted: 0,
            root: frontier.root(),
            checkpoint: None,
            signers: Vec::new(),
            fault: None,
            findings: Vec::new(),
            finding_count: 0,
        };
        Self {
            frontier,
            ledger: VersionLedger::new(),
            report,
        }
    }

    /// How many entries were found sound.
    pub const fn entries(&self) -> u64 {
        self.frontier.size()
    }

    /// Checks the next entry: its leaf, the hash that stands in the tree, its detail unless redacted.
    ///
    /// # Errors
    /// Returns the first fault, and again at every further call.
    pub fn entry(&mut self, leaf: &[u8], hash: &Digest, detail: Option<&Detail>) -> Result<(), Fault> {
        if let Some(fault) = &self.report.fault {
            return Err(fault.clone());
        }
        let index = self.entries();
        let detail = detail.map(|detail| (&detail.salt, detail.body.as_slice()));
        let checked = LeafView::parse(leaf)
            .map_err(Problem::Leaf)
            .and_then(|view| check(index, (&view, leaf), hash, detail))
            .and_then(|entry| self.accept(entry));
        checked.map_err(|problem| self.fail(problem.at(Place::Entry(index))))
    }

    fn accept(&mut self, entry: CheckedEntry) -> Result<(), Problem> {
        self.grow(0, entry.hash).map_err(|_| Problem::Full)?;
        self.note(u64::from(entry.redacted), entry.observation.as_slice());
        Ok(())
    }

    /// Adds a subtree of checked entries.
    pub(crate) fn grow(&mut self, height: u8, root: Digest) -> Result<(), FrontierError> {
        self.frontier.push_subtree(height, root)
    }

    /// Counts redactions and follows the versions of tasks.
    pub(crate) fn note(&mut self, redacted: u64, observations: &[Observation]) {
        self.report.redacted += redacted;
        for finding in observations
            .iter()
            .filter_map(|observation| self.ledger.observe(observation))
        {
            self.report.finding_count += 1;
            if self.report.findings.len() < MAX_FINDINGS {
                self.report.findings.push(finding);
            }
        }
    }

    /// Keeps the first fault and returns it.
    pub(crate) fn fail(&mut self, fault: Fault) -> Fault {
        self.report.fault.get_or_insert(fault).clone()
    }

    /// Compares the entries with a checkpoint that a trusted key vouches for (see
    /// [`Keyring::open`](crate::keyring::Keyring::open)), and reports.
    pub fn finish(mut self, checkpoint: &Checkpoint) -> Report {
        let (entries, computed) = (self.entries(), self.frontier.root());
        let signed = *checkpoint.root();
        self.report.checkpoint = Some(checkpoint.clone());
        if entries < checkpoint.size() {
            self.fail(Problem::Truncated.at(Place::Entry(entries)));
        } else if entries > checkpoint.size() {
            self.fail(Problem::Trailing.at(Place::Entry(checkpoint.size())));
        } else if computed != signed {
            self.fail(Problem::Root { computed, signed }.at(Place::Checkpoint));
        }
        self.stop()
    }

    /// Reports without a checkpoint.
    pub(crate) fn stop(mut self) -> Report {
        self.report.entries = self.entries();
        self.report.root = self.frontier.root();
        self.report
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::fixtures::{ORIGIN, leaf_strategy};
    use crate::tree::leaf_hash;

    proptest! {
        #[test]
        fn a_changed_leaf_hash_or_detail_is_named(
            leaves in prop::collection::vec(leaf_strategy(), 1..20),
            victim in any::<prop::sample::Index>(),
            kind in 0..4,
        ) {
            let detail = Detail { salt: [1; 16], body: b"body".to_vec() };
            let lines: Vec<_> = leaves
                .into_iter()
                .map(|leaf| crate::leaf::Leaf { detail: Some(detail.digest()), ..leaf }.encode())
                .collect();
            let mut frontier = Frontier::new();
            for line in &lines {
                frontier.push(leaf_hash(line)).unwrap();
            }
            let checkpoint = Checkpoint::new(ORIGIN, lines.len() as u64, frontier.root()).unwrap();
            let victim = victim.index(lines.len());
            let mut verifier = LogVerifier::new();
            for (index, line) in lines.iter().enumerate() {
                let (mut line, mut hash, mut detail) = (line.clone(), leaf_hash(line), detail.clone());
                if index == victim {
                    match kind {
                        0 => drop(line.pop()),
                        1 => hash = leaf_hash(b"other"),
                        2 => detail.body.push(b'!'),
                        _ => {}
                    }
                }
                let result = verifier.entry(&line, &hash, Some(&detail));
                prop_assert_eq!(result.is_ok(), kind == 3 || index < victim);
            }
            let report = verifier.finish(&checkpoint);
            let place = report.fault.map(|fault| fault.place);
            prop_assert_eq!(place, (kind != 3).then_some(Place::Entry(victim as u64)));
        }
    }

    #[test]
    fn missing_and_surplus_entries_are_named_by_the_checkpoint() {
        let place = |size| {
            let root = Frontier::new().root();
            let report = LogVerifier::new().finish(&Checkpoint::new(ORIGIN, size, root).unwrap());
            report.fault.map(|fault| fault.place)
        };
        assert_eq!(place(0), None);
        assert_eq!(place(3), Some(Place::Entry(0)));
    }
}
