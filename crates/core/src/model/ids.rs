//! Identifiers: 16-byte, time-ordered newtypes and small counters.

use std::fmt;
use std::str::FromStr;

use sha2::{Digest as _, Sha256};
use uuid::Uuid;

/// A text that is not the canonical form of an identifier.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a valid {kind} (expected a UUID such as 0190f3c2-7b5e-7c3a-9d41-5f6e8a1b2c3d)")]
pub struct InvalidId {
    /// What kind of identifier was expected.
    pub kind: &'static str,
    /// The text that was given.
    pub text: String,
}

macro_rules! id {
    ($(#[$meta:meta])* $name:ident, $kind:literal) => {
        $(#[$meta])*
        ///
        /// 16 bytes, made by [`IdSource`](crate::ports::IdSource) as UUID version 7 (RFC 9562), so that order by
        /// bytes is order by time of creation. The text form is the hyphenated lower-case UUID.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Uuid);

        impl $name {
            /// Makes an id of its 16 bytes.
            pub const fn from_bytes(bytes: [u8; 16]) -> Self {
                Self(Uuid::from_bytes(bytes))
            }

            /// The 16 bytes of the id.
            pub const fn as_bytes(&self) -> &[u8; 16] {
                self.0.as_bytes()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.as_hyphenated().fmt(f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self.0.as_hyphenated())
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;

            /// Reads the hyphenated form, in either case; every other form of UUID text is refused.
            fn from_str(text: &str) -> Result<Self, Self::Err> {
                let invalid = || InvalidId { kind: $kind, text: text.to_owned() };
                if text.len() != 36 {
                    return Err(invalid());
                }
                Uuid::try_parse(text).map(Self).map_err(|_| invalid())
            }
        }
    };
}

id!(
    /// Identifies a task.
    TaskId, "task id");
id!(
    /// Identifies a tenant: the boundary that data never crosses without a named rule.
    TenantId, "tenant id");
id!(
    /// Identifies a principal: a user, an agent or a service.
    PrincipalId, "principal id");
id!(
    /// Identifies an agent in the registry.
    AgentId, "agent id");
id!(
    /// Identifies a node: one running process of the control plane.
    NodeId, "node id");
id!(
    /// Identifies one mutation, so that it can be sent again after an unknown outcome.
    CommandId, "command id");
id!(
    /// Identifies a batch of audit leaves that were written together.
    BatchId, "batch id");
id!(
    /// Identifies an outbox entry.
    OutboxId, "outbox id");
id!(
    /// Identifies a kept allocation decision.
    DecisionId, "decision id");
id!(
    /// Identifies a webhook of a tenant.
    HookId, "hook id");
id!(
    /// Identifies a schedule that makes tasks.
    ScheduleId, "schedule id");
id!(
    /// Identifies an erasure.
    ErasureId, "erasure id");
id!(
    /// Identifies an incident.
    IncidentId, "incident id");
id!(
    /// Identifies an operation on infrastructure.
    OperationId, "operation id");
id!(
    /// Identifies a silence: a rule that keeps incidents quiet for a while.
    SilenceId, "silence id");

macro_rules! number {
    ($(#[$meta:meta])* $name:ident($inner:ty)) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
        pub struct $name(pub $inner);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

number!(
    /// The fencing token of a lease on a task. It rises with every assignment and never falls, not even over a
    /// requeue; a write that carries a lower one is refused.
    Fence(u64));
number!(
    /// Counts the transitions of a task, starting at 1. It is the task's `ETag`.
    Version(u64));
number!(
    /// A lane: tenant + band + requirement class. See [`LaneKey`](crate::model::LaneKey).
    LaneId(i64));
number!(
    /// The place of a task in its lane: the moment, in microseconds, at which it first became claimable.
    OrderKey(i64));

impl TenantId {
    /// Owns what belongs to no tenant: keys' look-up entries, the log's own records, settings of the deployment.
    pub const SYSTEM: Self = Self::from_bytes([0; 16]);
}

impl CommandId {
    /// The command of one task inside a call about many: the first 16 bytes of SHA-256(command ‖ task).
    pub fn for_task(self, task: TaskId) -> Self {
        Self::hashed(&[self.as_bytes(), task.as_bytes()])
    }

    /// The command of a move that nobody asks for (a timer, a prerequisite's end), named by the version that it
    /// starts from, so that a repeat is recognised: the first 16 bytes of SHA-256(task ‖ version).
    pub fn for_version(task: TaskId, version: Version) -> Self {
        Self::hashed(&[task.as_bytes(), &version.0.to_be_bytes()])
    }

    fn hashed(parts: &[&[u8]]) -> Self {
        let mut hash = Sha256::new();
        parts.iter().for_each(|part| hash.update(part));
        let digest: [u8; 32] = hash.finalize().into();
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&digest[..16]);
        Self::from_bytes(bytes)
    }
}

impl Fence {
    /// The token of the next assignment.
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl Version {
    /// The version after one more transition.
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_form_round_trips_and_refuses_other_forms() {
        let id = TaskId::from_bytes([7; 16]);
        assert_eq!(id.to_string().parse::<TaskId>(), Ok(id));
        for bad in [
            "",
            "x",
            "07070707070707070707070707070707",
            "{07070707-0707-0707-0707-070707070707}",
        ] {
            let error = bad.parse::<TaskId>().expect_err(bad);
            assert_eq!((error.kind, error.text.as_str()), ("task id", bad));
        }
    }

    #[test]
    fn order_by_bytes_is_order_by_value() {
        assert!(TaskId::from_bytes([1; 16]) < TaskId::from_bytes([2; 16]));
    }
}
