//! Checking, comparing and activating policies.

use std::collections::BTreeMap;
use std::sync::Arc;

use arbiter_core::model::{Json, Operation, Principal, RecordDraft, Resource, Target, TenantId, TenantScope};
use arbiter_core::ports::{
    DocumentWrite, Documents, Effects, NamedPolicy, PolicyEngine, PolicyFile, PolicyProblem, PolicyProblems,
    Precondition, StoreError, Verdict,
};
use futures_util::lock::Mutex;
use serde_json::json;

use super::diff::PolicyDiff;
use super::record::{self, ACTIVE, ActivePolicies, KIND, POINTER, PointerBody, PolicySet, SetBody};
use crate::error::QueueError;
use crate::records::{RecordError, Shelf, expected};
use crate::service::SecureQueue;

/// Keeps sets of policies and puts them into force. Each operation: authorise, limit, act, audit.
///
/// What concerns the policies of all tenants has no tenant, so that by default only admins may; whoever may read
/// policies in its own tenant may check a text.
pub struct PolicySets {
    queue: Arc<SecureQueue>,
    sets: Shelf,
    pointer: Shelf,
    engine: Arc<dyn PolicyEngine>,
    /// The number of the set that the engine has in force. Held from the look at the store to the swap, so that no
    /// older set is swapped in after a newer one.
    in_force: Mutex<u64>,
}

impl std::fmt::Debug for PolicySets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PolicySets").finish_non_exhaustive()
    }
}

/// What a check of files says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckedPolicies {
    /// The policies in them, in order; none when something is wrong.
    pub policies: Vec<NamedPolicy>,
    /// Everything that is wrong with them.
    pub problems: Vec<PolicyProblem>,
}

