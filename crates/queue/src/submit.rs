//! Submitting tasks.

use std::collections::BTreeMap;
use std::sync::Arc;

use arbiter_core::model::{
    AuditAction, Operation, Principal, Record, RecordDraft, Shape, Stage, Target, TaskId, TaskKind, TaskSpec,
    TenantId,
};
use arbiter_core::ports::{Effects, Hint, Idempotency, NewTask, SubmitRefusal, SubmitRequest, Submitted};
use arbiter_core::services::Admission;
use tracing::Instrument as _;

use crate::content::Noted;
use crate::error::QueueError;
use crate::service::SecureQueue;
use crate::submission::{Accepted, Prerequisite, Submission};
use crate::validate;

impl SecureQueue {
    /// Submits one task.
    ///
    /// # Errors
    /// See [`QueueError`]. Nothing is stored unless the task was accepted.
    ///
    /// # Cancel safety
    /// The task may be stored although the future is dropped; with an idempotency key a repeat gives the first answer.
    pub async fn submit(
        &self,
        principal: &Principal,
        submission: Submission,
    ) -> Result<Accepted, QueueError> {
        let mut answers = self.submit_many(principal, vec![submission], true).await?;
        answers.pop().unwrap_or(Err(QueueError::NotFound))
    }

    /// Submits up to 1000 tasks with one commit. With `all_or_nothing` one refused task refuses all; otherwise each
    /// has its own answer. The answers stand in the order of the submissions.
    ///
    /// # Errors
    /// The outer error is about the call; inner ones are about single tasks.
    ///
    /// # Cancel safety
    /// As for [`Self::submit`].
    pub async fn submit_many(
        &self,
        principal: &Principal,
        submissions: Vec<Submission>,
        all_or_nothing: bool,
    ) -> Result<Vec<Result<Accepted, QueueError>>, QueueError> {
        let span = tracing::info_span!(
            "TaskQueue.enqueue",
            messaging.batch.message_count = submissions.len()
        );
        self.submit_inner(principal, submissions, all_or_nothing)
            .instrument(span)
            .await
    }

    async fn submit_inner(
        &self,
        principal: &Principal,
        submissions: Vec<Submission>,
        all_or_nothing: bool,
    ) -> Result<Vec<Result<Accepted, QueueError>>, QueueError> {
        let tenant = principal.tenant;
        self.guard_submissions(principal, tenant, &submissions).await?;
        let limit = self.settings.fields.batch;
        if submissions.len() > limit {
            let refused = Err(QueueError::TooLarge {
                field: "tasks".into(),
                limit,
                actual: submissions.len(),
            });
            self.record_refused(principal, std::iter::once(&refused)).await?;
            return refused.map(|_| Vec::new());
        }
        let siblings = submissions.len();
        let ids: Vec<TaskId> = submissions.iter().map(|_| self.ports.ids.task()).collect();
        let mut answers: Vec<Option<Result<Accepted, QueueError>>> = Vec::with_capacity(siblings);
        let mut tasks = Vec::with_capacity(siblings);
        for (place, submission) in submissions.into_iter().enumerate() {
            match self.prepare(principal, tenant, submission, place, &ids).await {
                Ok(task) => {
                    tasks.push(task);
                    answers.push(None);
                }
                Err(error) => answers.push(Some(Err(error))),
            }
        }
        self.record_refused(principal, answers.iter().flatten()).await?;
        if all_or_nothing && answers.iter().any(Option::is_some) {
            let neighbour = |answer: Option<_>| answer.unwrap_or(Err(QueueError::NeighbourRefused));
            return Ok(answers.into_iter().map(neighbour).collect());
        }
        let hints: Vec<Hint> = tasks.iter().map(|task| Hint::Task(task.id)).collect();
        let kinds: Vec<TaskKind> = tasks.iter().map(|task| task.spec.kind.clone()).collect();
        let stored = if tasks.is_empty() {
            Vec::new()
        } else {
            self.ports
                .store
                .submit(SubmitRequest {
                    tasks,
                    all_or_nothing,
                })
                .await?
        };
        if stored.iter().any(|one| matches!(one, Submitted::Stored(_))) {
            self.ports.wakeups.publish(&hints);
        }
        let mut stored = stored.into_iter().zip(kinds);
        Ok(answers
            .into_iter()
            .map(|answer| match answer {
                Some(refused) => refused,
                None => stored
                    .next()
                    .map_or(Err(QueueError::NotFound), |(one, kind)| self.accepted(one, &kind)),
            })
            .collect())
    }

