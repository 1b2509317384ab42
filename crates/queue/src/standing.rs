//! What is set for the tenant of a caller, as admission heeds it.

use std::sync::Arc;

use arbiter_core::model::{AuditAction, Operation, Principal, TaskKind, TenantId};

use crate::error::QueueError;
use crate::refusals::Refused;
use crate::service::SecureQueue;
use crate::settings::RateLimit;
use crate::traffic::{Terms, TrafficBoard};

impl SecureQueue {
    /// The queue that heeds what is set for tenants. Without a board every tenant is as the settings say.
    #[must_use]
    pub fn with_board(mut self, board: Arc<TrafficBoard>) -> Self {
        self.board = Some(board);
        self
    }

    /// Whether a tenant is suspended, as far as this node knows.
    pub fn is_suspended(&self, tenant: TenantId) -> bool {
        self.terms(tenant).is_some_and(|terms| terms.suspended)
    }

    /// Refuses every call of a principal whose tenant is suspended: limited, and floods are summed in the audit log.
    pub(crate) async fn in_good_standing(
        &self,
        principal: &Principal,
        operation: Operation,
    ) -> Result<(), QueueError> {
        if !self.is_suspended(principal.tenant) {
            return Ok(());
        }
        self.ports.metrics.count(
            "queue.authorization_failures_total",
            &[("operation", operation.word())],
            1,
        );
        self.draw(principal, operation, &[self.call_of(principal)])
            .await?;
        let refused = Refused {
            source: format!("suspended/{}/{}", principal.id, operation.word()),
            tenant: principal.tenant,
            principal: Some(principal.id),
            operation: Some(operation),
            action: AuditAction::AuthorizationFailed,
            reason: "tenant_suspended",
        };
        self.note(refused).await?;
        Err(QueueError::TenantSuspended)
    }

    /// How many tasks of a tenant may be open.
    pub(crate) fn open_limit(&self, tenant: TenantId) -> u64 {
        self.terms(tenant)
            .and_then(|terms| terms.limits.open_tasks)
            .unwrap_or(self.settings.open_tasks_per_tenant)
    }

    /// How fast a tenant may submit.
    pub(crate) fn submit_rate(&self, tenant: TenantId) -> RateLimit {
        self.terms(tenant)
            .and_then(|terms| terms.limits.submit)
            .unwrap_or(self.settings.submit_per_tenant)
    }

    /// Whether a principal may submit tasks of a kind: by its own kinds, else its tenant's, else everybody's.
    pub(crate) fn kind_allowed(
        &self,
        principal: &Principal,
        tenant: TenantId,
        kind: &TaskKind,
    ) -> Result<(), QueueError> {
        let terms = self.terms(tenant);
        let set = terms.as_ref().and_then(|terms| terms.limits.kinds.as_ref());
        let tenants = set.or_else(|| self.settings.tenant_kinds.get(&tenant));
        let allowed = match principal.kinds.as_ref().or(tenants) {
            Some(named) => named.contains(kind),
            None => kind.is_built_in() || self.settings.extra_kinds.contains(kind),
        };
        if allowed {
            Ok(())
        } else {
            Err(QueueError::KindNotAllowed {
                kind: kind.to_string(),
            })
        }
    }

    fn terms(&self, tenant: TenantId) -> Option<Arc<Terms>> {
        self.board.as_ref().and_then(|board| board.terms(tenant))
    }
}
