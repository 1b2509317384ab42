//! Recognising repeated calls that make a record.
//!
//! The idempotency key of a call, with who calls and where, leads to the id of what it makes: a repeat looks there. The
//! record keeps a digest of what was asked, as long as it lives. A document beside it, written in the same step, keeps the
//! same for a day: so a repeat does not make anew what was deleted meanwhile.

use std::sync::Arc;
use std::time::Duration;

use arbiter_core::mechanism::canonical_json;
use arbiter_core::model::{Digest, PrincipalId, TenantId, Timestamp};
use arbiter_core::ports::{BoxError, DocumentWrite, Documents, Precondition, StoreError};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::error::QueueError;
use crate::records::{Kept, RecordError, Shelf, VERSION};
use crate::service::SecureQueue;

const KIND: &str = "idempotency";
/// For how long a call is remembered at least.
const REMEMBERED: Duration = Duration::from_hours(24);

/// A record that a call made, or had made before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Made<T> {
    /// The record as it is now.
    pub record: T,
    /// Whether it was made before, by a call with the same idempotency key.
    pub repeated: bool,
}

impl<T> Made<T> {
    pub(crate) const fn now(record: T) -> Self {
        Self {
            record,
            repeated: false,
        }
    }

    pub(crate) const fn before(record: T) -> Self {
        Self {
            record,
            repeated: true,
        }
    }
}

/// What a call makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum What {
    Hook,
    Key,
    /// A key in the place of another one.
    Rotation,
    Principal,
    Schedule,
    Tenant,
}

impl What {
    /// Stored ids are derived from these words, so they stay as they are. None begins with another one: what follows them
    /// could make two calls one.
    const fn word(self) -> &'static str {
        match self {
            Self::Hook => "hook",
            Self::Key => "api_key",
            Self::Rotation => "key_rotation",
            Self::Principal => "principal",
            Self::Schedule => "schedule",
            Self::Tenant => "tenant",
        }
    }
}

/// A call with an idempotency key.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Call<'a> {
    pub(crate) what: What,
    /// Where it makes it.
    pub(crate) tenant: TenantId,
    /// Who calls.
    pub(crate) by: PrincipalId,
    pub(crate) key: &'a str,
}

/// What is remembered of calls.
#[derive(Clone)]
pub(crate) struct Repeats(Shelf);

impl Repeats {
    pub(crate) fn new(documents: &Arc<dyn Documents>) -> Self {
        Self(Shelf::new(documents, KIND))
    }

    /// A call that is to be done once. `made_of` is a digest of what it asks for.
    pub(crate) fn once(&self, call: Call<'_>, made_of: String) -> Result<Once, RecordError> {
        check_key(call.key)?;
        Ok(Once {
            memory: self.0.clone(),
            tenant: call.tenant,
            what: call.what,
            id: derived(call),
            made_of,
        })
    }
}

/// A call that is done once.
#[derive(Clone)]
pub(crate) struct Once {
    memory: Shelf,
    tenant: TenantId,
    what: What,
    id: [u8; 16],
    made_of: String,
}

/// A stored record that knows what it was made of.
pub(crate) trait MadeOf {
    /// A digest of what the call that made it asked for; none when it had no key, or made it before such digests were
    /// kept.
    fn made_of(&self) -> Option<&str>;
}

/// What is remembered of a call, version 1.
#[derive(Serialize, Deserialize)]
struct Memory {
    version: u32,
    what: String,
    made_of: String,
}

impl Once {
    /// The bytes of the id that the call gives to what it makes. Whoever knows tenant, principal and key knows them: they
    /// are no secret, and none may be made of them.
    pub(crate) const fn id(&self) -> [u8; 16] {
        self.id
    }

    pub(crate) fn made_of(&self) -> &str {
        &self.made_of
    }

    /// What an earlier call with the same key made.
    ///
    /// # Errors
    /// [`RecordError::KeyReused`] when that call asked for something else, [`RecordError::Deleted`] when what it made was
    /// deleted.
    pub(crate) async fn find<T: DeserializeOwned + MadeOf>(
        &self,
        records: &Shelf,
        tenant: TenantId,
        id: &str,
    ) -> Result<Option<Kept<T>>, RecordError> {
        // The memory first: it is never there before the record, so a record that is absent then was deleted.
        let memory = self.memory.get::<Memory>(self.tenant, &self.name()).await?;
        let found = records.get::<T>(tenant, id).await?;
        let remembered = memory.map(|memory| memory.body.made_of);
        // A program that knows no digests writes the record without it.
        let made_of = found.as_ref().and_then(|kept| kept.body.made_of());
        let same = match made_of.or(remembered.as_deref()) {
            Some(made_of) => made_of == self.made_of,
            None => found.is_none(),
        };
        match found {
            _ if !same => Err(RecordError::KeyReused),
            None if remembered.is_some() => Err(RecordError::Deleted),
            found => Ok(found),
        }
    }