    /// Checks a submission as a submit would, for a caller that asks who would get such a task. Stores nothing.
    ///
    /// # Errors
    /// See [`QueueError`]; a refusal is audited.
    pub async fn preview(&self, principal: &Principal, submission: &Submission) -> Result<(), QueueError> {
        let operation = Operation::RoutingRoute;
        let tenant = principal.tenant;
        self.guard(principal, operation, &Target::of(tenant)).await?;
        let checked = self
            .kind_allowed(principal, tenant, &submission.spec.kind)
            .and_then(|()| validate::submission(&self.settings.fields, submission, 0, 1))
            .and_then(|()| self.stages_installed(&submission.spec));
        let Err(error) = checked else { return Ok(()) };
        let record = self.refusal(principal, operation, AuditAction::Rejected, error.code());
        self.append(record).await?;
        Err(error)
    }

    /// Authorises each distinct sort of task in the call, then limits the call once.
    async fn guard_submissions(
        &self,
        principal: &Principal,
        tenant: TenantId,
        submissions: &[Submission],
    ) -> Result<(), QueueError> {
        let mut targets: Vec<Target> = submissions
            .iter()
            .map(|submission| Target {
                submitter: Some(principal.id),
                band: Some(submission.spec.priority.band()),
                security: Some(submission.spec.security),
                ..Target::of(tenant)
            })
            .collect();
        targets.sort_by_key(|target| (target.band, target.security));
        targets.dedup();
        let last = targets.pop().unwrap_or_else(|| Target {
            submitter: Some(principal.id),
            ..Target::of(tenant)
        });
        for target in &targets {
            self.authorize(principal, Operation::TaskSubmit, target).await?;
        }
        self.guard(principal, Operation::TaskSubmit, &last).await
    }

    /// Validates, fingerprints, applies rules and redacts one submission.
    async fn prepare(
        &self,
        principal: &Principal,
        tenant: TenantId,
        mut submission: Submission,
        place: usize,
        ids: &[TaskId],
    ) -> Result<NewTask, QueueError> {
        self.kind_allowed(principal, tenant, &submission.spec.kind)?;
        validate::submission(&self.settings.fields, &submission, place, ids.len())?;
        self.stages_installed(&submission.spec)?;
        let idempotency = match &submission.idempotency_key {
            Some(key) => {
                self.content.key(key)?;
                let fingerprint = self
                    .fingerprints
                    .fingerprint(&submission)
                    .map_err(|_| QueueError::invalid("input", "holds a number that has no exact form"))?;
                Some(Idempotency {
                    key: key.clone(),
                    fingerprint,
                })
            }
            None => None,
        };
        for rule in &self.rules {
            match rule.admit(tenant, &submission.spec).await {
                Ok(Admission::Allow) => {}
                Ok(Admission::Modify(spec)) => submission.spec = *spec,
                Ok(Admission::Deny { reason }) => return Err(QueueError::invalid("rule", reason)),
                Err(error) => {
                    return Err(QueueError::Internal {
                        operation: "an admission rule",
                        source: Box::new(error),
                    });
                }
            }
        }
        let mut spec = submission.spec;
        let noted = self.content.task(&mut spec, self.settings.suspicious)?;
        spec.after = submission
            .after
            .iter()
            .filter_map(|prerequisite| match *prerequisite {
                Prerequisite::Task(task) => Some(task),
                Prerequisite::Sibling(other) => ids.get(other).copied(),
            })
            .collect();
        spec.after.sort_unstable();
        spec.after.dedup();
        let id = ids.get(place).copied().unwrap_or_else(|| self.ports.ids.task());
        Ok(NewTask {
            id,
            command: self.ports.ids.command(),
            tenant,
            submitter: principal.id,
            spec: Arc::new(spec),
            idempotency,
            open_limit: Some(self.open_limit(tenant)),
            effects: Effects::of(Self::submit_draft(principal, &noted)),
        })
    }

