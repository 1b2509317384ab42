#![doc = include_str!("../README.md")]
#![expect(
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot be set up has failed"
)]
#![expect(
    clippy::disallowed_methods,
    reason = "the tests' own settings come from the environment"
)]

pub mod http;
pub mod peer;
pub mod postgres;
pub mod proxy;
mod serving;

pub use serving::Serving;

use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

/// The binary under test.
///
/// # Panics
/// When it was not built.
pub fn binary() -> PathBuf {
    if let Some(path) = std::env::var_os("ARBITER_TEST_BINARY") {
        return path.into();
    }
    let test = std::env::current_exe().expect("the test's own file");
    let beside = test
        .parent()
        .and_then(Path::parent)
        .expect("a target folder")
        .join("arbiter");
    assert!(
        beside.exists(),
        "`{}` is missing: run `cargo xtask test`, or `cargo build -p arbiter` first",
        beside.display()
    );
    beside
}

/// An interpreter that has the packages of `xtask/python/requirements.txt`.
///
/// # Panics
/// When none was named.
pub fn python() -> PathBuf {
    program("ARBITER_TEST_PYTHON")
}

/// A Node that runs TypeScript (22.18 or newer).
///
/// # Panics
/// When none was named.
pub fn node() -> PathBuf {
    program("ARBITER_TEST_NODE")
}

/// The checker of systemd's unit files.
///
/// # Panics
/// When none was named.
pub fn systemd_analyze() -> PathBuf {
    program("ARBITER_TEST_SYSTEMD_ANALYZE")
}

/// The program curl.
///
/// # Panics
/// When none was named.
pub fn curl() -> PathBuf {
    program("ARBITER_TEST_CURL")
}

fn program(variable: &str) -> PathBuf {
    let Some(path) = std::env::var_os(variable) else {
        panic!(
            "{variable} names no program: run `cargo xtask test`, which finds or fetches one, or name one"
        );
    };
    path.into()
}

/// The root of the workspace.
///
/// # Panics
/// When the package stands alone.
pub fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("the workspace")
        .to_path_buf()
}

/// A number of samples: from the variable, else the default.
///
/// # Panics
/// When the variable holds no number.
pub fn samples(variable: &str, default: usize) -> usize {
    match std::env::var(variable) {
        Ok(text) => text.parse().expect("a number of samples"),
        Err(_) => default,
    }
}

/// A fresh place in which every user can run agents: the program and the example agents are copied here, because the
/// workspace may stand in a private folder.
#[derive(Debug)]
pub struct Place {
    folder: TempDir,
    variables: Vec<(String, String)>,
}

/// What a command did.
#[derive(Debug)]
pub struct Done {
    /// Its exit status.
    pub status: ExitStatus,
    /// Its standard output.
    pub stdout: String,
    /// Its standard error.
    pub stderr: String,
}

impl Done {
    /// The exit code; a signal is a failure of the test.
    ///
    /// # Panics
    /// When it ended by a signal.
    pub fn code(&self) -> i32 {
        self.status
            .code()
            .unwrap_or_else(|| panic!("ended by a signal: {self:?}"))
    }

    /// Its standard output as JSON.
    ///
    /// # Panics
    /// When it is none.
    pub fn json(&self) -> Value {
        serde_json::from_str(self.stdout.trim()).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

impl Place {
    /// Makes the place.
    ///
    /// # Panics
    /// When it cannot be made.
    #[expect(clippy::new_without_default, reason = "making a folder is no default")]
    pub fn new() -> Self {
        let folder = tempfile::Builder::new()
            .prefix("arbiter-test-")
            .tempdir()
            .expect("a folder");
        open_to_all(folder.path(), 0o755);
        let place = Self {
            folder,
            variables: Vec::new(),
        };
        std::fs::create_dir(place.path("agents")).expect("a folder");
        open_to_all(&place.path("agents"), 0o755);
        std::fs::copy(binary(), place.path("arbiter")).expect("the program");
        open_to_all(&place.path("arbiter"), 0o755);
        for entry in std::fs::read_dir(workspace().join("docs/examples/agents")).expect("examples") {
            let from = entry.expect("an example").path();
            if from.is_file() {
                let to = place.path("agents").join(from.file_name().expect("a name"));
                std::fs::copy(&from, &to).expect("copied");
                open_to_all(&to, 0o755);
            }
        }
        place
    }

    /// Sets a variable of the environment for the program.
    #[must_use]
    pub fn with_variable(mut self, name: &str, value: &str) -> Self {
        self.variables.push((name.to_owned(), value.to_owned()));
        self
    }

    /// A path in the place.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes a file that every user can run.
    ///
    /// # Panics
    /// When it cannot be written.
    pub fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        std::fs::write(&path, text).expect("written");
        open_to_all(&path, 0o755);
        path
    }

    /// The program, told to use this place and nothing of the environment.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(self.path("arbiter"));
        command
            .env_clear()
            .env("PATH", "/usr/local/bin:/usr/bin:/bin")
            .env("TMPDIR", self.folder.path())
            .envs(self.variables.iter().map(|(name, value)| (name, value)))
            .current_dir(self.folder.path())
            .arg("--data-dir")
            .arg(self.path("data"))
            .args(arguments);
        command
    }

    /// Runs the program to its end.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn run(&self, arguments: &[&str]) -> Done {
        done(&mut self.command(arguments))
    }

    /// Starts the program.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn start(&self, arguments: &[&str]) -> Child {
        self.command(arguments)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("started")
    }

    /// The lines of a JSONL file.
    ///
    /// # Panics
    /// When it is none.
    pub fn lines(&self, name: &str) -> Vec<Value> {
        let text = std::fs::read_to_string(self.path(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
        text.lines()
            .map(|line| serde_json::from_str(line).expect("a JSON line"))
            .collect()
    }
}

/// A process that does not outlive its test.
#[derive(Debug)]
pub struct Running(pub Child);

impl Drop for Running {
    fn drop(&mut self) {
        // One that has ended already is no process any more.
        let _ended = self.0.kill();
        let _ended = self.0.wait();
    }
}

/// Waits until something is so.
///
/// # Panics
/// When it is not so after a minute: far longer than it takes, so that only what never happens fails.
pub fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    for _ in 0..6_000 {
        if holds() {
            return;
        }
        std::thread::park_timeout(Duration::from_millis(10));
    }
    panic!("waited in vain until {what}");
}

/// How many processes run a script, by the path of the script. One that has ended and was not waited for is none.
///
/// # Panics
/// Where there is no `/proc`.
pub fn processes(script: &str) -> usize {
    let all = std::fs::read_dir("/proc").expect("/proc").flatten();
    all.filter(|entry| {
        let line = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let mut words = line.split(|byte| *byte == 0);
        words.next() == Some(b"/bin/sh") && words.any(|word| word == script.as_bytes())
    })
    .count()
}

/// Runs a command to its end.
///
/// # Panics
/// When it cannot be started.
pub fn done(command: &mut Command) -> Done {
    let output = command.stdin(Stdio::null()).output().expect("started");
    Done {
        status: output.status,
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

fn open_to_all(path: &Path, mode: u32) {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).expect("a mode");
}
