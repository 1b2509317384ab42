//! Public keys (RFC 7517), and what they verify.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ED25519, RSA_PKCS1_2048_8192_SHA256,
    RSA_PKCS1_2048_8192_SHA384, RSA_PKCS1_2048_8192_SHA512, RSA_PSS_2048_8192_SHA256,
    RSA_PSS_2048_8192_SHA384, RSA_PSS_2048_8192_SHA512, RsaPublicKeyComponents, UnparsedPublicKey,
    VerificationAlgorithm,
};
use serde_json::Value;

use crate::algorithm::Algorithm;
use crate::error::ProviderError;
use crate::object::Object;

/// The longest id of a key that is looked at, in bytes.
pub(crate) const KEY_ID_BYTES: usize = 256;
/// The most keys of a set.
const KEYS: usize = 100;
/// Moduli of RSA keys, in bytes: 2048 to 8192 bits (RFC 7518 §3.3, §3.5).
const MODULUS_BYTES: std::ops::RangeInclusive<usize> = 256..=1_024;

/// A key that verifies signatures.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Key {
    id: Option<String>,
    /// The only algorithm that it may be used with, if it says so.
    algorithm: Option<Algorithm>,
    material: Material,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Material {
    Rsa { modulus: Vec<u8>, exponent: Vec<u8> },
    P256(Vec<u8>),
    P384(Vec<u8>),
    Ed25519(Vec<u8>),
}

impl Key {
    /// Reads a key; none when it is of no use here: for encryption, of another type or algorithm, too small, or not
    /// understood (RFC 7517 §5).
    fn read(object: &Object) -> Option<Self> {
        let is_for_signatures = match object.get("use") {
            None => true,
            Some(value) => value == "sig",
        };
        let verifies = match object.get("key_ops") {
            None => true,
            Some(Value::Array(operations)) => operations.iter().any(|operation| operation == "verify"),
            Some(_) => false,
        };
        let id = match object.get("kid") {
            None => None,
            Some(Value::String(id)) if id.len() <= KEY_ID_BYTES => Some(id.clone()),
            Some(_) => return None,
        };
        let algorithm = match object.get("alg") {
            None => None,
            Some(word) => Some(Algorithm::from_word(word.as_str()?)?),
        };
        let bytes = |name: &str| URL_SAFE_NO_PAD.decode(object.text(name)?).ok();
        let material = match (object.text("kty")?, object.text("crv")) {
            ("RSA", _) => Material::Rsa {
                modulus: bytes("n").filter(|n| MODULUS_BYTES.contains(&n.len()) && n.first() != Some(&0))?,
                exponent: bytes("e").filter(|e| (1..=5).contains(&e.len()) && e.first() != Some(&0))?,
            },
            ("EC", Some("P-256")) => Material::P256(point(&bytes("x")?, &bytes("y")?, 32)?),
            ("EC", Some("P-384")) => Material::P384(point(&bytes("x")?, &bytes("y")?, 48)?),
            ("OKP", Some("Ed25519")) => Material::Ed25519(bytes("x").filter(|x| x.len() == 32)?),
            _ => return None,
        };
        let key = Self {
            id,
            algorithm,
            material,
        };
        let fits = algorithm.is_none_or(|algorithm| key.fits(algorithm));
        (is_for_signatures && verifies && fits).then_some(key)
    }

    pub(crate) fn id(&self) -> Option<&str> {
        self.id.as_deref()
    }

    /// Whether it may verify signatures of an algorithm: by its type, and by its own word if it has one.
    pub(crate) fn fits(&self, algorithm: Algorithm) -> bool {
        use Algorithm::{EdDsa, Es256, Es384, Ps256, Ps384, Ps512, Rs256, Rs384, Rs512};
        let by_type = match algorithm {
            Rs256 | Rs384 | Rs512 | Ps256 | Ps384 | Ps512 => matches!(self.material, Material::Rsa { .. }),
            Es256 => matches!(self.material, Material::P256(_)),
            Es384 => matches!(self.material, Material::P384(_)),
            EdDsa => matches!(self.material, Material::Ed25519(_)),
        };
        by_type && self.algorithm.is_none_or(|own| own == algorithm)
    }

