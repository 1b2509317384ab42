//! The vocabulary: ids, value types, tasks, agents, principals, records.

mod digest;
mod ids;
mod json;
mod time;

pub use digest::{Digest, InvalidDigest};
pub use ids::{
    AgentId, BatchId, CommandId, DecisionId, Fence, InvalidId, LaneId, NodeId, OrderKey, OutboxId, PrincipalId,
    TaskId, TenantId, Version,
};
pub use json::{InvalidJson, Json};
pub use time::{InvalidTime, Timestamp};
