#![doc = include_str!("../README.md")]
pub mod codes;
pub mod exec;
pub mod http;
pub mod object;
pub mod stored;
pub mod task;
pub mod transfer;
