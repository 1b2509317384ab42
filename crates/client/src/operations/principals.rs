//! Principals and their keys. The tenant is the caller's own, unless an admin names another.

use arbiter_core::model::{PrincipalId, TenantId};
use arbiter_net::Method;
use arbiter_wire::http::{
    KeyForm, KeyListView, KeyRotationForm, KeySecretView, KeyView, PrincipalChangeForm, PrincipalForm,
    PrincipalPageView, PrincipalView,
};

use super::Operation;
use crate::client::Client;
use crate::error::ClientError;

pub(super) const CREATE: Operation = ("principal.create", Method::POST, "/v1/principals");
pub(super) const LIST: Operation = ("principal.list", Method::GET, "/v1/principals");
pub(super) const GET: Operation = ("principal.get", Method::GET, "/v1/principals/{id}");
pub(super) const UPDATE: Operation = ("principal.update", Method::PATCH, "/v1/principals/{id}");
pub(super) const KEY_CREATE: Operation = ("key.create", Method::POST, "/v1/principals/{id}/keys");
pub(super) const KEY_LIST: Operation = ("key.list", Method::GET, "/v1/principals/{id}/keys");
pub(super) const KEY_REVOKE: Operation = ("key.revoke", Method::DELETE, "/v1/principals/{id}/keys/{key}");
pub(super) const KEY_ROTATE: Operation = (
    "key.rotate",
    Method::POST,
    "/v1/principals/{id}/keys/{key}/rotate",
);

fn of(tenant: Option<TenantId>) -> [(&'static str, Option<String>); 1] {
    [("tenant", tenant.map(|tenant| tenant.to_string()))]
}

impl Client {
    /// Makes a principal, which has no key yet; one without an idempotency key gets one, so that a lost answer does not
    /// make it twice. Gives it, and whether a call with the same key had made it before.
    ///
    /// # Errors
    /// [`ClientError`], as all calls.
    pub async fn principal_create(
        &self,
        tenant: Option<TenantId>,
        principal: &PrincipalForm,
        idempotency_key: Option<&str>,
    ) -> Result<(PrincipalView, bool), ClientError> {
        let call = self.call_with(&CREATE, &[], &of(tenant)).json(principal);
        call.make(idempotency_key).await
    }

    /// A page of principals, by id.
    ///
    /// # Errors
    /// [`ClientError`]
    pub async fn principal_list(
        &self,
        tenant: Option<TenantId>,
        cursor: Option<String>,
        limit: Option<usize>,
    ) -> Result<PrincipalPageView, ClientError> {
        let query = [
            ("tenant", tenant.map(|tenant| tenant.to_string())),
            ("cursor", cursor),
            ("limit", limit.map(|limit| limit.to_string())),
        ];
        self.call_with(&LIST, &[], &query).read().await
    }

    /// Reads a principal.
    ///
    /// # Errors
    /// [`ClientError`]
    pub async fn principal_get(
        &self,
        tenant: Option<TenantId>,
        principal: PrincipalId,
    ) -> Result<PrincipalView, ClientError> {
        self.call_with(&GET, &[&principal], &of(tenant)).read().await
    }

    /// Changes, disables or enables a principal; with a revision, only if it still has that.
    ///
    /// # Errors
    /// [`ClientError`]
    pub async fn principal_update(
        &self,
        tenant: Option<TenantId>,
        principal: PrincipalId,
        revision: Option<u64>,
        change: &PrincipalChangeForm,
    ) -> Result<PrincipalView, ClientError> {
        let call = self.call_with(&UPDATE, &[&principal], &of(tenant));
        call.json(change).if_match(revision).read().await
    }

    /// Makes a key; a call without an idempotency key gets one, so that a lost answer does not make it twice. Its secret is
    /// in the answer, and nowhere else: when a call with the same key had made it before, there is none. Revoke it then if
    /// the first answer was lost, and make another.
    ///
    /// # Errors
    /// [`ClientError`], as all calls.
    pub async fn key_create(
        &self,
        tenant: Option<TenantId>,
        principal: PrincipalId,
        key: &KeyForm,
        idempotency_key: Option<&str>,
    ) -> Result<KeySecretView, ClientError> {
        let call = self.call_with(&KEY_CREATE, &[&principal], &of(tenant)).json(key);
        Ok(call.make(idempotency_key).await?.0)
    }

    /// The keys of a principal, live or not, by id.
    ///
    /// # Errors
    /// [`ClientError`]
    pub async fn key_list(
        &self,
        tenant: Option<TenantId>,
        principal: PrincipalId,
    ) -> Result<KeyListView, ClientError> {
        self.call_with(&KEY_LIST, &[&principal], &of(tenant)).read().await
    }

    /// Revokes a key, by its public id.
    ///
    /// # Errors
    /// [`ClientError`]
    pub async fn key_revoke(
        &self,
        tenant: Option<TenantId>,
        principal: PrincipalId,
        key: &str,
    ) -> Result<KeyView, ClientError> {
        let call = self.call_with(&KEY_REVOKE, &[&principal, &key], &of(tenant));
        call.once().read().await
    }

    /// Makes a key in the place of another one, which is accepted for a while yet; repeated as [`Self::key_create`] is.
    ///
    /// # Errors
    /// [`ClientError`], as all calls.
    pub async fn key_rotate(
        &self,
        tenant: Option<TenantId>,
        principal: PrincipalId,
        key: &str,
        rotation: &KeyRotationForm,
        idempotency_key: Option<&str>,
    ) -> Result<KeySecretView, ClientError> {
        let call = self.call_with(&KEY_ROTATE, &[&principal, &key], &of(tenant));
        Ok(call.json(rotation).make(idempotency_key).await?.0)
    }
}
