//! The JSON forms of the HTTP interface.
//!
//! Requests refuse unknown fields, so that a misspelt one is seen at once. Answers may gain fields: clients ignore those
//! that they do not know.

mod agent;
mod agent_peer;
mod artifact;
mod audit;
mod bulk;
mod erasure;
mod hook;
mod key;
mod policy;
mod principal;
mod problem;
mod queue;
mod routing;
mod schedule;
mod system;
mod task;
mod tenant;
mod work;

pub use agent::*;
pub use agent_peer::*;
pub use artifact::*;
pub use audit::*;
pub use bulk::*;
pub use erasure::*;
pub use hook::*;
pub use key::*;
pub use policy::*;
pub use principal::*;
pub use problem::*;
pub use queue::*;
pub use routing::*;
pub use schedule::*;
pub use system::*;
pub use task::*;
pub use tenant::*;
pub use work::*;
