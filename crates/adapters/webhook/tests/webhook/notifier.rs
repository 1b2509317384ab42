//! The notifier, for both kinds of target.

mod alerts;
mod answers;
mod contract;
mod failures;
mod messages;
mod schema;
mod settings;
mod support;
