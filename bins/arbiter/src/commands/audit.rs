//! `arbiter audit`.

mod export;

use std::fs::File;
use std::io::BufReader;
use std::num::NonZeroUsize;
use std::path::Path;

use arbiter_api::{audit_detail, audit_page};
use arbiter_audit::checkpoint::Checkpoint;
use arbiter_audit::export::ExportHeader;
use arbiter_audit::key::VerifierKey;
use arbiter_audit::keyring::Keyring;
use arbiter_audit::log::LogVerifier;
use arbiter_audit::note::Note;
use arbiter_audit::proof::InclusionProof;
use arbiter_audit::report::Report;
use arbiter_audit::tile::{Tile, TileMap};
use arbiter_audit::verify::verify_export;
use arbiter_core::model::{Operation, Target};
use arbiter_core::ports::AuditQuery;
use serde_json::{Value, json};

use crate::app::App;
use crate::cli::AuditCommand;
use crate::config::Config;
use crate::engine::LOG_ORIGIN;
use crate::exit::Failure;
use crate::output;
use crate::reach::{self, Choice, Reach};
use crate::storage::Storage;
use crate::trust::Trust;

/// Runs an audit command. Verifying an export needs no store.
pub(crate) async fn run(
    choice: &Choice,
    config: Config,
    command: AuditCommand,
    json: bool,
) -> Result<(), Failure> {
    if let AuditCommand::Verify {
        file: Some(file),
        key,
    } = &command
        && !key.is_empty()
    {
        return verify_file(file, &trusted(key)?, json);
    }
    // What can be read through a server as well.
    match command {
        AuditCommand::Search {
            resource,
            action,
            outcome,
            limit,
            before,
        } => {
            let query = AuditQuery {
                resource,
                action,
                outcome,
                limit: usize::from(limit),
                ..AuditQuery::default()
            };
            return reach::with(choice, config, async |reach| {
                search(reach, query, before, json).await
            })
            .await;
        }
        AuditCommand::Export { file } => {
            return reach::with(choice, config, async |reach| {
                export::run(reach, &file, json).await
            })
            .await;
        }
        AuditCommand::Verify { file: None, key } if choice.client(&config)?.is_some() => {
            if key.is_empty() {
                return Err(Failure::usage(
                    "name the log's verifier key with --key (`arbiter audit key` prints it where the store is): what a \
                     server exports is not verified by what it says itself",
                ));
            }
            let trusted = trusted(&key)?;
            return reach::with(choice, config, async |reach| {
                export::verify(reach, &trusted, json).await
            })
            .await;
        }
        AuditCommand::Redact { index, reason } => {
            return reach::with(choice, config, async |reach| {
                redact(reach, index, reason, json).await
            })
            .await;
        }
        AuditCommand::Proof { index } => {
            return reach::with(choice, config, async |reach| proof(reach, index).await).await;
        }
        _ => choice.only_here("this command of arbiter audit")?,
    }
    let app = App::open(config).await?;
    let done = with_store(&app, command, json).await;
    let closed = app.close().await;
    done.and(closed)
}

async fn with_store(app: &App, command: AuditCommand, json: bool) -> Result<(), Failure> {
    match command {
        AuditCommand::Verify { file: Some(file), .. } => verify_file(&file, &app.trust()?.keyring()?, json),
        AuditCommand::Verify { file: None, .. } => {
            whole_log(app, Operation::AuditQuery).await?;
            show_report(&verify_store(app).await?, json)
        }
        // Handled before the store is opened.
        AuditCommand::Search { .. }
        | AuditCommand::Proof { .. }
        | AuditCommand::Redact { .. }
        | AuditCommand::Export { .. } => Ok(()),
        AuditCommand::Key => {
            output::line(&app.trust()?.root().to_string());
            Ok(())
        }
        AuditCommand::Rotate => {
            whole_log(app, Operation::AuditRotate).await?;
            let key = app.rotate_signer().await?;
            if json {
                output::json(&json!({"key": key.to_string()}));
            } else {
                output::line(&format!("checkpoints are signed by {key} from now on"));
            }
            Ok(())
        }
    }
}

