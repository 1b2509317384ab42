//! The contract of `Signer`.

use crate::contract::{SignerHarness, suite};

suite!($ signer_contract, signer, [
    a_signature_verifies_with_the_public_key,
    a_signature_is_of_its_message_only,
    signing_again_gives_the_same_signature,
    the_key_has_a_name_and_stays,
]);

const MESSAGES: [&[u8]; 3] = [b"", b"text", &[0xFF; 10_000]];

/// A signature verifies with the public key, whatever the length of the message.
pub async fn a_signature_verifies_with_the_public_key(h: &SignerHarness) {
    for message in MESSAGES {
        let signature = h.signer.sign(message).await.expect("signed");
        assert!((h.verifies)(&h.signer.public_key(), message, &signature));
    }
}

/// A signature is of its message and its key only.
pub async fn a_signature_is_of_its_message_only(h: &SignerHarness) {
    let signature = h.signer.sign(b"text").await.expect("signed");
    assert!(!(h.verifies)(&h.signer.public_key(), b"text.", &signature));
    let mut other = signature;
    other[0] ^= 1;
    assert!(!(h.verifies)(&h.signer.public_key(), b"text", &other));
}

/// Signing again gives the same signature (RFC 8032 §5.1.6).
pub async fn signing_again_gives_the_same_signature(h: &SignerHarness) {
    for message in MESSAGES {
        let first = h.signer.sign(message).await.expect("signed");
        assert_eq!(h.signer.sign(message).await.expect("signed"), first);
    }
}

/// The key has a name, and name and key stay as they are.
pub async fn the_key_has_a_name_and_stays(h: &SignerHarness) {
    let (name, key) = (h.signer.key_name().to_owned(), h.signer.public_key());
    assert!(!name.is_empty());
    h.signer.sign(b"text").await.expect("signed");
    assert_eq!((h.signer.key_name(), h.signer.public_key()), (name.as_str(), key));
}
