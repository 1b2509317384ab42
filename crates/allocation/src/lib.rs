#![doc = include_str!("../README.md")]

mod chooser;
mod class;
mod constraints;
mod explain;
mod index;
mod random;
mod score;
mod service;
mod settings;
mod slots;
mod strategy;
#[cfg(test)]
mod tests;

pub use explain::{Explanation, Match, NoAgent, Question};
pub use service::Allocation;
pub use settings::{Settings, Strategy};
pub use slots::Slots;
