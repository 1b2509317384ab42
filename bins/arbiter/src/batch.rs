//! What `arbiter run` reads and writes: a batch of tasks, the agents that may work on them, one result a task.

mod agents;
mod identity;
mod progress;
mod results;
mod tasks;
mod unserved;
mod upload;

pub(crate) use agents::{AgentEntry, Agents};
pub(crate) use identity::{BatchRun, LABEL, identity};
pub(crate) use progress::Progress;
pub(crate) use results::{ArtifactLine, ResultLine, write as write_results};
pub(crate) use tasks::{Batch, BatchTask};
pub(crate) use unserved::{Standstill, Unserved};
pub(crate) use upload::upload;
