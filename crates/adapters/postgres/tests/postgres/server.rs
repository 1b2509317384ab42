//! A server of the test's own, with a certificate of the test's own authority.

use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use arbiter_adapter_system::SystemClock;
use arbiter_core::ports::Clock as _;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tokio_postgres::{Config, NoTls};

/// The variable that names the folder of the server's programs; without it they are looked for on `PATH`.
const PROGRAMS: &str = "ARBITER_TEST_POSTGRES_PROGRAMS";
/// A server refuses to run as root; it runs as `nobody` then.
const UNPRIVILEGED: u32 = 65_534;
const PATIENCE: Duration = Duration::from_mins(1);
const PAUSE: Duration = Duration::from_millis(20);

/// The password of the engine's login.
pub(crate) const PASSWORD: &str = "sesame-9d41";

/// An authority.
pub(crate) struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    /// Writes its certificate.
    pub(crate) fn write(&self, path: PathBuf) -> PathBuf {
        fs::write(&path, self.0.pem()).unwrap();
        path
    }
}

/// A server that offers TLS, and does not insist on it.
pub(crate) struct Server {
    folder: tempfile::TempDir,
    user: Option<u32>,
    port: u16,
    child: Option<Child>,
}

impl Server {
    /// Starts a server whose certificate is of this authority and for these hosts.
    pub(crate) async fn start(authority: &Authority, hosts: &[&str]) -> Self {
        let folder = tempfile::Builder::new().prefix("arbiter-tls-").tempdir().unwrap();
        let is_root = fs::metadata("/proc/self").unwrap().uid() == 0;
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let mut server = Self {
            user: is_root.then_some(UNPRIVILEGED),
            port: port.local_addr().unwrap().port(),
            folder,
            child: None,
        };
        drop(port);
        chown(server.folder.path(), server.user, server.user).unwrap();
        server.initialise();
        let hosts: Vec<String> = hosts.iter().map(|host| (*host).to_owned()).collect();
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new(hosts)
            .unwrap()
            .signed_by(&key, &authority.0)
            .unwrap();
        let certificate = server.file("server.crt", &certificate.pem());
        let key = server.file("server.key", &key.serialize_pem());
        server.launch(&certificate, &key);
        server.answers().await;
        server
    }

    /// A URL that names this host and leads to this server.
    pub(crate) fn url(&self, host: &str, sslmode: &str) -> String {
        let port = self.port;
        format!("postgres://engine:{PASSWORD}@{host}:{port}/postgres?hostaddr=127.0.0.1&sslmode={sslmode}")
    }

    fn initialise(&self) {
        let password = self.file("password", PASSWORD);
        let mut init = self.command("initdb");
        init.arg("-D").arg(self.folder.path().join("data"));
        init.args([
            "-U",
            "engine",
            "--auth=scram-sha-256",
            "--no-sync",
            "--encoding=UTF8",
            "--locale=C",
        ]);
        init.arg("--pwfile").arg(password);
        let done = init.output().unwrap();
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    }

    fn launch(&mut self, certificate: &Path, key: &Path) {
        let log = fs::File::create(self.folder.path().join("log")).unwrap();
        let mut command = self.command("postgres");
        command.arg("-D").arg(self.folder.path().join("data"));
        for setting in [
            "listen_addresses=127.0.0.1".to_owned(),
            format!("port={}", self.port),
            "unix_socket_directories=".to_owned(),
            "fsync=off".to_owned(),
            "ssl=on".to_owned(),
            format!("ssl_cert_file={}", certificate.display()),
            format!("ssl_key_file={}", key.display()),
        ] {
            command.args(["-c", &setting]);
        }
        command
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log);
        self.child = Some(command.spawn().unwrap());
    }

    async fn answers(&mut self) {
        let config: Config = self.url("127.0.0.1", "disable").parse().unwrap();
        let clock = SystemClock::new();
        let deadline = clock.monotonic().saturating_add(PATIENCE);
        while config.connect(NoTls).await.is_err() {
            let ended = self.child.as_mut().unwrap().try_wait().unwrap();
            let log = || fs::read_to_string(self.folder.path().join("log")).unwrap();
            assert!(
                ended.is_none() && clock.monotonic() < deadline,
                "it does not answer: {}",
                log()
            );
            clock.sleep_until(clock.monotonic().saturating_add(PAUSE)).await;
        }
    }

    /// Writes a file for the server's user alone.
    fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.folder.path().join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        chown(&path, self.user, self.user).unwrap();
        path
    }

    fn command(&self, program: &str) -> Command {
        #[expect(clippy::disallowed_methods, reason = "tests find programs in the environment")]
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

impl Drop for Server {
    fn drop(&mut self) {
        let Some(mut child) = self.child.take() else {
            return;
        };
        // its connections are ended, and nothing of it stays
        let stop = format!("kill -INT {}", child.id());
        let asked = Command::new("sh").args(["-c", &stop]).status();
        let ended = asked.is_ok() && child.wait().is_ok();
        assert!(ended || std::thread::panicking(), "the server does not stop");
    }
}
