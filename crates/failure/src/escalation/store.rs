//! Policies and silences, as they are kept.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use arbiter_core::model::{ComponentName, FailureKind, PrincipalId, RecordDraft, Severity, SilenceId};
use arbiter_core::ports::{Clock, Documents, Effects, IdSource, Precondition, StoreError};

use super::policy::Policy;
use super::silence::{self, NewSilence, Silence, SilenceRecord};
use crate::records::{FailureError, Kept, Placed, Shelf, corrupt};

/// What a policy's kind is called in the store.
const KIND: &str = "escalation_policy";
/// How many policies, and how many silences, there may be.
const MAX_POLICIES: usize = 100;
const MAX_SILENCES: usize = 500;
/// The longest silence: 90 days. What nobody wants to hear of for longer should not be an incident.
const LONGEST: Duration = Duration::from_hours(24 * 90);

/// Keeps policies and silences.
pub struct Policies {
    kept: Shelf,
    silences: Shelf,
    clock: Arc<dyn Clock>,
    ids: Arc<dyn IdSource>,
    /// Who can be told.
    targets: BTreeSet<String>,
    /// What is used where no kept policy is about an incident.
    otherwise: Option<Policy>,
}

/// A policy with its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptPolicy {
    /// Its name.
    pub name: String,
    /// What it says.
    pub policy: Policy,
    /// Counts its changes; 0 for the one of the configuration.
    pub revision: u64,
}

/// The name of the policy of the configuration.
const OTHERWISE: &str = "default";

impl std::fmt::Debug for Policies {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Policies")
            .field("targets", &self.targets)
            .field("otherwise", &self.otherwise)
            .finish_non_exhaustive()
    }
}

impl Policies {
    /// Policies kept in `documents` over these targets. `otherwise` is used where no kept one is about an incident.
    pub fn new(
        documents: &Arc<dyn Documents>,
        clock: Arc<dyn Clock>,
        ids: Arc<dyn IdSource>,
        targets: BTreeSet<String>,
        otherwise: Option<Policy>,
    ) -> Self {
        Self {
            kept: Shelf::new(documents, KIND),
            silences: Shelf::new(documents, silence::KIND),
            clock,
            ids,
            targets,
            otherwise,
        }
    }

    /// Who can be told.
    pub const fn targets(&self) -> &BTreeSet<String> {
        &self.targets
    }

    /// Every policy, by name; the one of the configuration last, unless another one has its name.
    ///
    /// # Errors
    /// The store's.
    pub async fn list(&self) -> Result<Vec<KeptPolicy>, StoreError> {
        let kept = self.kept.list::<Policy>(None, None, MAX_POLICIES).await?;
        let mut all: Vec<KeptPolicy> = kept.into_iter().map(named).collect();
        if let Some(policy) = &self.otherwise
            && all.iter().all(|kept| kept.name != OTHERWISE)
        {
            all.push(KeptPolicy {
                name: OTHERWISE.to_owned(),
                policy: policy.clone(),
                revision: 0,
            });
        }
        Ok(all)
    }

    /// A policy by name.
    ///
    /// # Errors
    /// The store's.
    pub async fn get(&self, name: &str) -> Result<Option<KeptPolicy>, StoreError> {
        let kept = self.kept.get::<Policy>(name).await?.map(named);
        let otherwise = || {
            let policy = self.otherwise.clone().filter(|_| name == OTHERWISE)?;
            Some(KeptPolicy {
                name: name.to_owned(),
                policy,
                revision: 0,
            })
        };
        Ok(kept.or_else(otherwise))
    }

    /// The policy that says who is told of an incident: of those that are about it, the first by name.
    pub(crate) async fn about(
        &self,
        component: &ComponentName,
        severity: Severity,
    ) -> Result<Option<KeptPolicy>, StoreError> {
        let all = self.list().await?;
        Ok(all
            .into_iter()
            .find(|kept| kept.policy.is_about(component, severity)))
    }

    /// Stores a policy.
    ///
    /// # Errors
    /// See [`FailureError`].
    pub async fn put(
        &self,
        name: &str,
        policy: Policy,
        expected: Option<u64>,
        by: PrincipalId,
    ) -> Result<KeptPolicy, FailureError> {
        let good = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_".contains(&byte);
        if !(1..=64).contains(&name.len()) || !name.bytes().all(good) {
            return Err(FailureError::invalid(
                "name",
                "has 1 to 64 lower-case letters, digits, `-` and `_`",
            ));
        }
        policy.check(&self.targets)?;
        let there = self.kept.list::<Policy>(None, None, MAX_POLICIES).await?;
        let old = there.iter().find(|kept| kept.id == name);
        if old.is_none() && there.len() >= MAX_POLICIES {
            return Err(FailureError::TooMany {
                what: "escalation policies",
                limit: MAX_POLICIES,
            });
        }
        let revision = old.map_or(0, |old| old.revision);
        if expected.is_some_and(|expected| expected != revision) {
            return Err(FailureError::Changed { current: revision });
        }
        let unchanged = old.map_or(Precondition::Absent, Kept::unchanged);
        let write = self.kept.put(name, unchanged, &policy, Placed::default())?;
        let effects = Effects::of(by_person(by));
        let revisions = self.kept.documents.write(vec![write], effects).await?;
        Ok(KeptPolicy {
            name: name.to_owned(),
            policy,
            revision: revisions.first().copied().unwrap_or(revision + 1),
        })
    }

