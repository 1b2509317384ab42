//! Completion webhooks.

use arbiter_core::model::{HookId, OutboxId};
use arbiter_net::Method;
use arbiter_wire::http::{
    DeliveryListView, DeliveryView, HookChangeForm, HookForm, HookListView, HookSecretView, HookView,
    RotateForm,
};

use super::Operation;
use crate::client::Client;
use crate::error::ClientError;

pub(super) const CREATE: Operation = ("hook.create", Method::POST, "/v1/hooks");
pub(super) const LIST: Operation = ("hook.list", Method::GET, "/v1/hooks");
pub(super) const GET: Operation = ("hook.get", Method::GET, "/v1/hooks/{id}");
pub(super) const UPDATE: Operation = ("hook.update", Method::PATCH, "/v1/hooks/{id}");
pub(super) const DELETE: Operation = ("hook.delete", Method::DELETE, "/v1/hooks/{id}");
pub(super) const ROTATE: Operation = ("hook.rotate", Method::POST, "/v1/hooks/{id}/rotate");
pub(super) const DELIVERIES: Operation = ("hook.deliveries", Method::GET, "/v1/hooks/{id}/deliveries");
pub(super) const REPLAY: Operation = (
    "hook.replay",
    Method::POST,
    "/v1/hooks/{id}/deliveries/{delivery}/replay",
);

impl Client {
    /// Makes a webhook; one without an idempotency key gets one, so that a lost answer does not make it twice. Gives it
    /// with its secret, and whether a call with the same key had made it before.
    ///
    /// # Errors
    /// [`ClientError`], as all calls.
    pub async fn hook_create(
        &self,
        hook: &HookForm,
        idempotency_key: Option<&str>,
    ) -> Result<(HookSecretView, bool), ClientError> {
        let call = self.call(&CREATE, &[]).json(hook);
        call.make(idempotency_key).await
    }

    /// The webhooks of the tenant, by id.
    ///
    /// # Errors
    /// [`ClientError`]
    pub async fn hook_list(&self) -> Result<HookListView, ClientError> {
        self.call(&LIST, &[]).read().await
    }

    /// Reads a webhook.
    ///
    /// # Errors
    /// [`ClientError`]
    pub async fn hook_get(&self, hook: HookId) -> Result<HookView, ClientError> {
        self.call(&GET, &[&hook]).read().await
    }

    /// Changes, pauses or resumes a webhook; with a revision, only if it still has that.
    ///
    /// # Errors
    /// [`ClientError`]
    pub async fn hook_update(
        &self,
        hook: HookId,
        revision: Option<u64>,
        change: &HookChangeForm,
    ) -> Result<HookView, ClientError> {
        let call = self.call(&UPDATE, &[&hook]).json(change);
        call.if_match(revision).read().await
    }

    /// Deletes a webhook and its log; with a revision, only if it still has that.
    ///
    /// # Errors
    /// [`ClientError`]
    pub async fn hook_delete(&self, hook: HookId, revision: Option<u64>) -> Result<(), ClientError> {
        let call = self.call(&DELETE, &[&hook]).if_match(revision);
        call.once().done().await
    }

    /// Gives a webhook a new secret.
    ///
    /// # Errors
    /// [`ClientError`]. The call is not repeated: an answer that was lost is lost with its secret; rotate again.
    pub async fn hook_rotate(
        &self,
        hook: HookId,
        revision: Option<u64>,
        rotate: &RotateForm,
    ) -> Result<HookSecretView, ClientError> {
        let call = self.call(&ROTATE, &[&hook]).json(rotate);
        call.if_match(revision).read().await
    }

    /// Reads the log of a webhook's last deliveries.
    ///
    /// # Errors
    /// [`ClientError`]
    pub async fn hook_deliveries(&self, hook: HookId) -> Result<DeliveryListView, ClientError> {
        self.call(&DELIVERIES, &[&hook]).read().await
    }

    /// Sends a delivery again, under the same message id.
    ///
    /// # Errors
    /// [`ClientError`]
    pub async fn hook_replay(&self, hook: HookId, delivery: OutboxId) -> Result<DeliveryView, ClientError> {
        self.call(&REPLAY, &[&hook, &delivery]).read().await
    }
}
