//! Holders and scopes inside a task's status: a letter, 32 hexadecimal digits, and the kind where there is one.

use std::fmt;

use arbiter_core::model::{AgentId, Holder, NodeId, TaskKind, TenantId};
use arbiter_core::ports::Scope;
use serde::de::{Unexpected, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::primitive::{hex, unhex};

/// What a lease takes up.
#[derive(Debug, Clone)]
pub(super) struct ScopeToken(pub(super) Scope);

/// Who holds a lease.
#[derive(Debug, Clone, Copy)]
pub(super) struct HolderToken(pub(super) Holder);

fn write<S: Serializer>(serializer: S, letter: u8, id: &[u8; 16], kind: &str) -> Result<S::Ok, S::Error> {
    let mut text = String::with_capacity(33 + kind.len());
    text.push(char::from(letter));
    text.extend(hex(id).map(char::from));
    text.push_str(kind);
    serializer.serialize_str(&text)
}

fn parse(text: &str) -> Option<Scope> {
    let (letter, rest) = text.split_at_checked(1)?;
    let (id, kind) = rest.split_at_checked(32)?;
    let id = unhex(id.as_bytes())?;
    match (letter, kind) {
        ("a", "") => Some(Scope::Agent(AgentId::from_bytes(id))),
        ("n", "") => Some(Scope::Node(NodeId::from_bytes(id))),
        ("t", "") => Some(Scope::Tenant(TenantId::from_bytes(id))),
        ("k", kind) => {
            let kind = TaskKind::new(kind).ok()?;
            Some(Scope::TenantKind(TenantId::from_bytes(id), kind))
        }
        _ => None,
    }
}

impl Serialize for ScopeToken {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match &self.0 {
            Scope::Agent(agent) => write(serializer, b'a', agent.as_bytes(), ""),
            Scope::Node(node) => write(serializer, b'n', node.as_bytes(), ""),
            Scope::Tenant(tenant) => write(serializer, b't', tenant.as_bytes(), ""),
            Scope::TenantKind(tenant, kind) => write(serializer, b'k', tenant.as_bytes(), kind.as_str()),
        }
    }
}

impl Serialize for HolderToken {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match &self.0 {
            Holder::Agent(agent) => write(serializer, b'a', agent.as_bytes(), ""),
            Holder::Node(node) => write(serializer, b'n', node.as_bytes(), ""),
        }
    }
}

impl<'de> Deserialize<'de> for ScopeToken {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(ScopeVisitor).map(Self)
    }
}

impl<'de> Deserialize<'de> for HolderToken {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match deserializer.deserialize_str(ScopeVisitor)? {
            Scope::Agent(agent) => Ok(Self(Holder::Agent(agent))),
            Scope::Node(node) => Ok(Self(Holder::Node(node))),
            Scope::Tenant(_) | Scope::TenantKind(..) => {
                Err(serde::de::Error::custom("a tenant cannot hold a lease"))
            }
        }
    }
}

struct ScopeVisitor;

impl Visitor<'_> for ScopeVisitor {
    type Value = Scope;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a letter and 32 hexadecimal digits")
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Scope, E> {
        parse(text).ok_or_else(|| E::invalid_value(Unexpected::Str(text), &self))
    }
}