/// Why the stored policies could not be put into force.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PolicyLoadError {
    /// They do not fit what this program knows, or the files of the configuration.
    #[error("the stored policy set {number} is not valid any more")]
    Invalid {
        /// Which set.
        number: u64,
        /// What is wrong with it.
        source: PolicyProblems,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl PolicySets {
    /// Sets kept in `documents` and put into force in `engine`; `queue` says who may do what.
    pub fn new(
        queue: Arc<SecureQueue>,
        documents: &Arc<dyn Documents>,
        engine: Arc<dyn PolicyEngine>,
    ) -> Self {
        Self {
            queue,
            sets: Shelf::new(documents, KIND),
            pointer: Shelf::new(documents, POINTER),
            engine,
            in_force: Mutex::new(0),
        }
    }

    /// Puts into force what the store says, if it is not in force already: at the start, and now and then where other
    /// nodes share the store. Gives the number of the set; 0 for none.
    ///
    /// # Errors
    /// [`PolicyLoadError`]; the policies in force stay in force.
    pub async fn load(&self) -> Result<u64, PolicyLoadError> {
        let mut in_force = self.in_force.lock().await;
        let Some((pointer, _)) = self.pointer().await? else {
            return Ok(0);
        };
        let number = pointer.number;
        if number == *in_force {
            return Ok(number);
        }
        let files = self.stored_files(number).await?;
        self.engine
            .replace(&files)
            .map_err(|source| PolicyLoadError::Invalid { number, source })?;
        *in_force = number;
        Ok(number)
    }

    /// What is in force beside the built-in and the configured policies.
    ///
    /// # Errors
    /// See [`RecordError`].
    pub async fn active(&self, by: &Principal) -> Result<ActivePolicies, RecordError> {
        self.permit(by, Operation::PolicyRead).await?;
        Ok(self.stored_active().await?)
    }

    /// A page of the stored sets, by number, after `after`. It is the last page when it has less than `limit`.
    ///
    /// # Errors
    /// See [`RecordError`].
    pub async fn list(
        &self,
        by: &Principal,
        after: Option<u64>,
        limit: usize,
    ) -> Result<Vec<PolicySet>, RecordError> {
        self.permit(by, Operation::PolicyRead).await?;
        if !(1..=100).contains(&limit) {
            return Err(RecordError::invalid("limit", "must lie in 1..=100"));
        }
        let after = after.map(|number| (TenantId::SYSTEM, record::id_of(number)));
        let scope = TenantScope::Tenant(TenantId::SYSTEM);
        let kept = self.sets.list::<SetBody>(scope, None, after, limit).await?;
        Ok(kept.into_iter().map(record::set).collect::<Result<_, _>>()?)
    }

    /// A stored set.
    ///
    /// # Errors
    /// See [`RecordError`].
    pub async fn get(&self, by: &Principal, number: u64) -> Result<PolicySet, RecordError> {
        self.permit(by, Operation::PolicyRead).await?;
        self.stored(number).await?.ok_or(RecordError::NOT_FOUND)
    }

    /// Says what is wrong with files, or which policies are in them.
    ///
    /// # Errors
    /// See [`RecordError`].
    pub async fn check(
        &self,
        by: &Principal,
        files: BTreeMap<String, String>,
    ) -> Result<CheckedPolicies, RecordError> {
        self.queue.permit_in(by, Operation::PolicyRead, by.tenant).await?;
        let (policies, problems) = match self.engine.check(&record::files(files)?) {
            Ok(policies) => (policies, Vec::new()),
            Err(PolicyProblems(problems)) => (Vec::new(), problems),
        };
        Ok(CheckedPolicies { policies, problems })
    }

    /// Says what files would change of what is in force.
    ///
    /// # Errors
    /// See [`RecordError`]; invalid when the files are.
    pub async fn diff(
        &self,
        by: &Principal,
        files: BTreeMap<String, String>,
    ) -> Result<PolicyDiff, RecordError> {
        self.permit(by, Operation::PolicyRead).await?;
        let new = self.engine.check(&record::files(files)?).map_err(refused)?;
        let active = self.stored_active().await?;
        let files = active.set.map(|set| set.files).unwrap_or_default();
        let old = self.engine.check(&files).map_err(refused)?;
        Ok(PolicyDiff::between(old, new))
    }

    /// Stores files as a new set and puts it into force in the place of the present one. `revision` is the one that the
    /// caller read, if it insists. Calls that start after this one has returned are decided by the new set.
    ///
    /// # Errors
    /// See [`RecordError`]; the set in force stays in force. Files that would take from `by` the right to do this are
    /// refused, because nobody could undo them.
    ///
    /// # Cancel safety
    /// The set may be stored although the future is dropped; the next [`Self::load`] puts it into force.
    pub async fn activate(
        &self,
        by: &Principal,
        revision: Option<u64>,
        files: BTreeMap<String, String>,
    ) -> Result<ActivePolicies, RecordError> {
        self.permit(by, Operation::PolicyActivate).await?;
        let activated = self.activated(by, revision, files).await;
        self.queue
            .told(by, Operation::PolicyActivate, Resource::new(KIND, ""), activated)
            .await
    }

    async fn activated(
        &self,
        by: &Principal,
        revision: Option<u64>,
        files: BTreeMap<String, String>,
    ) -> Result<ActivePolicies, RecordError> {
        let files = record::files(files)?;
        let mut in_force = self.in_force.lock().await;
        let pointer = self.pointer().await?;
        let number = pointer.as_ref().map_or(0, |(pointer, _)| pointer.last) + 1;
        let now = self.queue.ports.clock.now();
        let body = SetBody::new(&files, now, by.id);
        let write = self.sets.put(
            TenantId::SYSTEM,
            &record::id_of(number),
            Precondition::Absent,
            &body,
        )?;
        let next = PointerBody::new(number, number, now, by.id);
        let found = pointer.map_or(0, |(_, revision)| revision);
        self.swap(by, (revision, found), &files, vec![write], next)
            .await?;
        *in_force = number;
        Ok(self.stored_active().await?)
    }

    /// Puts an earlier set into force again; 0 takes back everything that was ever put into force.
    ///
    /// # Errors
    /// As for [`Self::activate`].
    ///
    /// # Cancel safety
    /// As for [`Self::activate`].
    pub async fn roll_back(
        &self,
        by: &Principal,
        revision: Option<u64>,
        number: u64,
    ) -> Result<ActivePolicies, RecordError> {
        self.permit(by, Operation::PolicyActivate).await?;
        let rolled = self.rolled_back(by, revision, number).await;
        let resource = Resource::new(KIND, number.to_string());
        self.queue
            .told(by, Operation::PolicyActivate, resource, rolled)
            .await
    }

    async fn rolled_back(
        &self,
        by: &Principal,
        revision: Option<u64>,
        number: u64,
    ) -> Result<ActivePolicies, RecordError> {
        let mut in_force = self.in_force.lock().await;
        let pointer = self.pointer().await?;
        let files = match number {
            0 => Vec::new(),
            number => self.stored(number).await?.ok_or(RecordError::NOT_FOUND)?.files,
        };
        let last = pointer.as_ref().map_or(0, |(pointer, _)| pointer.last);
        let next = PointerBody::new(number, last, self.queue.ports.clock.now(), by.id);
        let found = pointer.map_or(0, |(_, revision)| revision);
        self.swap(by, (revision, found), &files, Vec::new(), next).await?;
        *in_force = number;
        Ok(self.stored_active().await?)
    }

    /// Validates, stores with the audit record, then swaps. `revisions` are the expected one and the present one.
    async fn swap(
        &self,
        by: &Principal,
        revisions: (Option<u64>, u64),
        files: &[PolicyFile],
        mut writes: Vec<DocumentWrite>,
        next: PointerBody,
    ) -> Result<(), RecordError> {
        let precondition = match expected(revisions.0, revisions.1)? {
            Precondition::Revision(0) => Precondition::Absent,
            precondition => precondition,
        };
        let nowhere = Target::default();
        let verdict = self
            .engine
            .trial(files, by, Operation::PolicyActivate, &nowhere)
            .map_err(refused)?;
        if verdict == Verdict::Denied {
            let problem = "would take from you the right to activate policies, and nobody else may undo that";
            return Err(RecordError::invalid("files", problem));
        }
        let digest = record::digest_of(files)?;
        let detail = json!({
            "schema": "policy_set/1",
            "number": next.number,
            "digest": digest.to_string(),
        });
        let draft = RecordDraft::by(by.id, Operation::PolicyActivate).with_detail(Json::of(&detail));
        writes.push(self.pointer.put(TenantId::SYSTEM, ACTIVE, precondition, &next)?);
        self.pointer.documents.write(writes, Effects::of(draft)).await?;
        // It was valid a moment ago, and what it is validated with does not change.
        self.engine.replace(files).map_err(|error| {
            RecordError::Queue(QueueError::Internal {
                operation: "putting policies into force",
                source: Box::new(error),
            })
        })?;
        Ok(())
    }

    async fn permit(&self, by: &Principal, operation: Operation) -> Result<(), RecordError> {
        Ok(self.queue.guard(by, operation, &Target::default()).await?)
    }

    /// What is in force by the store, with its revision.
    async fn pointer(&self) -> Result<Option<(PointerBody, u64)>, StoreError> {
        let kept = self.pointer.get::<PointerBody>(TenantId::SYSTEM, ACTIVE).await?;
        Ok(kept.map(|kept| (kept.body, kept.revision)))
    }

    async fn stored(&self, number: u64) -> Result<Option<PolicySet>, StoreError> {
        let kept = self.sets.get(TenantId::SYSTEM, &record::id_of(number)).await?;
        kept.map(record::set).transpose()
    }

    /// The files of a set that must be there, or none.
    async fn stored_files(&self, number: u64) -> Result<Vec<PolicyFile>, StoreError> {
        if number == 0 {
            return Ok(Vec::new());
        }
        let set = self.stored(number).await?;
        set.map(|set| set.files)
            .ok_or_else(|| crate::records::corrupt(POINTER, format!("there is no policy set {number}")))
    }

    async fn stored_active(&self) -> Result<ActivePolicies, StoreError> {
        let Some((pointer, revision)) = self.pointer().await? else {
            return Ok(ActivePolicies {
                set: None,
                activated_at: None,
                activated_by: None,
                revision: 0,
            });
        };
        let set = match pointer.number {
            0 => None,
            number => self.stored(number).await?,
        };
        Ok(ActivePolicies {
            set,
            activated_at: Some(pointer.at()),
            activated_by: Some(pointer.by()?),
            revision,
        })
    }
}

/// Every problem by file and line.
fn refused(problems: PolicyProblems) -> RecordError {
    RecordError::invalid("files", format!("are not valid: {problems}"))
}
