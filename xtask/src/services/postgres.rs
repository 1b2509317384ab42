//! A private PostgreSQL server: found on the system, else unpacked from the distribution.

use std::env;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::Context;

use super::Kind;
use super::server::{Home, Server, free_port, random_word};
use crate::shell;
use crate::unpack;
use crate::workspace::Workspace;

/// The role that tests log in as: it owns a database of its name, as an engine does. It is no superuser.
const ENGINE: &str = "arbiter";
/// The role of readers, which the engine may act as.
const READER: &str = "arbiter_reader";
/// The role that owns the server. Nobody logs in as it.
pub(crate) const ADMIN: &str = "postgres";
/// The oldest major version that is supported. `tests/compose.yaml` has that one.
pub(crate) const OLDEST: u32 = 15;
/// How a data folder is made.
pub(crate) const INITDB: &[&str] = &["--encoding=UTF8", "--locale=C", "--auth=scram-sha-256"];
/// What the tests need beside the defaults.
pub(crate) const SETTINGS: &[&str] = &["max_connections=200"];
/// What keeps a server that is started here to this machine.
const PRIVATE: &[&str] = &["listen_addresses=127.0.0.1", "unix_socket_directories="];
const INSTALL: &str = "PostgreSQL is missing; install it with `apt-get install postgresql`, or give the URL \
                       of a server in ARBITER_TEST_POSTGRES_URL";

/// Initialises a data folder and starts a server on it.
///
/// # Errors
/// When there is no PostgreSQL and none can be unpacked, or when it does not start.
pub(crate) fn start(workspace: &Workspace) -> anyhow::Result<Server> {
    let mut home = Home::new(Kind::Postgres)?;
    let folder = home.folder.clone();
    let server = programs(workspace, &mut home).and_then(|programs| launch(home, &programs));
    if server.is_err() {
        fs::remove_dir_all(&folder).with_context(|| format!("removing {}", folder.display()))?;
    }
    server
}

/// Where tests find `initdb` and `postgres`, to start servers of their own.
const PROGRAMS: &str = "ARBITER_TEST_POSTGRES_PROGRAMS";

/// The variable that names the programs to tests. They are those of the server that was started here, else the system's.
///
/// # Errors
/// When nobody named them, and there are none.
pub(crate) fn for_tests(server: Option<&Server>) -> anyhow::Result<(&'static str, String)> {
    let folder = match env::var(PROGRAMS) {
        Ok(given) => PathBuf::from(given),
        Err(_) => server
            .map(|server| server.folder.join(SCRIPTS))
            .filter(|folder| folder.is_dir())
            .or_else(installed)
            .with_context(|| format!("{INSTALL}; or name the folder of its programs in {PROGRAMS}"))?,
    };
    Ok((PROGRAMS, folder.display().to_string()))
}

/// The folder of scripts in the server's one, which run its programs with the libraries that they need.
const SCRIPTS: &str = "programs";
/// Those that tests start servers with, and those that benches ask one by.
const SCRIPTED: [&str; 4] = ["initdb", "pgbench", "postgres", "psql"];

fn write_scripts(home: &Home, programs: &Path) -> anyhow::Result<()> {
    let folder = home.folder.join(SCRIPTS);
    fs::create_dir(&folder).with_context(|| format!("creating {}", folder.display()))?;
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o755))?;
    for program in SCRIPTED {
        anyhow::ensure!(
            programs.join(program).is_file(),
            "{INSTALL}: {} has no {program}",
            programs.display()
        );
        let path = home.write(
            &format!("{SCRIPTS}/{program}"),
            &script(&programs.join(program), home.library_path()),
        )?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
    }
    Ok(())
}

fn script(program: &Path, library_path: Option<&str>) -> String {
    let export = library_path.map_or_else(String::new, |path| format!("export LD_LIBRARY_PATH='{path}'\n"));
    format!("#!/bin/sh\n{export}exec '{}' \"$@\"\n", program.display())
}

fn launch(home: Home, programs: &Path) -> anyhow::Result<Server> {
    let version = shell::output(home.command(&programs.join("postgres")).arg("--version"))?;
    let found = major(&version).with_context(|| format!("no version in `{}`", version.trim_end()))?;
    anyhow::ensure!(
        found >= OLDEST,
        "PostgreSQL {found} is too old: version {OLDEST} or later is needed"
    );
    let data = home.folder.join("data");
    let secret = random_word()?;
    let secret_file = home.write("password", &secret)?;
    let mut init = home.command(&programs.join("initdb"));
    init.arg("-D").arg(&data).args(["-U", ADMIN]).args(INITDB);
    shell::output(init.arg("--pwfile").arg(&secret_file))?;
    let engine_secret = random_word()?;
    make_roles(&home, programs, &data, &engine_secret)?;
    write_scripts(&home, programs)?;

    let port = free_port()?.to_string();
    let mut server = home.command(&programs.join("postgres"));
    server.arg("-D").arg(&data).args(["-p", &port]);
    for setting in PRIVATE.iter().chain(SETTINGS) {
        server.args(["-c", setting]);
    }
    let url = format!("postgres://{ENGINE}:{engine_secret}@127.0.0.1:{port}/{ENGINE}");
    let is_ready = programs.join("pg_isready");
    home.launch(server, url, |home| {
        let mut ask = home.command(&is_ready);
        shell::output(ask.args(ready_arguments(&port))).is_ok()
    })
}

