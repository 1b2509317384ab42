//! Signatures, made and checked.
//!
//! Source: the Standard Webhooks specification 1.0, "Webhook Signature" (scheme `v1`); HMAC: RFC 2104.

use std::time::Duration;

use arbiter_core::model::Timestamp;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::Mac as _;

use crate::secret::WebhookSecret;

/// What `v1` signatures begin with.
const VERSION: &str = "v1";

/// The three headers of a signed message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Signed<'a> {
    /// `webhook-id`.
    pub id: &'a str,
    /// `webhook-timestamp`.
    pub timestamp: &'a str,
    /// `webhook-signature`.
    pub signature: &'a str,
}

/// Why a message is not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum VerifyError {
    /// The timestamp is not a number of seconds.
    #[error("the webhook's timestamp is not a number of seconds")]
    Timestamp,
    /// It was made too long ago, so it may be a replay.
    #[error("the webhook is too old")]
    TooOld,
    /// It was made in the future.
    #[error("the webhook's timestamp lies in the future")]
    TooNew,
    /// No signature was made with one of the secrets.
    #[error("no signature of the webhook was made with a known secret")]
    Signature,
}

/// The value of `webhook-signature`: one signature per secret.
pub fn sign<'a>(
    secrets: impl IntoIterator<Item = &'a WebhookSecret>,
    id: &str,
    timestamp: &str,
    body: &[u8],
) -> String {
    let signatures = secrets.into_iter().map(|secret| {
        let tag = mac(secret, id, timestamp, body).finalize().into_bytes();
        format!("{VERSION},{}", STANDARD.encode(tag))
    });
    signatures.collect::<Vec<_>>().join(" ")
}

/// Checks a message as its receiver does: one of its signatures was made with one of `secrets`, and its time is at most
/// `tolerance` (5 minutes is usual) before or after `now`. Compares in constant time.
///
/// # Errors
/// [`VerifyError`] with the first reason.
pub fn verify<'a>(
    secrets: impl IntoIterator<Item = &'a WebhookSecret>,
    signed: Signed<'_>,
    body: &[u8],
    now: Timestamp,
    tolerance: Duration,
) -> Result<(), VerifyError> {
    let seconds: u32 = signed.timestamp.parse().map_err(|_| VerifyError::Timestamp)?;
    let made = Timestamp::from_micros(i64::from(seconds) * 1_000_000);
    if now.since(made) > tolerance {
        return Err(VerifyError::TooOld);
    }
    if made.since(now) > tolerance {
        return Err(VerifyError::TooNew);
    }
    let tags: Vec<Vec<u8>> = signed
        .signature
        .split(' ')
        .filter_map(|signature| signature.strip_prefix(VERSION)?.strip_prefix(','))
        .filter_map(|tag| STANDARD.decode(tag).ok())
        .collect();
    let known = secrets.into_iter().any(|secret| {
        let mac = mac(secret, signed.id, signed.timestamp, body);
        tags.iter().any(|tag| mac.clone().verify_slice(tag).is_ok())
    });
    if known {
        Ok(())
    } else {
        Err(VerifyError::Signature)
    }
}

fn mac(secret: &WebhookSecret, id: &str, timestamp: &str, body: &[u8]) -> hmac::Hmac<sha2::Sha256> {
    let mut mac = secret.mac();
    for part in [id.as_bytes(), b".", timestamp.as_bytes(), b".", body] {
        mac.update(part);
    }
    mac
}

#[cfg(test)]
mod tests {
    use arbiter_core::mechanism::SecretText;
    use proptest::prelude::*;

    use super::*;

    const MINUTES: Duration = Duration::from_mins(5);
    const AT: Timestamp = Timestamp::from_micros(1_614_265_330_000_000);
    const BODY: &[u8] = br#"{"test": 2432232314}"#;
    const SIGNED: Signed<'static> = Signed {
        id: "msg_p5jXN8AQM9LWM0D4loKWxJek",
        timestamp: "1614265330",
        signature: "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    };

