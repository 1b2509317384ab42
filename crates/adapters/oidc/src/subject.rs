//! Who it is here.

use arbiter_core::model::{AgentId, Principal, PrincipalId, PrincipalKind, Role, TenantId};
use arbiter_core::ports::Identity;
use sha2::{Digest as _, Sha256};

use crate::rules::Grant;

/// The longest name at another party, in bytes (OpenID Connect Core §2).
const SUBJECT_BYTES: usize = 255;
const NAME_CHARS: usize = 100;
const DOMAIN: &[u8] = b"arbiter/external-identity/1";

/// Whether a text names somebody.
pub(crate) fn is_name(text: &str) -> bool {
    !text.is_empty() && text.len() <= SUBJECT_BYTES && !text.chars().any(char::is_control)
}

/// Somebody at another party.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Subject<'a> {
    /// Who vouches: the issuer of tokens, or the sort of name in a certificate.
    pub(crate) issuer: &'a str,
    pub(crate) name: &'a str,
}

impl Subject<'_> {
    /// Who it is here.
    pub(crate) fn identity(self, grant: &Grant) -> Identity {
        let id = self.id(grant.tenant);
        let is_agent = grant.kind == PrincipalKind::Agent || grant.roles.contains(&Role::Agent);
        Identity {
            principal: Principal {
                id: PrincipalId::from_bytes(id),
                tenant: grant.tenant,
                kind: grant.kind,
                roles: grant.roles.clone(),
                agent: is_agent.then(|| AgentId::from_bytes(id)),
                kinds: grant.kinds.clone(),
                highest_band: grant.highest_band,
            },
            name: format!("{} ({})", self.name, self.issuer)
                .chars()
                .take(NAME_CHARS)
                .collect(),
        }
    }

    /// The first 16 bytes of SHA-256 over a fixed text, the tenant's id, issuer and name, each after its length, as a UUID of
    /// version 8 (RFC 9562 §5.8). Whoever knows these knows the id: it is no secret.
    fn id(self, tenant: TenantId) -> [u8; 16] {
        let mut hash = Sha256::new();
        let parts: [&[u8]; 4] = [
            DOMAIN,
            tenant.as_bytes(),
            self.issuer.as_bytes(),
            self.name.as_bytes(),
        ];
        for part in parts {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        }
        let mut id = [0; 16];
        id.copy_from_slice(&hash.finalize()[..16]);
        id[6] = id[6] & 0x0f | 0x80;
        id[8] = id[8] & 0x3f | 0x80;
        id
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TENANT: TenantId = TenantId::from_bytes([7; 16]);

    fn id(issuer: &str, name: &str, tenant: TenantId) -> String {
        PrincipalId::from_bytes(Subject { issuer, name }.id(tenant)).to_string()
    }

    #[test]
    fn an_id_is_the_same_for_ever_and_another_for_everybody_else() {
        let one = id("https://issuer.example", "ann", TENANT);
        // Written into stores: it must never change.
        assert_eq!(one, "f04e99c0-d89f-89a1-b9a8-498de0f6ead3");
        let others = [
            id("https://issuer.example", "bob", TENANT),
            id("https://issuer.exampl", "eann", TENANT),
            id("https://other.example", "ann", TENANT),
            id("https://issuer.example", "ann", TenantId::from_bytes([8; 16])),
        ];
        for other in others {
            assert_ne!(one, other);
        }
    }
}
