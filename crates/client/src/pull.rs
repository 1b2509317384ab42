//! Agents that pull: the ports that an attempt needs, over the client.

mod artifacts;
mod assignment;
mod desk;

pub use artifacts::RemoteArtifacts;
pub use assignment::UnreadableWork;
pub use desk::Desk;
