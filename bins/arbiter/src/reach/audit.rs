//! The audit log, here or there: what can be read of it.

use arbiter_audit::view::LeafView;
use arbiter_client::AuditFilter;
use arbiter_core::model::{Operation, Role, TenantScope};
use arbiter_core::ports::{AuditEntry, AuditLog, AuditQuery};
use arbiter_wire::http::{AuditEntryView, AuditRedactionView, Because};

use super::Reach;
use crate::exit::Failure;

impl Reach {
    /// Removes the detail of an entry.
    pub(crate) async fn redact(&self, index: u64, reason: String) -> Result<AuditRedactionView, Failure> {
        match self {
            Self::Store(app) => {
                app.queue.permit(&app.operator, Operation::AuditRedact).await?;
                let found = AuditLog::read(&*app.store, index, 1).await?;
                let found = found.first().filter(|entry| entry.index == index);
                let found = found.ok_or(arbiter_queue::QueueError::NotFound)?;
                let leaf = LeafView::parse(&found.leaf)
                    .map_err(|error| Failure::internal(format!("the entry {index} is damaged"), error))?;
                let redacted = app.queue.redact_entry(&app.operator, leaf.tenant, index, reason);
                let removed = redacted.await?;
                Ok(AuditRedactionView { index, removed })
            }
            Self::Server(client) => {
                let because = Because { reason };
                Ok(client.audit_redact(index, &because).await?)
            }
        }
    }

    /// A page of entries, newest first, after the cursor of an earlier one; and where to go on.
    pub(crate) async fn entries(
        &self,
        query: AuditQuery,
        after: Option<String>,
    ) -> Result<(Vec<AuditEntryView>, Option<String>), Failure> {
        match self {
            Self::Store(app) => {
                app.queue.permit(&app.operator, Operation::AuditQuery).await?;
                let before = after.map(|text| text.parse()).transpose();
                let before =
                    before.map_err(|_| Failure::usage("--before takes the cursor of an earlier page"))?;
                let query = AuditQuery { before, ..query };
                let scope = if app.operator.roles.contains(&Role::Admin) {
                    TenantScope::All
                } else {
                    TenantScope::Tenant(app.operator.tenant)
                };
                let page = app.store.search(scope, query).await?;
                let entries = page.entries.iter().map(entry).collect::<Result<_, _>>()?;
                Ok((entries, page.next.map(|index| index.to_string())))
            }
            Self::Server(client) => {
                let filter = AuditFilter {
                    resource: query.resource,
                    action: query.action,
                    outcome: query.outcome,
                    cursor: after,
                    limit: Some(query.limit),
                    ..AuditFilter::default()
                };
                let page = client.audit_query(&filter).await?;
                Ok((page.entries, page.next))
            }
        }
    }
}

fn entry(entry: &AuditEntry) -> Result<AuditEntryView, Failure> {
    let leaf = serde_json::from_slice(&entry.leaf)
        .map_err(|error| Failure::internal(format!("the entry {} is damaged", entry.index), error))?;
    Ok(AuditEntryView {
        index: entry.index,
        leaf,
        detail: entry.detail.as_ref().map(|detail| detail.body.value()),
    })
}
