//! The steps of an erasure: tasks, records, the audit log. Each can be repeated.

use std::sync::PoisonError;

use arbiter_core::lifecycle::{Command, Expect};
use arbiter_core::model::{
    CommandId, Operation, PrincipalId, RecordDraft, StoredTask, TaskId, TenantId, TenantScope,
};
use arbiter_core::ports::{
    AgentQuery, Clearance, Cleared, DocumentKey, Documents, Effects, Hint, Precondition, Purge, Retention,
    Seal, SealSubject, StoreError, TaskQuery, Transition,
};

use super::eraser::{Eraser, Place, Step, StepError};
use super::record::{self, Body, Erasure, ErasureStage, ErasureSubject, KIND};
use crate::records::{Kept, Shelf, corrupt};
use crate::{hooks, schedules, tenants};

/// So many principals are deleted together.
const BATCH: usize = 100;
/// So many pages of tasks are looked at in one step. A task comes with its input, so pages are small.
const PAGES: usize = 40;
const PAGE: usize = 25;

impl Eraser {
    /// Takes an erasure one bounded step further.
    pub(super) async fn work(&self, mut kept: Kept<Body>) -> Result<Step, StepError> {
        let erasure = record::erasure(&kept)?;
        if self.parts.clock.now() < erasure.requested_at.plus(self.settings.settle) {
            return Ok(Step::Wait);
        }
        match kept.body.stage {
            ErasureStage::Finding => {
                self.find(&erasure, &mut kept.body).await?;
                kept.body.stage = ErasureStage::Tasks;
            }
            ErasureStage::Tasks => match self.tasks(&erasure, &kept.body).await? {
                Step::Finished => {
                    self.messages(&erasure, &kept.body).await?;
                    kept.body.stage = if kept.body.last {
                        ErasureStage::Records
                    } else {
                        ErasureStage::Finding
                    };
                }
                step => return Ok(step),
            },
            ErasureStage::Records => match self.records(&erasure).await? {
                Step::Finished => {
                    if erasure.subject == ErasureSubject::Tenant {
                        // Its hooks are gone: from here on nothing is told of it.
                        self.messages(&erasure, &kept.body).await?;
                    }
                    kept.body.stage = ErasureStage::Log;
                }
                step => return Ok(step),
            },
            ErasureStage::Log => match self.log(&erasure, &kept).await? {
                Step::Finished => return self.end(&erasure, kept).await,
                step => return Ok(step),
            },
            ErasureStage::Done => return self.end(&erasure, kept).await,
        }
        self.keep(&erasure, &kept).await?;
        Ok(Step::More)
    }

    /// Notes how far an erasure is.
    async fn keep(&self, erasure: &Erasure, kept: &Kept<Body>) -> Result<(), StoreError> {
        let records = &self.parts.erasures.records;
        let precondition = Precondition::Revision(kept.revision);
        let write = kept.body.write(records, kept.tenant, &kept.id, precondition)?;
        let written = records
            .documents
            .write(vec![write], Effects::of(draft(erasure)))
            .await;
        written.map(drop).map_err(|error| corrupt(KIND, error))
    }

    /// Finds the next tasks.
    async fn find(&self, erasure: &Erasure, body: &mut Body) -> Result<(), StepError> {
        body.tasks.clear();
        let person = match erasure.subject {
            ErasureSubject::Tenant => return Ok(()),
            ErasureSubject::Task(task) => {
                body.tasks.push(task.to_string());
                body.last = true;
                return Ok(());
            }
            ErasureSubject::Principal(person) => person,
        };
        let after = body.after.as_deref().map(str::parse).transpose();
        let mut after: Option<TaskId> = after.map_err(|error| corrupt(KIND, error))?;
        for _ in 0..PAGES {
            let query = TaskQuery {
                after,
                limit: PAGE,
                ..TaskQuery::default()
            };
            let scope = TenantScope::Tenant(erasure.tenant);
            let page = self.parts.reader.list(scope, query).await?;
            let own = page.tasks.iter().filter(|stored| stored.task.submitter == person);
            body.tasks.extend(own.map(|stored| stored.task.id.to_string()));
            after = page.next;
            body.last = after.is_none();
            if body.last || body.tasks.len() >= self.settings.tasks {
                break;
            }
        }
        body.after = after.map(|task| task.to_string());
        Ok(())
    }

