//! What an operator can set.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use arbiter_core::model::{TaskKind, TenantId};

use crate::content::SuspicionPolicy;

/// Settings of the secure queue.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// Limits of a task's fields.
    pub fields: FieldLimits,
    /// Submit calls of one principal.
    pub submit_per_principal: RateLimit,
    /// Submit calls of one tenant.
    pub submit_per_tenant: RateLimit,
    /// All other calls of one principal.
    pub calls_per_principal: RateLimit,
    /// How many tasks of a tenant may be open; 10 000.
    pub open_tasks_per_tenant: u64,
    /// Kinds that every tenant may use beside the built-in ones.
    pub extra_kinds: BTreeSet<TaskKind>,
    /// Kinds that a tenant may use, instead of everybody's.
    pub tenant_kinds: BTreeMap<TenantId, BTreeSet<TaskKind>>,
    /// What happens to text that the content policy finds suspicious.
    pub suspicious: SuspicionPolicy,
    /// Over how long refusals of one source are summed into one record; 10 s.
    pub refusal_window: Duration,
    /// The first progress message of an attempt is audited, and each so many-th after it; 0 audits none.
    pub progress_sample: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            fields: FieldLimits::default(),
            submit_per_principal: RateLimit {
                per_second: 10,
                burst: 100,
            },
            submit_per_tenant: RateLimit {
                per_second: 10,
                burst: 100,
            },
            calls_per_principal: RateLimit {
                per_second: 1_000,
                burst: 2_000,
            },
            open_tasks_per_tenant: 10_000,
            extra_kinds: BTreeSet::new(),
            tenant_kinds: BTreeMap::new(),
            suspicious: SuspicionPolicy::default(),
            refusal_window: Duration::from_secs(10),
            progress_sample: 20,
        }
    }
}

/// A token bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RateLimit {
    /// How many calls are granted per second.
    pub per_second: u32,
    /// How many calls may come at once.
    pub burst: u32,
}

/// Limits of fields, each measured by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldLimits {
    /// Characters of the title; 200.
    pub title_chars: usize,
    /// Characters of the instructions; 100 000.
    pub instructions_chars: usize,
    /// Bytes of the input; 1 MiB.
    pub input_bytes: usize,
    /// Input artifacts; 64.
    pub artifacts: usize,
    /// Prerequisites; 100.
    pub prerequisites: usize,
    /// Labels; 64.
    pub labels: usize,
    /// Characters of a label's name or of a requirement's word; 64.
    pub word_chars: usize,
    /// Characters of a label's value; 256.
    pub label_value_chars: usize,
    /// Words in one requirement; 32.
    pub requirement_words: usize,
    /// Characters of an idempotency key; 255.
    pub idempotency_key_chars: usize,
    /// Tasks in one submit call; 1000.
    pub batch: usize,
    /// Bytes of a reported output; 1 MiB.
    pub output_bytes: usize,
    /// Claims or pieces of evidence in a report; 1000.
    pub report_items: usize,
    /// Characters of a message or reason; 2000.
    pub message_chars: usize,
    /// The longest attempt; 24 h.
    pub attempt_timeout: Duration,
    /// The most attempts; 100.
    pub attempts: u16,
}

impl Default for FieldLimits {
    fn default() -> Self {
        Self {
            title_chars: 200,
            instructions_chars: 100_000,
            input_bytes: 1 << 20,
            artifacts: 64,
            prerequisites: 100,
            labels: 64,
            word_chars: 64,
            label_value_chars: 256,
            requirement_words: 32,
            idempotency_key_chars: 255,
            batch: 1_000,
            output_bytes: 1 << 20,
            report_items: 1_000,
            message_chars: 2_000,
            attempt_timeout: Duration::from_hours(24),
            attempts: 100,
        }
    }
}
