//! The section `store`: where tasks and everything else are kept.

use std::path::{Path, PathBuf};

use super::file::StoreSection;
use super::{Environment, FileConfig};

/// Where the store is.
#[derive(Debug, Clone)]
pub(crate) enum StoreConfig {
    /// In the data folder, for this process alone.
    Embedded,
    /// In a PostgreSQL database that many nodes share.
    Shared(SharedStore),
}

/// A store that many nodes share.
#[derive(Clone)]
#[cfg_attr(
    not(feature = "postgres"),
    expect(dead_code, reason = "this build has no shared store")
)]
pub(crate) struct SharedStore {
    /// The database, with the engine's login. It carries a password.
    pub(crate) url: String,
    /// The readers' login, if it is not the engine's.
    pub(crate) reader_url: Option<String>,
    pub(crate) reader_role: String,
    pub(crate) schema: String,
    /// Certificates of the authorities that vouch for the server; else the system's.
    pub(crate) ca_file: Option<PathBuf>,
    pub(crate) connections: usize,
    pub(crate) reader_connections: usize,
}

impl std::fmt::Debug for SharedStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SharedStore")
            .field("address", &self.address())
            .field("schema", &self.schema)
            .finish_non_exhaustive()
    }
}

impl SharedStore {
    /// The URL without its login and parameters, either of which may hold a password.
    pub(crate) fn address(&self) -> String {
        let rest = self.url.split_once("://").map_or("", |(_, rest)| rest);
        let place = rest.rsplit_once('@').map_or(rest, |(_, place)| place);
        let place = place.split_once('?').map_or(place, |(place, _)| place);
        format!("postgres://{place}")
    }
}

impl StoreConfig {
    pub(super) fn of(
        file: &FileConfig,
        environment: &dyn Environment,
        folder: &Path,
        problems: &mut Vec<String>,
    ) -> Self {
        let StoreSection {
            url,
            reader_url,
            reader_role,
            schema,
            ca_file,
            connections,
            reader_connections,
        } = file.store.clone();
        let Some(url) = environment.get("ARBITER_STORE_URL").or(url) else {
            if file.store.is_set() {
                problems.push("store: what is set there is of no use without store.url".into());
            }
            return Self::Embedded;
        };
        if !["postgres://", "postgresql://"]
            .iter()
            .any(|scheme| url.starts_with(scheme))
        {
            problems
                .push("store.url: must have the form `postgres://user:password@host:port/database`".into());
        }
        if cfg!(not(feature = "postgres")) {
            problems.push(
                "store.url: this build has no shared store; build it with `--features postgres`, or leave it out to use \
                 the embedded one"
                    .into(),
            );
        }
        if file.backup.folder.is_some() {
            problems.push(
                "backup.folder: nodes of a shared store take no backups by themselves; leave it out, and run `arbiter backup FOLDER`"
                    .into(),
            );
        }
        let mut count = |key: &str, given: Option<usize>, default: usize| {
            let count = given.unwrap_or(default);
            if !(1..=1_000).contains(&count) {
                problems.push(format!("store.{key}: must lie in 1..=1000, not {count}"));
            }
            count
        };
        let connections = count("connections", connections, 8);
        let reader_connections = count("reader_connections", reader_connections, 4);
        Self::Shared(SharedStore {
            url,
            reader_url: environment.get("ARBITER_STORE_READER_URL").or(reader_url),
            reader_role: reader_role.unwrap_or_else(|| "arbiter_reader".to_owned()),
            schema: schema.unwrap_or_else(|| "arbiter".to_owned()),
            ca_file: ca_file.map(|path| folder.join(path)),
            connections,
            reader_connections,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_holds_no_password() {
        for (url, address) in [
            ("postgres://a:b@host:1/d", "postgres://host:1/d"),
            ("postgres://a:p@ss@host/d?password=x", "postgres://host/d"),
            ("postgresql://host/d", "postgres://host/d"),
        ] {
            let store = SharedStore {
                url: url.to_owned(),
                reader_url: None,
                reader_role: String::new(),
                schema: String::new(),
                ca_file: None,
                connections: 1,
                reader_connections: 1,
            };
            assert_eq!(store.address(), address);
            assert!(!format!("{store:?}").contains("p@ss"), "{store:?}");
        }
    }
}
