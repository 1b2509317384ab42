#![doc = include_str!("../README.md")]

mod layout;
mod store;
#[cfg(test)]
mod tests;

pub use store::FileArtifacts;
