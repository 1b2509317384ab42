//! Signing secrets.

use arbiter_core::mechanism::{SecretBytes, SecretText};
use arbiter_core::ports::Entropy;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit as _};
use sha2::Sha256;

/// What a secret's text begins with.
const PREFIX: &str = "whsec_";

/// A symmetric signing secret of 24 to 64 bytes. `Debug` hides it.
#[derive(Debug, Clone)]
pub struct WebhookSecret(SecretBytes);

/// A text that is not a signing secret. The text itself is not kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidSecret {
    /// It is not `whsec_` and base64.
    #[error("a webhook secret is `{PREFIX}` followed by base64")]
    Form,
    /// It has fewer than 24 bytes or more than 64.
    #[error("a webhook secret has 24 to 64 bytes")]
    Length,
}

impl WebhookSecret {
    /// Reads the text form, with or without its prefix.
    ///
    /// # Errors
    /// [`InvalidSecret`] if it is not base64 of 24 to 64 bytes.
    pub fn parse(text: &SecretText) -> Result<Self, InvalidSecret> {
        let text = text.expose();
        let bytes = STANDARD
            .decode(text.strip_prefix(PREFIX).unwrap_or(text))
            .map(SecretBytes::new)
            .map_err(|_| InvalidSecret::Form)?;
        if !(24..=64).contains(&bytes.expose().len()) {
            return Err(InvalidSecret::Length);
        }
        Ok(Self(bytes))
    }

    /// A new secret of 32 random bytes.
    pub fn generate(entropy: &dyn Entropy) -> Self {
        let mut bytes = vec![0; 32];
        entropy.fill(&mut bytes);
        Self(SecretBytes::new(bytes))
    }

    /// The text form, to be shown to the receiver's owner once.
    pub fn to_text(&self) -> SecretText {
        SecretText::new(format!("{PREFIX}{}", STANDARD.encode(self.0.expose())))
    }

    /// The keyed hash, before any input.
    pub(crate) fn mac(&self) -> Hmac<Sha256> {
        // a key of at most one block of SHA-256 (64 bytes) is filled up with zeros (RFC 2104 §2)
        let mut block = [0; 64];
        for (place, byte) in block.iter_mut().zip(self.0.expose()) {
            *place = *byte;
        }
        Hmac::new(&block.into())
    }
}

#[cfg(test)]
mod tests {
    use arbiter_testkit::SeededEntropy;

    use super::*;

    fn parse(text: &str) -> Result<WebhookSecret, InvalidSecret> {
        WebhookSecret::parse(&SecretText::new(text))
    }

    #[test]
    fn texts_are_read_and_written() {
        let secret = WebhookSecret::generate(&SeededEntropy::new(1));
        let text = secret.to_text();
        assert!(text.expose().starts_with("whsec_"));
        let again = WebhookSecret::parse(&text).unwrap();
        assert_eq!(again.0.expose(), secret.0.expose());
        let plain = text.expose().trim_start_matches("whsec_");
        assert_eq!(parse(plain).unwrap().0.expose(), secret.0.expose());
        assert!(!format!("{secret:?}").contains(plain));
    }

    #[test]
    fn what_is_no_secret_is_refused() {
        assert_eq!(parse("whsec_!").unwrap_err(), InvalidSecret::Form);
        for (length, fits) in [(0, false), (23, false), (24, true), (64, true), (65, false)] {
            let text = STANDARD.encode(vec![7; length]);
            let refused = parse(&text).err();
            assert_eq!(refused, (!fits).then_some(InvalidSecret::Length), "{length}");
        }
    }
}
