//! Tenants.

use arbiter_core::model::TenantId;
use arbiter_net::Method;
use arbiter_wire::http::{Because, TenantChangeForm, TenantForm, TenantPageView, TenantView};

use super::Operation;
use crate::client::Client;
use crate::error::ClientError;

pub(super) const CREATE: Operation = ("tenant.create", Method::POST, "/v1/tenants");
pub(super) const LIST: Operation = ("tenant.list", Method::GET, "/v1/tenants");
pub(super) const GET: Operation = ("tenant.get", Method::GET, "/v1/tenants/{id}");
pub(super) const UPDATE: Operation = ("tenant.update", Method::PATCH, "/v1/tenants/{id}");
pub(super) const SUSPEND: Operation = ("tenant.suspend", Method::POST, "/v1/tenants/{id}/suspend");
pub(super) const RESUME: Operation = ("tenant.resume", Method::POST, "/v1/tenants/{id}/resume");
pub(super) const DELETE: Operation = ("tenant.delete", Method::POST, "/v1/tenants/{id}/delete");

impl Client {
    /// Makes a tenant; one without an idempotency key gets one, so that a lost answer does not make it twice. Gives it,
    /// and whether a call with the same key had made it before.
    ///
    /// # Errors
    /// [`ClientError`], as all calls.
    pub async fn tenant_create(
        &self,
        tenant: &TenantForm,
        idempotency_key: Option<&str>,
    ) -> Result<(TenantView, bool), ClientError> {
        let call = self.call(&CREATE, &[]).json(tenant);
        call.make(idempotency_key).await
    }

    /// A page of tenants, by id: one's own, or all for an admin.
    ///
    /// # Errors
    /// [`ClientError`]
    pub async fn tenant_list(
        &self,
        cursor: Option<String>,
        limit: Option<usize>,
    ) -> Result<TenantPageView, ClientError> {
        let query = [
            ("cursor", cursor),
            ("limit", limit.map(|limit| limit.to_string())),
        ];
        self.call_with(&LIST, &[], &query).read().await
    }

    /// Reads a tenant.
    ///
    /// # Errors
    /// [`ClientError`]
    pub async fn tenant_get(&self, tenant: TenantId) -> Result<TenantView, ClientError> {
        self.call(&GET, &[&tenant]).read().await
    }

    /// Changes a tenant's name, weight or limits; with a revision, only if it still has that.
    ///
    /// # Errors
    /// [`ClientError`]
    pub async fn tenant_update(
        &self,
        tenant: TenantId,
        revision: Option<u64>,
        change: &TenantChangeForm,
    ) -> Result<TenantView, ClientError> {
        let call = self.call(&UPDATE, &[&tenant]).json(change);
        call.if_match(revision).read().await
    }

    /// Refuses every call of a tenant's principals, and assigns none of its tasks.
    ///
    /// # Errors
    /// [`ClientError`]
    pub async fn tenant_suspend(
        &self,
        tenant: TenantId,
        revision: Option<u64>,
        because: &Because,
    ) -> Result<TenantView, ClientError> {
        let call = self.call(&SUSPEND, &[&tenant]).json(because);
        call.if_match(revision).read().await
    }

    /// Lets a suspended tenant go on.
    ///
    /// # Errors
    /// [`ClientError`]
    pub async fn tenant_resume(
        &self,
        tenant: TenantId,
        revision: Option<u64>,
        because: &Because,
    ) -> Result<TenantView, ClientError> {
        let call = self.call(&RESUME, &[&tenant]).json(because);
        call.if_match(revision).read().await
    }

    /// Deletes a suspended tenant with everything of it: it is refused for good, and its data is erased in the background.
    /// A repeat changes nothing.
    ///
    /// # Errors
    /// [`ClientError`]
    pub async fn tenant_delete(
        &self,
        tenant: TenantId,
        revision: Option<u64>,
        because: &Because,
    ) -> Result<TenantView, ClientError> {
        let call = self.call(&DELETE, &[&tenant]).json(because);
        call.if_match(revision).read().await
    }
}