    /// Withdraws what is open and deletes what is closed.
    async fn tasks(&self, erasure: &Erasure, body: &Body) -> Result<Step, StepError> {
        let which = match about(erasure, body)? {
            None => Purge::Tenant(erasure.tenant),
            Some(ids) => Purge::Tasks(erasure.tenant, ids),
        };
        // From now on as little as may be is told; what is on its way yet goes at the end.
        let ids = match &which {
            Purge::Tasks(_, ids) => Some(ids.as_slice()),
            _ => None,
        };
        self.parts.outbox.clear(erasure.tenant, ids).await?;
        // With its last task a tenant's lanes and counters go.
        let purged = self.purge(erasure, which.clone()).await?;
        if purged >= self.settings.tasks {
            return Ok(Step::More);
        }
        Ok(match self.withdraw(erasure, &which).await? {
            (0, _) => Step::Finished,
            (_, 0) if purged == 0 => Step::Wait,
            _ => Step::More,
        })
    }

    /// Deletes what waits to be told outside. Called when its tasks are gone: withdrawing them made messages, and more
    /// may have been on their way.
    async fn messages(&self, erasure: &Erasure, body: &Body) -> Result<(), StepError> {
        let about = about(erasure, body)?;
        hooks::read_again(&self.parts.erasures.records.documents).await?;
        self.parts.outbox.clear(erasure.tenant, about.as_deref()).await?;
        Ok(())
    }

    async fn purge(&self, erasure: &Erasure, which: Purge) -> Result<usize, StoreError> {
        let retention = Retention {
            keyed_before: None,
            which,
            limit: self.settings.tasks,
            effects: Effects::of(draft(erasure)),
        };
        self.parts.store.purge(retention).await
    }

    /// Withdraws what is open, page by page. Gives how many tasks there are yet, and how many of them were open, as far as
    /// one step looks.
    async fn withdraw(&self, erasure: &Erasure, which: &Purge) -> Result<(usize, usize), StoreError> {
        let scope = TenantScope::Tenant(erasure.tenant);
        let reader = &self.parts.reader;
        let (mut left, mut open) = (0, 0);
        if let Purge::Tasks(_, ids) = which {
            for ids in ids.chunks(PAGE) {
                let found = reader.get(scope, ids).await?.into_iter().flatten().collect();
                let (there, cancelled) = self.cancel(erasure, found).await?;
                (left, open) = (left + there, open + cancelled);
            }
        } else {
            let mut after = None;
            for _ in 0..PAGES {
                let query = TaskQuery {
                    after,
                    limit: PAGE,
                    ..TaskQuery::default()
                };
                let page = reader.list(scope, query).await?;
                let (there, cancelled) = self.cancel(erasure, page.tasks).await?;
                (left, open) = (left + there, open + cancelled);
                after = page.next;
                if after.is_none() {
                    break;
                }
            }
            // What lies behind is there as well.
            left += usize::from(after.is_some());
        }
        if open > 0 {
            self.parts.wakeups.publish(&[Hint::Agents]);
        }
        Ok((left, open))
    }

    /// Withdraws those of the tasks that are open. Gives how many there are, and how many were open.
    async fn cancel(&self, erasure: &Erasure, found: Vec<StoredTask>) -> Result<(usize, usize), StoreError> {
        let open = found.iter().filter(|stored| !stored.task.state.is_closed());
        let open: Vec<Transition> = open.map(|stored| cancel(erasure, stored)).collect();
        let counts = (found.len(), open.len());
        if !open.is_empty() {
            // One that moved meanwhile is found again.
            self.parts.store.apply(open).await?;
        }
        Ok(counts)
    }

