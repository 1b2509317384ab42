//! Tenants: what is kept of them, and what may be done with them.

mod deletion;
mod record;
mod service;

pub use record::{Deletion, NewTenant, Suspension, Tenant, TenantChange, TenantLimits};
pub use service::{TenantPage, TenantSettings, Tenants};

pub(crate) use record::{Body, KIND, tenant};
