//! Leaves of a mutation: encoded, hashed and packed as they come.

use arbiter_audit::detail::Detail;
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

/// Appends a detail in its packed form.
pub(crate) fn pack_detail(out: &mut Vec<u8>, detail: Option<&Detail>) -> Result<(), Fault> {
    let Some(detail) = detail else {
        out.extend_from_slice(&[0; 4]);
        return Ok(());
    };
    let length = u32::try_from(detail.body.len() + 1).map_err(|_| Fault::Misuse("the detail is too long"))?;
    out.extend_from_slice(&length.to_le_bytes());
    out.extend_from_slice(&detail.salt);
    out.extend_from_slice(&detail.body);
    Ok(())
}

/// Takes the next leaf off packed ones.
pub(crate) fn unpack_leaf<'a>(packed: &mut &'a [u8]) -> Result<&'a [u8], Fault> {
    let length = take_length(packed)?;
    take(packed, length)
}

/// Takes the next detail off packed ones.
pub(crate) fn unpack_detail(packed: &mut &[u8]) -> Result<Option<Detail>, Fault> {
    let Some(length) = take_length(packed)?.checked_sub(1) else {
        return Ok(None);
    };
    let (salt, rest) = packed
        .split_first_chunk::<16>()
        .ok_or(Fault::Damaged("audit batch"))?;
    *packed = rest;
    Ok(Some(Detail {
        salt: *salt,
        body: take(packed, length)?.to_vec(),
    }))
}

fn take_length(packed: &mut &[u8]) -> Result<usize, Fault> {
    let (length, rest) = packed
        .split_first_chunk::<4>()
        .ok_or(Fault::Damaged("audit batch"))?;
    *packed = rest;
    Ok(u32::from_le_bytes(*length) as usize)
}

fn take<'a>(packed: &mut &'a [u8], length: usize) -> Result<&'a [u8], Fault> {
    let (bytes, rest) = packed
        .split_at_checked(length)
        .ok_or(Fault::Damaged("audit batch"))?;
    *packed = rest;
    Ok(bytes)
}
