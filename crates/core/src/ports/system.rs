//! Time, ids, chance and spawning: everything that would make a run irreproducible.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use async_trait::async_trait;

use crate::model::{
    AgentId, BatchId, CommandId, DecisionId, ErasureId, HookId, IncidentId, NodeId, OperationId, OutboxId,
    PrincipalId, ScheduleId, SilenceId, TaskId, TenantId, Timestamp,
};

/// Time.
#[async_trait]
pub trait Clock: Send + Sync + 'static {
    /// The time of day. It may be set back or forth.
    fn now(&self) -> Timestamp;

    /// Time since some fixed moment, never set back.
    fn monotonic(&self) -> Duration;

    /// Returns when [`Self::monotonic`] has reached `moment`.
    ///
    /// # Cancel safety
    /// Safe.
    async fn sleep_until(&self, moment: Duration);
}

/// Makes ids: UUID version 7 (RFC 9562 §5.7), so that later ids are greater.
pub trait IdSource: Send + Sync + 'static {
    /// The next 16 bytes.
    fn next(&self) -> [u8; 16];
}

macro_rules! id_makers {
    ($($name:ident -> $id:ident),+ $(,)?) => {
        impl dyn IdSource {
            $(
                #[doc = concat!("The next [`", stringify!($id), "`].")]
                pub fn $name(&self) -> $id {
                    $id::from_bytes(self.next())
                }
            )+
        }
    };
}

id_makers! {
    task -> TaskId,
    tenant -> TenantId,
    principal -> PrincipalId,
    agent -> AgentId,
    node -> NodeId,
    command -> CommandId,
    batch -> BatchId,
    outbox -> OutboxId,
    decision -> DecisionId,
    hook -> HookId,
    schedule -> ScheduleId,
    erasure -> ErasureId,
    incident -> IncidentId,
    operation -> OperationId,
    silence -> SilenceId,
}

/// Chance, good enough for keys and salts.
pub trait Entropy: Send + Sync + 'static {
    /// Fills `bytes` with random ones.
    fn fill(&self, bytes: &mut [u8]);
}

impl dyn Entropy {
    /// Eight random bytes as a number.
    pub fn number(&self) -> u64 {
        let mut bytes = [0; 8];
        self.fill(&mut bytes);
        u64::from_be_bytes(bytes)
    }

    /// A number in 0..1 with 53 random bits.
    pub fn unit(&self) -> f64 {
        (self.number() >> 11) as f64 / (1_u64 << 53) as f64
    }
}

/// A future without a lifetime.
pub type BoxFuture = Pin<Box<dyn Future<Output = ()> + Send + 'static>>;

/// Runs named futures to their end.
pub trait Spawner: Send + Sync + 'static {
    /// Starts `future`. It runs although the handle is dropped.
    fn spawn(&self, name: &'static str, future: BoxFuture) -> Box<dyn TaskHandle>;
}

/// A running future.
#[async_trait]
pub trait TaskHandle: Send + Sync {
    /// Waits for its end.
    ///
    /// # Cancel safety
    /// Safe: a later call waits on.
    async fn join(&mut self) -> Ended;

    /// Drops it at its next await point.
    fn abort(&self);
}

/// How a spawned future ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// It returned.
    Finished,
    /// It panicked.
    Panicked,
    /// It was aborted.
    Aborted,
}