    /// Deletes what belongs to the subject beside its tasks.
    async fn records(&self, erasure: &Erasure) -> Result<Step, StepError> {
        match erasure.subject {
            ErasureSubject::Task(_) => Ok(Step::Finished),
            ErasureSubject::Principal(id) => {
                let schedules = self.schedules_of(erasure.tenant, id).await?;
                if !schedules.is_empty() {
                    self.clear(erasure, Cleared::Keys(schedules)).await?;
                }
                self.principals(erasure, &[id]).await?;
                Ok(Step::Finished)
            }
            ErasureSubject::Tenant => self.belongings(erasure).await,
        }
    }

    /// Deletes principals with their keys.
    async fn principals(&self, erasure: &Erasure, ids: &[PrincipalId]) -> Result<usize, StoreError> {
        let mut keys = Vec::new();
        for id in ids {
            keys.extend(self.parts.keys.documents_of(*id).await?);
            keys.push(self.parts.keys.principals().key(erasure.tenant, *id));
        }
        let _forgotten = self.parts.keys.principals().known().forgetting();
        self.clear(erasure, Cleared::Keys(keys)).await
    }

    /// The documents of the schedules that somebody made, or that act as somebody.
    async fn schedules_of(&self, tenant: TenantId, id: PrincipalId) -> Result<Vec<DocumentKey>, StoreError> {
        #[derive(serde::Deserialize)]
        struct Owned {
            created_by: String,
            acts_as: String,
        }
        let own = id.to_string();
        let documents = &self.parts.erasures.records.documents;
        let records = Shelf::new(documents, schedules::KIND);
        let states = Shelf::new(documents, schedules::STATE_KIND);
        let all = records.all::<Owned>(TenantScope::Tenant(tenant)).await?;
        let theirs = all
            .iter()
            .filter(|kept| kept.body.created_by == own || kept.body.acts_as == own);
        Ok(theirs
            .flat_map(|kept| [records.key(tenant, &kept.id), states.key(tenant, &kept.id)])
            .collect())
    }

    async fn clear(&self, erasure: &Erasure, which: Cleared) -> Result<usize, StoreError> {
        let limit = match &which {
            Cleared::Keys(keys) => keys.len(),
            Cleared::Tenant { .. } => self.settings.records,
        };
        let clearance = Clearance {
            which,
            told: erasure.tenant,
            limit,
            effects: Effects::of(draft(erasure)),
        };
        self.documents().clear(clearance).await
    }

    /// Deletes agents, files, principals and records of a tenant, so many of each.
    async fn belongings(&self, erasure: &Erasure) -> Result<Step, StepError> {
        let removed = self.agents(erasure).await? + self.files(erasure.tenant).await?;
        let page = self
            .parts
            .keys
            .principals()
            .page(erasure.tenant, None, BATCH)
            .await?;
        let ids: Vec<PrincipalId> = page.iter().map(|known| known.principal.id).collect();
        let principals = if ids.is_empty() {
            0
        } else {
            self.principals(erasure, &ids).await?
        };
        if removed + principals > 0 {
            return Ok(Step::More);
        }
        let rest = Cleared::Tenant {
            tenant: erasure.tenant,
            keep: vec![tenants::KIND, KIND],
        };
        match self.clear(erasure, rest).await? {
            0 => Ok(Step::Finished),
            _ => Ok(Step::More),
        }
    }

    /// Removes the agents of a tenant, but not those that serve every tenant.
    async fn agents(&self, erasure: &Erasure) -> Result<usize, StepError> {
        let failed = |source| StepError::Other {
            operation: "removing agents",
            source,
        };
        let (mut after, mut removed) = (None, 0);
        loop {
            let query = AgentQuery {
                after,
                limit: self.settings.records,
            };
            let scope = TenantScope::Tenant(erasure.tenant);
            let agents = &self.parts.agents;
            let page = agents
                .list(scope, query)
                .await
                .map_err(|error| failed(error.into()))?;
            let own = page.agents.iter().map(|agent| &agent.profile);
            for profile in own.filter(|profile| profile.tenant == Some(erasure.tenant)) {
                let gone = agents.remove(profile.id, draft(erasure)).await;
                removed += usize::from(gone.map_err(|error| failed(error.into()))?);
            }
            after = page.next;
            if after.is_none() {
                return Ok(removed);
            }
        }
    }

