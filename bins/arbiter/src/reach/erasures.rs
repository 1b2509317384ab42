//! Erasures, here or there.

use arbiter_api::view;
use arbiter_core::model::{ErasureId, InvalidId, TenantId};
use arbiter_queue::erasures::ErasureSubject;
use arbiter_wire::http::{ErasureForm, ErasureSubjectWord, ErasureView};

use super::Reach;
use crate::erasing;
use crate::exit::Failure;

impl Reach {
    /// Erases a task or a principal. Here that is done at once, as far as it needs no server; there in the background.
    pub(crate) async fn request_erasure(
        &self,
        tenant: Option<TenantId>,
        form: ErasureForm,
    ) -> Result<ErasureView, Failure> {
        let subject = match form.subject {
            ErasureSubjectWord::Task => form.id.parse().map(ErasureSubject::Task),
            ErasureSubjectWord::Principal => form.id.parse().map(ErasureSubject::Principal),
        };
        let subject = subject.map_err(|error: InvalidId| Failure::usage(error.to_string()))?;
        match self {
            Self::Store(app) => {
                let tenant = tenant.unwrap_or(app.operator.tenant);
                let asked = app.erasures.request(&app.operator, tenant, subject, form.reason);
                let id = asked.await?.erasure.id;
                erasing::finish(app).await?;
                self.erasure(Some(tenant), id).await
            }
            Self::Server(client) => Ok(client.erasure_request(tenant, &form).await?),
        }
    }

    /// A page of erasures after the cursor of an earlier one, and where to go on.
    pub(crate) async fn erasures(
        &self,
        tenant: Option<TenantId>,
        after: Option<String>,
        limit: usize,
    ) -> Result<(Vec<ErasureView>, Option<String>), Failure> {
        match self {
            Self::Store(app) => {
                let after = after.map(|text| text.parse()).transpose();
                let after =
                    after.map_err(|_| Failure::usage("--after takes the cursor of an earlier page"))?;
                let tenant = tenant.unwrap_or(app.operator.tenant);
                let found = app.erasures.list(&app.operator, tenant, after, limit).await?;
                let next = found.last().filter(|_| found.len() == limit);
                let next = next.map(|last| last.id.to_string());
                Ok((found.iter().map(view::erasure).collect(), next))
            }
            Self::Server(client) => {
                let page = client.erasure_list(tenant, after, Some(limit)).await?;
                Ok((page.erasures, page.next))
            }
        }
    }

    /// An erasure.
    pub(crate) async fn erasure(
        &self,
        tenant: Option<TenantId>,
        id: ErasureId,
    ) -> Result<ErasureView, Failure> {
        match self {
            Self::Store(app) => {
                let tenant = tenant.unwrap_or(app.operator.tenant);
                Ok(view::erasure(&app.erasures.get(&app.operator, tenant, id).await?))
            }
            Self::Server(client) => Ok(client.erasure_get(tenant, id).await?),
        }
    }
}
