//! Signed tokens in their compact form (RFC 7515 §7.1), read strictly and believed in nothing.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::algorithm::Algorithm;
use crate::jwk::KEY_ID_BYTES;
use crate::object::Object;

/// The longest token that is looked at, in bytes.
pub(crate) const TOKEN_BYTES: usize = 8 * 1_024;

/// A token whose signature was not verified.
pub(crate) struct Token<'a> {
    pub(crate) algorithm: Algorithm,
    /// Names the key. It is compared with the ids of known keys and used for nothing else.
    pub(crate) key_id: Option<String>,
    /// What is signed.
    pub(crate) signed: &'a [u8],
    pub(crate) signature: Vec<u8>,
    claims: Vec<u8>,
}

impl<'a> Token<'a> {
    /// Reads a token of one of the permitted algorithms; none when it is no such token.
    ///
    /// Where the header says that keys or certificates are (`jku`, `jwk`, `x5u`, `x5c`) is never looked at.
    pub(crate) fn read(text: &'a str, permitted: &[Algorithm]) -> Option<Self> {
        if text.len() > TOKEN_BYTES {
            return None;
        }
        let (signed, signature) = text.rsplit_once('.')?;
        let (header, claims) = signed.split_once('.')?;
        let header = Object::read(&decoded(header)?).ok()?;
        let algorithm = Algorithm::from_word(header.text("alg")?)?;
        // Extensions that must be understood (`crit`), unencoded or nested content: none of it is understood here.
        let is_plain = !["crit", "b64", "cty", "enc", "zip"]
            .iter()
            .any(|name| header.has(name));
        let key_id = match header.get("kid") {
            None => None,
            Some(id) => Some(id.as_str().filter(|id| id.len() <= KEY_ID_BYTES)?.to_owned()),
        };
        if !permitted.contains(&algorithm) || !is_plain || !has_known_type(&header) {
            return None;
        }
        Some(Self {
            algorithm,
            key_id,
            signed: signed.as_bytes(),
            signature: decoded(signature).filter(|signature| !signature.is_empty())?,
            claims: decoded(claims)?,
        })
    }

    /// The claims, to be believed when the signature was verified.
    pub(crate) fn claims(&self) -> Option<Object> {
        Object::read(&self.claims).ok()
    }
}

/// Whether the type is absent or that of a token for access (RFC 7519 §5.1, RFC 9068 §2.1): other kinds of tokens of the same
/// provider are no credentials (RFC 8725 §3.11).
fn has_known_type(header: &Object) -> bool {
    let Some(media) = header.get("typ") else {
        return true;
    };
    let known = ["jwt", "at+jwt", "application/jwt", "application/at+jwt"];
    media
        .as_str()
        .is_some_and(|media| known.contains(&media.to_ascii_lowercase().as_str()))
}

/// Base64url without padding, in its only form: no other letters, no bits left over.
fn decoded(part: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(part).ok()
}
