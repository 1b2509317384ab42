#![doc = include_str!("../README.md")]

pub mod checkpoint;
pub mod detail;
//ENTRY
//EXPORT
#[cfg(test)]
mod fixtures;
mod json;
pub mod key;
pub mod keyring;
pub mod leaf;
//LEDGER
pub mod note;
//PIPE
pub mod proof;
pub mod tile;
pub mod tree;
//VERIFY
pub mod view;
pub mod word;