    /// The secret of the published example.
    fn published() -> WebhookSecret {
        WebhookSecret::parse(&SecretText::new("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")).unwrap()
    }

    fn other() -> WebhookSecret {
        WebhookSecret::parse(&SecretText::new("whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA")).unwrap()
    }

    fn check(secret: &WebhookSecret, signed: Signed<'_>, now: Timestamp) -> Result<(), VerifyError> {
        verify([secret], signed, BODY, now, MINUTES)
    }

    #[test]
    fn the_published_example_is_reproduced() {
        let made = sign([&published()], SIGNED.id, SIGNED.timestamp, BODY);
        assert_eq!(made, SIGNED.signature);
        assert_eq!(check(&published(), SIGNED, AT), Ok(()));
    }

    #[test]
    fn any_of_the_signatures_and_any_of_the_secrets_will_do() {
        let both = sign([&other(), &published()], SIGNED.id, SIGNED.timestamp, BODY);
        assert_eq!(both.split(' ').count(), 2);
        let signature = format!("v1a,unknown v1,!!! {both}");
        let signed = Signed {
            signature: &signature,
            ..SIGNED
        };
        assert_eq!(check(&published(), signed, AT), Ok(()));
        assert_eq!(check(&other(), signed, AT), Ok(()));
        assert_eq!(
            verify([&other(), &published()], SIGNED, BODY, AT, MINUTES),
            Ok(())
        );
        assert_eq!(check(&other(), SIGNED, AT), Err(VerifyError::Signature));
        assert_eq!(verify([], SIGNED, BODY, AT, MINUTES), Err(VerifyError::Signature));
    }

    #[test]
    fn every_part_is_signed() {
        let secret = published();
        for changed in [
            Signed {
                id: "msg_other",
                ..SIGNED
            },
            Signed {
                timestamp: "1614265331",
                ..SIGNED
            },
            Signed {
                signature: "v1,AAAA",
                ..SIGNED
            },
            Signed {
                signature: "g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
                ..SIGNED
            },
            Signed {
                signature: "",
                ..SIGNED
            },
        ] {
            assert_eq!(
                check(&secret, changed, AT),
                Err(VerifyError::Signature),
                "{changed:?}"
            );
        }
        let body = verify([&secret], SIGNED, b"{}", AT, MINUTES);
        assert_eq!(body, Err(VerifyError::Signature));
    }

    #[test]
    fn old_and_future_messages_are_refused() {
        let secret = published();
        let late = Duration::from_micros(1);
        for (now, expected) in [
            (AT.plus(MINUTES), Ok(())),
            (AT.minus(MINUTES), Ok(())),
            (AT.plus(MINUTES + late), Err(VerifyError::TooOld)),
            (AT.minus(MINUTES + late), Err(VerifyError::TooNew)),
        ] {
            assert_eq!(check(&secret, SIGNED, now), expected);
        }
        for timestamp in ["", "-1", "1614265330.5", "99999999999999"] {
            let signed = Signed { timestamp, ..SIGNED };
            assert_eq!(check(&secret, signed, AT), Err(VerifyError::Timestamp));
        }
    }

    proptest! {
        #[test]
        fn what_was_signed_verifies_and_a_changed_byte_does_not(
            body in prop::collection::vec(any::<u8>(), 1..200), place in any::<prop::sample::Index>(), id in "[a-z0-9_]{1,40}",
        ) {
            let secret = published();
            let signature = sign([&secret], &id, SIGNED.timestamp, &body);
            let signed = Signed { id: &id, signature: &signature, ..SIGNED };
            prop_assert_eq!(verify([&secret], signed, &body, AT, MINUTES), Ok(()));
            let mut changed = body.clone();
            changed[place.index(body.len())] ^= 1;
            prop_assert_eq!(verify([&secret], signed, &changed, AT, MINUTES), Err(VerifyError::Signature));
        }
    }
}