async fn redact(reach: &Reach, index: u64, reason: String, json: bool) -> Result<(), Failure> {
    let told = reach.redact(index, reason).await?;
    if json {
        output::json(&json!(told));
    } else if told.removed {
        output::line(&format!("the detail of entry {index} is removed"));
    } else {
        output::line(&format!("entry {index} has no detail"));
    }
    Ok(())
}

/// Authorises what concerns the log of every tenant.
async fn whole_log(app: &App, operation: Operation) -> Result<(), Failure> {
    Ok(app
        .queue
        .permit_on(&app.operator, operation, &Target::default())
        .await?)
}

/// The keys that are given on the command line.
pub(super) fn trusted(keys: &[String]) -> Result<Keyring, Failure> {
    let mut parsed = Vec::new();
    for text in keys {
        let key: VerifierKey = text
            .parse()
            .map_err(|error: arbiter_audit::key::InvalidKey| Failure::usage(error.to_string()))?;
        parsed.push(key);
    }
    Ok(Keyring::new(LOG_ORIGIN, parsed))
}

fn verify_file(path: &Path, trusted: &Keyring, json: bool) -> Result<(), Failure> {
    let cannot =
        |error: std::io::Error| Failure::usage(format!("`{}` cannot be read: {error}", path.display()));
    let file = File::open(path).map_err(cannot)?;
    let threads = std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
    let report = verify_export(BufReader::with_capacity(1 << 20, file), trusted, threads).map_err(cannot)?;
    show_report(&report, json)
}

/// Verifies the whole log of the store: each leaf against its hash, each detail against its leaf, the tree against the
/// signed head, the versions of every task.
pub(crate) async fn verify_store(app: &App) -> Result<Report, Failure> {
    let keyring = app.trust()?.keyring()?;
    let mut verifier = LogVerifier::new();
    // What was signed comes first: a new signature would vouch for whatever the store holds now.
    if let Some((_, note)) = app.store.published().await? {
        let signed = vouched(&keyring, &note)?;
        follow(&*app.store, &mut verifier, signed.size()).await?;
        let report = verifier.clone().finish(&signed);
        if !report.is_sound() {
            return Ok(report);
        }
    }
    let Some((head, note)) = app.signed_head().await? else {
        if let Some(log_key) = &app.checkpointer.log_key
            && !log_key.is_ours().await?
        {
            return Err(Failure::unavailable(
                "the audit log was never signed",
                anyhow::anyhow!("the node whose `audit.key` signs it has signed nothing yet"),
            ));
        }
        return Err(Failure::unavailable(
            "the audit log has no entry yet",
            anyhow::anyhow!("nothing was ever done"),
        ));
    };
    follow(&*app.store, &mut verifier, head.size).await?;
    Ok(verifier.finish(&vouched(&keyring, &note)?))
}

/// The checkpoint of a note that a trusted key has signed.
pub(crate) fn vouched(keyring: &Keyring, note: &str) -> Result<Checkpoint, Failure> {
    let note = Note::parse(note).map_err(|error| Failure::internal("the signed head is damaged", error))?;
    let vouched = keyring
        .open(&note)
        .map_err(|error| Failure::internal("the signed head is not trusted", error))?;
    Ok(vouched.checkpoint)
}

/// Shows the verifier the entries from where it is up to `size`, or to the end of the log, or to the first fault.
pub(crate) async fn follow(
    store: &dyn Storage,
    verifier: &mut LogVerifier,
    size: u64,
) -> Result<(), Failure> {
    let size = size.min(store.head().await?.size);
    loop {
        let next = verifier.entries();
        let (entries, hashes) = audit_page(store, store, next, size).await?;
        for (entry, hash) in entries.iter().zip(&hashes) {
            let detail = audit_detail(entry);
            if verifier.entry(&entry.leaf, hash, detail.as_ref()).is_err() {
                return Ok(());
            }
        }
        // The end, or a place where entries are missing.
        if verifier.entries() == next {
            return Ok(());
        }
    }
}

