//! The first start: the tenant `default` and an operator with a key in a file that only its owner reads.

use std::collections::BTreeSet;
use std::fs::{File, OpenOptions};
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
/// Whoever has the data folder has the whole store, so the operator is an administrator: that is what local commands do,
/// and else nobody could ever make one. A first start that was cut short leaves a key whose secret nobody knows, or an
/// empty file; the next one makes another operator.
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
            roles: BTreeSet::from([Role::Admin, Role::Operator, Role::Submitter, Role::Reviewer]),
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

/// Reads a key's file; none when it does not exist.
///
/// # Errors
/// When it can be read by others, or not at all.
pub(crate) fn read(path: &Path) -> Result<Option<SecretText>, Failure> {
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
    if text.is_empty() {
        // What holds nothing can be replaced: an earlier program was killed while it wrote the file in place.
        std::fs::remove_file(path).map_err(cannot)?;
        return Ok(None);
    }
    Ok(Some(SecretText::new(text.trim().to_owned())))
}

/// Writes a secret to a new file that only its owner reads: complete under its name, or not there. A file that is there
/// is never replaced.
pub(crate) fn write_secret(path: &Path, text: &SecretText) -> Result<(), Failure> {
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(".tmp");
    let temporary = PathBuf::from(temporary);
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    let write = || -> std::io::Result<()> {
        match std::fs::remove_file(&temporary) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&temporary)?;
        file.write_all(text.expose().as_bytes())?;
        file.write_all(b"\n")?;
        file.sync_all()?;
        // A link fails where the name is taken; a rename would replace what is there.
        let linked = std::fs::hard_link(&temporary, path);
        std::fs::remove_file(&temporary)?;
        linked?;
        File::open(folder)?.sync_all()
    };
    write().map_err(|error| {
        Failure::unavailable(
            format!("the key file `{}` could not be written", path.display()),
            error,
        )
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arbiter_adapter_inmem::InMemoryStore;
    use arbiter_adapter_system::{OsEntropy, SystemClock, UuidV7Ids};
    use arbiter_core::lifecycle::Rules;
    use arbiter_core::ports::{Authenticator as _, Clock, Entropy};

    use super::*;

    fn keys() -> ApiKeys {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
        let entropy: Arc<dyn Entropy> = Arc::new(OsEntropy::new());
        let store = InMemoryStore::new(Rules::default(), Arc::clone(&clock), Arc::clone(&entropy));
        ApiKeys::new(Arc::new(store), clock, entropy)
    }

    async fn start(folder: &Path, keys: &ApiKeys) -> Principal {
        let credential = operator_key(folder, keys, &UuidV7Ids::new())
            .await
            .expect("a key");
        keys.authenticate(&credential).await.expect("it is accepted")
    }

    #[tokio::test]
    async fn a_first_start_that_was_killed_anywhere_does_not_hinder_the_next() {
        let folder = tempfile::tempdir().expect("folder");
        let (path, keys) = (key_file(folder.path()), keys());
        // Killed after the key was stored and before its file was written: nobody knows the secret.
        let lost = start(folder.path(), &keys).await;
        std::fs::remove_file(&path).expect("removed");
        // Killed while the file was written.
        std::fs::write(folder.path().join("operator.key.tmp"), "arb_0123").expect("written");
        let operator = start(folder.path(), &keys).await;
        assert_ne!(operator.id, lost.id);
        let left: Vec<_> = std::fs::read_dir(folder.path())
            .expect("folder")
            .flatten()
            .collect();
        assert_eq!(left.len(), 1, "{left:?}");
        assert_eq!(path.metadata().expect("file").permissions().mode() & 0o777, 0o600);
        assert_eq!(
            start(folder.path(), &keys).await.id,
            operator.id,
            "kept from now on"
        );
        // A program that wrote in place was killed before it wrote anything.
        std::fs::write(&path, "").expect("written");
        start(folder.path(), &keys).await;
    }

    #[test]
    fn a_secret_never_replaces_a_file() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("key");
        std::fs::write(&path, "mine").expect("written");
        write_secret(&path, &SecretText::new("theirs".to_owned())).expect_err("the name is taken");
        assert_eq!(std::fs::read_to_string(&path).expect("kept"), "mine");
        assert_eq!(std::fs::read_dir(folder.path()).expect("folder").count(), 1);
    }
}
