//! Leaves of a group: encoded, hashed and packed as they come.

use arbiter_audit::batch::pack_detail;
use arbiter_audit::record::encode_record;
use arbiter_audit::tree::leaf_hash;
use arbiter_core::model::{Digest, Record};

use crate::error::Fault;

/// The leaves of a group, packed as they are stored.
#[derive(Debug, Default)]
pub(crate) struct Leaves {
    /// Of each leaf its length and its bytes.
    pub(crate) packed: Vec<u8>,
    /// Of each leaf its hash.
    pub(crate) hashes: Vec<Digest>,
    /// Of each leaf the length of its detail plus one, salt and detail; or 0.
    pub(crate) details: Vec<u8>,
    /// How many leaves have a detail.
    pub(crate) detailed: usize,
}

/// A place to which leaves can be cut back.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Mark {
    packed: usize,
    hashes: usize,
    details: usize,
    detailed: usize,
}

impl Leaves {
    /// Appends the leaf of a record. The salt is drawn only where there is a detail.
    pub(crate) fn push(&mut self, record: &Record, salt: impl FnOnce() -> [u8; 16]) -> Result<(), Fault> {
        let salt = if record.detail.is_some() { salt() } else { [0; 16] };
        let (leaf, detail) = encode_record(record, salt)?;
        let start = self.packed.len();
        self.packed.extend_from_slice(&[0; 4]);
        leaf.encode_into(&mut self.packed);
        let bytes = self.packed.get(start + 4..).unwrap_or_default();
        let length = u32::try_from(bytes.len()).map_err(|_| Fault::Misuse("the audit record is too long"))?;
        self.hashes.push(leaf_hash(bytes));
        if let Some(place) = self.packed.get_mut(start..start + 4) {
            place.copy_from_slice(&length.to_le_bytes());
        }
        pack_detail(&mut self.details, detail.as_ref())?;
        self.detailed += usize::from(detail.is_some());
        Ok(())
    }

    pub(crate) fn mark(&self) -> Mark {
        Mark {
            packed: self.packed.len(),
            hashes: self.hashes.len(),
            details: self.details.len(),
            detailed: self.detailed,
        }
    }

    pub(crate) fn cut(&mut self, mark: Mark) {
        self.packed.truncate(mark.packed);
        self.hashes.truncate(mark.hashes);
        self.details.truncate(mark.details);
        self.detailed = mark.detailed;
    }

    pub(crate) fn clear(&mut self) {
        self.packed.clear();
        self.hashes.clear();
        self.details.clear();
        self.detailed = 0;
    }
}
