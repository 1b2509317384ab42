//! Signatures of checkpoints, dossiers, verdicts.

use async_trait::async_trait;

use super::BoxError;

/// Signs with a key that does not leave it.
#[async_trait]
pub trait Signer: Send + Sync + 'static {
    /// The key's name as it stands in signed notes.
    fn key_name(&self) -> &str;

    /// The Ed25519 public key (RFC 8032).
    fn public_key(&self) -> [u8; 32];

    /// Signs `message` (Ed25519, RFC 8032).
    async fn sign(&self, message: &[u8]) -> Result<[u8; 64], SignError>;
}

/// Why nothing was signed.
#[derive(Debug, thiserror::Error)]
#[error("the key `{key}` could not sign")]
pub struct SignError {
    /// The key.
    pub key: String,
    /// Why.
    pub source: BoxError,
}
