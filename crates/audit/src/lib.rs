#![doc = include_str!("../README.md")]

pub mod batch;
pub mod checkpoint;
pub mod detail;
mod entry;
pub mod export;
#[cfg(test)]
mod fixtures;
mod json;
pub mod key;
pub mod keyring;
pub mod leaf;
pub mod ledger;
pub mod log;
pub mod note;
mod pipeline;
pub mod proof;
pub mod record;
pub mod report;
pub mod seal;
pub mod tile;
pub mod tree;
pub mod verify;
pub mod view;
pub mod word;
