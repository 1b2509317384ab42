//! Delivering an assignment to a command.

use std::ffi::OsString;
use std::os::unix::process::ExitStatusExt as _;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::sync::Arc;
use std::time::Duration;

use arbiter_core::mechanism::Redactor;
use arbiter_core::model::{ArtifactRef, Failure, FailureClass, Report};
use arbiter_core::ports::{
    AgentTransport, ArtifactError, ArtifactStore, BoxError, Clock, Delivered, Delivery, TransportError,
};
use arbiter_wire::exec::{Answer, Outcome, order};
use async_trait::async_trait;
use tokio::process::Command;

use crate::cgroup::{Bounds, Group, Groups};
use crate::config::{AgentCommand, Launcher};
use crate::enforced::Enforced;
use crate::launcher::{CANNOT_START, Order};
use crate::output::{SHOWN, last};
use crate::processes::MARKER;
use crate::supervise::{End, Ran, Surroundings, run};
use crate::workdir::WorkDir;

/// The search path of commands.
const PATH: &str = "/usr/local/bin:/usr/bin:/bin";
/// The largest artifact that a command may hand in.
const MAX_ARTIFACT_BYTES: u64 = 256 << 20;

/// How long a command may take to end after SIGTERM.
const GRACE: Duration = Duration::from_secs(5);
/// A message of a command is cut to so many bytes.
const MAX_MESSAGE: usize = 2_000;

/// Runs an agent's command, once per attempt.
///
/// A command is killed by the kernel when the thread that started it ends (prctl(2), PR_SET_PDEATHSIG). Deliver from
/// a worker thread of the runtime, or from its main thread: not from threads that come and go.
pub struct ExecTransport {
    agent: AgentCommand,
    launcher: Launcher,
    artifacts: Arc<dyn ArtifactStore>,
    clock: Arc<dyn Clock>,
    redactor: Arc<Redactor>,
    work_root: PathBuf,
    groups: Arc<Groups>,
    grace: Duration,
}

impl std::fmt::Debug for ExecTransport {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ExecTransport")
            .field("agent", &self.agent.agent)
            .finish_non_exhaustive()
    }
}

impl ExecTransport {
    /// A transport for one agent. Attempts work in fresh folders below `work_root`; without
    /// [`groups`](Self::with_groups) their memory and processes are measured.
    pub fn new(
        agent: AgentCommand,
        launcher: Launcher,
        artifacts: Arc<dyn ArtifactStore>,
        clock: Arc<dyn Clock>,
        redactor: Arc<Redactor>,
        work_root: PathBuf,
    ) -> Self {
        Self {
            agent,
            launcher,
            artifacts,
            clock,
            redactor,
            work_root,
            groups: Arc::new(Groups::off()),
            grace: GRACE,
        }
    }

    /// The same with control groups for its attempts.
    pub fn with_groups(self, groups: Arc<Groups>) -> Self {
        Self { groups, ..self }
    }

    /// The same with another time between SIGTERM and SIGKILL than 5 s.
    pub fn with_grace(self, grace: Duration) -> Self {
        Self { grace, ..self }
    }

    fn command(&self, folder: &WorkDir, delivery: &Delivery, marker: &str, group: Option<&Group>) -> Command {
        let order = Order {
            parent: nix::unistd::Pid::this().as_raw(),
            uid: self.agent.limits.uid,
            file_bytes: MAX_ARTIFACT_BYTES.max(self.agent.limits.output_bytes),
            folder: folder.work(),
            input: folder.input(),
            doors: group.map(Group::doors).unwrap_or_default(),
            command: self.agent.command.iter().map(OsString::from).collect(),
        };
        let mut command = Command::new(&self.launcher.program);
        command
            .args(&self.launcher.arguments)
            .args(order.arguments())
            .env_clear()
            .env("PATH", PATH)
            .env("LANG", "C.UTF-8")
            .env("HOME", folder.work())
            .env("TMPDIR", folder.work().join("tmp"))
            .env("ARBITER_INPUT", folder.input())
            .env("ARBITER_TASK_ID", delivery.stored.task.id.to_string())
            .env("ARBITER_ATTEMPT_NUMBER", delivery.number.to_string())
            .envs(&self.agent.env)
            .env(MARKER, marker)
            .current_dir(folder.work());
        command
    }

    /// A message with the end of the log, if there is any; both redacted before they are cut.
    fn with_log(&self, message: &str, log: &str) -> String {
        let message = self.redactor.text(message);
        let message = first(&message, MAX_MESSAGE);
        let log = self.redactor.text(log);
        match last(log.trim(), SHOWN) {
            "" => message.to_owned(),
            log => format!("{message}; its log ends with: {log}"),
        }
    }

    /// The limits that do not hold an attempt, with or without a control group.
    fn missing(&self, group: Option<&Group>) -> Vec<String> {
        let uid = self.agent.limits.uid;
        let enforced = Enforced::for_attempt(uid, self.groups.mode(), group.is_some());
        enforced.missing().map(|(limit, _)| limit.to_owned()).collect()
    }