    /// Deletes a policy.
    ///
    /// # Errors
    /// See [`FailureError`].
    pub async fn delete(&self, name: &str, by: PrincipalId) -> Result<(), FailureError> {
        let Some(kept) = self.kept.get::<Policy>(name).await? else {
            return Err(FailureError::NotFound {
                what: "escalation policy",
            });
        };
        let write = self.kept.delete(name, kept.unchanged());
        let effects = Effects::of(by_person(by));
        self.kept.documents.write(vec![write], effects).await?;
        Ok(())
    }

    /// Every silence that has not ended, by id.
    ///
    /// # Errors
    /// The store's.
    pub async fn silences(&self) -> Result<Vec<Silence>, StoreError> {
        let kept = self
            .silences
            .list::<SilenceRecord>(None, None, MAX_SILENCES)
            .await?;
        kept.into_iter().map(silence_of).collect()
    }

    /// Makes a silence.
    ///
    /// # Errors
    /// See [`FailureError`].
    pub async fn silence(&self, new: NewSilence, by: PrincipalId) -> Result<Silence, FailureError> {
        let now = self.clock.now();
        let terms = NewSilence {
            from: new.from.max(now),
            ..new
        };
        if terms.component.len() > ComponentName::MAX_LENGTH {
            return Err(FailureError::invalid("component", "is longer than any name"));
        }
        if !(1..=500).contains(&terms.why.chars().count()) {
            return Err(FailureError::invalid("why", "has 1 to 500 characters"));
        }
        if terms.until <= terms.from || terms.until.since(terms.from) > LONGEST {
            return Err(FailureError::invalid(
                "until",
                "lies after `from`, 90 days at most",
            ));
        }
        if self.silences().await?.len() >= MAX_SILENCES {
            return Err(FailureError::TooMany {
                what: "silences",
                limit: MAX_SILENCES,
            });
        }
        let id = self.ids.silence();
        let record = SilenceRecord {
            kind: terms.kind,
            component: terms.component.clone(),
            failure: terms.failure.map(|kind| kind.word().to_owned()),
            from: terms.from,
            until: terms.until,
            why: terms.why.clone(),
            by,
            made_at: now,
        };
        let placed = Placed {
            index: Vec::new(),
            expires_at: Some(terms.until),
        };
        let write = self
            .silences
            .put(&id.to_string(), Precondition::Absent, &record, placed)?;
        let effects = Effects::of(by_person(by));
        self.silences.documents.write(vec![write], effects).await?;
        Ok(Silence {
            id,
            terms,
            by,
            made_at: now,
        })
    }

    /// Ends a silence.
    ///
    /// # Errors
    /// See [`FailureError`].
    pub async fn unsilence(&self, id: SilenceId, by: PrincipalId) -> Result<(), FailureError> {
        let Some(kept) = self.silences.get::<SilenceRecord>(&id.to_string()).await? else {
            return Err(FailureError::NotFound { what: "silence" });
        };
        let write = self.silences.delete(&kept.id, kept.unchanged());
        let effects = Effects::of(by_person(by));
        self.silences.documents.write(vec![write], effects).await?;
        Ok(())
    }
}

/// Whoever calls names the person; which operation it was is known to whoever has asked whether it may.
fn by_person(by: PrincipalId) -> RecordDraft {
    RecordDraft {
        principal: Some(by),
        ..RecordDraft::default()
    }
}

fn named(kept: Kept<Policy>) -> KeptPolicy {
    KeptPolicy {
        name: kept.id,
        policy: kept.body,
        revision: kept.revision,
    }
}

fn silence_of(kept: Kept<SilenceRecord>) -> Result<Silence, StoreError> {
    let id = kept.id.parse().map_err(|error| corrupt(silence::KIND, error))?;
    let body = kept.body;
    let failure = match &body.failure {
        Some(word) => {
            let unknown = || corrupt(silence::KIND, format!("`{word}` is no kind of failure"));
            Some(FailureKind::from_word(word).ok_or_else(unknown)?)
        }
        None => None,
    };
    Ok(Silence {
        id,
        terms: NewSilence {
            kind: body.kind,
            component: body.component,
            failure,
            from: body.from,
            until: body.until,
            why: body.why,
        },
        by: body.by,
        made_at: body.made_at,
    })
}
