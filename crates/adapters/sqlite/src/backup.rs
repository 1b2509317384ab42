//! A copy of the database while it is in use, and a look at one that may be in use by another process.

use std::path::{Path, PathBuf};

use arbiter_audit::batch::unpack_leaf;
use arbiter_audit::proof::ConsistencyProof;
use arbiter_audit::view::LeafView;
use arbiter_core::model::{Digest, Timestamp};
use arbiter_core::ports::{Applied, Retry, StoreError, TreeHead};
use rusqlite::backup::{Backup, StepResult};
use rusqlite::{Connection, ErrorCode, OpenFlags, OptionalExtension as _, ffi};
use tokio::sync::oneshot;

use crate::config::SqliteConfig;
use crate::error::{Fault, OpenError, failed};
use crate::number::natural;
use crate::schema;
use crate::store::SqliteStore;
use crate::tail::{Stored, Tail};

const BACKUP: &str = "copy the database";

impl SqliteStore {
    /// Copies the database as of now into a new file, while it goes on being used: everything that was answered before
    /// is in the copy. Gives the head of the audit tree that is in it. The copy is one file, which any SQLite opens.
    ///
    /// # Errors
    /// When the file cannot be made or written, or what was copied does not add up. Nothing of use is left then.
    ///
    /// # Cancel safety
    /// The copy is finished although the future is dropped.
    pub async fn backup(&self, target: PathBuf) -> Result<TreeHead, StoreError> {
        let source = self.database.clone();
        let (answer, copied) = oneshot::channel();
        let thread = std::thread::Builder::new().name("arbiter-sqlite-backup".to_owned());
        let work = move || {
            // the caller may have gone: then nobody wants the answer
            let _ = answer.send(copy(&source, &target).map_err(|fault| fault.into_store(BACKUP)));
        };
        let cannot = |why| failed(BACKUP, Applied::No, Retry::Transient, why);
        let _joined_by_the_answer = thread
            .spawn(work)
            .map_err(|_| cannot("no thread could be started"))?;
        copied.await.unwrap_or_else(|_| Err(cannot("the copy panicked")))
    }
}

fn copy(source: &Path, target: &Path) -> Result<TreeHead, Fault> {
    let from = schema::open_reader(source)?;
    let mut to = Connection::open_with_flags(
        target,
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX,
    )?;
    // In one step, which reads one snapshot: in several, each commit of the writer would start the copy anew.
    match Backup::new(&from, &mut to)?.step(-1)? {
        StepResult::Done => {}
        _ => {
            let busy = ffi::Error::new(ffi::SQLITE_BUSY);
            return Err(rusqlite::Error::SqliteFailure(busy, None).into());
        }
    }
    // Without a log beside it, the copy is one file.
    to.pragma_update_and_check(None, "journal_mode", "DELETE", |_| Ok(()))?;
    let head = Tail::load(&to)?.head();
    to.close().map_err(|(_, error)| error)?;
    Ok(head)
}

/// What a look at a database finds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inspection {
    /// The version of its schema.
    pub schema: i64,
    /// What SQLite's own check finds wrong; at most ten.
    pub damage: Vec<String>,
    /// The head of the audit tree, unless it does not add up.
    pub head: Result<TreeHead, String>,
    /// The newest signed head with its note, if there is one.
    pub published: Option<(TreeHead, String)>,
    /// Whether the tree continues the signed head; the reason if not.
    pub continues: Result<(), String>,
    /// When the newest entry was written, by the clock of then.
    pub newest: Option<Timestamp>,
}

/// Looks at a database without owning it, so that it may be in use. Nothing is migrated.
///
/// # Errors
/// When there is none, it is another application's, or it cannot be read at all.
pub fn inspect(config: &SqliteConfig) -> Result<Inspection, OpenError> {
    let failed = OpenError::database("inspecting");
    let path = config.database();
    let connection = schema::open_reader(&path).map_err(&failed)?;
    schema::check_owner(&connection, &path, false).or_else(damaged_is_found_below)?;
    let damage = quick_check(&connection).unwrap_or_else(|error| vec![error.to_string()]);
    let head = Tail::load(&connection)
        .map(|tail| tail.head())
        .map_err(|error| error.to_string());
    let published = published(&connection).map_err(|error| error.to_string());
    let continues = match (&head, &published) {
        (Ok(head), Ok(Some((signed, _)))) => continues(&connection, *signed, *head),
        (_, Err(error)) => Err(error.clone()),
        _ => Ok(()),
    };
    Ok(Inspection {
        schema: schema::user_version(&connection).map_err(&failed)?,
        damage,
        head,
        published: published.ok().flatten(),
        continues,
        newest: newest(&connection).unwrap_or_default(),
    })
}

/// A file that cannot be read is reported with everything else that is wrong with it.
fn damaged_is_found_below(error: OpenError) -> Result<(), OpenError> {
    let OpenError::Database { source, .. } = &error else {
        return Err(error);
    };
    let code = source
        .downcast_ref::<rusqlite::Error>()
        .and_then(rusqlite::Error::sqlite_error_code);
    if code == Some(ErrorCode::DatabaseCorrupt) {
        Ok(())
    } else {
        Err(error)
    }
}

fn quick_check(connection: &Connection) -> rusqlite::Result<Vec<String>> {
    let mut statement = connection.prepare("PRAGMA quick_check(10)")?;
    let found = statement.query_map([], |row| row.get::<_, String>(0))?;
    let found: Vec<String> = found.collect::<Result<_, _>>()?;
    Ok(found.into_iter().filter(|line| line != "ok").collect())
}

fn published(connection: &Connection) -> rusqlite::Result<Option<(TreeHead, String)>> {
    connection
        .query_row("SELECT size, root, note FROM audit_checkpoint", [], |row| {
            let head = TreeHead {
                size: natural(row.get(0)?),
                root: Digest::from_bytes(row.get(1)?),
            };
            Ok((head, row.get(2)?))
        })
        .optional()
}

fn continues(connection: &Connection, signed: TreeHead, head: TreeHead) -> Result<(), String> {
    if signed.size > head.size {
        return Err(format!(
            "the audit log has {} entries, but {} were signed",
            head.size, signed.size
        ));
    }
    let proof = ConsistencyProof::build(signed.size, head.size, &Stored(connection))
        .map_err(|error| error.to_string())?;
    proof.verify(&signed.root, &head.root).map_err(|_| {
        format!(
            "the first {} entries of the audit log are not those that were signed",
            signed.size
        )
    })
}

fn newest(connection: &Connection) -> Result<Option<Timestamp>, Fault> {
    let leaves: Option<Vec<u8>> = connection
        .query_row(
            "SELECT leaves FROM audit_batch ORDER BY first DESC LIMIT 1",
            [],
            |row| row.get(0),
        )
        .optional()?;
    let leaves = leaves.unwrap_or_default();
    let (mut rest, mut last) = (leaves.as_slice(), None);
    while !rest.is_empty() {
        last = Some(unpack_leaf(&mut rest)?);
    }
    let at = last.map(|leaf| LeafView::parse(leaf).map(|leaf| leaf.at));
    at.transpose().map_err(|_| Fault::Damaged("audit leaf"))
}
