//! One command from start to end: its streams, its limits, its deadline, its being told to stop.

use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use arbiter_core::ports::{Clock, ProgressSink, StopSignal};
use nix::sys::signal::Signal;
use tokio::io::AsyncWriteExt as _;
use tokio::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command};

use crate::cgroup::Group;
use crate::config::Limits;
use crate::output::{Log, OverLimit, read_answer};
use crate::processes::Processes;

/// How often memory and processes are measured.
const MEASURE_EVERY: Duration = Duration::from_millis(100);
/// How long the streams are read on after the command and its processes have ended.
const DRAIN: Duration = Duration::from_secs(1);

/// What a command left.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) end: End,
    pub(crate) stdout: Vec<u8>,
    pub(crate) log: Log,
}

/// How it ended.
#[derive(Debug)]
pub(crate) enum End {
    Exited(ExitStatus),
    /// The deadline passed.
    Overdue,
    /// It was told to stop.
    Stopped,
    /// It went over a limit.
    Limit(String),
}

/// What surrounds a command.
pub(crate) struct Surroundings<'a> {
    pub(crate) limits: Limits,
    /// How long it may take to end after SIGTERM.
    pub(crate) grace: Duration,
    pub(crate) clock: &'a dyn Clock,
    /// When the attempt must have ended, by the monotonic clock.
    pub(crate) deadline: Duration,
    pub(crate) progress: &'a dyn ProgressSink,
    pub(crate) stop: &'a dyn StopSignal,
    /// Finds the attempt's processes wherever they went.
    pub(crate) marker: &'a str,
    /// The control group that the launcher joins, if there is one.
    pub(crate) control: Option<Group>,
}

/// How far a command is.
enum Phase {
    Running,
    /// SIGTERM was sent; SIGKILL follows at the moment.
    Asked(End, Duration),
    /// SIGKILL was sent.
    Killed(End),
}

impl Phase {
    /// The moment at which the clock moves the phase on.
    fn wakes_at(&self, deadline: Duration) -> Option<Duration> {
        match self {
            Self::Running => Some(deadline),
            Self::Asked(_, kill_at) => Some(*kill_at),
            Self::Killed(_) => None,
        }
    }

    /// The first reason stays the reason.
    fn killed(self, why: End) -> Self {
        match self {
            Self::Running => Self::Killed(why),
            Self::Asked(end, _) | Self::Killed(end) => Self::Killed(end),
        }
    }
}

