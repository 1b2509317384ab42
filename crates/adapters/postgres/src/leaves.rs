//! Leaves of a mutation: encoded, hashed and packed as they come.

use arbiter_audit::batch::pack_detail;
use arbiter_audit::record::encode_record;
use arbiter_audit::tree::leaf_hash;
use arbiter_core::model::Record;

use crate::error::Fault;

/// The leaves of a mutation, packed as they are stored.
#[derive(Debug, Default)]
pub(crate) struct Leaves {
    /// Of each leaf its length and its bytes.
    pub(crate) packed: Vec<u8>,
    /// Of each leaf its hash.
    pub(crate) hashes: Vec<u8>,
    /// Of each leaf the length of its detail plus one, salt and detail; or 0.
    pub(crate) details: Vec<u8>,
    /// How many leaves there are.
    pub(crate) count: i32,
    /// How many of them have a detail.
    pub(crate) detailed: usize,
}

impl Leaves {
    /// Appends the leaf of a record. The salt is drawn only where there is a detail.
    pub(crate) fn push(&mut self, record: &Record, salt: impl FnOnce() -> [u8; 16]) -> Result<(), Fault> {
        let salt = if record.detail.is_some() { salt() } else { [0; 16] };
        let (leaf, detail) = encode_record(record, salt)?;
        let mut bytes = Vec::new();
        leaf.encode_into(&mut bytes);
        let length = u32::try_from(bytes.len()).map_err(|_| Fault::Misuse("the audit record is too long"))?;
        self.packed.extend_from_slice(&length.to_le_bytes());
        self.packed.extend_from_slice(&bytes);
        self.hashes.extend_from_slice(leaf_hash(&bytes).as_bytes());
        pack_detail(&mut self.details, detail.as_ref())?;
        self.count += 1;
        self.detailed += usize::from(detail.is_some());
        Ok(())
    }
}
