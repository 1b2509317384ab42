//! Erasures of tasks and persons.

use arbiter_core::model::{ErasureId, TenantId};
use arbiter_net::Method;
use arbiter_wire::http::{ErasureForm, ErasurePageView, ErasureView};

use super::Operation;
use crate::client::Client;
use crate::error::ClientError;

pub(super) const REQUEST: Operation = ("erasure.request", Method::POST, "/v1/erasures");
pub(super) const LIST: Operation = ("erasure.list", Method::GET, "/v1/erasures");
pub(super) const GET: Operation = ("erasure.get", Method::GET, "/v1/erasures/{id}");

impl Client {
    /// Erases what was kept about a task or a principal of a tenant, or of one's own. It goes on in the background.
    ///
    /// # Errors
    /// [`ClientError`]
    pub async fn erasure_request(
        &self,
        tenant: Option<TenantId>,
        erasure: &ErasureForm,
    ) -> Result<ErasureView, ClientError> {
        let query = [("tenant", tenant.map(|tenant| tenant.to_string()))];
        self.call_with(&REQUEST, &[], &query).json(erasure).read().await
    }

    /// A page of the erasures in a tenant, or in one's own, by id.
    ///
    /// # Errors
    /// [`ClientError`]
    pub async fn erasure_list(
        &self,
        tenant: Option<TenantId>,
        cursor: Option<String>,
        limit: Option<usize>,
    ) -> Result<ErasurePageView, ClientError> {
        let query = [
            ("tenant", tenant.map(|tenant| tenant.to_string())),
            ("cursor", cursor),
            ("limit", limit.map(|limit| limit.to_string())),
        ];
        self.call_with(&LIST, &[], &query).read().await
    }

    /// Reads how far an erasure is.
    ///
    /// # Errors
    /// [`ClientError`]
    pub async fn erasure_get(
        &self,
        tenant: Option<TenantId>,
        erasure: ErasureId,
    ) -> Result<ErasureView, ClientError> {
        let query = [("tenant", tenant.map(|tenant| tenant.to_string()))];
        self.call_with(&GET, &[&erasure], &query).read().await
    }
}
