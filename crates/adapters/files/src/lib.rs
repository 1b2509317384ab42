#![doc = include_str!("../README.md")]

mod layout;
mod store;
#[cfg(test)]
mod tests;

pub use layout::file as artifact_file;
pub use store::FileArtifacts;