    /// What the end of a command means. `missing`: the limits that did not hold it.
    async fn outcome(
        &self,
        ran: Ran,
        folder: &WorkDir,
        delivery: &Delivery,
        missing: Vec<String>,
    ) -> Result<Delivered, BoxError> {
        let failed = |class, message: String| {
            let message = self.with_log(&message, &ran.log.text());
            Ok(Delivered::Failed(Failure {
                class,
                code: None,
                message,
                usage: ran.log.usage,
                not_enforced: Some(missing.clone()),
            }))
        };
        match ran.end {
            End::Stopped => return Ok(Delivered::Stopped),
            End::Overdue => {
                return failed(
                    FailureClass::Timeout,
                    "the command ran past its deadline".to_owned(),
                );
            }
            End::Limit(problem) => return failed(FailureClass::Limit, problem),
            End::Exited(status) if !status.success() => return failed(class(status), describe(status)),
            End::Exited(_) => {}
        }
        let answer = match Answer::parse(&ran.stdout) {
            Ok(answer) => answer,
            Err(error) => return failed(FailureClass::Protocol, error.to_string()),
        };
        match answer.outcome {
            Outcome::Failed { class, message } => Ok(Delivered::Failed(Failure {
                class: FailureClass::Agent,
                code: class,
                message: first(&self.redactor.text(&message), MAX_MESSAGE).to_owned(),
                usage: answer.usage,
                not_enforced: Some(missing),
            })),
            Outcome::Succeeded {
                output,
                artifacts,
                claims,
                evidence,
            } => {
                let mut kept = Vec::with_capacity(artifacts.len());
                for name in artifacts {
                    let mut file = match folder.open(&name) {
                        Ok(file) => file,
                        Err(problem) => return failed(FailureClass::Protocol, problem),
                    };
                    let tenant = delivery.stored.task.tenant;
                    let stored = match self.artifacts.put(tenant, &mut file, MAX_ARTIFACT_BYTES).await {
                        Ok(stored) => stored,
                        Err(
                            error @ (ArtifactError::TooLarge { .. } | ArtifactError::QuotaExceeded { .. }),
                        ) => {
                            return failed(FailureClass::Limit, format!("the artifact `{name}`: {error}"));
                        }
                        Err(error) => return Err(error.into()),
                    };
                    kept.push(ArtifactRef {
                        name,
                        digest: stored.digest,
                        size_bytes: stored.size_bytes,
                    });
                }
                let report = Report {
                    output,
                    artifacts: kept,
                    claims,
                    evidence,
                    usage: answer.usage,
                    not_enforced: Some(missing),
                };
                Ok(Delivered::Reported(report))
            }
        }
    }
}

#[async_trait]
impl AgentTransport for ExecTransport {
    async fn deliver(&self, delivery: Delivery) -> Result<Delivered, TransportError> {
        if delivery.agent != self.agent.agent {
            return Err(TransportError::UnknownAgent(delivery.agent));
        }
        let unreachable =
            |operation| move |source: BoxError| TransportError::Unreachable { operation, source };
        let folder = WorkDir::make(&self.work_root, self.agent.limits.uid)
            .map_err(|error| unreachable("making its folder")(error.into()))?;
        let (tenant, spec) = (delivery.stored.task.tenant, &delivery.stored.spec);
        let paths = folder
            .fill(self.artifacts.as_ref(), tenant, &spec.artifacts)
            .await
            .map_err(unreachable("bringing its input"))?;
        let order = order(
            &delivery.stored,
            delivery.number,
            delivery.deadline,
            &delivery.context,
            &paths,
        )
        .to_string();
        let marker = folder.name();
        let limits = self.agent.limits;
        let bounds = Bounds {
            memory_bytes: limits.memory_bytes,
            threads: limits.most_threads(),
        };
        let group = self.groups.make(bounds, &marker);
        let command = self.command(&folder, &delivery, &marker, group.as_ref());
        let missing = self.missing(group.as_ref());
        delivery.progress.not_enforced(&missing);
        let left = delivery.deadline.since(self.clock.now());
        let around = Surroundings {
            limits,
            grace: self.grace,
            clock: self.clock.as_ref(),
            deadline: self.clock.monotonic().saturating_add(left),
            progress: delivery.progress.as_ref(),
            stop: delivery.stop.as_ref(),
            marker: &marker,
            control: group,
        };
        let ran = run(command, order.as_bytes(), around)
            .await
            .map_err(|error| unreachable("starting its command")(error.into()))?;
        self.outcome(ran, &folder, &delivery, missing)
            .await
            .map_err(unreachable("keeping its files"))
    }
}

fn class(status: ExitStatus) -> FailureClass {
    if status.code() == Some(i32::from(CANNOT_START)) {
        FailureClass::Transport
    } else {
        FailureClass::Crash
    }
}

fn describe(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("the command ended with status {code}"),
        (None, Some(signal)) => format!("the command was ended by signal {signal}"),
        (None, None) => "the command ended in an unknown way".to_owned(),
    }
}

/// The first bytes of a text, at most `limit_bytes`, cut between characters.
fn first(text: &str, limit_bytes: usize) -> &str {
    &text[..text.floor_char_boundary(limit_bytes)]
}
