//! A task as its submitter would have written it.

use arbiter_core::model::{
    ArtifactRef, Budget, Constraints, OnPrerequisiteFailure, Priority, Ratio, ReviewPlan, SecurityLevel,
    TaskId, TaskSpec, Timestamp,
};
use serde_json::value::RawValue;

use super::{
    ArtifactForm, BudgetForm, ComplianceForm, ConstraintsForm, OnFailureForm, PriorityForm, RequiresForm,
    ReviewForm, SecurityForm, TaskForm, VerificationForm,
};

/// A specification as a submitter would write it, defaults left out.
impl From<&TaskSpec> for TaskForm {
    fn from(spec: &TaskSpec) -> Self {
        let default = Constraints::default();
        let TaskSpec {
            constraints,
            requires,
            review,
            ..
        } = spec;
        let Budget {
            files,
            lines,
            tokens,
            cost_micros,
        } = constraints.budget;
        let timeout = constraints.attempt_timeout;
        Self {
            kind: spec.kind.to_string(),
            title: spec.title.clone(),
            instructions: spec.instructions.clone(),
            input: spec
                .input
                .as_ref()
                .and_then(|input| RawValue::from_string(input.as_str().to_owned()).ok()),
            artifacts: spec.artifacts.iter().map(ArtifactForm::from).collect(),
            priority: (spec.priority != Priority::default())
                .then(|| PriorityForm::Number(spec.priority.get())),
            requires: RequiresForm {
                languages: requires.languages.clone(),
                specialisations: requires.specialisations.clone(),
                tools: requires.tools.clone(),
                minimum_success_rate: requires.minimum_success_rate.map(Ratio::get),
            },
            constraints: ConstraintsForm {
                deadline: constraints.deadline.as_ref().map(Timestamp::to_string),
                attempt_timeout_seconds: (timeout != default.attempt_timeout)
                    .then_some(timeout.as_secs_f64()),
                max_attempts: Some(constraints.max_attempts).filter(|most| *most != default.max_attempts),
                budget: BudgetForm {
                    files,
                    lines,
                    tokens,
                    cost_micros,
                },
            },
            not_before: spec.not_before.as_ref().map(Timestamp::to_string),
            after: spec.after.iter().map(TaskId::to_string).collect(),
            on_prerequisite_failure: match spec.on_prerequisite_failure {
                OnPrerequisiteFailure::Fail => None,
                OnPrerequisiteFailure::Hold => Some(OnFailureForm::Hold),
            },
            review: review_form(review),
            labels: spec.labels.clone(),
            security: match spec.security {
                SecurityLevel::Internal => None,
                SecurityLevel::Confidential => Some(SecurityForm::Confidential),
                SecurityLevel::Restricted => Some(SecurityForm::Restricted),
            },
            idempotency_key: None,
            traceparent: spec.trace.as_ref().map(|trace| trace.as_str().to_owned()),
        }
    }
}

fn review_form(plan: &ReviewPlan) -> ReviewForm {
    ReviewForm {
        verification: plan.verification.as_ref().map(|plan| VerificationForm {
            methods: plan.methods.clone(),
            minimum_confidence: plan.minimum_confidence.map(Ratio::get),
        }),
        rubric: plan.rubric.clone(),
        compliance: plan.compliance.as_ref().map(|plan| ComplianceForm {
            gates: plan.gates.clone(),
            working_spec: plan.working_spec.clone(),
        }),
    }
}

impl From<&ArtifactRef> for ArtifactForm {
    fn from(artifact: &ArtifactRef) -> Self {
        Self {
            name: artifact.name.clone(),
            digest: artifact.digest.to_string(),
            size_bytes: artifact.size_bytes,
        }
    }
}
