//! PostgreSQL servers of a test's own, which it may kill.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

use crate::wait_until;

/// The variable that names the folder of the server's programs; without it they are looked for on `PATH`.
const PROGRAMS: &str = "ARBITER_TEST_POSTGRES_PROGRAMS";
/// A server refuses to run as root; it runs as `nobody` then.
const UNPRIVILEGED: u32 = 65_534;
const PASSWORD: &str = "sesame-41f0";

/// A server on a port of its own, which it keeps when it is started again.
#[derive(Debug)]
pub struct Postgres {
    folder: TempDir,
    user: Option<u32>,
    port: u16,
    settings: Vec<String>,
    child: Option<Child>,
}

impl Postgres {
    /// Starts a server with settings beside the defaults.
    ///
    /// # Panics
    /// When there is no such program, or it does not start.
    pub fn start(settings: &[&str]) -> Self {
        let mut server = Self::empty(settings);
        let password = server.file("password", PASSWORD);
        let mut init = server.command("initdb");
        init.arg("-D").arg(server.data());
        init.args([
            "-U",
            "engine",
            "--auth=scram-sha-256",
            "--no-sync",
            "--encoding=UTF8",
            "--locale=C",
        ]);
        let done = init.arg("--pwfile").arg(password).output().expect("initdb runs");
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        server.launch();
        server
    }

    /// A copy that follows this server, which is stopped for the copy and started again.
    ///
    /// # Panics
    /// When it does not follow.
    pub fn replica(&mut self) -> Self {
        self.signal(Signal::SIGINT);
        self.wait();
        let mut replica = Self::empty(&[]);
        copy(&self.data(), &replica.data(), replica.user);
        let port = self.port;
        replica.file("data/standby.signal", "");
        replica.file(
            "data/postgresql.auto.conf",
            &format!(
                "primary_conninfo = 'host=127.0.0.1 port={port} user=engine password={PASSWORD} application_name=replica'\n"
            ),
        );
        self.launch();
        replica.launch();
        replica
    }

    /// Its address.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// The URL of servers of which one takes writes.
    pub fn url(servers: &[&Self]) -> String {
        let hosts: Vec<String> = servers.iter().map(|server| server.address()).collect();
        let hosts = hosts.join(",");
        format!(
            "postgres://engine:{PASSWORD}@{hosts}/postgres?target_session_attrs=read-write&connect_timeout=2"
        )
    }

    /// The URL of this server, whether it takes writes or not.
    pub fn own_url(&self) -> String {
        format!("postgres://engine:{PASSWORD}@{}/postgres", self.address())
    }

    /// Sends a signal: `SIGINT` ends its connections and stops it in order.
    ///
    /// # Panics
    /// When it does not run.
    pub fn signal(&self, signal: Signal) {
        let child = self.child.as_ref().expect("it runs");
        let pid = Pid::from_raw(i32::try_from(child.id()).expect("a process id"));
        kill(pid, signal).expect("the server runs");
    }

    /// Waits for its end.
    ///
    /// # Panics
    /// When it does not run.
    pub fn wait(&mut self) {
        let mut child = self.child.take().expect("it runs");
        child.wait().expect("its end");
    }

    /// Kills it with everything that belongs to it, as a machine that loses its power.
    ///
    /// # Panics
    /// When it does not run.
    pub fn crash(&mut self) {
        // its processes notice the end of the first one, and end
        self.signal(Signal::SIGKILL);
        self.wait();
        let lock = self.data().join("postmaster.pid");
        let ended = |pid: &str| !Path::new("/proc").join(pid).exists();
        let first = fs::read_to_string(&lock).unwrap_or_default();
        let pid = first.lines().next().unwrap_or_default().to_owned();
        wait_until("the server is gone", || ended(&pid));
    }

    /// Starts it again on the same port.
    ///
    /// # Panics
    /// When it does not start.
    pub fn launch(&mut self) {
        let log = fs::File::create(self.folder.path().join("log")).expect("a log");
        let mut command = self.command("postgres");
        command.arg("-D").arg(self.data());
        for setting in [
            "listen_addresses=127.0.0.1",
            &format!("port={}", self.port),
            "unix_socket_directories=",
            "max_connections=60",
            "wal_keep_size=256MB",
        ]
        .into_iter()
        .chain(self.settings.iter().map(String::as_str))
        {
            command.args(["-c", setting]);
        }
        command
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a handle"))
            .stderr(log);
        self.child = Some(command.spawn().expect("postgres runs"));
        let lock = self.data().join("postmaster.pid");
        wait_until("the server takes calls", || {
            // the eighth line says how it stands
            let text = fs::read_to_string(&lock).unwrap_or_default();
            let standing = text.lines().nth(7).unwrap_or_default().trim().to_owned();
            standing == "ready"
        });
    }

    fn empty(settings: &[&str]) -> Self {
        let folder = tempfile::Builder::new()
            .prefix("arbiter-pg-")
            .tempdir()
            .expect("a folder");
        let is_root = fs::metadata("/proc/self").expect("this process").uid() == 0;
        let user = is_root.then_some(UNPRIVILEGED);
        let free = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = free.local_addr().expect("its address").port();
        chown(folder.path(), user, user).expect("the server's folder");
        Self {
            folder,
            user,
            port,
            settings: settings.iter().map(|setting| (*setting).to_owned()).collect(),
            child: None,
        }
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.folder.path().join(name);
        fs::write(&path, text).expect("written");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("a mode");
        chown(&path, self.user, self.user).expect("an owner");
        path
    }

    fn command(&self, program: &str) -> Command {
        let folder = std::env::var_os(PROGRAMS);
        let program = folder.map_or_else(
            || PathBuf::from(program),
            |folder| Path::new(&folder).join(program),
        );
        let mut command = Command::new(program);
        command
            .current_dir(self.folder.path())
            .env("LC_ALL", "C")
            .env("TZ", "UTC");
        if let Some(user) = self.user {
            command.uid(user).gid(user);
        }
        command
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let pid = i32::try_from(child.id()).map(Pid::from_raw);
            let _it_may_have_ended = pid.map(|pid| kill(pid, Signal::SIGINT));
            let _status = child.wait();
        }
    }
}

fn copy(from: &Path, to: &Path, user: Option<u32>) {
    fs::create_dir(to).expect("a folder");
    fs::set_permissions(to, fs::Permissions::from_mode(0o700)).expect("a mode");
    chown(to, user, user).expect("an owner");
    for entry in fs::read_dir(from).expect("a folder") {
        let entry = entry.expect("an entry");
        let target = to.join(entry.file_name());
        if entry.file_type().expect("a kind").is_dir() {
            copy(&entry.path(), &target, user);
        } else {
            fs::copy(entry.path(), &target).expect("copied");
            chown(&target, user, user).expect("an owner");
        }
    }
}
