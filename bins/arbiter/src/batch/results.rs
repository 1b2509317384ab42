//! The result file: one line a task, in the order of the batch, written whole or not at all.

use std::io::Write as _;
use std::path::Path;

use serde::Serialize;

use crate::exit::Failure;

/// What became of a task.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct ResultLine {
    /// Its place in the batch file, from 1.
    pub(crate) line: usize,
    /// Its id; absent when it was never accepted.
    pub(crate) id: Option<String>,
    /// Its state, or `refused`.
    pub(crate) state: &'static str,
    /// The reason that the state carries, or the code of the refusal.
    pub(crate) reason: Option<String>,
    /// The agent of the last attempt.
    pub(crate) agent: Option<String>,
    /// How many attempts were made.
    pub(crate) attempts: usize,
    /// The output.
    pub(crate) output: Option<serde_json::Value>,
    /// Files that the agent made: names and digests.
    pub(crate) artifacts: Vec<ArtifactLine>,
    /// The message of the last failure.
    pub(crate) error: Option<String>,
}

/// A file that an agent made.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct ArtifactLine {
    pub(crate) name: String,
    pub(crate) sha256: String,
    pub(crate) size_bytes: u64,
}

/// Writes the results to `path` (a file that is there is replaced), or to standard output.
pub(crate) fn write(path: Option<&Path>, lines: &[ResultLine]) -> Result<(), Failure> {
    let mut text = String::new();
    for line in lines {
        let json = serde_json::to_string(line)
            .map_err(|error| Failure::internal("a result could not be written", error))?;
        text.push_str(&json);
        text.push('\n');
    }
    let Some(path) = path else {
        text.lines().for_each(crate::output::line);
        return Ok(());
    };
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    let write = || -> std::io::Result<()> {
        let mut file = tempfile::NamedTempFile::new_in(folder)?;
        file.write_all(text.as_bytes())?;
        file.as_file().sync_all()?;
        file.persist(path).map_err(|error| error.error)?;
        Ok(())
    };
    write().map_err(|error| {
        Failure::unavailable(
            format!("the result file `{}` could not be written", path.display()),
            error,
        )
    })
}
