//! API keys.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A key to make.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct KeyForm {
    /// After how many seconds it ends, up to ten years; absent means never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 315_619_200))]
    pub expires_in_seconds: Option<u64>,
}

/// A key to make in the place of another one.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct KeyRotationForm {
    /// After how many seconds the new key ends, up to ten years; absent means never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 315_619_200))]
    pub expires_in_seconds: Option<u64>,
    /// For how many seconds the old key is accepted yet, up to 30 days; 0 revokes it at once; 86 400.
    #[serde(default = "day")]
    #[schemars(range(min = 0, max = 2_592_000))]
    pub overlap_seconds: u64,
}

const fn day() -> u64 {
    86_400
}

/// What is known of a key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct KeyView {
    /// Its public id: the 16 digits after `arb_`.
    pub id: String,
    /// Whose it is.
    pub principal: String,
    /// live, expired or revoked.
    pub state: String,
    /// When it was made.
    pub created_at: String,
    /// When it ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<String>,
    /// When it was revoked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revoked_at: Option<String>,
    /// When it was last accepted, to the minute.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_used_at: Option<String>,
}

/// A key that a call made, or had made before.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct KeySecretView {
    /// What is known of it.
    pub key: KeyView,
    /// The whole key. It is shown once: absent when a call with the same idempotency key had made it before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<String>,
}

impl std::fmt::Debug for KeySecretView {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KeySecretView")
            .field("key", &self.key)
            .finish_non_exhaustive()
    }
}

/// The keys of a principal, by id.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct KeyListView {
    /// The keys, live or not.
    pub keys: Vec<KeyView>,
}
