//! `arbiter backup` and `arbiter restore`.

use std::path::Path;

use serde_json::json;

use crate::app::App;
use crate::backup::{self, Source};
use crate::cli::RestoreArgs;
use crate::commands::audit::trusted;
use crate::config::Config;
use crate::exit::Failure;
use crate::output;
use crate::reach::Reach;

/// Takes a backup of a store that no other process owns: whoever can read the data folder may copy it.
pub(super) async fn take(app: &App, folder: &Path, json: bool) -> Result<(), Failure> {
    let taken = backup::take(&Source::of(app)?, folder, app.operator.id).await?;
    if json {
        output::json(&json!({
            "folder": taken.folder,
            "entries": taken.head.size,
            "root": taken.head.root.to_string(),
            "files": taken.files,
            "bytes": taken.bytes,
            "damaged": taken.damaged,
        }));
    } else {
        output::line(&format!(
            "{} files, {} bytes, {} entries of the audit log are in {}; it holds keys, keep it safe",
            taken.files,
            taken.bytes,
            taken.head.size,
            taken.folder.display()
        ));
    }
    warn(&taken.damaged);
    Ok(())
}

/// Has a server take a backup into its own folder.
pub(super) async fn ask(reach: &Reach, json: bool) -> Result<(), Failure> {
    let Reach::Server(client) = reach else {
        return Err(Failure::usage(
            "name a folder for the backup; only a server has a folder of its own for them",
        ));
    };
    let taken = client.system_backup().await?;
    if json {
        output::json(&json!(taken));
    } else {
        output::line(&format!(
            "{} files, {} bytes, {} entries of the audit log are in {} on the server; it holds keys, keep it safe",
            taken.files, taken.bytes, taken.entries, taken.name
        ));
    }
    Ok(())
}

/// Restores a backup into the data folder of the configuration.
pub(super) async fn restore(config: Config, arguments: RestoreArgs, json: bool) -> Result<(), Failure> {
    let keys = match arguments.key.as_slice() {
        [] => None,
        keys => Some(trusted(keys)?),
    };
    let restored = backup::restore(&arguments.folder, &config.data_dir, config.rules, keys).await?;
    if json {
        output::json(&json!({
            "data_dir": config.data_dir,
            "files": restored.files,
            "entries": restored.report.entries,
            "root": restored.report.root.to_string(),
            "damaged": restored.damaged,
        }));
    } else {
        output::line(&format!(
            "{} files are in {}; the {} entries of the audit log are those that were signed",
            restored.files,
            config.data_dir.display(),
            restored.report.entries
        ));
    }
    warn(&restored.damaged);
    Ok(())
}

fn warn(damaged: &[String]) {
    for artifact in damaged {
        output::error_line(&format!(
            "warning: the artifact {artifact} was damaged before; its content is not that of its digest"
        ));
    }
}
