//! The secure queue: what all its operations share.

use std::sync::Arc;
use std::time::Duration;

use arbiter_core::model::{
    AuditAction, Operation, Principal, Record, RecordDraft, RecordOutcome, Resource, Target, TaskId,
    TenantScope,
};
use arbiter_core::ports::{
    AuditLog, AuthenticationError, Authenticator, Authorizer, Clock, Credential, Draw, Drawn, IdSource,
    Metrics, RateLimiter, TaskReader, TaskStore, Verdict, Wakeups,
};
use arbiter_core::services::{AdmissionRule, FailureHandler, ReviewStage};

use crate::content::ContentPolicy;
use crate::error::QueueError;
use crate::fingerprint::FingerprintKey;
use crate::refusals::{Refusals, Refused};
use crate::sample::ProgressSample;
use crate::settings::{RateLimit, Settings};
use crate::traffic::TrafficBoard;

/// What the queue needs.
#[derive(Clone)]
#[expect(
    missing_debug_implementations,
    reason = "a bundle of trait objects has nothing to show"
)]
pub struct QueuePorts {
    /// Keeps tasks.
    pub store: Arc<dyn TaskStore>,
    /// Reads them.
    pub reader: Arc<dyn TaskReader>,
    /// Keeps records of refused calls.
    pub audit: Arc<dyn AuditLog>,
    /// Checks credentials.
    pub authenticator: Arc<dyn Authenticator>,
    /// Decides who may do what.
    pub authorizer: Arc<dyn Authorizer>,
    /// Limits rates.
    pub limiter: Arc<dyn RateLimiter>,
    /// Wakes dispatchers.
    pub wakeups: Arc<dyn Wakeups>,
    /// Takes measurements.
    pub metrics: Arc<dyn Metrics>,
    /// Tells the time.
    pub clock: Arc<dyn Clock>,
    /// Makes ids.
    pub ids: Arc<dyn IdSource>,
    /// Says what follows a failed attempt.
    pub failures: Arc<dyn FailureHandler>,
}

/// Admission and the operations on tasks. Each one: authenticate, authorise, limit, act, audit.
pub struct SecureQueue {
    pub(crate) ports: QueuePorts,
    pub(crate) settings: Settings,
    pub(crate) content: ContentPolicy,
    pub(crate) fingerprints: FingerprintKey,
    pub(crate) rules: Vec<Arc<dyn AdmissionRule>>,
    pub(crate) stages: Vec<Arc<dyn ReviewStage>>,
    pub(crate) refusals: Refusals,
    pub(crate) progress: ProgressSample,
    /// What is set for tenants, if anything can be.
    pub(crate) board: Option<Arc<TrafficBoard>>,
}

impl std::fmt::Debug for SecureQueue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SecureQueue")
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}

impl SecureQueue {
    /// A queue over these ports. `stages` are the installed review stages: a task that asks for another one is
    /// refused at submit.
    pub fn new(
        ports: QueuePorts,
        settings: Settings,
        content: ContentPolicy,
        fingerprints: FingerprintKey,
        rules: Vec<Arc<dyn AdmissionRule>>,
        stages: Vec<Arc<dyn ReviewStage>>,
    ) -> Self {
        let refusals = Refusals::new(settings.refusal_window);
        Self {
            ports,
            settings,
            content,
            fingerprints,
            rules,
            stages,
            refusals,
            progress: ProgressSample::default(),
            board: None,
        }
    }

