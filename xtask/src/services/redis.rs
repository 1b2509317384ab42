//! A private Redis server: found on the system, else unpacked from the distribution.

use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;

use super::Kind;
use super::server::{Home, Server, free_port};
use crate::shell;
use crate::unpack;
use crate::workspace::Workspace;

const INSTALL: &str = "Redis is missing; install it with `apt-get install redis-server`, or give the URL of a \
                       server in ARBITER_TEST_REDIS_URL";

/// Starts a server that keeps nothing on disk.
///
/// # Errors
/// When there is no Redis and none can be unpacked, or when it does not start.
pub(crate) fn start(workspace: &Workspace) -> anyhow::Result<Server> {
    let mut home = Home::new(Kind::Redis)?;
    let folder = home.folder.clone();
    let server = program(workspace, &mut home).and_then(|program| launch(home, &program));
    if server.is_err() {
        fs::remove_dir_all(&folder).with_context(|| format!("removing {}", folder.display()))?;
    }
    server
}

fn launch(home: Home, program: &Path) -> anyhow::Result<Server> {
    let port = free_port()?;
    let mut server = home.command(program);
    server.args([
        "--bind",
        "127.0.0.1",
        "--port",
        &port.to_string(),
        "--save",
        "",
        "--appendonly",
        "no",
    ]);
    server.arg("--dir").arg(&home.folder);
    home.launch(server, format!("redis://127.0.0.1:{port}"), |_| {
        answers(port).unwrap_or(false)
    })
}

/// Whether the server answers PING, by the inline form of its protocol.
fn answers(port: u16) -> std::io::Result<bool> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    stream.set_read_timeout(Some(Duration::from_secs(1)))?;
    stream.write_all(b"PING\r\n")?;
    let mut answer = [0_u8; 5];
    stream.read_exact(&mut answer)?;
    Ok(&answer == b"+PONG")
}

fn program(workspace: &Workspace, home: &mut Home) -> anyhow::Result<PathBuf> {
    if let Some(program) = shell::find_program("redis-server") {
        return Ok(program);
    }
    let unpacked = unpack::packages(workspace, &["redis-server"]).context(INSTALL)?;
    let program = home.use_unpacked(&unpacked)?.join("usr/bin/redis-server");
    program.exists().then_some(program).context(INSTALL)
}
