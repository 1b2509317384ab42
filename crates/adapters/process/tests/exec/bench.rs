//! A folder with a script, a transport that runs it, and fakes around.

use std::collections::BTreeMap;
use std::ops::Range;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use arbiter_adapter_process::{AgentCommand, ExecTransport, Groups, Launcher, Limits};
use arbiter_adapter_system::SystemClock;
use arbiter_core::mechanism::{RedactionRules, Redactor};
use arbiter_core::model::*;
use arbiter_core::ports::*;
use async_trait::async_trait;
use tokio::sync::watch;

pub(crate) const AGENT: AgentId = AgentId::from_bytes([2; 16]);
pub(crate) const TENANT: TenantId = TenantId::from_bytes([1; 16]);
pub(crate) const NOBODY: u32 = 65_534;

/// Whether the tests run as root.
pub(crate) fn is_root() -> bool {
    nix::unistd::Uid::effective().is_root()
}

/// Artifacts in memory.
#[derive(Default)]
pub(crate) struct Artifacts {
    pub(crate) kept: Mutex<BTreeMap<Digest, Vec<u8>>>,
    pub(crate) quota_bytes: Option<u64>,
}

#[async_trait]
impl ArtifactStore for Artifacts {
    async fn put(&self, _: TenantId, source: &mut dyn ByteSource, _: u64) -> Result<Stored, ArtifactError> {
        let mut bytes = Vec::new();
        while let Some(piece) = source.next().await.map_err(ArtifactError::Source)? {
            bytes.extend(piece);
        }
        if let Some(quota_bytes) = self.quota_bytes.filter(|quota| bytes.len() as u64 > *quota) {
            return Err(ArtifactError::QuotaExceeded { quota_bytes });
        }
        let stored = Stored {
            digest: Digest::of(&bytes),
            size_bytes: bytes.len() as u64,
        };
        self.kept.lock().unwrap().insert(stored.digest, bytes);
        Ok(stored)
    }

    async fn get(
        &self,
        _: TenantId,
        digest: Digest,
        _: Option<Range<u64>>,
    ) -> Result<Option<Vec<u8>>, ArtifactError> {
        Ok(self.kept.lock().unwrap().get(&digest).cloned())
    }

    async fn size(&self, _: TenantId, digest: Digest) -> Result<Option<u64>, ArtifactError> {
        Ok(self
            .kept
            .lock()
            .unwrap()
            .get(&digest)
            .map(|bytes| bytes.len() as u64))
    }

    async fn delete(&self, _: TenantId, digest: Digest) -> Result<bool, ArtifactError> {
        Ok(self.kept.lock().unwrap().remove(&digest).is_some())
    }

    async fn list(&self, _: TenantId, _: Option<Digest>, _: usize) -> Result<ArtifactPage, ArtifactError> {
        let kept = self.kept.lock().unwrap();
        let artifacts = kept.iter().map(|(digest, bytes)| Stored {
            digest: *digest,
            size_bytes: bytes.len() as u64,
        });
        Ok(ArtifactPage {
            artifacts: artifacts.collect(),
            next: None,
        })
    }

    async fn usage(&self, _: TenantId) -> Result<ArtifactUsage, ArtifactError> {
        let kept = self.kept.lock().unwrap();
        Ok(ArtifactUsage {
            used_bytes: kept.values().map(|bytes| bytes.len() as u64).sum(),
            quota_bytes: self.quota_bytes.unwrap_or(u64::MAX),
        })
    }
}

/// Keeps what was told; says when something was.
pub(crate) struct Told {
    pub(crate) all: Mutex<Vec<(Option<Progress>, Option<Usage>)>>,
    pub(crate) not_enforced: Mutex<Option<Vec<String>>>,
    pub(crate) heard: watch::Sender<bool>,
}

impl ProgressSink for Told {
    fn not_enforced(&self, limits: &[String]) {
        *self.not_enforced.lock().unwrap() = Some(limits.to_vec());
    }

    fn tell(&self, progress: Option<Progress>, usage: Option<Usage>) {
        self.all.lock().unwrap().push((progress, usage));
        self.heard.send_replace(true);
    }
}

/// Stops as soon as the command has told progress, or never.
struct StopWhenHeard(Option<watch::Receiver<bool>>);

#[async_trait]
impl StopSignal for StopWhenHeard {
    async fn stopped(&self) {
        match &self.0 {
            Some(heard) => {
                let mut heard = heard.clone();
                heard.wait_for(|heard| *heard).await.expect("the sender lives");
            }
            None => std::future::pending().await,
        }
    }
}

/// Everything for one delivery.
pub(crate) struct Bench {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) command: Vec<String>,
    pub(crate) env: BTreeMap<String, String>,
    pub(crate) limits: Limits,
    pub(crate) groups: Arc<Groups>,
    pub(crate) grace: Duration,
    pub(crate) within: Duration,
    pub(crate) stops: bool,
    pub(crate) number: u16,
    pub(crate) spec: TaskSpec,
    pub(crate) artifacts: Arc<Artifacts>,
    pub(crate) told: Arc<Told>,
}

