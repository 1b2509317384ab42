//! One server process: its folder, its user, how it starts, answers and stops.

use std::fs::{self, File};
use std::io::Read;
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use std::{env, thread};

use anyhow::{Context, bail};
use serde::{Deserialize, Serialize};

use super::Kind;
use crate::shell;

/// The user and group that servers run as when we are root: `nobody`.
const UNPRIVILEGED: u32 = 65_534;
/// How long a server may take to answer, and to stop when asked.
const PATIENCE: Duration = Duration::from_mins(1);
const PAUSE: Duration = Duration::from_millis(50);

/// A server that was started here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Server {
    /// What it is.
    pub(crate) kind: Kind,
    /// Its process.
    pub(crate) pid: u32,
    /// When that process started, in clock ticks since boot.
    pub(crate) started: u64,
    /// Where it answers.
    pub(crate) url: String,
    /// Its data and its log.
    pub(crate) folder: PathBuf,
}

impl Server {
    /// Whether the process that was started still runs.
    pub(crate) fn is_running(&self) -> bool {
        start_of(self.pid) == Some(self.started)
    }

    /// Asks the process to stop, ends it when it does not, and removes its folder.
    pub(crate) fn stop(&self) -> anyhow::Result<()> {
        for signal in ["INT", "KILL"] {
            if !self.is_running() {
                break;
            }
            // The shell's own `kill`: small systems lack the program.
            shell::output(Command::new("sh").args(["-c", &format!("kill -{signal} {}", self.pid)]))?;
            let deadline = Instant::now() + PATIENCE;
            while self.is_running() && Instant::now() < deadline {
                thread::sleep(PAUSE);
            }
        }
        if self.is_running() {
            bail!("{} (pid {}) does not stop", self.kind, self.pid);
        }
        if self.folder.exists() {
            fs::remove_dir_all(&self.folder)
                .with_context(|| format!("removing {}", self.folder.display()))?;
        }
        Ok(())
    }
}

/// A temporary folder that the server's user can enter, and programs that run as this user.
#[derive(Debug)]
pub(crate) struct Home {
    /// The folder, with access for the server's user alone.
    pub(crate) folder: PathBuf,
    kind: Kind,
    user: Option<u32>,
    library_path: Option<String>,
}

impl Home {
    /// Makes the folder.
    pub(crate) fn new(kind: Kind) -> anyhow::Result<Self> {
        let folder = env::temp_dir().join(format!("arbiter-{kind}-{}", random_word()?));
        fs::DirBuilder::new()
            .mode(0o700)
            .create(&folder)
            .with_context(|| format!("creating {}", folder.display()))?;
        let root = fs::metadata("/proc/self").context("reading /proc/self")?.uid() == 0;
        let user = root.then_some(UNPRIVILEGED);
        chown(&folder, user, user).with_context(|| format!("giving away {}", folder.display()))?;
        Ok(Self {
            folder,
            kind,
            user,
            library_path: None,
        })
    }

    /// Uses programs of an unpacked package. As root they are copied into the folder, because the
    /// server's user may not be able to enter the workspace. Gives the root to look below.
    pub(crate) fn use_unpacked(&mut self, unpacked: &crate::unpack::Unpacked) -> anyhow::Result<PathBuf> {
        let mut root = unpacked.root.clone();
        if self.user.is_some() {
            root = self.folder.join("packages");
            shell::output(Command::new("cp").arg("-R").arg(&unpacked.root).arg(&root))?;
            shell::output(Command::new("chmod").args(["-R", "a+rX"]).arg(&root))?;
        }
        self.library_path = Some(crate::unpack::Unpacked { root: root.clone() }.library_path());
        Ok(root)
    }

    /// Where unpacked programs find their libraries.
    pub(crate) fn library_path(&self) -> Option<&str> {
        self.library_path.as_deref()
    }

