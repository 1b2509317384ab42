//! What is counted while leases are open, as a key.

use arbiter_core::ports::Scope;

/// The key under which a scope is counted: `a:<agent>`, `n:<node>`, `t:<tenant>` or `k:<tenant>:<kind>`.
pub fn scope_key(scope: &Scope) -> String {
    match scope {
        Scope::Agent(agent) => format!("a:{agent}"),
        Scope::Node(node) => format!("n:{node}"),
        Scope::Tenant(tenant) => format!("t:{tenant}"),
        Scope::TenantKind(tenant, kind) => format!("k:{tenant}:{kind}"),
    }
}
