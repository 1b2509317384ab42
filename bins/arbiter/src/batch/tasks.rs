//! The batch file: one task a line.

use std::path::{Path, PathBuf};

use arbiter_core::model::{ArtifactRef, Digest};
use arbiter_wire::task::{After, TaskInput};
use serde_json::Value;

use crate::exit::Failure;

/// More tasks than this are refused: a batch is one process's work.
const MAX_TASKS: usize = 1_000_000;

/// A batch, read whole and checked before anything is stored.
#[derive(Debug)]
pub(crate) struct Batch {
    /// The digest of its lines: the same batch run again goes on.
    pub(crate) digest: Digest,
    /// Its tasks, in the order of the lines.
    pub(crate) tasks: Vec<BatchTask>,
}

/// One line.
#[derive(Debug)]
pub(crate) struct BatchTask {
    /// Its place in the file, from 1.
    pub(crate) line: usize,
    /// The task.
    pub(crate) input: TaskInput,
    /// Files that become input artifacts, by name.
    pub(crate) files: Vec<(String, PathBuf)>,
}

impl Batch {
    /// Reads a batch. Files are relative to `folder`.
    ///
    /// # Errors
    /// A usage failure that lists the problems of up to twenty lines.
    pub(crate) fn read(text: &str, folder: &Path) -> Result<Self, Failure> {
        let mut tasks = Vec::new();
        let mut problems = Vec::new();
        for (place, line) in text.lines().enumerate() {
            if line.trim().is_empty() {
                continue;
            }
            match task(place + 1, line, folder) {
                Ok(task) => tasks.push(task),
                Err(problem) => problems.push(format!("line {}: {problem}", place + 1)),
            }
        }
        // `#n` names the n-th task; blank lines do not count.
        for (place, task) in tasks.iter().enumerate() {
            for after in &task.input.after {
                match *after {
                    After::Item(number) if number > tasks.len() || number == place + 1 => {
                        problems.push(format!("line {}: `after` names task #{number}", task.line));
                    }
                    After::Item(_) | After::Task(_) => {}
                }
            }
        }
        if !problems.is_empty() {
            let more = problems.len().saturating_sub(20);
            problems.truncate(20);
            let tail = if more > 0 {
                format!("\n  … and {more} more")
            } else {
                String::new()
            };
            let list = problems.join("\n  ");
            return Err(Failure::usage(format!(
                "the batch cannot be run:\n  {list}{tail}"
            )));
        }
        if tasks.is_empty() {
            return Err(Failure::usage(
                "the batch holds no task: write one JSON object a line",
            ));
        }
        if tasks.len() > MAX_TASKS {
            return Err(Failure::usage(format!(
                "the batch holds more than {MAX_TASKS} tasks; split it"
            )));
        }
        Ok(Self {
            digest: Digest::of(text.as_bytes()),
            tasks,
        })
    }
}

fn task(line: usize, text: &str, folder: &Path) -> Result<BatchTask, String> {
    let mut value: Value = serde_json::from_str(text).map_err(|error| error.to_string())?;
    let files = match value.as_object_mut().and_then(|object| object.remove("files")) {
        None => {
            return Ok(BatchTask {
                line,
                input: input(text)?,
                files: Vec::new(),
            });
        }
        Some(Value::Object(files)) => files
            .into_iter()
            .map(|(name, path)| match path {
                _ if !ArtifactRef::is_name(&name) => {
                    Err(format!("`files` holds `{name}`, which is not a file name"))
                }
                Value::String(path) => Ok((name, folder.join(path))),
                other => Err(format!("`files.{name}` must be a path, not {other}")),
            })
            .collect::<Result<_, _>>()?,
        Some(other) => return Err(format!("`files` must map names to paths, not be {other}")),
    };
    Ok(BatchTask {
        line,
        input: input(&value.to_string())?,
        files,
    })
}

fn input(text: &str) -> Result<TaskInput, String> {
    let input = TaskInput::parse(text).map_err(|error| error.to_string())?;
    if input.idempotency_key.is_some() {
        return Err("`idempotency_key` is chosen by the batch itself; leave it out".to_owned());
    }
    Ok(input)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_relative_to_the_batch_and_blank_lines_do_not_count() {
        let text = concat!(
            r#"{"kind":"analysis","title":"a","files":{"document":"docs/a.md"}}"#,
            "\n\n",
            r##"{"kind":"analysis","title":"b","after":["#1"]}"##,
            "\n",
        );
        let batch = Batch::read(text, Path::new("/work")).expect("batch");
        assert_eq!(
            batch.tasks.iter().map(|task| task.line).collect::<Vec<_>>(),
            [1, 3]
        );
        assert_eq!(
            batch.tasks[0].files,
            [("document".to_owned(), PathBuf::from("/work/docs/a.md"))]
        );
        assert_eq!(batch.tasks[1].input.after, [After::Item(1)]);
    }

    #[test]
    fn every_bad_line_is_named() {
        let text = concat!(
            "{\n",
            r#"{"kind":"analysis","title":"a","colour":1}"#,
            "\n",
            r#"{"kind":"analysis","title":"a","files":{"../x":"y"}}"#,
            "\n",
            r##"{"kind":"analysis","title":"b","after":["#9"]}"##,
            "\n",
            r#"{"kind":"analysis","title":"b","idempotency_key":"k"}"#,
        );
        let message = Batch::read(text, Path::new("/")).expect_err("bad").to_string();
        for part in [
            "line 1:",
            "line 2: unknown field `colour`",
            "line 3:",
            "#9",
            "line 5: `idempotency_key`",
        ] {
            assert!(message.contains(part), "{part}: {message}");
        }
        assert!(Batch::read("\n \n", Path::new("/")).is_err());
    }
}
