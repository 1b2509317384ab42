//! The whole audit log in pieces, from a store: for streams, files and verifiers.

use std::sync::Arc;

use arbiter_audit::detail::Detail;
use arbiter_audit::export::{ExportError, ExportHeader, ExportWriter};
use arbiter_audit::note::Note;
use arbiter_core::model::Digest;
use arbiter_core::ports::{AuditEntry, AuditLog, AuditTree, StoreError};

/// How many entries are read at a time: one tile.
const PAGE: u64 = 256;

/// Why a log could not be exported.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AuditExportError {
    /// The export could not be written.
    #[error(transparent)]
    Write(#[from] ExportError),
    /// The log could not be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Leaves and hashes do not belong together.
    #[error("the audit log is damaged from entry {index} on: {leaves} leaves and {hashes} hashes")]
    Damaged {
        /// The first entry of the page.
        index: u64,
        /// Leaves that were found.
        leaves: usize,
        /// Hashes that stand in the tree.
        hashes: usize,
    },
}

/// An export in the making. It is of a fixed size: what is appended meanwhile is not in it.
pub struct AuditExport {
    log: Arc<dyn AuditLog>,
    tree: Arc<dyn AuditTree>,
    note: Note,
    size: u64,
    next: u64,
    writer: Option<ExportWriter<Vec<u8>>>,
}

impl std::fmt::Debug for AuditExport {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AuditExport")
            .field("size", &self.size)
            .field("next", &self.next)
            .finish_non_exhaustive()
    }
}

impl AuditExport {
    /// An export up to the size of `header`, which `note` is the signed checkpoint of.
    ///
    /// # Errors
    /// [`AuditExportError::Write`] for a log that is too large for an export.
    pub fn new(
        log: Arc<dyn AuditLog>,
        tree: Arc<dyn AuditTree>,
        header: &ExportHeader,
        note: Note,
    ) -> Result<Self, AuditExportError> {
        Ok(Self {
            log,
            tree,
            note,
            size: header.size,
            next: 0,
            writer: Some(ExportWriter::new(Vec::new(), header)?),
        })
    }

    /// The next piece, of whole lines; `None` at the end.
    ///
    /// # Errors
    /// See [`AuditExportError`]. What was given before is of no use then.
    ///
    /// # Cancel safety
    /// Not safe: a piece may be lost.
    pub async fn piece(&mut self) -> Result<Option<Vec<u8>>, AuditExportError> {
        let Some(writer) = &mut self.writer else {
            return Ok(None);
        };
        if self.next == self.size {
            return match self.writer.take() {
                Some(writer) => Ok(Some(writer.finish(&self.note)?)),
                None => Ok(None),
            };
        }
        let (entries, hashes) = audit_page(&*self.log, &*self.tree, self.next, self.size).await?;
        if entries.is_empty() || hashes.len() != entries.len() {
            return Err(AuditExportError::Damaged {
                index: self.next,
                leaves: entries.len(),
                hashes: hashes.len(),
            });
        }
        for (entry, hash) in entries.iter().zip(&hashes) {
            writer.entry(&entry.leaf, hash, audit_detail(entry).as_ref())?;
        }
        self.next += entries.len() as u64;
        Ok(Some(std::mem::take(writer.output())))
    }
}

/// The entries from `from` to the end of its tile in a log of `size`, with the hashes that stand in the tree.
///
/// # Errors
/// The store's.
pub async fn audit_page(
    log: &dyn AuditLog,
    tree: &dyn AuditTree,
    from: u64,
    size: u64,
) -> Result<(Vec<AuditEntry>, Vec<Digest>), StoreError> {
    let skip = from % PAGE;
    let width = size.saturating_sub(from - skip).min(PAGE);
    if width <= skip {
        return Ok((Vec::new(), Vec::new()));
    }
    let entries = log.read(from, (width - skip) as usize).await?;
    let hashes = tree.tile(0, from / PAGE, width as u16).await?;
    let hashes = hashes.unwrap_or_default().into_iter().skip(skip as usize);
    Ok((entries, hashes.collect()))
}

/// The detail of an entry in the form that is hashed.
pub fn audit_detail(entry: &AuditEntry) -> Option<Detail> {
    entry.detail.as_ref().map(|detail| Detail {
        salt: detail.salt,
        body: detail.body.as_str().as_bytes().to_vec(),
    })
}
