//! Completion webhooks.

use arbiter_core::model::Timestamp;
use arbiter_queue::hooks::{DeliveryRecord, Hook, HookEvent, NewSecret};
use arbiter_wire::http::{DeliveryView, HookDisabledView, HookEventWord, HookSecretView, HookView};

/// A completion webhook.
pub fn hook(hook: &Hook) -> HookView {
    HookView {
        id: hook.id.to_string(),
        tenant: hook.tenant.to_string(),
        url: hook.url.expose().to_owned(),
        events: hook.events.iter().copied().map(hook_event).collect(),
        kinds: hook
            .kinds
            .as_ref()
            .map(|kinds| kinds.iter().map(|kind| kind.as_str().to_owned()).collect()),
        paused: hook.paused,
        disabled: hook.disabled.as_ref().map(|disabled| HookDisabledView {
            reason: disabled.reason.clone(),
            at: disabled.at.to_string(),
        }),
        former_secret_until: hook.former_secret_until.as_ref().map(Timestamp::to_string),
        created_by: hook.created_by.to_string(),
        created_at: hook.created_at.to_string(),
        revision: hook.revision,
    }
}

/// A hook with a secret that was just made.
pub fn hook_secret(made: &NewSecret) -> HookSecretView {
    HookSecretView {
        hook: hook(&made.hook),
        secret: made.secret.expose().to_owned(),
    }
}

/// A delivery of a hook's log.
pub fn delivery(record: &DeliveryRecord) -> DeliveryView {
    DeliveryView {
        id: record.id.to_string(),
        event: hook_event(record.event),
        event_at: record.event_at.to_string(),
        task: record.task.to_string(),
        task_version: record.task_version.0,
        status: record.status.word().to_owned(),
        tries: record.tries,
        tried_at: record.tried_at.as_ref().map(Timestamp::to_string),
        duration_ms: record
            .duration
            .map(|taken| u64::try_from(taken.as_millis()).unwrap_or(u64::MAX)),
        http_status: record.http_status,
        error: record.error.clone(),
        next_at: record.next_at.as_ref().map(Timestamp::to_string),
    }
}

/// What a hook can be told of.
pub const fn hook_event(event: HookEvent) -> HookEventWord {
    match event {
        HookEvent::Closed => HookEventWord::Closed,
        HookEvent::Held => HookEventWord::Held,
        HookEvent::DeadLettered => HookEventWord::DeadLettered,
        HookEvent::ReviewNeeded => HookEventWord::ReviewNeeded,
    }
}
