//! Completion webhooks.

use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A hook to make.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HookForm {
    /// Where messages go: https.
    #[schemars(length(min = 1, max = 2048))]
    pub url: String,
    /// What it is told of, at least one event.
    #[schemars(with = "Vec<HookEventWord>")]
    pub events: BTreeSet<HookEventWord>,
    /// Only of tasks of these kinds, 1–64; absent means all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Vec<String>>")]
    pub kinds: Option<BTreeSet<String>>,
}

/// What a hook can be told of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum HookEventWord {
    /// A task ended: succeeded, failed or cancelled.
    Closed,
    /// A task is held for a person.
    Held,
    /// A task was given up.
    DeadLettered,
    /// A task is held because its review came to no verdict.
    ReviewNeeded,
}

/// A change of a hook; what is absent stays as it is.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HookChangeForm {
    /// Another address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 2048))]
    pub url: Option<String>,
    /// Other events.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Vec<HookEventWord>>")]
    pub events: Option<BTreeSet<HookEventWord>>,
    /// Other kinds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Vec<String>>")]
    pub kinds: Option<BTreeSet<String>>,
    /// All kinds, from now on; not together with `kinds`.
    #[serde(default)]
    pub all_kinds: bool,
    /// Pauses it, or resumes it; resuming also switches on a hook that was switched off.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paused: Option<bool>,
}

/// A new secret for a hook.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RotateForm {
    /// For how long the present secret is used beside the new one, in seconds; 86 400.
    #[serde(default = "day")]
    pub overlap_seconds: u64,
}

const fn day() -> u64 {
    86_400
}

/// A hook.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct HookView {
    /// Its id.
    pub id: String,
    /// Whose it is.
    pub tenant: String,
    /// Where messages go.
    pub url: String,
    /// What it is told of.
    #[schemars(with = "Vec<HookEventWord>")]
    pub events: BTreeSet<HookEventWord>,
    /// Only of tasks of these kinds; absent means all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Vec<String>>")]
    pub kinds: Option<BTreeSet<String>>,
    /// Whether somebody paused it.
    pub paused: bool,
    /// Why it was switched off, if it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disabled: Option<HookDisabledView>,
    /// Until when the secret before the present one is used too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub former_secret_until: Option<String>,
    /// The principal that made it.
    pub created_by: String,
    /// When it was made.
    pub created_at: String,
    /// Counts its changes; also the `ETag`.
    pub revision: u64,
}

/// Why a hook was switched off.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct HookDisabledView {
    /// `gone`: the receiver answered 410; `failing`: too many tries failed in a row.
    pub reason: String,
    /// When.
    pub at: String,
}

/// A hook with its present secret.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct HookSecretView {
    /// The hook.
    pub hook: HookView,
    /// The secret that its messages are signed with (Standard Webhooks). It is shown to the call that made it, and to
    /// repeats of the call that made the hook, with its idempotency key.
    pub secret: String,
}

impl std::fmt::Debug for HookSecretView {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HookSecretView")
            .field("hook", &self.hook)
            .finish_non_exhaustive()
    }
}

/// The hooks of a tenant, by id.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct HookListView {
    /// The hooks.
    pub hooks: Vec<HookView>,
}

/// A delivery of a hook's log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DeliveryView {
    /// The message's id, the same at every try and replay.
    pub id: String,
    /// What it tells of.
    pub event: HookEventWord,
    /// When that happened.
    pub event_at: String,
    /// The task.
    pub task: String,
    /// The task's version that it tells of.
    pub task_version: u64,
    /// delivered, waiting, given_up or skipped.
    pub status: String,
    /// How many tries were made.
    pub tries: u16,
    /// When the last try began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tried_at: Option<String>,
    /// How long the last try took.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration_ms: Option<u64>,
    /// The HTTP status that the receiver answered with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http_status: Option<u16>,
    /// The class of the last try's error, or why it was skipped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// When it is tried again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_at: Option<String>,
}

/// The last deliveries of a hook, the latest change first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DeliveryListView {
    /// The deliveries, at most 100.
    pub deliveries: Vec<DeliveryView>,
}
