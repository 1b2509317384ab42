#![doc = include_str!("../README.md")]
pub mod codes;
pub mod exec;
pub mod stored;
pub mod task;