impl Bench {
    /// A bench whose command is a shell script.
    pub(crate) fn script(text: &str) -> Self {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("agent.sh");
        std::fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o755)).expect("rights");
        std::fs::write(&path, format!("#!/bin/sh\n{text}\n")).expect("script");
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).expect("rights");
        Self::in_folder(folder, vec![path.display().to_string()])
    }

    /// A bench with another command.
    pub(crate) fn command(command: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("folder");
        std::fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o755)).expect("rights");
        Self::in_folder(folder, command.iter().map(|part| (*part).to_owned()).collect())
    }

    fn in_folder(folder: tempfile::TempDir, command: Vec<String>) -> Self {
        Self {
            folder,
            command,
            env: BTreeMap::new(),
            limits: Limits::default(),
            groups: Arc::new(Groups::find()),
            grace: Duration::from_secs(30),
            within: Duration::from_secs(60),
            stops: false,
            number: 1,
            spec: TaskSpec::new(
                TaskKind::new("analysis").expect("kind"),
                "Count",
                "Count the words.",
            ),
            artifacts: Arc::default(),
            told: Arc::new(Told {
                all: Mutex::default(),
                not_enforced: Mutex::default(),
                heard: watch::Sender::new(false),
            }),
        }
    }

    /// Gives the task an input artifact.
    pub(crate) fn input(&mut self, name: &str, content: &[u8]) {
        let (digest, size_bytes) = (Digest::of(content), content.len() as u64);
        self.artifacts
            .kept
            .lock()
            .unwrap()
            .insert(digest, content.to_vec());
        self.spec.artifacts.push(ArtifactRef {
            name: name.into(),
            digest,
            size_bytes,
        });
    }

    pub(crate) fn work_root(&self) -> PathBuf {
        self.folder.path().join("work")
    }

    pub(crate) fn transport(&self) -> ExecTransport {
        let launcher = Launcher {
            program: PathBuf::from(env!("CARGO_BIN_EXE_exec-launcher")),
            arguments: Vec::new(),
        };
        let agent = AgentCommand {
            agent: AGENT,
            command: self.command.clone(),
            env: self.env.clone(),
            limits: self.limits,
        };
        let redactor = Arc::new(Redactor::new(&RedactionRules::default()).expect("rules"));
        let artifacts = Arc::clone(&self.artifacts) as Arc<dyn ArtifactStore>;
        ExecTransport::new(
            agent,
            launcher,
            artifacts,
            Arc::new(SystemClock::new()),
            redactor,
            self.work_root(),
        )
        .with_groups(Arc::clone(&self.groups))
        .with_grace(self.grace)
    }

    pub(crate) fn delivery(&self) -> Delivery {
        let mut task = task(&self.spec);
        task.attempts = self.number;
        Delivery {
            agent: AGENT,
            stored: StoredTask {
                task,
                spec: Arc::new(self.spec.clone()),
            },
            fence: Fence(u64::from(std::process::id())),
            number: self.number,
            deadline: SystemClock::new().now().plus(self.within),
            context: vec![ContextItem {
                kind: "failed_attempt".into(),
                tenant: TENANT,
                text: "try harder".into(),
            }],
            progress: self.told.clone(),
            stop: Arc::new(StopWhenHeard(self.stops.then(|| self.told.heard.subscribe()))),
        }
    }

    /// Delivers, and checks that the working folder is gone.
    pub(crate) async fn run(&self) -> Delivered {
        let delivered = self
            .transport()
            .deliver(self.delivery())
            .await
            .expect("delivered");
        assert!(is_empty(&self.work_root()), "the working folder is left");
        delivered
    }

    /// Delivers what must fail.
    pub(crate) async fn fails(&self) -> Failure {
        match self.run().await {
            Delivered::Failed(failure) => failure,
            other => panic!("{other:?}"),
        }
    }

    /// Delivers what must succeed.
    pub(crate) async fn reports(&self) -> Report {
        match self.run().await {
            Delivered::Reported(report) => report,
            other => panic!("{other:?}"),
        }
    }

    /// The message of the first progress, as a process id.
    pub(crate) fn told_process(&self) -> i32 {
        let all = self.told.all.lock().unwrap();
        let message = all
            .iter()
            .find_map(|(progress, _)| Some(progress.as_ref()?.message.clone()));
        message.and_then(|text| text.parse().ok()).expect("a process id")
    }
}

pub(crate) fn is_empty(folder: &Path) -> bool {
    std::fs::read_dir(folder).expect("folder").next().is_none()
}

/// Whether a process runs; one that waits to be reaped does not.
pub(crate) fn lives(process: i32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    stat.rsplit(')')
        .next()
        .and_then(|rest| rest.split_whitespace().next())
        .is_some_and(|state| state != "Z")
}

fn task(spec: &TaskSpec) -> Task {
    let shape = LaneKey {
        tenant: TENANT,
        band: Band::HIGHEST,
        work: Work::Review(Stage::Judge),
    };
    Task {
        id: TaskId::from_bytes(
            *Digest::of(spec.title.as_bytes())
                .as_bytes()
                .first_chunk()
                .expect("16 bytes"),
        ),
        tenant: TENANT,
        submitter: PrincipalId::from_bytes([3; 16]),
        lane: shape.id(),
        order_key: None,
        submitted_at: Timestamp::default(),
        changed_at: Timestamp::default(),
        terms: Terms::of(spec),
        state: State::Queued { wait: Wait::Ready },
        version: Version(1),
        fence: Fence(1),
        attempts: 1,
        returns: 0,
        losses: 0,
        lost_leases: 0,
        stage_errors: 0,
        attempt: None,
        result: None,
        avoid: Vec::new(),
        releases: Vec::new(),
        has_dependants: false,
        progress: None,
        last_command: None,
    }
}
