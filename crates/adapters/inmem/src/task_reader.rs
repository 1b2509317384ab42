//! The port `TaskReader`.

use std::ops::Bound;

use arbiter_core::model::{Fence, Holder, Stage, StoredTask, TaskId, TenantId, TenantScope};
use arbiter_core::ports::{StoreError, Tally, TaskHistory, TaskPage, TaskQuery, TaskReader};
use async_trait::async_trait;

use crate::store::InMemoryStore;
use crate::tables::{Tables, TaskRow};

/// A page looks at so many tasks, at most, for each that it may hold.
const SCAN_FACTOR: usize = 20;

#[async_trait]
impl TaskReader for InMemoryStore {
    async fn get(&self, scope: TenantScope, ids: &[TaskId]) -> Result<Vec<Option<StoredTask>>, StoreError> {
        Ok(self.read(|tables, _| {
            ids.iter()
                .map(|id| visible(tables, scope, *id).map(TaskRow::stored))
                .collect()
        }))
    }

    async fn list(&self, scope: TenantScope, query: TaskQuery) -> Result<TaskPage, StoreError> {
        Ok(self.read(|tables, _| list(tables, scope, &query)))
    }

    async fn history(&self, scope: TenantScope, task: TaskId) -> Result<TaskHistory, StoreError> {
        Ok(self.read(|tables, _| {
            if visible(tables, scope, task).is_none() {
                return TaskHistory::default();
            }
            let attempts = tables.attempts.range((task, Fence(0))..=(task, Fence(u64::MAX)));
            let stages = (task, Fence(0), Stage::Verify)..=(task, Fence(u64::MAX), Stage::Comply);
            TaskHistory {
                attempts: attempts.map(|(_, attempt)| attempt.clone()).collect(),
                stages: tables
                    .stages
                    .range(stages)
                    .map(|(_, report)| report.clone())
                    .collect(),
            }
        }))
    }

    async fn held_by(&self, holder: Holder) -> Result<Vec<StoredTask>, StoreError> {
        Ok(self.read(|tables, _| {
            let of_holder =
                (holder, TaskId::from_bytes([0; 16]))..=(holder, TaskId::from_bytes([u8::MAX; 16]));
            let held = tables.held.range(of_holder);
            held.filter_map(|((_, task), ())| tables.tasks.get(task).map(TaskRow::stored))
                .collect()
        }))
    }

    async fn tally(&self, tenant: TenantId) -> Result<Tally, StoreError> {
        Ok(self.read(|tables, _| tables.tallies.get(&tenant).copied().unwrap_or_default()))
    }
}

fn visible(tables: &Tables, scope: TenantScope, id: TaskId) -> Option<&TaskRow> {
    tables.tasks.get(&id).filter(|row| scope.covers(row.task.tenant))
}

fn list(tables: &Tables, scope: TenantScope, query: &TaskQuery) -> TaskPage {
    let limit = query.limit.clamp(1, 1000);
    let mut page = TaskPage::default();
    let mut last = query.after;
    for (scanned, row) in rows_after(tables, scope, query.after).enumerate() {
        if page.tasks.len() == limit || scanned == limit * SCAN_FACTOR {
            page.next = last;
            break;
        }
        last = Some(row.task.id);
        if matches(row, query) {
            page.tasks.push(row.stored());
        }
    }
    page
}

fn rows_after(
    tables: &Tables,
    scope: TenantScope,
    after: Option<TaskId>,
) -> Box<dyn Iterator<Item = &TaskRow> + '_> {
    match scope {
        TenantScope::All => {
            let from = after.map_or(Bound::Unbounded, Bound::Excluded);
            Box::new(tables.tasks.range((from, Bound::Unbounded)).map(|(_, row)| row))
        }
        TenantScope::Tenant(tenant) => {
            let start = Bound::Included((tenant, TaskId::from_bytes([0; 16])));
            let from = after.map_or(start, |task| Bound::Excluded((tenant, task)));
            let to = Bound::Included((tenant, TaskId::from_bytes([u8::MAX; 16])));
            if after == Some(TaskId::from_bytes([u8::MAX; 16])) {
                return Box::new(std::iter::empty());
            }
            let ids = tables.tasks_by_tenant.range((from, to));
            Box::new(ids.filter_map(|((_, task), ())| tables.tasks.get(task)))
        }
    }
}

fn matches(row: &TaskRow, query: &TaskQuery) -> bool {
    query.state.is_none_or(|state| row.task.state.name() == state)
        && query.kind.as_ref().is_none_or(|kind| row.spec.kind == *kind)
        && (query.label.as_ref()).is_none_or(|(name, value)| row.spec.labels.get(name) == Some(value))
}