/// Runs a command to its end. Nothing of it is left behind.
///
/// # Cancel safety
/// Dropping the future kills the command and its processes.
pub(crate) async fn run(
    mut command: Command,
    order: &[u8],
    around: Surroundings<'_>,
) -> std::io::Result<Ran> {
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .kill_on_drop(true);
    let mut child = command.spawn()?;
    let leader = child.id().and_then(|id| i32::try_from(id).ok());
    let leader = leader.ok_or_else(|| std::io::Error::other("the command has no process id"))?;
    let mut processes = Processes::new(leader, around.marker, around.control);
    let (mut stdin, stdout, stderr) = streams(&mut child)?;
    let Surroundings { limits, clock, .. } = around;
    let (mut answer, mut log) = (Vec::new(), Log::default());
    let too_much = || {
        End::Limit(format!(
            "it wrote more than {} bytes of output",
            limits.output_bytes
        ))
    };
    let end = {
        let write = async move {
            // A command that does not read its order closes the pipe; that is its own business.
            let _closed_early = stdin.write_all(order).await;
            drop(stdin);
        };
        let read_answer = read_answer(stdout, &mut answer, limits.output_bytes);
        let read_log = log.read(stderr, around.progress, clock);
        tokio::pin!(write, read_answer, read_log);
        let (mut written, mut answered, mut logged) = (false, false, false);
        let mut phase = Phase::Running;
        let mut next_measure = clock.monotonic() + MEASURE_EVERY;
        let status = loop {
            let wakes_at = phase.wakes_at(around.deadline);
            tokio::select! {
                // The clock goes before the streams: a command that never stops writing must not hold it up.
                biased;
                status = child.wait() => break status?,
                () = around.stop.stopped(), if matches!(phase, Phase::Running) => {
                    processes.signal(Signal::SIGTERM);
                    phase = Phase::Asked(End::Stopped, clock.monotonic() + around.grace);
                }
                () = clock.sleep_until(wakes_at.unwrap_or_default()), if wakes_at.is_some() => {
                    phase = if matches!(phase, Phase::Running) {
                        processes.signal(Signal::SIGTERM);
                        Phase::Asked(End::Overdue, clock.monotonic() + around.grace)
                    } else {
                        processes.kill();
                        phase.killed(End::Overdue)
                    };
                }
                () = clock.sleep_until(next_measure) => {
                    next_measure = clock.monotonic() + MEASURE_EVERY;
                    if let Some(problem) = over(&mut processes, &limits) {
                        processes.kill();
                        phase = phase.killed(End::Limit(problem));
                    }
                }
                () = &mut write, if !written => written = true,
                read = &mut read_answer, if !answered => {
                    answered = true;
                    if read == Err(OverLimit) {
                        processes.kill();
                        phase = phase.killed(too_much());
                    }
                }
                () = &mut read_log, if !logged => logged = true,
            }
        };
        // It may have ended between two looks because of a limit, or while something else of it did.
        if matches!(phase, Phase::Running)
            && let Some(problem) = processes.control().and_then(|group| held_back(group, &limits))
        {
            phase = Phase::Killed(End::Limit(problem));
        }
        // What the command left running would keep the streams open.
        processes.end(clock).await;
        let until = clock.monotonic() + DRAIN;
        let mut flooded = false;
        while !(answered && logged) {
            tokio::select! {
                biased;
                () = clock.sleep_until(until) => break,
                read = &mut read_answer, if !answered => {
                    answered = true;
                    flooded = read == Err(OverLimit);
                }
                () = &mut read_log, if !logged => logged = true,
            }
        }
        match phase {
            Phase::Asked(end, _) | Phase::Killed(end) => end,
            Phase::Running if flooded => too_much(),
            Phase::Running => End::Exited(status),
        }
    };
    Ok(Ran {
        end,
        stdout: answer,
        log,
    })
}

fn streams(child: &mut Child) -> std::io::Result<(ChildStdin, ChildStdout, ChildStderr)> {
    match (child.stdin.take(), child.stdout.take(), child.stderr.take()) {
        (Some(stdin), Some(stdout), Some(stderr)) => Ok((stdin, stdout, stderr)),
        _ => Err(std::io::Error::other("the command has no standard streams")),
    }
}

fn over(processes: &mut Processes, limits: &Limits) -> Option<String> {
    let used = processes.measure();
    if used.memory_bytes > limits.memory_bytes {
        let (used, limit) = (used.memory_bytes, limits.memory_bytes);
        return Some(format!(
            "it used {used} bytes of memory where {limit} is the limit"
        ));
    }
    if used.processes > limits.processes {
        let (used, limit) = (used.processes, limits.processes);
        return Some(format!("it had {used} processes where {limit} is the limit"));
    }
    if used.threads > limits.most_threads() {
        let (used, limit) = (used.threads, limits.most_threads());
        return Some(format!("it had {used} threads where {limit} is the limit"));
    }
    processes.control().and_then(|group| held_back(group, limits))
}

/// Which limit the kernel held a command to.
fn held_back(group: &Group, limits: &Limits) -> Option<String> {
    if group.is_over_memory() {
        let limit = limits.memory_bytes;
        return Some(format!(
            "it needed more bytes of memory where {limit} is the limit"
        ));
    }
    if group.is_over_threads() {
        let limit = limits.most_threads();
        return Some(format!(
            "it started more processes and threads where {limit} threads is the limit"
        ));
    }
    None
}