    /// Remembers the call. It belongs to the step that writes the record, after the record itself.
    pub(crate) fn write(&self, now: Timestamp) -> Result<DocumentWrite, StoreError> {
        let memory = Memory {
            version: VERSION,
            what: self.what.word().to_owned(),
            made_of: self.made_of.clone(),
        };
        let mut write = self
            .memory
            .put(self.tenant, &self.name(), Precondition::Absent, &memory)?;
        if let Some(content) = &mut write.content {
            content.expires_at = Some(now.plus(REMEMBERED));
        }
        Ok(write)
    }

    fn name(&self) -> String {
        hex::encode(self.id)
    }
}

impl SecureQueue {
    /// A digest of what is asked for that tells nothing of it without the store's key.
    pub(crate) fn sealed(&self, what: What, asked: &Value) -> Result<String, RecordError> {
        let asked = json!({"makes": what.word(), "of": asked});
        let sealed = self.fingerprints.seal(&asked);
        Ok(sealed.map_err(|error| unreadable(error.into()))?.to_string())
    }
}

/// A digest of what is asked for, where that holds no secret.
pub(crate) fn digest(asked: &impl Serialize) -> Result<String, RecordError> {
    let value = serde_json::to_value(asked).map_err(|error| unreadable(error.into()))?;
    let canonical = canonical_json(&value).map_err(|error| unreadable(error.into()))?;
    Ok(Digest::of(&canonical).to_string())
}

fn unreadable(source: BoxError) -> QueueError {
    QueueError::Internal {
        operation: "hashing what is asked for",
        source,
    }
}

/// The first 16 bytes of SHA-256(word ‖ tenant ‖ principal ‖ key).
fn derived(call: Call<'_>) -> [u8; 16] {
    let parts: [&[u8]; 4] = [
        call.what.word().as_bytes(),
        call.tenant.as_bytes(),
        call.by.as_bytes(),
        call.key.as_bytes(),
    ];
    let digest = Digest::of(&parts.concat());
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&digest.as_bytes()[..16]);
    bytes
}

/// A key is kept in no form but its hash.
fn check_key(key: &str) -> Result<(), RecordError> {
    if key.trim().is_empty() || key.chars().any(char::is_control) || key.chars().count() > 255 {
        let problem = "must be a line of 1 to 255 characters";
        return Err(RecordError::invalid("Idempotency-Key", problem));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use arbiter_core::model::ScheduleId;

    use super::*;

    const ALL: [What; 6] = [
        What::Hook,
        What::Key,
        What::Rotation,
        What::Principal,
        What::Schedule,
        What::Tenant,
    ];

    fn call(what: What, tenant: u8, by: u8, key: &str) -> Call<'_> {
        Call {
            what,
            tenant: TenantId::from_bytes([tenant; 16]),
            by: PrincipalId::from_bytes([by; 16]),
            key,
        }
    }

    #[test]
    fn a_stored_schedule_is_found_where_it_always_was() {
        let id = ScheduleId::from_bytes(derived(call(What::Schedule, 1, 2, "k")));
        assert_eq!(id.to_string(), "fa29c883-f2ec-aaff-28f5-d187415d22f8");
    }

    #[test]
    fn calls_that_differ_lead_to_different_ids() {
        let mut ids: Vec<[u8; 16]> = ALL.map(|what| derived(call(what, 1, 2, "k"))).into();
        ids.push(derived(call(What::Hook, 2, 2, "k")));
        ids.push(derived(call(What::Hook, 1, 1, "k")));
        ids.push(derived(call(What::Hook, 1, 2, "l")));
        let count = ids.len();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), count);
        for one in ALL {
            let begins = ALL
                .into_iter()
                .filter(|other| other.word().starts_with(one.word()));
            assert_eq!(begins.count(), 1, "{one:?}");
        }
    }

    #[test]
    fn a_key_is_a_line() {
        assert!(check_key(&"ä".repeat(255)).is_ok());
        for bad in ["", " ", "a\nb", &"x".repeat(256)] {
            assert!(check_key(bad).is_err(), "{bad:?}");
        }
    }
}
