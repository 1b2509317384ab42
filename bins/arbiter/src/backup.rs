//! Backups: a folder with what the data folder holds, taken while it is in use, and a manifest of digests.
//!
//! The folder has the layout of a data folder. `manifest.json` names every file with its SHA-256 and carries the signed
//! head of the audit log that is in it; `manifest.sha256` is the manifest's own digest.
//!
//! It looks the same whatever kind of store it was taken of, and is restored into either kind: that is how a store moves
//! from one kind to the other.

mod manifest;
#[cfg(feature = "postgres")]
mod pipe;
mod progress;
mod restore;
#[cfg(feature = "postgres")]
mod shared;
mod take;

pub(crate) use progress::Progress;
pub(crate) use restore::{Restored, restore};
#[cfg(feature = "postgres")]
pub(crate) use shared::restore_shared;
pub(crate) use take::{Source, take};
