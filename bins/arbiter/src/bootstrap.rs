//! The first start: the tenant `default` and an operator with a key in a file that only its owner reads.

use std::collections::BTreeSet;
use std::fs::OpenOptions;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use arbiter_core::mechanism::SecretText;
use arbiter_core::model::{
    AuditAction, Band, Principal, PrincipalId, PrincipalKind, RecordDraft, Role, TenantId,
};
use arbiter_core::ports::{Credential, DocumentError, IdSource};
use arbiter_queue::{ApiKeys, PrincipalRecord};

use crate::exit::Failure;

/// The tenant of a deployment that names no other.
pub(crate) const DEFAULT_TENANT: TenantId =
    TenantId::from_bytes([0, 0, 0, 0, 0, 0, 0x70, 0, 0x80, 0, 0, 0, 0, 0, 0, 1]);

/// The file with the operator's key.
pub(crate) fn key_file(data_dir: &Path) -> PathBuf {
    data_dir.join("operator.key")
}

/// The operator's key: read from its file, or made at the first start.
///
/// # Errors
/// When the file can be read by others, or neither read nor made.
pub(crate) async fn operator_key(
    data_dir: &Path,
    keys: &ApiKeys,
    ids: &dyn IdSource,
) -> Result<Credential, Failure> {
    let path = key_file(data_dir);
    if let Some(text) = read(&path)? {
        return Ok(Credential::ApiKey(text));
    }
    let operator = PrincipalRecord {
        name: "operator".to_owned(),
        principal: Principal {
            id: ids.principal(),
            tenant: DEFAULT_TENANT,
            kind: PrincipalKind::User,
            roles: BTreeSet::from([Role::Operator, Role::Submitter, Role::Reviewer]),
            agent: None,
            kinds: None,
            highest_band: Band::HIGHEST,
        },
    };
    create_principal(keys, &operator, None).await?;
    let key = keys
        .create(None, DEFAULT_TENANT, operator.principal.id, None)
        .await?;
    write_secret(&path, &key.text)?;
    tracing::info!(event = "operator_created", principal.id = %operator.principal.id, "the operator's key was made");
    Ok(Credential::ApiKey(key.text))
}

/// Stores a principal.
pub(crate) async fn create_principal(
    keys: &ApiKeys,
    record: &PrincipalRecord,
    by: Option<PrincipalId>,
) -> Result<(), Failure> {
    let draft = RecordDraft {
        principal: by,
        actions: vec![AuditAction::DocumentWritten],
        ..RecordDraft::default()
    };
    keys.principals()
        .create(record, draft)
        .await
        .map_err(|error| match error {
            DocumentError::Store(error) => error.into(),
            error => Failure::internal("the principal could not be stored", error),
        })
}

fn read(path: &Path) -> Result<Option<SecretText>, Failure> {
    let mut file = match std::fs::File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => {
            return Err(Failure::unavailable(
                format!("the key file `{}` cannot be read", path.display()),
                error,
            ));
        }
    };
    let cannot = |error: std::io::Error| {
        Failure::unavailable(format!("the key file `{}` cannot be read", path.display()), error)
    };
    let mode = file.metadata().map_err(cannot)?.permissions().mode();
    if mode & 0o077 != 0 {
        let shown = path.display();
        return Err(Failure::configuration(format!(
            "the key file `{shown}` can be read by others (mode {:o}); run `chmod 600 {shown}`",
            mode & 0o777
        )));
    }
    let mut text = String::new();
    file.read_to_string(&mut text).map_err(cannot)?;
    Ok(Some(SecretText::new(text.trim().to_owned())))
}

/// Writes a secret to a new file that only its owner reads; a file that is there is never replaced.
pub(crate) fn write_secret(path: &Path, text: &SecretText) -> Result<(), Failure> {
    let write = || -> std::io::Result<()> {
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(path)?;
        file.write_all(text.expose().as_bytes())?;
        file.write_all(b"\n")?;
        file.sync_all()
    };
    write().map_err(|error| {
        Failure::unavailable(
            format!("the key file `{}` could not be written", path.display()),
            error,
        )
    })
}