    fn submit_draft(principal: &Principal, noted: &Noted) -> RecordDraft {
        let mut draft = Self::draft(principal, Operation::TaskSubmit);
        if !noted.redacted_fields.is_empty() {
            draft.actions.push(AuditAction::Sanitized);
        }
        if !noted.suspicious.is_empty() {
            draft.actions.push(AuditAction::Flagged);
        }
        if !noted.is_empty() {
            draft.detail = Some(noted.detail());
        }
        draft
    }

    /// A task that asks for a stage which is not installed would wait for ever: it is refused.
    pub(crate) fn stages_installed(&self, spec: &TaskSpec) -> Result<(), QueueError> {
        let missing = |stage: &Stage| {
            !self
                .stages
                .iter()
                .any(|installed| installed.stage() == *stage && installed.accepts(&spec.review))
        };
        match spec.review.stages().iter().find(|stage| missing(stage)) {
            None => Ok(()),
            Some(stage) => {
                let problem = format!(
                    "asks for the stage `{}`, which is not installed here",
                    stage.word()
                );
                Err(QueueError::invalid("review", problem))
            }
        }
    }

    /// Audits refused submissions of one call: one record for each reason, with a count.
    async fn record_refused<'a>(
        &self,
        principal: &Principal,
        refused: impl Iterator<Item = &'a Result<Accepted, QueueError>>,
    ) -> Result<(), QueueError> {
        let mut counts: BTreeMap<&'static str, u64> = BTreeMap::new();
        for error in refused.filter_map(|answer| answer.as_ref().err()) {
            *counts.entry(error.code()).or_default() += 1;
        }
        if counts.is_empty() {
            return Ok(());
        }
        self.ports
            .metrics
            .count("queue.rejected_total", &[], counts.values().sum());
        let records = counts.into_iter().map(|(code, count)| Record {
            count: (count > 1).then_some(count),
            ..self.refusal(principal, Operation::TaskSubmit, AuditAction::Rejected, code)
        });
        self.ports
            .audit
            .append(self.ports.ids.batch(), records.collect())
            .await
            .map_err(QueueError::from)
    }

    fn accepted(&self, submitted: Submitted, kind: &TaskKind) -> Result<Accepted, QueueError> {
        match submitted {
            Submitted::Stored(task) => {
                self.ports
                    .metrics
                    .count("queue.submitted_total", &[("kind", kind.as_str())], 1);
                Ok(Accepted {
                    task: task.id,
                    repeated: false,
                })
            }
            Submitted::Known(task) => Ok(Accepted { task, repeated: true }),
            Submitted::Conflict(task) => Err(QueueError::IdempotencyConflict { task }),
            Submitted::Refused(SubmitRefusal::BacklogFull { open, limit }) => {
                self.ports.metrics.count("queue.backlog_full_total", &[], 1);
                Err(QueueError::BacklogFull { open, limit })
            }
            Submitted::Refused(
                refusal @ (SubmitRefusal::UnknownPrerequisite(_) | SubmitRefusal::Cycle(_)),
            ) => Err(QueueError::invalid("after", refusal.to_string())),
            Submitted::Refused(SubmitRefusal::DeadlinePassed(deadline)) => Err(QueueError::invalid(
                "constraints.deadline",
                format!("has passed: {deadline}"),
            )),
            Submitted::Refused(SubmitRefusal::NeighbourRefused) => Err(QueueError::NeighbourRefused),
        }
    }
}

/// The requirement class that a submission will have, for callers that show who could do it.
impl Submission {
    /// See [`Shape::of`].
    pub fn shape(&self) -> Shape {
        Shape::of(&self.spec)
    }
}
