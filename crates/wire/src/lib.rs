#![doc = include_str!("../README.md")]
pub mod codes;
pub mod task;