    /// Turns a credential into a principal. `source` says where the call came from, for summing up floods; it does
    /// not enter the audit log as it is.
    ///
    /// # Errors
    /// [`QueueError::AuthFailed`] for every credential that is not accepted, audited with the real reason;
    /// [`QueueError::Unavailable`] when it could not be checked.
    pub async fn authenticate(&self, credential: &Credential, source: &str) -> Result<Principal, QueueError> {
        let error = match self.ports.authenticator.authenticate(credential).await {
            Ok(principal) => return Ok(principal),
            Err(AuthenticationError::Backend(source)) => {
                return Err(QueueError::Unavailable {
                    retry_after: Duration::from_secs(1),
                    source,
                });
            }
            Err(error) => error,
        };
        self.ports.metrics.count(
            "queue.authentication_failures_total",
            &[("reason", error.word())],
            1,
        );
        let refused = Refused {
            source: format!("auth/{source}"),
            tenant: arbiter_core::model::TenantId::SYSTEM,
            principal: None,
            operation: None,
            action: AuditAction::AuthenticationFailed,
            reason: error.word(),
        };
        self.note(refused).await?;
        Err(QueueError::AuthFailed)
    }

    /// Authorises and limits a call.
    pub(crate) async fn guard(
        &self,
        principal: &Principal,
        operation: Operation,
        target: &Target,
    ) -> Result<(), QueueError> {
        self.authorize(principal, operation, target).await?;
        self.limit(principal, operation, target).await
    }

    /// Authorises; a refusal is limited and audited.
    pub(crate) async fn authorize(
        &self,
        principal: &Principal,
        operation: Operation,
        target: &Target,
    ) -> Result<(), QueueError> {
        self.in_good_standing(principal, operation).await?;
        if self.allows(principal, operation, target)? {
            return Ok(());
        }
        self.ports.metrics.count(
            "queue.authorization_failures_total",
            &[("operation", operation.word())],
            1,
        );
        self.draw(principal, operation, &[self.call_of(principal)])
            .await?;
        let mut record = self.refusal(
            principal,
            operation,
            AuditAction::AuthorizationFailed,
            "forbidden",
        );
        record.resource = match (target.task, target.agent) {
            (Some(task), _) => Resource::new("task", task.to_string()),
            (None, Some(agent)) => Resource::new("agent", agent.to_string()),
            (None, None) => record.resource,
        };
        self.append(record).await?;
        Err(QueueError::Forbidden)
    }

    /// Whether the policies allow it; a decision that cannot be made is an error, not a permission.
    pub(crate) fn allows(
        &self,
        principal: &Principal,
        operation: Operation,
        target: &Target,
    ) -> Result<bool, QueueError> {
        self.ports
            .authorizer
            .authorize(principal, operation, target)
            .map(|verdict| verdict == Verdict::Allowed)
            .map_err(|error| QueueError::Internal {
                operation: "authorisation",
                source: Box::new(error),
            })
    }

    /// Draws from the buckets of the call.
    async fn limit(
        &self,
        principal: &Principal,
        operation: Operation,
        target: &Target,
    ) -> Result<(), QueueError> {
        let draws = self.draws(principal, operation, target);
        self.draw(principal, operation, &draws).await
    }

    /// The buckets of a call: the principal's, then the tenant's if there is one.
    pub(crate) fn draws(&self, principal: &Principal, operation: Operation, target: &Target) -> Vec<Draw> {
        if operation != Operation::TaskSubmit {
            return vec![self.call_of(principal)];
        }
        let tenant = target.tenant.unwrap_or(principal.tenant);
        vec![
            draw(
                format!("submit/principal/{}", principal.id),
                self.settings.submit_per_principal,
            ),
            draw(format!("submit/tenant/{tenant}"), self.submit_rate(tenant)),
        ]
    }

    /// What a call that is not a submit takes, and what a call that is denied takes, so that denials do not flood the
    /// audit log and take nothing from the tenant.
    pub(crate) fn call_of(&self, principal: &Principal) -> Draw {
        draw(
            format!("call/principal/{}", principal.id),
            self.settings.calls_per_principal,
        )
    }

