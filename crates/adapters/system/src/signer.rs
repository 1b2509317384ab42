//! An Ed25519 key in a file.

use std::fs::{File, OpenOptions};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{PoisonError, RwLock};

use arbiter_core::ports::{SignError, Signer};
use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ed25519_dalek::{Signer as _, SigningKey};
use zeroize::Zeroizing;

/// The first line of a key file.
const HEADER: &str = "arbiter-ed25519-private-key-v1";

/// Signs with a key that stands in a file which only its owner can read.
///
/// The file has two lines: `arbiter-ed25519-private-key-v1`, and the base64 of the 32-byte seed (RFC 8032 §5.1.5).
pub struct FileSigner {
    path: PathBuf,
    name: String,
    key: RwLock<SigningKey>,
}

/// Why a key file cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeyFileError {
    /// Others can read it.
    #[error("`{path}` can be read by others (mode {mode:o}); run `chmod 600 {path}`")]
    Exposed {
        /// The file.
        path: String,
        /// Its mode.
        mode: u32,
    },
    /// It is not a key file of a known version.
    #[error("`{path}` is not an arbiter key file of a known version")]
    Malformed {
        /// The file.
        path: String,
    },
    /// It could not be read or written.
    #[error("`{path}` could not be read or written")]
    Io {
        /// The file.
        path: String,
        /// Why.
        source: std::io::Error,
    },
}

impl std::fmt::Debug for FileSigner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FileSigner")
            .field("path", &self.path)
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

impl FileSigner {
    /// Reads the key, or makes one with mode 0600.
    ///
    /// # Errors
    /// See [`KeyFileError`]. A file that is there is never replaced.
    pub fn open_or_create(path: impl Into<PathBuf>, name: impl Into<String>) -> Result<Self, KeyFileError> {
        let (path, name) = (path.into(), name.into());
        let key = match read(&path)? {
            Some(key) => key,
            None => {
                let key = generate();
                write_new(&path, &key)?;
                key
            }
        };
        Ok(Self {
            path,
            name,
            key: RwLock::new(key),
        })
    }

    /// Makes a new key beside the present one, without using it yet: both have to sign their hand-over.
    ///
    /// # Errors
    /// See [`KeyFileError`].
    pub fn prepare_next(&self) -> Result<NextKey, KeyFileError> {
        let path = with_suffix(&self.path, "next");
        // An unfinished rotation left one: nothing was signed with it, or its hand-over was never kept.
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(io(&path)(error)),
            _ => {}
        }
        let key = generate();
        write_new(&path, &key)?;
        Ok(NextKey { path, key })
    }

    /// Signs with the prepared key from now on. The old key's file is removed: its public half stays in the hand-over.
    ///
    /// # Errors
    /// See [`KeyFileError`]; the old key stays in use then.
    pub fn adopt(&self, next: NextKey) -> Result<(), KeyFileError> {
        std::fs::rename(&next.path, &self.path).map_err(io(&self.path))?;
        sync_folder(&self.path)?;
        *self.key.write().unwrap_or_else(PoisonError::into_inner) = next.key;
        Ok(())
    }
}

/// A key that was made and is not in use yet.
pub struct NextKey {
    path: PathBuf,
    key: SigningKey,
}

impl std::fmt::Debug for NextKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NextKey")
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

impl NextKey {
    /// Its public half.
    pub fn public_key(&self) -> [u8; 32] {
        self.key.verifying_key().to_bytes()
    }

    /// Signs with it.
    pub fn sign(&self, message: &[u8]) -> [u8; 64] {
        self.key.sign(message).to_bytes()
    }
}

#[async_trait]
impl Signer for FileSigner {
    fn key_name(&self) -> &str {
        &self.name
    }

    fn public_key(&self) -> [u8; 32] {
        self.key
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .verifying_key()
            .to_bytes()
    }

    async fn sign(&self, message: &[u8]) -> Result<[u8; 64], SignError> {
        Ok(self
            .key
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .sign(message)
            .to_bytes())
    }
}

fn generate() -> SigningKey {
    use arbiter_core::ports::Entropy as _;
    let mut seed = Zeroizing::new([0; 32]);
    crate::OsEntropy::new().fill(seed.as_mut_slice());
    SigningKey::from_bytes(&seed)
}

