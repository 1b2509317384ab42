//! Tasks that are submitted later.

use arbiter_core::model::{Operation, Principal, Target, TaskSpec, TenantId};

use crate::error::QueueError;
use crate::service::SecureQueue;
use crate::submission::Submission;
use crate::validate;

impl SecureQueue {
    /// Checks a task that is kept to be submitted later, as if `principal` submitted it now, and redacts it. Admission
    /// rules and limits are for each submit.
    pub(crate) async fn template(
        &self,
        principal: &Principal,
        tenant: TenantId,
        submission: Submission,
    ) -> Result<TaskSpec, QueueError> {
        let target = Target {
            submitter: Some(principal.id),
            band: Some(submission.spec.priority.band()),
            security: Some(submission.spec.security),
            ..Target::of(tenant)
        };
        self.authorize(principal, Operation::TaskSubmit, &target).await?;
        self.kind_allowed(principal, tenant, &submission.spec.kind)?;
        validate::submission(&self.settings.fields, &submission, 0, 1)?;
        self.stages_installed(&submission.spec)?;
        let mut spec = submission.spec;
        self.content.task(&mut spec, self.settings.suspicious)?;
        Ok(spec)
    }
}