fn show_report(report: &Report, json: bool) -> Result<(), Failure> {
    if json {
        output::json(&json!({
            "sound": report.is_sound(),
            "entries": report.entries,
            "redacted": report.redacted,
            "root": report.root.to_string(),
            "signers": report.signers.iter().map(ToString::to_string).collect::<Vec<_>>(),
            "fault": report.fault.as_ref().map(ToString::to_string),
            "findings": report.findings.iter().map(|finding| format!("{finding:?}")).collect::<Vec<_>>(),
        }));
    } else if report.is_sound() {
        output::line(&format!(
            "{} entries are sound; the root is {}",
            report.entries, report.root
        ));
    } else {
        if let Some(fault) = &report.fault {
            output::line(&format!("the audit log is NOT sound: {fault}"));
        }
        report
            .findings
            .iter()
            .for_each(|finding| output::line(&format!("finding: {finding:?}")));
    }
    if report.is_sound() {
        Ok(())
    } else {
        Err(Failure::some_failed())
    }
}

async fn proof(reach: &Reach, index: u64) -> Result<(), Failure> {
    let shown = match reach {
        Reach::Store(app) => {
            whole_log(app, Operation::AuditProof).await?;
            own_proof(app, index).await?
        }
        Reach::Server(client) => json!(client.audit_proof(index).await?),
    };
    output::json(&shown);
    Ok(())
}

async fn own_proof(app: &App, index: u64) -> Result<Value, Failure> {
    let Some((head, note)) = app.signed_head().await?.filter(|(head, _)| index < head.size) else {
        return Err(Failure::usage(format!("the log has no entry {index}")));
    };
    let mut tiles = TileMap::new();
    for id in InclusionProof::tiles(index, head.size) {
        let hashes = app
            .store
            .tile(id.level(), id.index(), id.width())
            .await?
            .unwrap_or_default();
        tiles.insert(Tile { id, hashes });
    }
    let proof = InclusionProof::build(index, head.size, &tiles)
        .map_err(|error| Failure::internal("the proof could not be built", error))?;
    let Some(entry) = app.store.read(index, 1).await?.into_iter().next() else {
        return Err(Failure::usage(format!("the log has no entry {index}")));
    };
    let leaf: Value = serde_json::from_slice(&entry.leaf)
        .map_err(|error| Failure::internal("the entry is damaged", error))?;
    Ok(json!({
        "index": index,
        "size": head.size,
        "leaf": leaf,
        "leaf_hash": arbiter_audit::tree::leaf_hash(&entry.leaf).to_string(),
        "path": proof.path.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "root": head.root.to_string(),
        "checkpoint": note,
    }))
}

/// What an export of so many entries begins with.
pub(crate) fn export_header(trust: &Trust, size: u64) -> Result<ExportHeader, Failure> {
    Ok(ExportHeader {
        origin: LOG_ORIGIN.to_owned(),
        size,
        keys: trust.keyring()?.keys().cloned().collect(),
        handovers: trust.handovers().to_vec(),
    })
}

async fn search(reach: &Reach, query: AuditQuery, before: Option<String>, json: bool) -> Result<(), Failure> {
    let (entries, next) = reach.entries(query, before).await?;
    let mut rows = Vec::new();
    for entry in &entries {
        let leaf = &entry.leaf;
        if json {
            output::json(&json!({"index": entry.index, "leaf": leaf, "detail": entry.detail}));
            continue;
        }
        let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        let actions = leaf["actions"].as_array().map_or_else(String::new, |words| {
            words
                .iter()
                .filter_map(Value::as_str)
                .collect::<Vec<_>>()
                .join(",")
        });
        rows.push(vec![
            entry.index.to_string(),
            text(&leaf["at"]),
            actions,
            text(&leaf["outcome"]),
        ]);
    }
    if !json {
        output::table(&["INDEX", "TIME", "ACTIONS", "OUTCOME"], &rows);
        if let Some(next) = next {
            output::error_line(&format!("there may be more: --before {next}"));
        }
    }
    Ok(())
}
