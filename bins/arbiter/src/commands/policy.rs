//! `arbiter policy`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use arbiter_queue::policies::{ActivePolicies, PolicySet};
use arbiter_wire::codes;
use serde_json::{Value, json};

use crate::app::App;
use crate::cli::PolicyCommand;
use crate::exit::Failure;
use crate::output;

/// Runs a policy command as the local operator.
pub(crate) async fn run(app: &App, command: PolicyCommand, json: bool) -> Result<(), Failure> {
    let (policies, by) = (&app.policies, &app.operator);
    match command {
        PolicyCommand::Check { files } => {
            let checked = policies.check(by, read(&files)?).await?;
            if checked.problems.is_empty() {
                let ids: Vec<&str> = checked.policies.iter().map(|policy| policy.id.as_str()).collect();
                if json {
                    output::json(&json!({"valid": true, "policies": ids}));
                } else {
                    output::line(&format!("{} policies are valid", ids.len()));
                }
                return Ok(());
            }
            let problems: Vec<String> = checked.problems.iter().map(ToString::to_string).collect();
            Err(Failure {
                code: "invalid_value",
                exit: codes::EXIT_SOME_FAILED,
                message: problems.join("\n"),
                source: None,
            })
        }
        PolicyCommand::Diff { files } => {
            let diff = policies.diff(by, read(&files)?).await?;
            if json {
                output::json(&json!({"added": diff.added, "removed": diff.removed, "changed": diff.changed}));
                return Ok(());
            }
            for (sign, ids) in [("+", &diff.added), ("-", &diff.removed), ("~", &diff.changed)] {
                ids.iter().for_each(|id| output::line(&format!("{sign} {id}")));
            }
            if diff.is_empty() {
                output::line("nothing would change");
            }
            Ok(())
        }
        PolicyCommand::Show => {
            show(&policies.active(by).await?, json);
            Ok(())
        }
        PolicyCommand::List { limit, after } => {
            let found = policies.list(by, after, usize::from(limit)).await?;
            show_list(&found, json);
            Ok(())
        }
        PolicyCommand::Activate { files, if_revision } => {
            let active = policies.activate(by, if_revision, read(&files)?).await?;
            show(&active, json);
            Ok(())
        }
        PolicyCommand::RollBack { number, if_revision } => {
            let active = policies.roll_back(by, if_revision, number).await?;
            show(&active, json);
            Ok(())
        }
    }
}

/// Texts by file name.
fn read(paths: &[PathBuf]) -> Result<BTreeMap<String, String>, Failure> {
    let mut files = BTreeMap::new();
    for path in paths {
        let (name, text) = read_one(path)?;
        if files.insert(name, text).is_some() {
            let shown = path.display();
            return Err(Failure::usage(format!(
                "two files have the name of `{shown}`; rename one"
            )));
        }
    }
    Ok(files)
}

fn read_one(path: &Path) -> Result<(String, String), Failure> {
    let shown = path.display();
    let name = path.file_name().and_then(std::ffi::OsStr::to_str);
    let name = name.ok_or_else(|| Failure::usage(format!("`{shown}` has no name that can be kept")))?;
    let text = std::fs::read_to_string(path)
        .map_err(|error| Failure::usage(format!("the policy file `{shown}` cannot be read: {error}")))?;
    Ok((name.to_owned(), text))
}

fn told(set: &PolicySet) -> Value {
    let names: Vec<&str> = set.files.iter().map(|file| file.name.as_str()).collect();
    json!({
        "number": set.number,
        "digest": set.digest.to_string(),
        "files": names,
        "created_at": set.created_at.to_string(),
        "created_by": set.created_by.to_string(),
    })
}

fn row(set: &PolicySet) -> Vec<String> {
    let names: Vec<&str> = set.files.iter().map(|file| file.name.as_str()).collect();
    vec![
        set.number.to_string(),
        set.created_at.to_string(),
        names.join(","),
        set.digest.to_string(),
    ]
}

const COLUMNS: [&str; 4] = ["NUMBER", "STORED", "FILES", "DIGEST"];

fn show(active: &ActivePolicies, json: bool) {
    if json {
        let told = json!({
            "set": active.set.as_ref().map(told),
            "activated_at": active.activated_at.map(|at| at.to_string()),
            "activated_by": active.activated_by.map(|by| by.to_string()),
            "revision": active.revision,
        });
        output::json(&told);
        return;
    }
    match &active.set {
        Some(set) => output::table(&COLUMNS, &[row(set)]),
        None => output::line("only the built-in policies and those of the configuration are in force"),
    }
}

fn show_list(found: &[PolicySet], json: bool) {
    if json {
        let sets: Vec<Value> = found.iter().map(told).collect();
        output::json(&json!({"sets": sets}));
        return;
    }
    let rows: Vec<Vec<String>> = found.iter().map(row).collect();
    output::table(&COLUMNS, &rows);
}
