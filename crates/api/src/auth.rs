//! Who calls.

use std::net::SocketAddr;

use arbiter_core::mechanism::SecretText;
use arbiter_core::model::Principal;
use arbiter_core::ports::{ClientCertificate, Credential};
use arbiter_queue::QueueError;
use axum::extract::FromRequestParts;
use http::header::AUTHORIZATION;
use http::request::Parts;

use crate::failure::Failure;
use crate::rates::CalledBy;
use crate::state::Api;

/// The longest credential that is looked at.
const MAX_CREDENTIAL_BYTES: usize = 8 * 1024;

/// The caller of an operation, authenticated.
#[derive(Debug, Clone)]
pub(crate) struct Caller(pub(crate) Principal);

/// Where a connection comes from.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Peer(pub(crate) SocketAddr);

/// The certificate that the other end of a connection has shown and that was verified.
#[derive(Debug, Clone)]
pub(crate) struct PeerCertificate(pub(crate) ClientCertificate);

impl FromRequestParts<Api> for Caller {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, api: &Api) -> Result<Self, Failure> {
        let principal = Shown::of(parts)?.authenticate(api).await?;
        if let Some(by) = parts.extensions.get::<CalledBy>() {
            by.note(&principal);
        }
        Ok(Self(principal))
    }
}

/// What a caller showed, for calls that last: it is checked again while they do.
#[derive(Debug, Clone)]
pub(crate) struct Shown {
    credential: Credential,
    source: String,
}

impl Shown {
    pub(crate) fn of(parts: &Parts) -> Result<Self, Failure> {
        Ok(Self {
            credential: credential(parts)?,
            // A flood is summed by where it comes from; ports of one host are one source.
            source: parts
                .extensions
                .get::<Peer>()
                .map_or_else(|| "unknown".to_owned(), |peer| peer.0.ip().to_string()),
        })
    }

    pub(crate) async fn authenticate(&self, api: &Api) -> Result<Principal, QueueError> {
        api.queue().authenticate(&self.credential, &self.source).await
    }
}

impl FromRequestParts<Api> for Shown {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, _: &Api) -> Result<Self, Failure> {
        Self::of(parts)
    }
}

/// What a call shows: its header, or else the certificate of its connection. A header that is wrong is never made good by a
/// certificate: the caller would be somebody else than it says.
fn credential(parts: &Parts) -> Result<Credential, Failure> {
    let refused = |detail: &str| Failure::new("auth_failed", detail);
    let mut headers = parts.headers.get_all(AUTHORIZATION).iter();
    let Some(header) = headers.next() else {
        let certificate = parts.extensions.get::<PeerCertificate>();
        let certificate = certificate.map(|shown| Credential::Certificate(shown.0.clone()));
        return certificate
            .ok_or_else(|| refused("no credential was given; send `Authorization: Bearer <key>`"));
    };
    if headers.next().is_some() {
        return Err(refused("more than one credential was given"));
    }
    let text = header
        .to_str()
        .ok()
        .and_then(|text| text.split_once(' '))
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
        .map(|(_, token)| token.trim())
        .filter(|token| !token.is_empty() && token.len() <= MAX_CREDENTIAL_BYTES)
        .ok_or_else(|| refused("the credential has another form than `Bearer <key>`"))?;
    let secret = SecretText::new(text.to_owned());
    // A signed token has dots between its parts, a key never has one.
    Ok(if text.contains('.') {
        Credential::Bearer(secret)
    } else {
        Credential::ApiKey(secret)
    })
}
