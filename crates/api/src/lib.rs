#![doc = include_str!("../README.md")]

mod auth;
mod body;
mod cursor;
mod etag;
mod export;
mod failure;
mod groups;
mod openapi;
mod outer;
mod problem;
mod rates;
mod repeats;
mod routes;
mod server;
mod settings;
mod state;
mod timely;
mod tls;
pub mod view;

pub use export::{AuditExport, AuditExportError, audit_detail, audit_page};
pub use openapi::{document, group_document};
pub use server::{Server, ServerError};
pub use settings::ApiSettings;
pub use state::{
    Api, ApiParts, AuditKeys, BackupTaken, Backups, MetricsText, Readiness, ReadinessPart, ReadinessSource,
    RoutingSource,
};
pub use tls::{TlsError, TlsIdentity};

/// The operations of the interface, as `group.verb`, with method and path: what the document lists and the client is
/// compared with.
pub fn operations() -> Vec<(&'static str, http::Method, &'static str)> {
    groups::all().listed()
}