    /// A command that runs as the server's user in the folder.
    pub(crate) fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command
            .current_dir(&self.folder)
            .env("HOME", &self.folder)
            .env("TZ", "UTC")
            .env("LC_ALL", "C");
        if let Some(path) = &self.library_path {
            command.env("LD_LIBRARY_PATH", path);
        }
        if let Some(user) = self.user {
            command.uid(user).gid(user);
        }
        command
    }

    /// Writes a file that the server's user can read.
    pub(crate) fn write(&self, name: &str, text: &str) -> anyhow::Result<PathBuf> {
        let path = self.folder.join(name);
        fs::write(&path, text).with_context(|| format!("writing {}", path.display()))?;
        chown(&path, self.user, self.user).with_context(|| format!("giving away {}", path.display()))?;
        Ok(path)
    }

    /// Starts the server apart from our terminal and waits until it answers.
    ///
    /// # Errors
    /// When it ends or does not answer in time; the message carries the end of its log.
    pub(crate) fn launch(
        self,
        mut command: Command,
        url: String,
        answers: impl Fn(&Self) -> bool,
    ) -> anyhow::Result<Server> {
        let log = self.folder.join("server.log");
        let output = File::create(&log).with_context(|| format!("creating {}", log.display()))?;
        command
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output);
        let line = shell::line(&command);
        println!("$ {line}");
        let mut child = command.spawn().with_context(|| format!("starting `{line}`"))?;
        if let Err(error) = wait(&mut child, || answers(&self)) {
            let text = fs::read_to_string(&log).unwrap_or_default();
            let lines: Vec<&str> = text.lines().rev().take(5).collect();
            let tail = lines.into_iter().rev().collect::<Vec<_>>().join(" | ");
            return Err(error.context(format!("{} did not start: {tail}", self.kind)));
        }
        let started = start_of(child.id()).context("the server ended as soon as it answered")?;
        Ok(Server {
            kind: self.kind,
            pid: child.id(),
            started,
            url,
            folder: self.folder,
        })
    }
}

/// A port of the loopback interface that nobody uses now.
pub(crate) fn free_port() -> anyhow::Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("looking for a free port")?;
    Ok(listener.local_addr()?.port())
}

/// 128 random bits in hexadecimal, for names and passwords.
pub(crate) fn random_word() -> anyhow::Result<String> {
    let mut random = [0_u8; 16];
    File::open("/dev/urandom")
        .and_then(|mut source| source.read_exact(&mut random))
        .context("reading /dev/urandom")?;
    Ok(format!("{:032x}", u128::from_be_bytes(random)))
}

fn wait(child: &mut Child, answers: impl Fn() -> bool) -> anyhow::Result<()> {
    let deadline = Instant::now() + PATIENCE;
    while !answers() {
        if let Some(status) = child.try_wait()? {
            bail!("it ended with {status}");
        }
        if Instant::now() >= deadline {
            child.kill()?;
            child.wait()?;
            bail!("it did not answer within {} s", PATIENCE.as_secs());
        }
        thread::sleep(PAUSE);
    }
    Ok(())
}

/// When a process started, in clock ticks since boot; none for a process that is gone or dead.
fn start_of(pid: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // proc(5): the name stands in brackets and may hold blanks; behind it the state is field 3 and
    // the start time field 22.
    let (_, fields) = stat.rsplit_once(')')?;
    let fields: Vec<&str> = fields.split_whitespace().collect();
    let dead = ["Z", "X"].contains(fields.first()?);
    if dead { None } else { fields.get(19)?.parse().ok() }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::{Home, Kind, Server, start_of};

    #[test]
    fn a_server_is_stopped_by_its_own_process_only() {
        let home = Home::new(Kind::Redis).unwrap();
        let folder = home.folder.clone();
        let mut sleeper = Command::new("sh");
        sleeper.args(["-c", "exec sleep 600"]);
        let server = home
            .launch(sleeper, "redis://127.0.0.1:1".to_owned(), |_| true)
            .unwrap();
        assert!(server.is_running());

        let other = Server {
            started: server.started + 1,
            ..server.clone()
        };
        assert!(!other.is_running(), "another start time is another process");

        server.stop().unwrap();
        assert!(!server.is_running());
        assert!(!folder.exists());
    }

    #[test]
    fn a_server_that_ends_gives_its_log() {
        let home = Home::new(Kind::Postgres).unwrap();
        let folder = home.folder.clone();
        let mut broken = Command::new("sh");
        broken.args(["-c", "echo no such setting; exit 1"]);
        let error = home.launch(broken, String::new(), |_| false).unwrap_err();
        let text = format!("{error:#}");
        assert!(
            text.contains("postgres did not start: no such setting: it ended with exit status: 1"),
            "{text}"
        );
        std::fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn a_process_that_never_was_has_no_start() {
        assert_eq!(start_of(u32::MAX), None);
        assert!(start_of(std::process::id()).is_some());
    }
}
