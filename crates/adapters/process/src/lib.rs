#![doc = include_str!("../README.md")]

mod cgroup;
mod check;
mod config;
mod enforced;
pub mod launcher;
mod output;
mod processes;
mod supervise;
mod transport;
mod workdir;

pub use cgroup::{Groups, Mode};
pub use config::{AgentCommand, Launcher, Limits};
pub use enforced::Enforced;
pub use transport::ExecTransport;
pub use workdir::sweep;
