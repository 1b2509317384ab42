#![doc = include_str!("../README.md")]

pub mod lifecycle;
pub mod mechanism;
pub mod model;
pub mod ports;
pub mod services;
