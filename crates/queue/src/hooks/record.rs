//! What is kept of a hook.

use std::collections::BTreeSet;

use arbiter_core::mechanism::SecretText;
use arbiter_core::model::{HookId, PrincipalId, TaskKind, TenantId, Timestamp};
use arbiter_core::ports::{HookEndpoint, StoreError};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::records::{Kept, VERSION, corrupt};
use crate::repeats::MadeOf;

/// What the record's kind is called in the store.
pub(super) const KIND: &str = "hook";

/// What a hook can be told of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum HookEvent {
    /// A task ended: succeeded, failed or cancelled.
    Closed,
    /// A task is held for a person, for whatever reason.
    Held,
    /// A task was given up.
    DeadLettered,
    /// A task is held because its review came to no verdict: a person decides.
    ReviewNeeded,
}

impl HookEvent {
    /// Every event.
    pub const ALL: &'static [Self] = &[Self::Closed, Self::Held, Self::DeadLettered, Self::ReviewNeeded];

    /// The stable word of stored and wire forms.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Held => "held",
            Self::DeadLettered => "dead_lettered",
            Self::ReviewNeeded => "review_needed",
        }
    }

    /// The event that has this word.
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|event| event.word() == word)
    }
}

/// A hook to make.
#[derive(Debug, Clone)]
pub struct NewHook {
    /// Where messages go; https, or http to this machine where the deployment allows it.
    pub url: SecretText,
    /// What it is told of; at least one event.
    pub events: BTreeSet<HookEvent>,
    /// Only of tasks of these kinds, 1–64; none means all.
    pub kinds: Option<BTreeSet<TaskKind>>,
}

/// A change of a hook; what is absent stays as it is.
#[derive(Debug, Clone, Default)]
pub struct HookChange {
    /// Another address.
    pub url: Option<SecretText>,
    /// Other events.
    pub events: Option<BTreeSet<HookEvent>>,
    /// Other kinds; the inner `None` means all.
    pub kinds: Option<Option<BTreeSet<TaskKind>>>,
    /// Pauses it, or resumes it; resuming also enables a hook that was switched off.
    pub paused: Option<bool>,
}

/// A hook, without its secrets.
#[derive(Debug, Clone)]
pub struct Hook {
    /// Its id.
    pub id: HookId,
    /// Whose it is.
    pub tenant: TenantId,
    /// Where messages go. The path often holds a token: for its owner, not for logs.
    pub url: SecretText,
    /// What it is told of.
    pub events: BTreeSet<HookEvent>,
    /// Only of tasks of these kinds; none means all.
    pub kinds: Option<BTreeSet<TaskKind>>,
    /// Whether somebody paused it: nothing is made for it meanwhile.
    pub paused: bool,
    /// Why it was switched off, if it was.
    pub disabled: Option<Disabled>,
    /// Until when the secret before the present one is used too, if a rotation is under way.
    pub former_secret_until: Option<Timestamp>,
    /// Who made it.
    pub created_by: PrincipalId,
    /// When.
    pub created_at: Timestamp,
    /// Counts its changes; the `ETag`.
    pub revision: u64,
}

impl Hook {
    /// Whether messages are made for it and delivered.
    pub const fn is_active(&self) -> bool {
        !self.paused && self.disabled.is_none()
    }
}

/// Why a hook was switched off.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Disabled {
    /// `gone` when the receiver said so (410), `failing` after too many failures in a row.
    pub reason: String,
    /// When.
    pub at: Timestamp,
}

/// A hook with its present secret, whose text is shown to who made it only.
#[derive(Debug, Clone)]
pub struct NewSecret {
    /// The hook.
    pub hook: Hook,
    /// The secret, `whsec_` and base64 (Standard Webhooks).
    pub secret: SecretText,
}

/// The stored form, version 1.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Body {
    pub(super) version: u32,
    pub(super) url: String,
    pub(super) events: Vec<String>,
    pub(super) kinds: Option<Vec<String>>,
    pub(super) paused: bool,
    pub(super) disabled: Option<DisabledBody>,
    /// The newest first, at most two. They are kept readable: messages are signed with them.
    pub(super) secrets: Vec<SecretBody>,
    pub(super) created_by: String,
    pub(super) created_at: i64,
    /// A digest of what it was made of, if the call that made it had an idempotency key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) made_of: Option<String>,
}