/// How `pg_isready` asks for the engine's database.
pub(crate) fn ready_arguments(port: &str) -> [&str; 10] {
    [
        "-h",
        "127.0.0.1",
        "-p",
        port,
        "-U",
        ENGINE,
        "-d",
        ENGINE,
        "-t",
        "1",
    ]
}

/// The major version in what `postgres --version` says, such as `postgres (PostgreSQL) 15.18`.
fn major(version: &str) -> Option<u32> {
    let (_, number) = version.split_once("(PostgreSQL) ")?;
    let digits = number.split(|c: char| !c.is_ascii_digit()).next()?;
    digits.parse().ok()
}

/// Makes the two roles and the engine's database, before the server listens to anybody.
fn make_roles(home: &Home, programs: &Path, data: &Path, secret: &str) -> anyhow::Result<()> {
    // single-user mode takes one statement a line, and goes on after one that fails
    let script = home.write("roles.sql", &role_script(secret))?;
    let mut single = home.command(&programs.join("postgres"));
    single.args(["--single", "-D"]).arg(data).arg("postgres");
    let statements = fs::File::open(&script).with_context(|| format!("reading {}", script.display()))?;
    shell::output_of(&mut single, statements)?;
    fs::remove_file(&script).with_context(|| format!("removing {}", script.display()))
}

/// The statements that make the two roles and the engine's database, one a line.
pub(crate) fn role_script(secret: &str) -> String {
    [
        format!("CREATE ROLE {ENGINE} LOGIN PASSWORD '{secret}'"),
        format!("CREATE ROLE {READER} NOLOGIN"),
        format!("GRANT {READER} TO {ENGINE}"),
        format!("CREATE DATABASE {ENGINE} OWNER {ENGINE}"),
    ]
    .map(|statement| statement + ";\n")
    .concat()
}

/// The folder of the server's programs.
fn programs(workspace: &Workspace, home: &mut Home) -> anyhow::Result<PathBuf> {
    if let Some(folder) = installed() {
        return Ok(folder);
    }
    let unpacked = unpack::packages(workspace, &["postgresql"]).context(INSTALL)?;
    let root = home.use_unpacked(&unpacked)?;
    distribution(&root).context(INSTALL)
}

/// The folder of the system's programs.
fn installed() -> Option<PathBuf> {
    let on_path = shell::find_program("initdb")
        .and_then(|program| fs::canonicalize(program).ok())
        .and_then(|program| program.parent().map(Path::to_owned))
        .filter(|folder| folder.join("postgres").is_file());
    on_path.or_else(|| distribution(Path::new("/")))
}

/// Debian keeps the programs of each major version apart; the newest is taken.
fn distribution(root: &Path) -> Option<PathBuf> {
    let versions = fs::read_dir(root.join("usr/lib/postgresql")).ok()?;
    let mut found: Vec<(u32, PathBuf)> = versions
        .flatten()
        .filter_map(|entry| {
            Some((
                entry.file_name().to_str()?.parse().ok()?,
                entry.path().join("bin"),
            ))
        })
        .filter(|(_, folder)| folder.join("initdb").is_file() && folder.join("postgres").is_file())
        .collect();
    found.sort();
    found.pop().map(|(_, folder)| folder)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::{distribution, major, role_script, script};

    #[test]
    fn the_major_version_is_read() {
        for (said, number) in [
            ("postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)\n", Some(15)),
            ("postgres (PostgreSQL) 19beta1\n", Some(19)),
            ("mysqld 9.1\n", None),
        ] {
            assert_eq!(major(said), number, "{said}");
        }
    }

    #[test]
    fn roles_are_made_by_one_statement_a_line() {
        let script = role_script("sesame");
        assert_eq!(script.lines().count(), 4);
        assert!(script.lines().all(|line| line.ends_with(';')), "{script}");
        assert!(!script.contains("SUPERUSER"));
    }

    #[test]
    fn scripts_name_the_libraries_of_unpacked_programs() {
        let program = Path::new("/a/bin/initdb");
        assert_eq!(script(program, None), "#!/bin/sh\nexec '/a/bin/initdb' \"$@\"\n");
        assert_eq!(
            script(program, Some("/a/lib")),
            "#!/bin/sh\nexport LD_LIBRARY_PATH='/a/lib'\nexec '/a/bin/initdb' \"$@\"\n"
        );
    }

    #[test]
    fn the_newest_complete_version_is_taken() {
        let root = std::env::temp_dir().join(format!("xtask-postgres-{}", std::process::id()));
        for (version, files) in [
            ("9", &["initdb", "postgres"][..]),
            ("15", &["initdb", "postgres"]),
            ("17", &["initdb"]),
        ] {
            let folder = root.join("usr/lib/postgresql").join(version).join("bin");
            fs::create_dir_all(&folder).unwrap();
            for file in files {
                fs::write(folder.join(file), "").unwrap();
            }
        }
        assert_eq!(distribution(&root), Some(root.join("usr/lib/postgresql/15/bin")));
        fs::remove_dir_all(root).unwrap();
    }
}
