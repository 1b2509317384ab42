//! What the audit log's verifier trusts: the first key and the hand-overs since, in a file beside the store.
//!
//! The file is public. It stands outside of the database, so that whoever changes the database does not change it along.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use arbiter_audit::key::VerifierKey;
use arbiter_audit::keyring::{Handover, Keyring};
use arbiter_audit::note::Note;
use serde::{Deserialize, Serialize};

use crate::exit::Failure;

const FILE: &str = "audit.trust.json";

/// The stored form, version 1.
#[derive(Serialize, Deserialize)]
struct Body {
    version: u32,
    origin: String,
    root: String,
    handovers: Vec<String>,
}

/// The keys of a log.
pub(crate) struct Trust {
    path: PathBuf,
    origin: String,
    root: VerifierKey,
    handovers: Vec<Handover>,
}

impl Trust {
    /// Reads the file, which must be there.
    pub(crate) fn open(data_dir: &Path) -> Result<Self, Failure> {
        let path = data_dir.join(FILE);
        let text = std::fs::read_to_string(&path)
            .map_err(|error| Failure::unavailable(format!("`{}` cannot be read", path.display()), error))?;
        Self::parse(path, &text)
    }

    /// Reads the file, or makes it with `key` as the first key.
    pub(crate) fn open_or_create(data_dir: &Path, origin: &str, key: &VerifierKey) -> Result<Self, Failure> {
        let path = data_dir.join(FILE);
        match std::fs::read_to_string(&path) {
            Ok(text) => Self::parse(path, &text),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                let made = Self {
                    path,
                    origin: origin.to_owned(),
                    root: key.clone(),
                    handovers: Vec::new(),
                };
                made.save()?;
                Ok(made)
            }
            Err(error) => Err(Failure::unavailable(
                format!("`{}` cannot be read", path.display()),
                error,
            )),
        }
    }

    fn parse(path: PathBuf, text: &str) -> Result<Self, Failure> {
        let broken = |why: String| Failure::configuration(format!("`{}` is damaged: {why}", path.display()));
        let body: Body = serde_json::from_str(text).map_err(|error| broken(error.to_string()))?;
        if body.version != 1 {
            return Err(broken(format!(
                "version {} is newer than this program",
                body.version
            )));
        }
        let root = body
            .root
            .parse()
            .map_err(|error: arbiter_audit::key::InvalidKey| broken(error.to_string()))?;
        let mut handovers = Vec::new();
        for text in &body.handovers {
            let note = Note::parse(text).map_err(|error| broken(error.to_string()))?;
            handovers.push(Handover::open(note).map_err(|error| broken(error.to_string()))?);
        }
        Ok(Self {
            origin: body.origin,
            root,
            handovers,
            path,
        })
    }

    /// The keys that are trusted, each for its range.
    pub(crate) fn keyring(&self) -> Result<Keyring, Failure> {
        let mut keyring = Keyring::new(self.origin.clone(), [self.root.clone()]);
        for handover in &self.handovers {
            keyring
                .adopt(handover)
                .map_err(|error| Failure::configuration(format!("`{}`: {error}", self.path.display())))?;
        }
        Ok(keyring)
    }

    /// The first key.
    pub(crate) const fn root(&self) -> &VerifierKey {
        &self.root
    }

    /// The hand-overs, oldest first.
    pub(crate) fn handovers(&self) -> &[Handover] {
        &self.handovers
    }

    /// Adds a hand-over.
    pub(crate) fn add(&mut self, handover: Handover) -> Result<(), Failure> {
        self.handovers.push(handover);
        let checked = self.keyring().and_then(|_| self.save());
        if checked.is_err() {
            self.handovers.pop();
        }
        checked
    }

    fn save(&self) -> Result<(), Failure> {
        let body = Body {
            version: 1,
            origin: self.origin.clone(),
            root: self.root.to_string(),
            handovers: self
                .handovers
                .iter()
                .map(|handover| handover.note().to_string())
                .collect(),
        };
        let folder = self.path.parent().unwrap_or(Path::new("."));
        let save = || -> std::io::Result<()> {
            let mut file = tempfile::NamedTempFile::new_in(folder)?;
            file.write_all(serde_json::to_string_pretty(&body)?.as_bytes())?;
            file.as_file().sync_all()?;
            file.persist(&self.path).map_err(|error| error.error)?;
            std::fs::File::open(folder)?.sync_all()
        };
        save().map_err(|error| {
            Failure::unavailable(format!("`{}` could not be written", self.path.display()), error)
        })
    }
}
