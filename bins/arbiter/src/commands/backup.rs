//! `arbiter backup` and `arbiter restore`.

use std::path::Path;

use arbiter_audit::keyring::Keyring;
use serde_json::json;

use crate::app::App;
use crate::backup::{self, Progress, Restored, Source};
use crate::cli::RestoreArgs;
use crate::commands::audit::trusted;
use crate::config::{Config, SharedStore, StoreConfig};
use crate::exit::Failure;
use crate::output;
use crate::reach::Reach;

/// Takes a backup of a store that no other process owns: whoever can read the data folder may copy it.
pub(super) async fn take(app: &App, folder: &Path, json: bool) -> Result<(), Failure> {
    let progress = Progress::new(json || !app.handle.is_shared());
    let taken = backup::take(&Source::of(app)?, folder, app.operator.id, &progress).await;
    progress.finish();
    let taken = taken?;
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

/// Restores a backup into the store of the configuration.
pub(super) async fn restore(config: Config, arguments: RestoreArgs, json: bool) -> Result<(), Failure> {
    let keys = match arguments.key.as_slice() {
        [] => None,
        keys => Some(trusted(keys)?),
    };
    let progress = Progress::new(json || matches!(config.store, StoreConfig::Embedded));
    let restored = match &config.store {
        StoreConfig::Embedded => {
            backup::restore(&arguments.folder, &config.data_dir, config.rules, keys).await
        }
        StoreConfig::Shared(shared) => into_shared(&arguments.folder, &config, shared, keys, &progress).await,
    };
    progress.finish();
    let restored = restored?;
    let (schema, address) = match &config.store {
        StoreConfig::Embedded => (None, None),
        StoreConfig::Shared(shared) => (Some(&shared.schema), Some(shared.address())),
    };
    if json {
        output::json(&json!({
            "data_dir": config.data_dir,
            "store": address,
            "schema": schema,
            "files": restored.files,
            "entries": restored.report.entries,
            "root": restored.report.root.to_string(),
            "damaged": restored.damaged,
        }));
    } else if let Some((schema, address)) = schema.zip(address) {
        output::line(&format!(
            "the store is in schema `{schema}` at {address}, its keys are in {}; the {} entries of the audit log are those \
             that were signed; use the store that the backup was taken of no more",
            config.data_dir.display(),
            restored.report.entries
        ));
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

#[cfg(feature = "postgres")]
async fn into_shared(
    folder: &Path,
    config: &Config,
    shared: &SharedStore,
    keys: Option<Keyring>,
    progress: &Progress,
) -> Result<Restored, Failure> {
    backup::restore_shared(folder, config, shared, keys, progress).await
}

#[cfg(not(feature = "postgres"))]
#[expect(clippy::unused_async, reason = "this build knows no store that is far away")]
async fn into_shared(
    _: &Path,
    _: &Config,
    _: &SharedStore,
    _: Option<Keyring>,
    _: &Progress,
) -> Result<Restored, Failure> {
    Err(Failure::configuration("this build has no shared store"))
}

fn warn(damaged: &[String]) {
    for artifact in damaged {
        output::error_line(&format!(
            "warning: the artifact {artifact} was damaged before; its content is not that of its digest"
        ));
    }
}
