//! What is counted while leases are open, as a key.

use arbiter_core::model::TaskKind;
use arbiter_core::ports::Scope;

use super::CodecError;
use super::common::{parse, value};

/// The key under which a scope is counted: `a:<agent>`, `n:<node>`, `t:<tenant>` or `k:<tenant>:<kind>`.
pub fn scope_key(scope: &Scope) -> String {
    match scope {
        Scope::Agent(agent) => format!("a:{agent}"),
        Scope::Node(node) => format!("n:{node}"),
        Scope::Tenant(tenant) => format!("t:{tenant}"),
        Scope::TenantKind(tenant, kind) => format!("k:{tenant}:{kind}"),
    }
}

pub(super) fn decode_scope(key: &str) -> Result<Scope, CodecError> {
    match key.split_once(':') {
        Some(("a", id)) => Ok(Scope::Agent(parse("agent id", id)?)),
        Some(("n", id)) => Ok(Scope::Node(parse("node id", id)?)),
        Some(("t", id)) => Ok(Scope::Tenant(parse("tenant id", id)?)),
        Some(("k", rest)) => {
            let (tenant, kind) = rest.split_once(':').ok_or_else(|| value("scope", key))?;
            let kind = TaskKind::new(kind).map_err(|_| value("task kind", kind))?;
            Ok(Scope::TenantKind(parse("tenant id", tenant)?, kind))
        }
        _ => Err(value("scope", key)),
    }
}
