//! Whether commands can be started here at all.

use std::path::Path;
use std::process::{Command, Stdio};

use crate::config::Launcher;
use crate::launcher::Order;
use crate::workdir::WorkDir;

impl Launcher {
    /// Starts a command that does nothing as an agent's would be, below `base`, and waits for its end.
    ///
    /// # Errors
    /// What stands in the way, for people.
    pub fn check(&self, base: &Path, uid: Option<u32>) -> Result<(), String> {
        let folder = WorkDir::make(base, uid)
            .map_err(|error| format!("no working folder can be made in `{}`: {error}", base.display()))?;
        let order = Order {
            parent: i32::try_from(std::process::id()).unwrap_or_default(),
            uid,
            file_bytes: 1 << 20,
            folder: folder.work(),
            input: folder.input(),
            doors: Vec::new(),
            command: ["/bin/sh", "-c", "exit 7"].map(Into::into).to_vec(),
        };
        let ended = Command::new(&self.program)
            .args(&self.arguments)
            .args(order.arguments())
            .env_clear()
            .current_dir(folder.work())
            .stdin(Stdio::null())
            .output()
            .map_err(|error| format!("`{}` cannot be started: {error}", self.program.display()))?;
        if ended.status.code() == Some(7) {
            return Ok(());
        }
        let told = String::from_utf8_lossy(&ended.stderr);
        Err(format!("{}: {}", ended.status, told.trim()))
    }
}
