//! A running `arbiter serve`.

use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Child, ChildStdout, ExitStatus, Stdio};

use serde_json::Value;

use crate::{Place, wait_until};

/// A server on a free port of this machine, over the data folder of a place.
#[derive(Debug)]
pub struct Serving {
    child: Child,
    /// Kept open: a server whose reader is gone could not say anything more.
    _stdout: BufReader<ChildStdout>,
    /// Its base address.
    pub url: String,
}

impl Serving {
    /// Starts a server and waits until it serves.
    ///
    /// # Panics
    /// When it does not.
    pub fn start(place: &Place, arguments: &[&str]) -> Self {
        let mut command = place.command(&["--json", "serve", "--listen", "127.0.0.1:0"]);
        let mut child = command
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the server starts");
        let mut stdout = BufReader::new(child.stdout.take().expect("standard output"));
        let mut line = String::new();
        stdout.read_line(&mut line).expect("the server's first line");
        if line.is_empty() {
            let mut told = String::new();
            if let Some(mut stderr) = child.stderr.take() {
                let _read = stderr.read_to_string(&mut told);
            }
            panic!("the server ended: {told}");
        }
        // Nobody reads what it says later: it must not wait for that.
        if let Some(mut stderr) = child.stderr.take() {
            std::thread::spawn(move || std::io::copy(&mut stderr, &mut std::io::sink()));
        }
        let told: Value = serde_json::from_str(&line).expect("one JSON object");
        let url = told["url"].as_str().expect("the address").to_owned();
        Self {
            child,
            _stdout: stdout,
            url,
        }
    }

    /// The process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Tells it to stop, and waits for its end.
    ///
    /// # Panics
    /// When it does not end in time.
    pub fn stop(mut self) -> ExitStatus {
        self.signal(nix::sys::signal::Signal::SIGTERM);
        self.wait()
    }

    /// Sends a signal.
    ///
    /// # Panics
    /// When the process is gone.
    pub fn signal(&self, signal: nix::sys::signal::Signal) {
        let pid = nix::unistd::Pid::from_raw(i32::try_from(self.child.id()).expect("a process id"));
        nix::sys::signal::kill(pid, signal).expect("the server runs");
    }

    fn wait(&mut self) -> ExitStatus {
        let mut ended = None;
        wait_until("the server ends", || {
            ended = self.child.try_wait().expect("its status");
            ended.is_some()
        });
        ended.expect("it ended")
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        let _it_may_have_ended = self.child.kill();
        let _status = self.child.wait();
    }
}
