//! The contract of `Authenticator`.

use arbiter_core::mechanism::SecretText;
use arbiter_core::ports::{AuthenticationError, Credential};

use crate::contract::{AuthenticatorHarness, suite};

suite!($ authenticator_contract, authenticator, [
    a_live_credential_is_its_principal,
    a_credential_that_was_changed_anywhere_is_refused,
    what_is_no_credential_is_refused,
    revoked_and_expired_credentials_are_refused_as_such,
]);

fn text(credential: &Credential) -> &str {
    let text = match credential {
        Credential::ApiKey(text) | Credential::Bearer(text) => Some(text.expose()),
        // It is verified before it is a credential.
        Credential::Certificate(_) => None,
    };
    text.expect("a credential that is a text")
}

fn with(credential: &Credential, text: String) -> Credential {
    match credential {
        Credential::Bearer(_) => Credential::Bearer(SecretText::new(text)),
        _ => Credential::ApiKey(SecretText::new(text)),
    }
}

/// A live credential is its principal, every time.
pub async fn a_live_credential_is_its_principal(h: &AuthenticatorHarness) {
    for _ in 0..2 {
        let found = h.authenticator.authenticate(&h.live).await.expect("accepted");
        assert_eq!(found, h.principal);
    }
}

/// A credential of which a character was changed, added or taken away is refused.
pub async fn a_credential_that_was_changed_anywhere_is_refused(h: &AuthenticatorHarness) {
    let good = text(&h.live);
    let mut changed = vec![
        format!("{good}A"),
        format!(" {good}"),
        good[..good.len() - 1].to_owned(),
    ];
    for place in 0..good.len() {
        let mut bytes = good.as_bytes().to_vec();
        bytes[place] = if bytes[place] == b'A' { b'B' } else { b'A' };
        changed.push(String::from_utf8(bytes).expect("ASCII"));
    }
    for text in changed {
        let answer = h.authenticator.authenticate(&with(&h.live, text.clone())).await;
        let refused = matches!(
            answer,
            Err(AuthenticationError::Malformed | AuthenticationError::Unknown)
        );
        assert!(refused, "`{text}`: {answer:?}");
    }
}

/// What is no credential is refused, without an error of the backend.
pub async fn what_is_no_credential_is_refused(h: &AuthenticatorHarness) {
    let odd = [
        String::new(),
        "x".to_owned(),
        "é_\0".to_owned(),
        "A".repeat(1 << 20),
    ];
    for text in odd {
        let answer = h.authenticator.authenticate(&with(&h.live, text)).await;
        let refused = matches!(
            answer,
            Err(AuthenticationError::Malformed | AuthenticationError::Unknown)
        );
        assert!(refused, "{answer:?}");
    }
}

/// Credentials that were revoked or have expired are refused as such.
pub async fn revoked_and_expired_credentials_are_refused_as_such(h: &AuthenticatorHarness) {
    let revoked = h.authenticator.authenticate(&h.revoked).await;
    assert!(
        matches!(revoked, Err(AuthenticationError::Revoked)),
        "{revoked:?}"
    );
    let expired = h.authenticator.authenticate(&h.expired).await;
    assert!(
        matches!(expired, Err(AuthenticationError::Expired)),
        "{expired:?}"
    );
}
