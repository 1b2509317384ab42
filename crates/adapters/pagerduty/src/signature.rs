//! Signatures of what PagerDuty calls back.
//!
//! Source: PagerDuty, "Verifying signatures" (webhooks of version 3); HMAC: RFC 2104.

use std::time::Duration;

use arbiter_core::mechanism::SecretText;
use arbiter_core::model::Timestamp;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

use crate::callback::PagerDutyCallback;

/// The largest delivery that is read, in bytes. PagerDuty's have a few KiB.
pub const MAX_CALLBACK_BYTES: usize = 1 << 20;
/// The usual window against replays, before and after now.
pub const REPLAY_WINDOW: Duration = Duration::from_mins(5);
/// What a signature of the one known version begins with.
const VERSION: &str = "v1=";
/// The most secrets: one, and its successor while they are changed.
const MAX_SECRETS: usize = 2;
/// The most signatures of one delivery. PagerDuty sends one for each secret.
const MAX_SIGNATURES: usize = 16;

/// Why a delivery is not accepted. No text holds a part of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CallbackError {
    /// It is larger than a delivery may be.
    #[error("the delivery is larger than {MAX_CALLBACK_BYTES} bytes")]
    TooLarge,
    /// The header is absent in effect: it holds no signature of a known version, or more than 16.
    #[error("the header `x-pagerduty-signature` holds no usable signature")]
    Header,
    /// No signature was made with one of the secrets.
    #[error("no signature of the delivery was made with a known secret")]
    Signature,
    /// It is not the JSON of a delivery.
    #[error("the delivery is not the JSON of a webhook of version 3")]
    Form,
    /// It happened too long ago, so it may be a replay.
    #[error("the delivery is too old")]
    TooOld,
    /// It happened in the future.
    #[error("the delivery's time lies in the future")]
    TooNew,
}

/// Secrets that nothing can be checked with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a subscription has 1 to {MAX_SECRETS} signing secrets, none of them empty")]
pub struct InvalidSigningSecrets;

/// Checks who sent a delivery, by the secrets of the subscription. `Debug` hides them.
#[derive(Debug, Clone)]
pub struct PagerDutySignature {
    secrets: Vec<SecretText>,
}

impl PagerDutySignature {
    /// A checker that accepts each of `secrets`: one, or two while one replaces the other.
    ///
    /// # Errors
    /// [`InvalidSigningSecrets`] if there is none, there are too many, or one is empty.
    pub fn new(secrets: Vec<SecretText>) -> Result<Self, InvalidSigningSecrets> {
        let some = (1..=MAX_SECRETS).contains(&secrets.len());
        if some && !secrets.iter().any(SecretText::is_empty) {
            Ok(Self { secrets })
        } else {
            Err(InvalidSigningSecrets)
        }
    }

    /// Checks a delivery and reads it: who sent it, then what it says, then when it happened: at most `window`
    /// ([`REPLAY_WINDOW`] is usual) before or after `now`.
    ///
    /// `header` is the value of `X-PagerDuty-Signature`, `body` the body as it came. The receiver drops repeats by
    /// [`PagerDutyCallback::id`].
    ///
    /// # Errors
    /// [`CallbackError`] with the first reason.
    pub fn open(
        &self,
        header: &str,
        body: &[u8],
        now: Timestamp,
        window: Duration,
    ) -> Result<PagerDutyCallback, CallbackError> {
        self.verify(header, body)?;
        let callback = PagerDutyCallback::parse(body)?;
        if now.since(callback.occurred_at) > window {
            return Err(CallbackError::TooOld);
        }
        if callback.occurred_at.since(now) > window {
            return Err(CallbackError::TooNew);
        }
        Ok(callback)
    }

    /// Checks who sent a delivery, and nothing else: it may be a replay. Compares in constant time.
    ///
    /// # Errors
    /// [`CallbackError::TooLarge`], [`CallbackError::Header`] or [`CallbackError::Signature`].
    pub fn verify(&self, header: &str, body: &[u8]) -> Result<(), CallbackError> {
        if body.len() > MAX_CALLBACK_BYTES {
            return Err(CallbackError::TooLarge);
        }
        let tags: Vec<[u8; 32]> = header
            .split(',')
            .take(MAX_SIGNATURES + 1)
            .filter_map(|one| one.trim().strip_prefix(VERSION))
            .filter_map(|digits| {
                let mut tag = [0; 32];
                hex::decode_to_slice(digits, &mut tag).ok().map(|()| tag)
            })
            .collect();
        if tags.is_empty() || tags.len() > MAX_SIGNATURES {
            return Err(CallbackError::Header);
        }
        // every pair is compared, so that the time tells of none
        let known = self.secrets.iter().fold(false, |known, secret| {
            let Ok(mac) = Hmac::<Sha256>::new_from_slice(secret.expose().as_bytes()) else {
                return known;
            };
            let mac = mac.chain_update(body);
            tags.iter()
                .fold(known, |known, tag| mac.clone().verify_slice(tag).is_ok() | known)
        });
        if known {
            Ok(())
        } else {
            Err(CallbackError::Signature)
        }
    }
}
