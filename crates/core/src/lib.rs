#![doc = include_str!("../README.md")]

pub mod mechanism;
pub mod model;
