//! Completion webhooks, here or there.

use std::collections::BTreeSet;
use std::time::Duration;

use arbiter_api::view;
use arbiter_core::mechanism::SecretText;
use arbiter_core::model::{HookId, OutboxId, TaskKind};
use arbiter_queue::hooks::{HookChange, HookEvent, NewHook};
use arbiter_wire::http::{
    DeliveryView, HookChangeForm, HookEventWord, HookForm, HookSecretView, HookView, RotateForm,
};

use super::Reach;
use crate::exit::Failure;
use crate::webhooks::hooks;

impl Reach {
    /// The hooks of the tenant, by id.
    pub(crate) async fn hooks(&self) -> Result<Vec<HookView>, Failure> {
        match self {
            Self::Store(app) => {
                let who = &app.operator;
                let found = hooks(app).list(who, who.tenant).await?;
                Ok(found.iter().map(view::hook).collect())
            }
            Self::Server(client) => Ok(client.hook_list().await?.hooks),
        }
    }

    /// A hook.
    pub(crate) async fn hook(&self, id: HookId) -> Result<HookView, Failure> {
        match self {
            Self::Store(app) => {
                let who = &app.operator;
                Ok(view::hook(&hooks(app).get(who, who.tenant, id).await?))
            }
            Self::Server(client) => Ok(client.hook_get(id).await?),
        }
    }

    /// The log of a hook's last deliveries.
    pub(crate) async fn deliveries(&self, id: HookId) -> Result<Vec<DeliveryView>, Failure> {
        match self {
            Self::Store(app) => {
                let who = &app.operator;
                let found = hooks(app).deliveries(who, who.tenant, id).await?;
                Ok(found.iter().map(view::delivery).collect())
            }
            Self::Server(client) => Ok(client.hook_deliveries(id).await?.deliveries),
        }
    }

    /// Makes a hook. Its secret is in the answer, and nowhere else.
    pub(crate) async fn create_hook(&self, new: NewHook) -> Result<HookSecretView, Failure> {
        match self {
            Self::Store(app) => {
                let who = &app.operator;
                let made = hooks(app).create(who, who.tenant, new, None).await?;
                Ok(view::hook_secret(&made.record))
            }
            Self::Server(client) => {
                let form = HookForm {
                    url: new.url.expose().to_owned(),
                    events: events(new.events),
                    kinds: new.kinds.map(kinds),
                };
                Ok(client.hook_create(&form, None).await?.0)
            }
        }
    }

    /// Changes, pauses or resumes a hook.
    pub(crate) async fn update_hook(
        &self,
        id: HookId,
        if_revision: Option<u64>,
        change: HookChange,
    ) -> Result<HookView, Failure> {
        match self {
            Self::Store(app) => {
                let (service, who) = (hooks(app), &app.operator);
                let changed = service.update(who, who.tenant, id, if_revision, change);
                Ok(view::hook(&changed.await?))
            }
            Self::Server(client) => {
                let form = HookChangeForm {
                    url: change.url.as_ref().map(SecretText::expose).map(str::to_owned),
                    events: change.events.map(events),
                    all_kinds: change.kinds.as_ref().is_some_and(Option::is_none),
                    kinds: change.kinds.flatten().map(kinds),
                    paused: change.paused,
                };
                Ok(client.hook_update(id, if_revision, &form).await?)
            }
        }
    }

    /// Deletes a hook with its log.
    pub(crate) async fn delete_hook(&self, id: HookId, if_revision: Option<u64>) -> Result<(), Failure> {
        match self {
            Self::Store(app) => {
                let who = &app.operator;
                Ok(hooks(app).delete(who, who.tenant, id, if_revision).await?)
            }
            Self::Server(client) => Ok(client.hook_delete(id, if_revision).await?),
        }
    }

    /// Gives a hook a new secret, which is in the answer and nowhere else.
    pub(crate) async fn rotate_hook(
        &self,
        id: HookId,
        if_revision: Option<u64>,
        overlap_seconds: u64,
    ) -> Result<HookSecretView, Failure> {
        match self {
            Self::Store(app) => {
                let (service, who) = (hooks(app), &app.operator);
                let overlap = Duration::from_secs(overlap_seconds);
                let made = service.rotate(who, who.tenant, id, if_revision, overlap);
                Ok(view::hook_secret(&made.await?))
            }
            Self::Server(client) => {
                let form = RotateForm { overlap_seconds };
                Ok(client.hook_rotate(id, if_revision, &form).await?)
            }
        }
    }

    /// Sends a delivery again.
    pub(crate) async fn replay_delivery(
        &self,
        id: HookId,
        delivery: OutboxId,
    ) -> Result<DeliveryView, Failure> {
        match self {
            Self::Store(app) => {
                let who = &app.operator;
                let replayed = hooks(app).replay(who, who.tenant, id, delivery).await?;
                Ok(view::delivery(&replayed))
            }
            Self::Server(client) => Ok(client.hook_replay(id, delivery).await?),
        }
    }
}

fn events(events: BTreeSet<HookEvent>) -> BTreeSet<HookEventWord> {
    events.into_iter().map(view::hook_event).collect()
}

fn kinds(kinds: BTreeSet<TaskKind>) -> BTreeSet<String> {
    kinds.iter().map(ToString::to_string).collect()
}
