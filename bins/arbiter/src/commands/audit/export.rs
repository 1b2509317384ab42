//! `arbiter audit export`, here or from a server, and `arbiter audit verify` of what a server exports.

use std::io::{BufRead as _, BufReader, Seek as _, Write};
use std::path::Path;

use arbiter_api::AuditExport;
use arbiter_audit::keyring::Keyring;
use arbiter_audit::note::Note;
use arbiter_client::Client;
use arbiter_core::model::Operation;
use serde_json::{Value, json};
use tempfile::NamedTempFile;

use super::{export_header, verify_file, whole_log};
use crate::app::App;
use crate::exit::Failure;
use crate::output;
use crate::reach::Reach;

/// Writes the whole log, up to its newest signed head.
pub(super) async fn run(reach: &Reach, path: &Path, json: bool) -> Result<(), Failure> {
    if path.as_os_str() == "-" {
        write(reach, std::io::stdout()).await?;
        return Ok(());
    }
    let cannot = |error: std::io::Error| {
        let message = format!("the export `{}` could not be written", path.display());
        Failure::unavailable(message, error)
    };
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    let file = NamedTempFile::new_in(folder).map_err(cannot)?;
    let mut file = write(reach, file).await?;
    file.as_file().sync_all().map_err(cannot)?;
    file.rewind().map_err(cannot)?;
    let mut line = String::new();
    BufReader::new(file.as_file())
        .read_line(&mut line)
        .map_err(cannot)?;
    let header: Value = serde_json::from_str(&line)
        .map_err(|error| Failure::internal("the export has no header that can be read", error))?;
    file.persist(path).map_err(|error| cannot(error.error))?;
    if json {
        output::json(&json!({"entries": header["size"], "file": path}));
    } else {
        output::line(&format!("{} entries are in {}", header["size"], path.display()));
    }
    Ok(())
}

/// Verifies what a server exports, with keys that the caller trusts: the server's own word is worth nothing here.
pub(super) async fn verify(reach: &Reach, trusted: &Keyring, json: bool) -> Result<(), Failure> {
    let cannot = |error: std::io::Error| Failure::unavailable("a temporary file could not be written", error);
    let file = write(reach, NamedTempFile::new().map_err(cannot)?).await?;
    verify_file(file.path(), trusted, json)
}

async fn write<W: Write>(reach: &Reach, out: W) -> Result<W, Failure> {
    match reach {
        Reach::Store(app) => from_store(app, out).await,
        Reach::Server(client) => from_server(client, out).await,
    }
}

async fn from_store<W: Write>(app: &App, mut out: W) -> Result<W, Failure> {
    whole_log(app, Operation::AuditExport).await?;
    let Some((head, note)) = app.signed_head().await? else {
        return Err(Failure::usage("the audit log has no entry yet"));
    };
    let note = Note::parse(&note).map_err(|error| Failure::internal("the signed head is damaged", error))?;
    let header = export_header(&app.trust()?, head.size)?;
    let failed = |error: anyhow::Error| Failure::unavailable("the audit log could not be exported", error);
    let mut export = AuditExport::new(app.store.clone(), app.store.clone(), &header, note)
        .map_err(|error| failed(error.into()))?;
    while let Some(piece) = export.piece().await.map_err(|error| failed(error.into()))? {
        out.write_all(&piece).map_err(|error| failed(error.into()))?;
    }
    out.flush().map_err(|error| failed(error.into()))?;
    Ok(out)
}

async fn from_server<W: Write>(client: &Client, mut out: W) -> Result<W, Failure> {
    let failed = |error: std::io::Error| Failure::unavailable("the export could not be written", error);
    let mut export = client.audit_export().await?;
    while let Some(piece) = export.piece().await? {
        out.write_all(&piece).map_err(failed)?;
    }
    out.flush().map_err(failed)?;
    Ok(out)
}