    async fn files(&self, tenant: TenantId) -> Result<usize, StepError> {
        let failed = |source| StepError::Other {
            operation: "deleting files",
            source,
        };
        let artifacts = &self.parts.artifacts;
        let page = artifacts.list(tenant, None, self.settings.records).await;
        let page = page.map_err(|error| failed(error.into()))?;
        let mut removed = 0;
        for stored in page.artifacts {
            let gone = artifacts.delete(tenant, stored.digest).await;
            removed += usize::from(gone.map_err(|error| failed(error.into()))?);
        }
        Ok(removed)
    }

    /// Removes details from the audit log, in one pass. What a person submitted is known from the log itself: tasks that
    /// were purged before stand there as well.
    async fn log(&self, erasure: &Erasure, kept: &Kept<Body>) -> Result<Step, StepError> {
        let at = (kept.id.clone(), kept.revision);
        let mut place = self.place(&at);
        let (about, submitted_by) = match erasure.subject {
            ErasureSubject::Tenant => (None, None),
            ErasureSubject::Task(task) => (Some(vec![SealSubject::Task(task)]), None),
            ErasureSubject::Principal(person) => {
                let tasks = place.tasks.iter().copied().map(SealSubject::Task);
                let about = tasks.chain([SealSubject::Principal(person)]).collect();
                (Some(about), Some(person))
            }
        };
        let rule = Seal {
            scope: TenantScope::Tenant(erasure.tenant),
            before: None,
            about,
            submitted_by,
            told: erasure.tenant,
            from: place.from,
            limit: self.settings.entries,
        };
        let sealed = self.parts.audit.seal(rule, draft(erasure)).await?;
        let mut places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(next) = sealed.next else {
            places.remove(&at);
            return Ok(Step::Finished);
        };
        place.from = next;
        place.tasks.extend(sealed.submitted);
        places.insert(at, place);
        Ok(Step::More)
    }

    async fn end(&self, erasure: &Erasure, mut kept: Kept<Body>) -> Result<Step, StepError> {
        if erasure.subject == ErasureSubject::Tenant {
            self.parts.tenants.erased(erasure.tenant, draft(erasure)).await?;
        }
        kept.body.stage = ErasureStage::Done;
        kept.body.tasks.clear();
        kept.body.reason.clear();
        kept.body.finished_at = Some(self.parts.clock.now().as_micros());
        self.keep(erasure, &kept).await?;
        Ok(Step::Finished)
    }

    fn place(&self, at: &(String, u64)) -> Place {
        let places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        places.get(at).cloned().unwrap_or_default()
    }

    fn documents(&self) -> &dyn Documents {
        self.parts.erasures.records.documents.as_ref()
    }
}

/// The tasks that are erased in this turn; none: all of the tenant.
fn about(erasure: &Erasure, body: &Body) -> Result<Option<Vec<TaskId>>, StoreError> {
    if erasure.subject == ErasureSubject::Tenant {
        return Ok(None);
    }
    let ids: Result<Vec<TaskId>, _> = body.tasks.iter().map(|task| task.parse()).collect();
    ids.map(Some).map_err(|error| corrupt(KIND, error))
}

/// Whose act it is: that of who asked for it.
fn draft(erasure: &Erasure) -> RecordDraft {
    let operation = match erasure.subject {
        ErasureSubject::Tenant => Operation::TenantDelete,
        ErasureSubject::Principal(_) | ErasureSubject::Task(_) => Operation::TenantErase,
    };
    RecordDraft::by(erasure.requested_by, operation)
}

/// Named by the erasure and the task, so that a repeat is recognised.
fn cancel(erasure: &Erasure, stored: &StoredTask) -> Transition {
    let base = CommandId::from_bytes(*erasure.id.as_bytes());
    Transition {
        command: base.for_task(stored.task.id),
        task: stored.task.id,
        tenant: stored.task.tenant,
        expect: Expect::Version(stored.task.version),
        action: Command::Cancel {
            why: "what was kept of it is being erased".to_owned(),
        },
        effects: Effects::of(draft(erasure)),
    }
}
