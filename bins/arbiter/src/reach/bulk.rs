//! One operation on many tasks, here or there.

use arbiter_api::view;
use arbiter_queue::{BulkFilter, BulkRequest};
use arbiter_wire::http::{BulkForm, BulkView};

use super::Reach;
use crate::exit::Failure;

/// What is done with many tasks.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Bulk {
    /// Open ones are withdrawn.
    Cancel,
    /// Failed ones and dead letters are queued again.
    Requeue,
    /// Closed ones are deleted.
    Purge,
}

impl Reach {
    /// Does it with the tasks of one call, after the cursor of an earlier one.
    pub(crate) async fn bulk(
        &self,
        what: Bulk,
        request: BulkRequest,
        after: Option<String>,
    ) -> Result<BulkView, Failure> {
        match self {
            Self::Store(app) => {
                let after = after.map(|text| text.parse()).transpose();
                let after =
                    after.map_err(|_| Failure::usage("--after takes the cursor of an earlier call"))?;
                let (dry_run, request) = (request.dry_run, BulkRequest { after, ..request });
                let outcome = match what {
                    Bulk::Cancel => app.queue.cancel_many(&app.operator, request).await?,
                    Bulk::Requeue => app.queue.requeue_many(&app.operator, request).await?,
                    Bulk::Purge => app.queue.purge_many(&app.operator, request).await?,
                };
                let next = outcome.next.map(|task| task.to_string());
                Ok(view::bulk(&outcome, dry_run, next))
            }
            Self::Server(client) => {
                let form = form(request, after);
                Ok(match what {
                    Bulk::Cancel => client.task_cancel_many(&form).await?,
                    Bulk::Requeue => client.task_requeue_many(&form).await?,
                    Bulk::Purge => client.task_purge_many(&form).await?,
                })
            }
        }
    }
}

fn form(request: BulkRequest, cursor: Option<String>) -> BulkForm {
    let BulkFilter {
        tenant,
        state,
        kind,
        label,
        submitted_before,
    } = request.filter;
    BulkForm {
        tenant: tenant.map(|tenant| tenant.to_string()),
        state: state.map(|state| state.word().to_owned()),
        kind: kind.map(|kind| kind.to_string()),
        label: label.map(|(name, value)| format!("{name}={value}")),
        submitted_before: submitted_before.map(|before| before.to_string()),
        cursor,
        limit: request.limit,
        dry_run: request.dry_run,
        reason: request.why,
    }
}
