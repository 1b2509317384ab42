//! The rows.

use std::fmt;

use arbiter_core::model::{AgentId, Digest, Fence, LaneId, NodeId, OutboxId, TaskId, TenantId, Timestamp};

use super::Counts;

/// A text that a store keeps. Its `Debug` shows the size only: bodies hold what must not be logged.
#[derive(Clone, PartialEq, Eq)]
pub struct Body(pub String);

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Body({} bytes)", self.0.len())
    }
}

/// Some rows of one kind, or the end of all.
#[derive(Debug)]
pub enum Rows {
    /// An artifact, of which the pieces follow.
    Artifact(ArtifactRow),
    /// A piece of the content of the latest artifact, in order.
    Piece(Piece),
    /// Documents.
    Documents(Vec<DocumentRow>),
    /// Named leases.
    Leases(Vec<LeaseRow>),
    /// Entries for outside.
    Outbox(Vec<OutboxRow>),
    /// Agents.
    Agents(Vec<AgentRow>),
    /// Attempts whose outcomes the registry has counted, and when it did, if the task is not in the store.
    Outcomes(Vec<(TaskId, Fence, Option<Timestamp>)>),
    /// Lanes with their names.
    Lanes(Vec<(LaneId, Body)>),
    /// Tasks, each whole.
    Tasks(Vec<TaskRow>),
    /// A prerequisite that is open, and the task that waits for it.
    Dependencies(Vec<(TaskId, TaskId)>),
    /// How much of each scope is taken; what is not taken may be left out.
    Loads(Vec<(String, i64)>),
    /// Where the tasks of each tenant stand; see [`tally_place`](crate::stored::tally_place).
    Tallies(Vec<(TenantId, [i64; 5])>),
    /// The head of the audit log that was signed last.
    Signed(SignedRow),
    /// Commits of the audit log, in order.
    Batches(Vec<BatchRow>),
    /// Ids of batches of records that were appended.
    Appends(Vec<[u8; 16]>),
    /// Series of measurements.
    Series(Vec<SeriesRow>),
    /// Their points.
    Points(Vec<PointRow>),
    /// Up to when measurements were down-sampled or forgotten, in microseconds.
    Horizon(i64),
    /// The end.
    End(End),
}

impl Rows {
    /// How many rows there are.
    pub fn count(&self) -> usize {
        match self {
            Self::Artifact(_) | Self::Signed(_) | Self::Horizon(_) => 1,
            Self::Piece(_) | Self::End(_) => 0,
            Self::Documents(rows) => rows.len(),
            Self::Leases(rows) => rows.len(),
            Self::Outbox(rows) => rows.len(),
            Self::Agents(rows) => rows.len(),
            Self::Outcomes(rows) => rows.len(),
            Self::Lanes(rows) => rows.len(),
            Self::Tasks(rows) => rows.len(),
            Self::Dependencies(rows) => rows.len(),
            Self::Loads(rows) => rows.len(),
            Self::Tallies(rows) => rows.len(),
            Self::Batches(rows) => rows.len(),
            Self::Appends(rows) => rows.len(),
            Self::Series(rows) => rows.len(),
            Self::Points(rows) => rows.len(),
        }
    }
}

/// Bytes whose `Debug` shows the size only.
#[derive(Clone, PartialEq, Eq)]
pub struct Piece(pub Vec<u8>);

impl fmt::Debug for Piece {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Piece({} bytes)", self.0.len())
    }
}

/// An artifact.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ArtifactRow {
    /// Whose it is.
    pub tenant: TenantId,
    /// The SHA-256 of its content.
    pub digest: Digest,
    /// How long its content is.
    pub size_bytes: u64,
    /// Whether its content is known not to have its digest: it is moved as it stands, and readers are told so there too.
    pub is_damaged: bool,
}

