#![doc = include_str!("../README.md")]

mod clock;
mod entropy;
mod ids;
mod signer;
mod spawner;

pub use clock::SystemClock;
pub use entropy::OsEntropy;
pub use ids::UuidV7Ids;
pub use signer::{FileSigner, KeyFileError, NextKey};
pub use spawner::TokioSpawner;