    pub(crate) async fn draw(
        &self,
        principal: &Principal,
        operation: Operation,
        draws: &[Draw],
    ) -> Result<(), QueueError> {
        let Drawn::Refused { retry_after } = self.ports.limiter.draw(draws).await? else {
            return Ok(());
        };
        self.ports
            .metrics
            .count("queue.rate_limited_total", &[("operation", operation.word())], 1);
        let refused = Refused {
            source: format!("rate/{}/{}", principal.id, operation.word()),
            tenant: principal.tenant,
            principal: Some(principal.id),
            operation: Some(operation),
            action: AuditAction::RateLimited,
            reason: "rate_limited",
        };
        self.note(refused).await?;
        Err(QueueError::RateLimited { retry_after })
    }

    /// Which tenants' data the principal's reads see at all; policies decide further.
    pub(crate) fn scope(principal: &Principal) -> TenantScope {
        if principal.roles.contains(&arbiter_core::model::Role::Admin) {
            TenantScope::All
        } else {
            TenantScope::Tenant(principal.tenant)
        }
    }

    /// A record of a refused call.
    pub(crate) fn refusal(
        &self,
        principal: &Principal,
        operation: Operation,
        action: AuditAction,
        reason: &'static str,
    ) -> Record {
        Record {
            at: self.ports.clock.now(),
            tenant: principal.tenant,
            principal: Some(principal.id),
            operation: Some(operation),
            actions: vec![action],
            resource: Resource::new("call", ""),
            outcome: RecordOutcome::Refused,
            reason: Some(reason),
            count: None,
            detail: None,
        }
    }

    /// Passes on what a check of a call about a task says; a refusal is audited.
    pub(crate) async fn checked<T: Send>(
        &self,
        principal: &Principal,
        operation: Operation,
        task: TaskId,
        checked: Result<T, QueueError>,
    ) -> Result<T, QueueError> {
        let error = match checked {
            Ok(value) => return Ok(value),
            Err(error) => error,
        };
        let mut record = self.refusal(principal, operation, AuditAction::Rejected, error.code());
        record.resource = Resource::new("task", task.to_string());
        self.append(record).await?;
        Err(error)
    }

    /// Keeps a record of a refused call. If it cannot be kept, the operation fails with the store's error.
    pub(crate) async fn append(&self, record: Record) -> Result<(), QueueError> {
        self.ports
            .audit
            .append(self.ports.ids.batch(), vec![record])
            .await
            .map_err(QueueError::from)
    }

    /// Keeps a record of a refusal that may come in floods: the first at once, the rest summed.
    pub(crate) async fn note(&self, refused: Refused) -> Result<(), QueueError> {
        match self.refusals.note(refused, self.ports.clock.now()) {
            Some(record) => match self.append(record.clone()).await {
                Ok(()) => Ok(()),
                Err(error) => {
                    // It may sum up others, whose callers were told that they are on record.
                    self.refusals.give_back(vec![record]);
                    Err(error)
                }
            },
            None => Ok(()),
        }
    }

    /// Writes the sums of refusals whose window has ended. The owner of the queue calls it on a timer and at shutdown
    /// (`all`).
    ///
    /// # Errors
    /// The store's; what was not written is kept for the next call.
    pub async fn flush_refusals(&self, all: bool) -> Result<(), QueueError> {
        let records = self.refusals.flush(self.ports.clock.now(), all);
        if records.is_empty() {
            return Ok(());
        }
        match self
            .ports
            .audit
            .append(self.ports.ids.batch(), records.clone())
            .await
        {
            Ok(()) => Ok(()),
            Err(error) => {
                self.refusals.give_back(records);
                Err(error.into())
            }
        }
    }

    /// The caller's part of a record.
    pub(crate) fn draft(principal: &Principal, operation: Operation) -> RecordDraft {
        RecordDraft::by(principal.id, operation)
    }
}

fn draw(bucket: String, limit: RateLimit) -> Draw {
    Draw {
        bucket,
        per_second: limit.per_second,
        burst: limit.burst,
        cost: 1,
    }
}