fn read(path: &Path) -> Result<Option<SigningKey>, KeyFileError> {
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(io(path)(error)),
    };
    let mode = file.metadata().map_err(io(path))?.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(KeyFileError::Exposed {
            path: path.display().to_string(),
            mode,
        });
    }
    let mut text = Zeroizing::new(String::new());
    file.read_to_string(&mut text).map_err(io(path))?;
    let malformed = || KeyFileError::Malformed {
        path: path.display().to_string(),
    };
    let seed = text.strip_prefix(HEADER).map(str::trim).ok_or_else(malformed)?;
    let seed = Zeroizing::new(STANDARD.decode(seed).map_err(|_| malformed())?);
    let seed: &[u8; 32] = seed.as_slice().try_into().map_err(|_| malformed())?;
    Ok(Some(SigningKey::from_bytes(seed)))
}

/// Writes a key to a file that must not exist: complete under its name, or not there.
fn write_new(path: &Path, key: &SigningKey) -> Result<(), KeyFileError> {
    let text = Zeroizing::new(format!("{HEADER}\n{}\n", STANDARD.encode(key.as_bytes())));
    let temporary = with_suffix(path, "tmp");
    match std::fs::remove_file(&temporary) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(io(&temporary)(error)),
        _ => {}
    }
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&temporary)
        .map_err(io(&temporary))?;
    file.write_all(text.as_bytes())
        .and_then(|()| file.sync_all())
        .map_err(io(&temporary))?;
    // A link fails where the name is taken; a rename would replace what is there.
    let linked = std::fs::hard_link(&temporary, path).map_err(io(path));
    std::fs::remove_file(&temporary).map_err(io(&temporary))?;
    linked?;
    sync_folder(path)
}

fn sync_folder(path: &Path) -> Result<(), KeyFileError> {
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    File::open(folder)
        .and_then(|folder| folder.sync_all())
        .map_err(io(folder))
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(suffix);
    PathBuf::from(name)
}

fn io(path: &Path) -> impl FnOnce(std::io::Error) -> KeyFileError {
    let path = path.display().to_string();
    move |source| KeyFileError::Io { path, source }
}

#[cfg(test)]
mod tests {
    use ed25519_dalek::{Signature, VerifyingKey};

    use super::*;

    fn verifies(key: &[u8; 32], message: &[u8], signature: &[u8; 64]) -> bool {
        let key = VerifyingKey::from_bytes(key).expect("key");
        key.verify_strict(message, &Signature::from_bytes(signature))
            .is_ok()
    }

    #[tokio::test]
    async fn the_same_file_is_the_same_key_and_only_its_owner_reads_it() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("audit.key");
        let first = FileSigner::open_or_create(&path, "log").expect("made");
        let again = FileSigner::open_or_create(&path, "log").expect("read");
        assert_eq!(first.public_key(), again.public_key());
        let signature = again.sign(b"text").await.expect("signed");
        assert!(verifies(&first.public_key(), b"text", &signature));
        assert_eq!(
            std::fs::metadata(&path).expect("file").permissions().mode() & 0o777,
            0o600
        );
        assert_eq!(
            std::fs::read_dir(folder.path()).expect("folder").count(),
            1,
            "nothing else is left"
        );
    }

    #[test]
    fn exposed_and_malformed_files_are_refused_and_kept() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("audit.key");
        FileSigner::open_or_create(&path, "log").expect("made");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).expect("mode");
        let error = FileSigner::open_or_create(&path, "log").expect_err("exposed");
        assert!(error.to_string().contains("chmod 600"), "{error}");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).expect("mode");
        std::fs::write(&path, "something else").expect("written");
        assert!(matches!(
            FileSigner::open_or_create(&path, "log"),
            Err(KeyFileError::Malformed { .. })
        ));
        assert_eq!(std::fs::read_to_string(&path).expect("kept"), "something else");
    }

    #[tokio::test]
    async fn a_rotation_replaces_the_key_at_once_and_for_good() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("audit.key");
        let signer = FileSigner::open_or_create(&path, "log").expect("made");
        let old = signer.public_key();
        drop(signer.prepare_next().expect("an abandoned one"));
        let next = signer.prepare_next().expect("next");
        let new = next.public_key();
        assert!(verifies(&new, b"handover", &next.sign(b"handover")));
        assert_eq!(signer.public_key(), old);
        signer.adopt(next).expect("adopted");
        assert_eq!(signer.public_key(), new);
        assert_ne!(old, new);
        assert_eq!(
            FileSigner::open_or_create(&path, "log")
                .expect("read")
                .public_key(),
            new
        );
    }
}
