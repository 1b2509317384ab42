//! Secrets as types: what prints them prints nothing.

use std::fmt;

use zeroize::Zeroizing;

use super::redact::REDACTED;

macro_rules! secret {
    ($(#[$meta:meta])* $name:ident, $inner:ty, $borrowed:ty, $as:ident) => {
        $(#[$meta])*
        ///
        /// `Debug` and `Display` show `[redacted]`; the memory is overwritten on drop. There is no `PartialEq`:
        /// whoever compares secrets does so in constant time, over [`expose`](Self::expose).
        #[derive(Clone)]
        pub struct $name(Zeroizing<$inner>);

        impl $name {
            /// Takes the secret. Copies that the caller made before are the caller's to clean.
            pub fn new(secret: impl Into<$inner>) -> Self {
                Self(Zeroizing::new(secret.into()))
            }

            /// The content, for the one place that needs it.
            pub fn expose(&self) -> &$borrowed {
                self.0.$as()
            }

            /// Whether the secret is the empty one.
            pub fn is_empty(&self) -> bool {
                self.0.is_empty()
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), REDACTED)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(REDACTED)
            }
        }

        impl From<$inner> for $name {
            fn from(secret: $inner) -> Self {
                Self::new(secret)
            }
        }
    };
}

secret!(
    /// A secret text: an API key, a password, a webhook address.
    SecretText, String, str, as_str);
secret!(
    /// Secret bytes: a signing or store key.
    SecretBytes, Vec<u8>, [u8], as_slice);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_prints_the_content() {
        let text = SecretText::new("hunter2-canary");
        let bytes = SecretBytes::from(b"canary-bytes".to_vec());
        let shown = format!("{text} {text:?} {text:#?} {bytes} {bytes:?} {:?}", Some(&text));
        assert!(!shown.contains("hunter2") && !shown.contains("99, 97"), "{shown}");
        assert_eq!(format!("{text:?}"), "SecretText([redacted])");
        assert_eq!(format!("{bytes}"), "[redacted]");
    }

    #[test]
    fn the_content_is_there_when_asked_for() {
        assert_eq!(SecretText::new("hunter2").clone().expose(), "hunter2");
        assert_eq!(SecretBytes::new(*b"key").expose(), b"key");
        assert!(SecretText::new("").is_empty());
    }
}
