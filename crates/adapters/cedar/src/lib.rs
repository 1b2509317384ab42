#![doc = include_str!("../README.md")]

mod authorizer;
mod cache;
mod error;
mod policies;
mod request;
#[cfg(test)]
mod tests;

pub use authorizer::CedarAuthorizer;