impl MadeOf for Body {
    fn made_of(&self) -> Option<&str> {
        self.made_of.as_deref()
    }
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct DisabledBody {
    pub(super) reason: String,
    pub(super) at: i64,
}

#[derive(Clone, Serialize, Deserialize)]
pub(super) struct SecretBody {
    pub(super) text: String,
    /// When it ends; the newest has no end.
    pub(super) until: Option<i64>,
}

impl std::fmt::Debug for SecretBody {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SecretBody")
            .field("until", &self.until)
            .finish_non_exhaustive()
    }
}

impl Body {
    pub(super) fn new(new: NewHook, secret: &SecretText, by: PrincipalId, at: Timestamp) -> Self {
        Self {
            version: VERSION,
            url: new.url.expose().to_owned(),
            events: words(&new.events),
            kinds: new.kinds.as_ref().map(kind_words),
            paused: false,
            disabled: None,
            secrets: vec![SecretBody {
                text: secret.expose().to_owned(),
                until: None,
            }],
            created_by: by.to_string(),
            created_at: at.as_micros(),
            made_of: None,
        }
    }

    pub(super) fn change(&mut self, change: HookChange) {
        if let Some(url) = change.url {
            url.expose().clone_into(&mut self.url);
        }
        if let Some(events) = change.events {
            self.events = words(&events);
        }
        if let Some(kinds) = change.kinds {
            self.kinds = kinds.as_ref().map(kind_words);
        }
        if let Some(paused) = change.paused {
            self.paused = paused;
            if !paused {
                self.disabled = None;
            }
        }
    }

    /// Puts a new secret first. The present one is used until `until`; one before it ends at once.
    pub(super) fn rotate(&mut self, secret: &SecretText, until: Timestamp) {
        self.secrets.truncate(1);
        if let Some(former) = self.secrets.first_mut() {
            former.until = Some(until.as_micros());
        }
        let new = SecretBody {
            text: secret.expose().to_owned(),
            until: None,
        };
        self.secrets.insert(0, new);
    }

    /// Where to deliver to, with the secrets that are live at `now`.
    pub(super) fn endpoint(&self, now: Timestamp) -> HookEndpoint {
        let live = self.secrets.iter();
        let live = live.filter(|secret| secret.until.is_none_or(|until| now.as_micros() < until));
        HookEndpoint {
            url: SecretText::new(self.url.clone()),
            secrets: live.map(|secret| SecretText::new(secret.text.clone())).collect(),
        }
    }
}

/// What a call asks for. It holds the address, which may hold a token.
pub(super) fn asked(new: &NewHook) -> Value {
    json!({
        "url": new.url.expose(),
        "events": words(&new.events),
        "kinds": new.kinds.as_ref().map(kind_words),
    })
}

/// Reads a stored hook.
pub(super) fn hook(kept: &Kept<Body>) -> Result<Hook, StoreError> {
    let bad = |what: &str| corrupt("document of kind `hook`", format!("{what} cannot be read"));
    let body = &kept.body;
    let events = body.events.iter().map(|word| HookEvent::from_word(word));
    let kinds = match &body.kinds {
        Some(words) => {
            let kinds: Result<_, _> = words.iter().map(|word| TaskKind::new(word)).collect();
            Some(kinds.map_err(|_| bad("a kind"))?)
        }
        None => None,
    };
    Ok(Hook {
        id: kept.id.parse().map_err(|_| bad("its id"))?,
        tenant: kept.tenant,
        url: SecretText::new(body.url.clone()),
        events: events.collect::<Option<_>>().ok_or_else(|| bad("an event"))?,
        kinds,
        paused: body.paused,
        disabled: body.disabled.as_ref().map(|disabled| Disabled {
            reason: disabled.reason.clone(),
            at: Timestamp::from_micros(disabled.at),
        }),
        former_secret_until: body
            .secrets
            .iter()
            .find_map(|secret| secret.until)
            .map(Timestamp::from_micros),
        created_by: body.created_by.parse().map_err(|_| bad("its maker"))?,
        created_at: Timestamp::from_micros(body.created_at),
        revision: kept.revision,
    })
}

fn words(events: &BTreeSet<HookEvent>) -> Vec<String> {
    events.iter().map(|event| event.word().to_owned()).collect()
}

fn kind_words(kinds: &BTreeSet<TaskKind>) -> Vec<String> {
    kinds.iter().map(ToString::to_string).collect()
}
