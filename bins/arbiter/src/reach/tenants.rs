//! Tenants, here or there.

use std::collections::{BTreeMap, BTreeSet};

use arbiter_api::view;
use arbiter_core::model::{InvalidId, InvalidKind, TaskKind, TenantId};
use arbiter_queue::RateLimit;
use arbiter_queue::tenants::{NewTenant, TenantChange, TenantLimits};
use arbiter_wire::http::{Because, TenantChangeForm, TenantForm, TenantLimitsForm, TenantView};

use super::Reach;
use crate::erasing;
use crate::exit::Failure;

impl Reach {
    /// A page of tenants after the cursor of an earlier one, and where to go on.
    pub(crate) async fn tenants(
        &self,
        after: Option<String>,
        limit: usize,
    ) -> Result<(Vec<TenantView>, Option<String>), Failure> {
        match self {
            Self::Store(app) => {
                let after = after.map(|text| text.parse()).transpose();
                let after =
                    after.map_err(|_| Failure::usage("--after takes the cursor of an earlier page"))?;
                let page = app.tenants.list(&app.operator, after, limit).await?;
                let next = page.next.map(|next| next.to_string());
                Ok((page.tenants.iter().map(view::tenant).collect(), next))
            }
            Self::Server(client) => {
                let page = client.tenant_list(after, Some(limit)).await?;
                Ok((page.tenants, page.next))
            }
        }
    }

    /// A tenant.
    pub(crate) async fn tenant(&self, id: TenantId) -> Result<TenantView, Failure> {
        match self {
            Self::Store(app) => Ok(view::tenant(&app.tenants.get(&app.operator, id).await?)),
            Self::Server(client) => Ok(client.tenant_get(id).await?),
        }
    }

    /// Makes a tenant.
    pub(crate) async fn create_tenant(&self, form: TenantForm) -> Result<TenantView, Failure> {
        match self {
            Self::Store(app) => {
                let new = NewTenant {
                    name: form.name,
                    weight: form.weight,
                    limits: limits(form.limits)?,
                };
                let made = app.tenants.create(&app.operator, new, None).await?;
                Ok(view::tenant(&made.record))
            }
            Self::Server(client) => Ok(client.tenant_create(&form, None).await?.0),
        }
    }

    /// Changes a tenant's name, weight or limits.
    pub(crate) async fn update_tenant(
        &self,
        id: TenantId,
        if_revision: Option<u64>,
        form: TenantChangeForm,
    ) -> Result<TenantView, Failure> {
        match self {
            Self::Store(app) => {
                let change = TenantChange {
                    name: form.name,
                    weight: form.weight,
                    limits: form.limits.map(limits).transpose()?,
                };
                let changed = app.tenants.update(&app.operator, id, if_revision, change);
                Ok(view::tenant(&changed.await?))
            }
            Self::Server(client) => Ok(client.tenant_update(id, if_revision, &form).await?),
        }
    }

    /// Suspends a tenant.
    pub(crate) async fn suspend_tenant(
        &self,
        id: TenantId,
        if_revision: Option<u64>,
        reason: String,
    ) -> Result<TenantView, Failure> {
        match self {
            Self::Store(app) => {
                let suspended = app.tenants.suspend(&app.operator, id, if_revision, reason);
                Ok(view::tenant(&suspended.await?))
            }
            Self::Server(client) => {
                let because = Because { reason };
                Ok(client.tenant_suspend(id, if_revision, &because).await?)
            }
        }
    }

    /// Deletes a tenant. Here its data is erased at once, as far as that needs no server; there in the background.
    pub(crate) async fn delete_tenant(
        &self,
        id: TenantId,
        if_revision: Option<u64>,
        reason: String,
    ) -> Result<TenantView, Failure> {
        match self {
            Self::Store(app) => {
                app.tenants.delete(&app.operator, id, if_revision, reason).await?;
                erasing::finish(app).await?;
                Ok(view::tenant(&app.tenants.get(&app.operator, id).await?))
            }
            Self::Server(client) => {
                let because = Because { reason };
                Ok(client.tenant_delete(id, if_revision, &because).await?)
            }
        }
    }

    /// Lets a suspended tenant go on.
    pub(crate) async fn resume_tenant(
        &self,
        id: TenantId,
        if_revision: Option<u64>,
        reason: String,
    ) -> Result<TenantView, Failure> {
        match self {
            Self::Store(app) => {
                let resumed = app.tenants.resume(&app.operator, id, if_revision, reason);
                Ok(view::tenant(&resumed.await?))
            }
            Self::Server(client) => {
                let because = Because { reason };
                Ok(client.tenant_resume(id, if_revision, &because).await?)
            }
        }
    }
}

/// Reads a tenant's id.
pub(crate) fn tenant_id(text: &str) -> Result<TenantId, Failure> {
    text.parse()
        .map_err(|error: InvalidId| Failure::usage(error.to_string()))
}

fn limits(form: TenantLimitsForm) -> Result<TenantLimits, Failure> {
    let kind =
        |word: &String| TaskKind::new(word).map_err(|error: InvalidKind| Failure::usage(error.to_string()));
    Ok(TenantLimits {
        open_tasks: form.open_tasks,
        submit: form.submit.map(|rate| RateLimit {
            per_second: rate.per_second,
            burst: rate.burst,
        }),
        running: form.running,
        running_per_kind: form
            .running_per_kind
            .iter()
            .map(|(word, limit)| Ok((kind(word)?, *limit)))
            .collect::<Result<BTreeMap<_, _>, Failure>>()?,
        kinds: form
            .kinds
            .map(|words| words.iter().map(kind).collect::<Result<BTreeSet<_>, _>>())
            .transpose()?,
    })
}
