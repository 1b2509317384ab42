//! Ports that fail when a test says so.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arbiter_core::model::{BatchId, Holder, Record, RecordDraft, StoredTask, TaskId, TenantId, TenantScope};
use arbiter_core::ports::{
    Applied, AuditEntry, AuditLog, AuditPage, AuditQuery, Clearance, Document, DocumentError, DocumentKey,
    DocumentQuery, DocumentWrite, Documents, Draw, Drawn, Effects, RateLimiter, Retry, Seal, Sealed,
    StoreError, Tally, TaskHistory, TaskPage, TaskQuery, TaskReader,
};
use arbiter_testkit::faulty::{Fault, FaultPlan};
use async_trait::async_trait;

/// A port that can be broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Port {
    Reader,
    Audit,
    Limiter,
    Documents,
}

/// What is broken now.
#[derive(Debug)]
pub(crate) struct Faults {
    /// What goes wrong with every call of the task store.
    tasks: Mutex<Fault>,
    broken: Mutex<BTreeSet<Port>>,
}

impl Default for Faults {
    fn default() -> Self {
        Self {
            tasks: Mutex::new(Fault::None),
            broken: Mutex::default(),
        }
    }
}

impl Faults {
    pub(crate) fn tasks(&self, fault: Fault) {
        *lock(&self.tasks) = fault;
    }

    pub(crate) fn break_port(&self, port: Port) {
        lock(&self.broken).insert(port);
    }

    /// Everything that has to do with the store is down.
    pub(crate) fn break_store(&self) {
        self.tasks(Fault::NotApplied);
        for port in [Port::Reader, Port::Audit, Port::Documents] {
            self.break_port(port);
        }
    }

    pub(crate) fn mend(&self) {
        self.tasks(Fault::None);
        lock(&self.broken).clear();
    }

    fn check(&self, port: Port) -> Result<(), StoreError> {
        if lock(&self.broken).contains(&port) {
            return Err(StoreError::Backend {
                operation: "a test",
                applied: Applied::No,
                retry: Retry::Transient,
                source: format!("{port:?} is down on purpose").into(),
            });
        }
        Ok(())
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[async_trait]
impl FaultPlan for Faults {
    async fn next(&self, _: &'static str) -> Fault {
        *lock(&self.tasks)
    }
}

/// Passes calls on unless its port is broken.
pub(crate) struct Breakable<P: ?Sized> {
    pub(crate) inner: Arc<P>,
    pub(crate) faults: Arc<Faults>,
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl TaskReader for Breakable<dyn TaskReader> {
    async fn get(&self, scope: TenantScope, ids: &[TaskId]) -> Result<Vec<Option<StoredTask>>, StoreError> {
        self.faults.check(Port::Reader)?;
        self.inner.get(scope, ids).await
    }

    async fn list(&self, scope: TenantScope, query: TaskQuery) -> Result<TaskPage, StoreError> {
        self.faults.check(Port::Reader)?;
        self.inner.list(scope, query).await
    }

    async fn history(&self, scope: TenantScope, task: TaskId) -> Result<TaskHistory, StoreError> {
        self.faults.check(Port::Reader)?;
        self.inner.history(scope, task).await
    }

    async fn held_by(&self, holder: Holder) -> Result<Vec<StoredTask>, StoreError> {
        self.faults.check(Port::Reader)?;
        self.inner.held_by(holder).await
    }

    async fn tally(&self, tenant: TenantId) -> Result<Tally, StoreError> {
        self.faults.check(Port::Reader)?;
        self.inner.tally(tenant).await
    }
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl AuditLog for Breakable<dyn AuditLog> {
    async fn append(&self, batch: BatchId, records: Vec<Record>) -> Result<(), StoreError> {
        self.faults.check(Port::Audit)?;
        self.inner.append(batch, records).await
    }

    async fn read(&self, from: u64, limit: usize) -> Result<Vec<AuditEntry>, StoreError> {
        self.faults.check(Port::Audit)?;
        self.inner.read(from, limit).await
    }

    async fn search(&self, scope: TenantScope, query: AuditQuery) -> Result<AuditPage, StoreError> {
        self.faults.check(Port::Audit)?;
        self.inner.search(scope, query).await
    }

    async fn redact(&self, index: u64, tenant: TenantId, draft: RecordDraft) -> Result<bool, StoreError> {
        self.faults.check(Port::Audit)?;
        self.inner.redact(index, tenant, draft).await
    }

    async fn seal(&self, rule: Seal, draft: RecordDraft) -> Result<Sealed, StoreError> {
        self.faults.check(Port::Audit)?;
        self.inner.seal(rule, draft).await
    }
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl RateLimiter for Breakable<dyn RateLimiter> {
    async fn draw(&self, draws: &[Draw]) -> Result<Drawn, StoreError> {
        self.faults.check(Port::Limiter)?;
        self.inner.draw(draws).await
    }
    fn remaining(&self, draw: &Draw) -> Option<u32> {
        self.inner.remaining(draw)
    }
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl Documents for Breakable<dyn Documents> {
    async fn get(
        &self,
        scope: TenantScope,
        keys: &[DocumentKey],
    ) -> Result<Vec<Option<Document>>, StoreError> {
        self.faults.check(Port::Documents)?;
        self.inner.get(scope, keys).await
    }

    async fn write(&self, writes: Vec<DocumentWrite>, effects: Effects) -> Result<Vec<u64>, DocumentError> {
        self.faults.check(Port::Documents)?;
        self.inner.write(writes, effects).await
    }

    async fn clear(&self, clearance: Clearance) -> Result<usize, StoreError> {
        self.faults.check(Port::Documents)?;
        self.inner.clear(clearance).await
    }

    async fn list(&self, scope: TenantScope, query: DocumentQuery) -> Result<Vec<Document>, StoreError> {
        self.faults.check(Port::Documents)?;
        self.inner.list(scope, query).await
    }
}
