//! Signatures of what Slack sends.
//!
//! Source: Slack, "Verifying requests from Slack" (scheme `v0`); HMAC: RFC 2104.

use std::time::Duration;

use arbiter_core::mechanism::SecretText;
use arbiter_core::model::Timestamp;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

use crate::interaction::SlackInteraction;

/// The largest request that is read, in bytes. An interaction repeats the message that it belongs to.
pub const MAX_CALLBACK_BYTES: usize = 1 << 20;
/// The usual window against replays, before and after now.
pub const REPLAY_WINDOW: Duration = Duration::from_mins(5);
/// What a signature of the one known version begins with.
const VERSION: &str = "v0=";

/// The two headers of a signed request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Signed<'a> {
    /// `X-Slack-Request-Timestamp`.
    pub timestamp: &'a str,
    /// `X-Slack-Signature`.
    pub signature: &'a str,
}

/// Why a request is not accepted. No text holds a part of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CallbackError {
    /// It is larger than a request may be.
    #[error("the request is larger than {MAX_CALLBACK_BYTES} bytes")]
    TooLarge,
    /// A header has another form.
    #[error("the headers `x-slack-request-timestamp` and `x-slack-signature` are not those of scheme v0")]
    Header,
    /// It was made too long ago, so it may be a replay.
    #[error("the request is too old")]
    TooOld,
    /// It was made in the future.
    #[error("the request's time lies in the future")]
    TooNew,
    /// The signature was not made with the secret.
    #[error("the request was not signed with the known secret")]
    Signature,
    /// It is not the form with a payload that interactions have.
    #[error("the request is not the form of an interaction")]
    Form,
    /// It is another interaction than the press of one button of an incident.
    #[error("the interaction is not the press of a button of an incident")]
    Action,
}

/// A secret that nothing can be checked with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the signing secret is empty")]
pub struct InvalidSigningSecret;

/// Checks who sent a request, by the signing secret of the app. `Debug` hides it.
#[derive(Debug, Clone)]
pub struct SlackSignature {
    secret: SecretText,
}

impl SlackSignature {
    /// A checker.
    ///
    /// # Errors
    /// [`InvalidSigningSecret`] if the secret is empty.
    pub fn new(secret: SecretText) -> Result<Self, InvalidSigningSecret> {
        if secret.is_empty() {
            return Err(InvalidSigningSecret);
        }
        Ok(Self { secret })
    }

    /// Checks a request and reads the interaction in it.
    ///
    /// # Errors
    /// [`CallbackError`] with the first reason.
    pub fn open(
        &self,
        signed: Signed<'_>,
        body: &[u8],
        now: Timestamp,
        window: Duration,
    ) -> Result<SlackInteraction, CallbackError> {
        self.verify(signed, body, now, window)?;
        SlackInteraction::parse(body)
    }

    /// Checks who made a request, and when: at most `window` ([`REPLAY_WINDOW`] is usual) before or after `now`. Compares
    /// in constant time.
    ///
    /// # Errors
    /// [`CallbackError`] with the first reason.
    pub fn verify(
        &self,
        signed: Signed<'_>,
        body: &[u8],
        now: Timestamp,
        window: Duration,
    ) -> Result<(), CallbackError> {
        if body.len() > MAX_CALLBACK_BYTES {
            return Err(CallbackError::TooLarge);
        }
        let seconds: u32 = signed.timestamp.parse().map_err(|_| CallbackError::Header)?;
        let mut tag = [0; 32];
        let digits = signed
            .signature
            .strip_prefix(VERSION)
            .ok_or(CallbackError::Header)?;
        hex::decode_to_slice(digits, &mut tag).map_err(|_| CallbackError::Header)?;
        let made = Timestamp::from_micros(i64::from(seconds) * 1_000_000);
        if now.since(made) > window {
            return Err(CallbackError::TooOld);
        }
        if made.since(now) > window {
            return Err(CallbackError::TooNew);
        }
        let mac = Hmac::<Sha256>::new_from_slice(self.secret.expose().as_bytes());
        let mut mac = mac.map_err(|_| CallbackError::Signature)?;
        for part in [&b"v0:"[..], signed.timestamp.as_bytes(), b":", body] {
            mac.update(part);
        }
        mac.verify_slice(&tag).map_err(|_| CallbackError::Signature)
    }
}
