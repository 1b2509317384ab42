//! `RateLimit` headers (draft-ietf-httpapi-ratelimit-headers-10): what a caller has left of its limits.

use std::fmt::Write as _;
use std::sync::{Arc, OnceLock};

use arbiter_core::model::{Operation, Principal};
use arbiter_queue::{RateState, SecureQueue};
use http::{HeaderMap, HeaderName, HeaderValue};

const RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit");
const RATE_LIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");

/// Where a call notes who makes it, for the layers around it.
#[derive(Debug, Clone, Default)]
pub(crate) struct CalledBy(Arc<OnceLock<Principal>>);

impl CalledBy {
    pub(crate) fn note(&self, principal: &Principal) {
        let _noted_once = self.0.set(principal.clone());
    }
}

/// Tells the caller of an operation what it has left. A call that was not authenticated has no limits to tell of.
pub(crate) fn tell(headers: &mut HeaderMap, queue: &SecureQueue, by: &CalledBy, operation: &str) {
    let Some(principal) = by.0.get() else { return };
    let operation = if operation.starts_with("task.submit") {
        Operation::TaskSubmit
    } else {
        Operation::TaskGet
    };
    let (mut policy, mut left) = (String::new(), String::new());
    for rate in queue.rates(principal, operation) {
        let _a_string_takes_everything = item(&mut policy, &mut left, rate);
    }
    for (name, value) in [(RATE_LIMIT_POLICY, policy), (RATE_LIMIT, left)] {
        if let Some(value) = HeaderValue::from_str(&value)
            .ok()
            .filter(|value| !value.is_empty())
        {
            headers.insert(name, value);
        }
    }
}

fn item(policy: &mut String, left: &mut String, rate: RateState) -> std::fmt::Result {
    let comma = if policy.is_empty() { "" } else { ", " };
    write!(
        policy,
        "{comma}\"{}\";q={};w={}",
        rate.of,
        rate.quota,
        rate.window.as_secs()
    )?;
    write!(
        left,
        "{comma}\"{}\";r={};t={}",
        rate.of,
        rate.remaining,
        rate.reset.as_secs()
    )
}