/// A document. What is declared of it stands in `entries`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DocumentRow {
    /// Its kind.
    pub kind: String,
    /// Whose it is.
    pub tenant: TenantId,
    /// Its name.
    pub id: String,
    /// Its revision.
    pub revision: i64,
    /// Its content.
    pub body: Body,
    /// Its declared values: `[[name, value], …]`.
    pub entries: Option<String>,
    /// When it expires, in microseconds.
    pub expires_at: Option<i64>,
}

/// A named lease.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeaseRow {
    /// Its name.
    pub name: String,
    /// Who has it; none when it was given back.
    pub node: Option<NodeId>,
    /// Its fencing token.
    pub fence: i64,
    /// When it ends, in microseconds.
    pub until: i64,
}

/// An entry for outside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutboxRow {
    /// Its id.
    pub id: OutboxId,
    /// For whom it is.
    pub topic: String,
    /// When it is due, in microseconds; none when it is in quarantine.
    pub due_at: Option<i64>,
    /// How often it was tried.
    pub tries: i32,
    /// What it says.
    pub body: Body,
    /// Why it is in quarantine.
    pub quarantined: Option<String>,
    /// The tenant that it tells of.
    pub tenant: Option<TenantId>,
    /// The task that it tells of.
    pub task: Option<TaskId>,
}

/// An agent, or the place of one that was removed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AgentRow {
    /// Its id.
    pub id: AgentId,
    /// The revision of its latest change.
    pub revision: i64,
    /// When it was heard of last, in microseconds.
    pub seen_at: i64,
    /// Whether it can work, as its latest heartbeat says.
    pub able: Option<bool>,
    /// How much of its processors it uses, in millionths.
    pub cpu: Option<i32>,
    /// How much of its memory it uses, in millionths.
    pub memory: Option<i32>,
    /// What is known of it; none when it was removed.
    pub body: Option<Body>,
}

/// A task with everything that is kept of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskRow {
    /// Its id.
    pub id: TaskId,
    /// How it stands.
    pub status: Body,
    /// What was asked for.
    pub spec: Body,
    /// The key that it was submitted with, and the fingerprint of what was submitted.
    pub idempotency: Option<(String, Digest)>,
    /// Its finished attempts, in order.
    pub attempts: Vec<Body>,
    /// The reports of its review stages, in order.
    pub stages: Vec<Body>,
}

/// A head of the audit log that was signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedRow {
    /// How many entries it covers.
    pub size: u64,
    /// The root of the tree over them.
    pub root: Digest,
    /// The signed note.
    pub note: String,
}

/// The leaves of one commit, in the packed form of `arbiter_audit::batch`.
#[derive(Clone, PartialEq, Eq)]
pub struct BatchRow {
    /// The index of the first leaf.
    pub first: u64,
    /// How many leaves there are.
    pub count: u64,
    /// Their hashes, one after the other.
    pub hashes: Vec<u8>,
    /// The leaves.
    pub leaves: Vec<u8>,
    /// Their details.
    pub details: Option<Vec<u8>>,
}

impl fmt::Debug for BatchRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BatchRow")
            .field("first", &self.first)
            .field("count", &self.count)
            .finish_non_exhaustive()
    }
}

/// A series of measurements.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeriesRow {
    /// Its number, which its points name.
    pub id: i64,
    /// The name of the metric.
    pub name: String,
    /// The text of its labels.
    pub labels: String,
}

/// A sample (span 0) or a bucket.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PointRow {
    /// The number of its series.
    pub series: i64,
    /// When it begins, in microseconds.
    pub at: i64,
    /// How long it is, in microseconds.
    pub span: i64,
    /// How many samples are in it.
    pub count: i64,
    /// Their mean.
    pub mean: f64,
    /// The lowest.
    pub min: f64,
    /// The highest.
    pub max: f64,
    /// The latest.
    pub last: f64,
}

/// What a store says of the rows that it gave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct End {
    /// How many rows each table has.
    pub counts: Counts,
    /// How many entries the audit log has.
    pub size: u64,
    /// The root of its tree.
    pub root: Digest,
}
