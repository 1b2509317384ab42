//! Backups: a folder with what the data folder holds, taken while it is in use, and a manifest of digests.
//!
//! The folder has the layout of a data folder. `manifest.json` names every file with its SHA-256 and carries the signed
//! head of the audit log that is in it; `manifest.sha256` is the manifest's own digest.

mod manifest;
mod restore;
mod take;

pub(crate) use restore::restore;
pub(crate) use take::{Source, take};
