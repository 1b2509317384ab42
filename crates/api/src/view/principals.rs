//! Principals and keys.

use arbiter_core::model::{PrincipalKind, Role, Timestamp};
use arbiter_queue::{KeyInfo, KnownPrincipal};
use arbiter_wire::http::{KeyView, PrincipalKindWord, PrincipalView, RoleWord};

/// A principal.
pub fn principal(known: &KnownPrincipal) -> PrincipalView {
    let principal = &known.principal;
    PrincipalView {
        id: principal.id.to_string(),
        tenant: principal.tenant.to_string(),
        name: known.name.clone(),
        kind: kind_word(principal.kind),
        roles: principal.roles.iter().copied().map(role_word).collect(),
        agent: principal.agent.map(|agent| agent.to_string()),
        kinds: principal
            .kinds
            .as_ref()
            .map(|kinds| kinds.iter().map(|kind| kind.as_str().to_owned()).collect()),
        highest_band: principal.highest_band.get(),
        disabled_at: known.disabled_at.as_ref().map(Timestamp::to_string),
        created_at: known.created_at.as_ref().map(Timestamp::to_string),
        created_by: known.created_by.map(|by| by.to_string()),
        revision: known.revision,
    }
}

/// What is known of a key, as it is at `now`.
pub fn key(key: &KeyInfo, now: Timestamp) -> KeyView {
    let state = match (key.revoked_at, key.is_live(now)) {
        (Some(_), _) => "revoked",
        (None, true) => "live",
        (None, false) => "expired",
    };
    KeyView {
        id: key.id.clone(),
        principal: key.principal.to_string(),
        state: state.to_owned(),
        created_at: key.created_at.to_string(),
        expires_at: key.expires_at.as_ref().map(Timestamp::to_string),
        revoked_at: key.revoked_at.as_ref().map(Timestamp::to_string),
        last_used_at: key.last_used_at.as_ref().map(Timestamp::to_string),
    }
}

const fn kind_word(kind: PrincipalKind) -> PrincipalKindWord {
    match kind {
        PrincipalKind::User => PrincipalKindWord::User,
        PrincipalKind::Agent => PrincipalKindWord::Agent,
        PrincipalKind::Service => PrincipalKindWord::Service,
    }
}

const fn role_word(role: Role) -> RoleWord {
    match role {
        Role::Submitter => RoleWord::Submitter,
        Role::Agent => RoleWord::Agent,
        Role::Reviewer => RoleWord::Reviewer,
        Role::Operator => RoleWord::Operator,
        Role::Auditor => RoleWord::Auditor,
        Role::Admin => RoleWord::Admin,
        Role::Peer => RoleWord::Peer,
    }
}
