//! `arbiter policy`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use arbiter_core::ports::PolicyProblem;
use arbiter_wire::codes;
use arbiter_wire::http::{ActivePoliciesView, PolicyCheckView, PolicySetView};
use serde_json::{Value, json};

use crate::cli::PolicyCommand;
use crate::exit::Failure;
use crate::output;
use crate::reach::Reach;

/// Runs a policy command.
pub(crate) async fn run(reach: &Reach, command: PolicyCommand, json: bool) -> Result<(), Failure> {
    match command {
        PolicyCommand::Check { files } => check(&reach.check_policies(read(&files)?).await?, json),
        PolicyCommand::Diff { files } => {
            let diff = reach.diff_policies(read(&files)?).await?;
            if json {
                output::json(&json!({"added": diff.added, "removed": diff.removed, "changed": diff.changed}));
                return Ok(());
            }
            let changes = [("+", &diff.added), ("-", &diff.removed), ("~", &diff.changed)];
            for (sign, ids) in changes {
                ids.iter().for_each(|id| output::line(&format!("{sign} {id}")));
            }
            if changes.iter().all(|(_, ids)| ids.is_empty()) {
                output::line("nothing would change");
            }
            Ok(())
        }
        PolicyCommand::Show => {
            show(&reach.active_policies().await?, json);
            Ok(())
        }
        PolicyCommand::List { limit, after } => {
            let (found, next) = reach.policy_sets(after, usize::from(limit)).await?;
            show_list(&found, next.as_deref(), json);
            Ok(())
        }
        PolicyCommand::Activate { files, if_revision } => {
            let active = reach.activate_policies(if_revision, read(&files)?).await?;
            show(&active, json);
            Ok(())
        }
        PolicyCommand::RollBack { number, if_revision } => {
            let active = reach.roll_back_policies(if_revision, number).await?;
            show(&active, json);
            Ok(())
        }
    }
}

fn check(checked: &PolicyCheckView, json: bool) -> Result<(), Failure> {
    if checked.valid {
        let ids = &checked.policies;
        if json {
            output::json(&json!({"valid": true, "policies": ids}));
        } else {
            output::line(&format!("{} policies are valid", ids.len()));
        }
        return Ok(());
    }
    let problems: Vec<String> = checked
        .problems
        .iter()
        .map(|problem| PolicyProblem {
            file: problem.file.clone(),
            line: problem.line,
            message: problem.message.clone(),
        })
        .map(|problem| problem.to_string())
        .collect();
    Err(Failure {
        code: "invalid_value",
        exit: codes::EXIT_SOME_FAILED,
        message: problems.join("\n"),
        source: None,
    })
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

/// The names of a set's files; lists have none.
fn names(set: &PolicySetView) -> Option<Vec<&str>> {
    let files = set.files.as_ref()?;
    Some(files.keys().map(String::as_str).collect())
}

fn told(set: &PolicySetView) -> Value {
    json!({
        "number": set.number,
        "digest": set.digest,
        "files": names(set),
        "created_at": set.created_at,
        "created_by": set.created_by,
    })
}

fn row(set: &PolicySetView) -> Vec<String> {
    vec![
        set.number.to_string(),
        set.created_at.clone(),
        set.digest.clone(),
        names(set).unwrap_or_default().join(","),
    ]
}

const COLUMNS: [&str; 4] = ["NUMBER", "STORED", "DIGEST", "FILES"];

fn show(active: &ActivePoliciesView, json: bool) {
    if json {
        output::json(&json!({
            "set": active.set.as_ref().map(told),
            "activated_at": active.activated_at,
            "activated_by": active.activated_by,
            "revision": active.revision,
        }));
        return;
    }
    match &active.set {
        Some(set) => output::table(&COLUMNS, &[row(set)]),
        None => output::line("only the built-in policies and those of the configuration are in force"),
    }
}

fn show_list(found: &[PolicySetView], next: Option<&str>, json: bool) {
    if json {
        let sets: Vec<Value> = found.iter().map(told).collect();
        output::json(&json!({"sets": sets, "next": next}));
        return;
    }
    let rows: Vec<Vec<String>> = found.iter().map(|set| row(set)[..3].to_vec()).collect();
    output::table(&COLUMNS[..3], &rows);
    if let Some(next) = next {
        output::error_line(&format!("there may be more: --after {next}"));
    }
}
