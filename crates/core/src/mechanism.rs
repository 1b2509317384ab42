//! Pure mechanisms used by two crates or more. Time and entropy are arguments.

mod backoff;
mod breaker;
mod canonical;
mod redact;
mod retry_budget;
mod secret;
mod suspicious;
mod text;
mod token_bucket;
mod trend;

pub use backoff::{Backoff, keyed_jitter};
pub use breaker::{
    Breaker, BreakerPermit, BreakerSettings, BreakerState, CallOutcome, InvalidBreaker, MAX_WINDOW,
};
pub use canonical::{CanonicalError, canonical_json};
pub use redact::{InvalidRules, NotJson, REDACTED, RedactionRules, Redactor, is_sensitive_key};
pub use retry_budget::{InvalidRetryBudget, RetryBudget, RetryBudgetSettings};
pub use secret::{SecretBytes, SecretText};
pub use suspicious::{Finding, InvalidDetector, MAX_FINDINGS, SuspicionDetector};
pub use text::{cut, one_line, visible};
pub use token_bucket::{Bucket, BucketState, Draw, DrawError, InvalidBucket, draw_all};
pub use trend::{Direction, InvalidTrend, Trend, trend};