    /// Whether a signature is this key's. Never true for an algorithm that the key does not fit.
    pub(crate) fn verifies(&self, algorithm: Algorithm, signed: &[u8], signature: &[u8]) -> bool {
        use Algorithm::{EdDsa, Es256, Es384, Ps256, Ps384, Ps512, Rs256, Rs384, Rs512};
        if !self.fits(algorithm) {
            return false;
        }
        let simple = |way: &'static dyn VerificationAlgorithm, key: &[u8]| {
            UnparsedPublicKey::new(way, key).verify(signed, signature).is_ok()
        };
        match (&self.material, algorithm) {
            (Material::P256(key), Es256) => simple(&ECDSA_P256_SHA256_FIXED, key),
            (Material::P384(key), Es384) => simple(&ECDSA_P384_SHA384_FIXED, key),
            (Material::Ed25519(key), EdDsa) => simple(&ED25519, key),
            (Material::Rsa { modulus, exponent }, _) => {
                let way = match algorithm {
                    Rs256 => &RSA_PKCS1_2048_8192_SHA256,
                    Rs384 => &RSA_PKCS1_2048_8192_SHA384,
                    Rs512 => &RSA_PKCS1_2048_8192_SHA512,
                    Ps256 => &RSA_PSS_2048_8192_SHA256,
                    Ps384 => &RSA_PSS_2048_8192_SHA384,
                    Ps512 => &RSA_PSS_2048_8192_SHA512,
                    _ => return false,
                };
                let key = RsaPublicKeyComponents {
                    n: modulus,
                    e: exponent,
                };
                key.verify(way, signed, signature).is_ok()
            }
            _ => false,
        }
    }
}

/// An uncompressed point (SEC 1 §2.3.3).
fn point(x: &[u8], y: &[u8], bytes: usize) -> Option<Vec<u8>> {
    (x.len() == bytes && y.len() == bytes).then(|| [&[4], x, y].concat())
}

/// The keys of a provider.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct KeySet(Vec<Key>);

/// What a set says of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Found {
    /// Here it is.
    Key(Key),
    /// There is one of this id, which the algorithm does not fit.
    Misfit,
    /// There is none.
    Absent,
}

impl KeySet {
    /// Reads a set of keys. Keys of no use here are left out.
    ///
    /// # Errors
    /// [`ProviderError`] when it is no set, has too many keys, or two of use with one id.
    pub(crate) fn read(bytes: &[u8]) -> Result<Self, ProviderError> {
        let what = "the set of keys";
        let content = |source| ProviderError::Content { what, source };
        let object = Object::read(bytes).map_err(content)?;
        let Some(Value::Array(members)) = object.get("keys") else {
            return Err(ProviderError::Missing { what, member: "keys" });
        };
        if members.len() > KEYS {
            return Err(ProviderError::TooManyKeys { limit: KEYS });
        }
        let mut keys = Vec::new();
        for member in members {
            let Ok(member) = serde_json::from_value::<Object>(member.clone()) else {
                continue;
            };
            keys.extend(Key::read(&member));
        }
        let mut ids: Vec<&str> = keys.iter().filter_map(|key| key.id.as_deref()).collect();
        ids.sort_unstable();
        if let Some([twice, _]) = ids.array_windows().find(|[one, next]| one == next) {
            return Err(ProviderError::Ambiguous {
                key: twice.escape_default().take(40).collect(),
            });
        }
        Ok(Self(keys))
    }

    /// The key of an id, for an algorithm. Without an id, the only key that fits the algorithm.
    pub(crate) fn find(&self, id: Option<&str>, algorithm: Algorithm) -> Found {
        let mut keys = self.0.iter();
        let Some(id) = id else {
            let mut fitting = keys.filter(|key| key.fits(algorithm));
            return match (fitting.next(), fitting.next()) {
                (Some(key), None) => Found::Key(key.clone()),
                _ => Found::Absent,
            };
        };
        match keys.find(|key| key.id.as_deref() == Some(id)) {
            Some(key) if key.fits(algorithm) => Found::Key(key.clone()),
            Some(_) => Found::Misfit,
            None => Found::Absent,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// The keys that another set does not have.
    pub(crate) fn without<'a>(&'a self, other: &'a Self) -> impl Iterator<Item = &'a Key> {
        self.0.iter().filter(|key| !other.0.contains(key))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The examples of RFC 7515, appendices A.2 and A.3, and RFC 8037, appendix A.4.
    const EXAMPLES: [(Algorithm, &str, &str, &str); 3] = [
        (
            Algorithm::Rs256,
            r#"{"kty":"RSA","n":"ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ","e":"AQAB"}"#,
            "eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ",
            "cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw",
        ),
        (
            Algorithm::Es256,
            r#"{"kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}"#,
            "eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ",
            "DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q",
        ),
        (
            Algorithm::EdDsa,
            r#"{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#,
            "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc",
            "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg",
        ),
    ];

    #[test]
    fn the_examples_of_the_standards_verify_and_nothing_else_does() {
        for (algorithm, jwk, signed, signature) in EXAMPLES {
            let key = Key::read(&Object::read(jwk.as_bytes()).expect("an object")).expect("a key");
            let signature = URL_SAFE_NO_PAD.decode(signature).expect("base64url");
            for claimed in Algorithm::ALL {
                let verified = key.verifies(claimed, signed.as_bytes(), &signature);
                assert_eq!(verified, claimed == algorithm, "{algorithm:?} {claimed:?}");
            }
            let mut other = signature.clone();
            other[10] ^= 1;
            assert!(
                !key.verifies(algorithm, signed.as_bytes(), &other),
                "{algorithm:?}"
            );
            let other = signed.replace('J', "K");
            assert!(
                !key.verifies(algorithm, other.as_bytes(), &signature),
                "{algorithm:?}"
            );
        }
    }
}
