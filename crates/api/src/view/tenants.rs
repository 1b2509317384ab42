//! Tenants.

use arbiter_queue::tenants::Tenant;
use arbiter_wire::http::{DeletionView, SuspensionView, TenantLimitsForm, TenantRateForm, TenantView};

/// A tenant.
pub fn tenant(tenant: &Tenant) -> TenantView {
    let limits = &tenant.limits;
    TenantView {
        id: tenant.id.to_string(),
        name: tenant.name.clone(),
        weight: tenant.weight,
        limits: TenantLimitsForm {
            open_tasks: limits.open_tasks,
            submit: limits.submit.map(|rate| TenantRateForm {
                per_second: rate.per_second,
                burst: rate.burst,
            }),
            running: limits.running,
            running_per_kind: limits
                .running_per_kind
                .iter()
                .map(|(kind, limit)| (kind.as_str().to_owned(), *limit))
                .collect(),
            kinds: limits
                .kinds
                .as_ref()
                .map(|kinds| kinds.iter().map(|kind| kind.as_str().to_owned()).collect()),
        },
        suspended: tenant.suspended.as_ref().map(|suspended| SuspensionView {
            reason: suspended.reason.clone(),
            at: suspended.at.to_string(),
            by: suspended.by.to_string(),
        }),
        deleted: tenant.deleted.as_ref().map(|deleted| DeletionView {
            at: deleted.at.to_string(),
            by: deleted.by.to_string(),
            erased_at: deleted.erased_at.map(|at| at.to_string()),
        }),
        created_by: tenant.created_by.map(|by| by.to_string()),
        created_at: tenant.created_at.map(|at| at.to_string()),
        revision: tenant.revision,
    }
}
