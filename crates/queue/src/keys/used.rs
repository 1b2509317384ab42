//! When keys were last used. Noted in memory and written now and then, so that authentication stays a read.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arbiter_core::model::{RecordDraft, TenantId, TenantScope, Timestamp};
use arbiter_core::ports::{DocumentError, DocumentKey, Documents, Effects, Precondition, StoreError};
use serde::{Deserialize, Serialize};

use crate::records::{Shelf, VERSION, corrupt};

const KIND: &str = "api_key_use";
/// A use is written when it is later than the one that is kept by so much.
const EVERY: Duration = Duration::from_secs(60);
/// More keys than this are not noted until the next write.
const MAX_NOTED: usize = 16_384;
/// So many are written together.
const BATCH: usize = 500;

/// The uses that are not written yet, and those that are.
pub(super) struct Uses {
    shelf: Shelf,
    noted: Mutex<BTreeMap<String, Timestamp>>,
}

/// The stored form, version 1.
#[derive(Serialize, Deserialize)]
struct Body {
    version: u32,
    at: i64,
}

impl Uses {
    pub(super) fn new(documents: &Arc<dyn Documents>) -> Self {
        Self {
            shelf: Shelf::new(documents, KIND),
            noted: Mutex::default(),
        }
    }

    /// Notes that a key was accepted. Never waits for the store.
    pub(super) fn note(&self, id: &str, at: Timestamp) {
        let mut noted = self.noted.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(last) = noted.get_mut(id) {
            *last = at.max(*last);
        } else if noted.len() < MAX_NOTED {
            noted.insert(id.to_owned(), at);
        }
    }

    /// Forgets what was noted of a key. Gives the name of the document about its use.
    pub(super) fn forget(&self, id: &str) -> DocumentKey {
        let mut noted = self.noted.lock().unwrap_or_else(PoisonError::into_inner);
        noted.remove(id);
        self.shelf.key(TenantId::SYSTEM, id)
    }

    /// When keys were last used, in the order of the ids.
    pub(super) async fn last(&self, ids: &[&str]) -> Result<Vec<Option<Timestamp>>, StoreError> {
        let written = self.written(ids).await?;
        let noted = self.noted.lock().unwrap_or_else(PoisonError::into_inner);
        let both = ids.iter().zip(written);
        Ok(both
            .map(|(id, written)| written.max(noted.get(*id).copied()))
            .collect())
    }

    /// Writes what was noted, each key at most once a minute. What could not be written is noted again.
    pub(super) async fn flush(&self) -> Result<usize, StoreError> {
        let noted = std::mem::take(&mut *self.noted.lock().unwrap_or_else(PoisonError::into_inner));
        let noted: Vec<(String, Timestamp)> = noted.into_iter().collect();
        let mut written = 0;
        for (number, batch) in noted.chunks(BATCH).enumerate() {
            match self.write(batch).await {
                Ok(count) => written += count,
                Err(error) => {
                    let rest = noted.iter().skip(number * BATCH);
                    rest.for_each(|(id, at)| self.note(id, *at));
                    return Err(error);
                }
            }
        }
        Ok(written)
    }

    async fn write(&self, batch: &[(String, Timestamp)]) -> Result<usize, StoreError> {
        let ids: Vec<&str> = batch.iter().map(|(id, _)| id.as_str()).collect();
        let mut writes = Vec::new();
        for ((id, at), last) in batch.iter().zip(self.written(&ids).await?) {
            if last.is_some_and(|last| at.since(last) < EVERY) {
                continue;
            }
            let body = Body {
                version: VERSION,
                at: at.as_micros(),
            };
            writes.push(self.shelf.put(TenantId::SYSTEM, id, Precondition::Any, &body)?);
        }
        let count = writes.len();
        if count == 0 {
            return Ok(0);
        }
        let effects = Effects::of(RecordDraft::default());
        match self.shelf.documents.write(writes, effects).await {
            Ok(_) => Ok(count),
            Err(DocumentError::Store(error)) => Err(error),
            Err(error) => Err(corrupt(KIND, error)),
        }
    }

    async fn written(&self, ids: &[&str]) -> Result<Vec<Option<Timestamp>>, StoreError> {
        let system = TenantId::SYSTEM;
        let keys: Vec<DocumentKey> = ids.iter().map(|id| self.shelf.key(system, id)).collect();
        let found = self
            .shelf
            .find::<Body>(TenantScope::Tenant(system), &keys)
            .await?;
        let at = |kept: crate::records::Kept<Body>| Timestamp::from_micros(kept.body.at);
        Ok(found.into_iter().map(|kept| kept.map(at)).collect())
    }
}
