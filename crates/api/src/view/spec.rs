//! What was asked.

use arbiter_core::model::{
    Budget, CompliancePlan, Constraints, OnPrerequisiteFailure, Ratio, Requires, ReviewPlan, TaskSpec,
    Timestamp, VerificationPlan,
};
use arbiter_wire::http::SpecView;
use arbiter_wire::task::{
    BudgetForm, ComplianceForm, ConstraintsForm, OnFailureForm, RequiresForm, ReviewForm, VerificationForm,
};

pub(super) fn view(spec: &TaskSpec) -> SpecView {
    SpecView {
        instructions: spec.instructions.clone(),
        input: spec.input.as_ref().map(arbiter_core::model::Json::value),
        artifacts: spec.artifacts.iter().map(super::artifact).collect(),
        requires: requires(&spec.requires),
        constraints: constraints(&spec.constraints),
        not_before: spec.not_before.as_ref().map(Timestamp::to_string),
        after: spec.after.iter().map(ToString::to_string).collect(),
        on_prerequisite_failure: match spec.on_prerequisite_failure {
            OnPrerequisiteFailure::Fail => OnFailureForm::Fail,
            OnPrerequisiteFailure::Hold => OnFailureForm::Hold,
        },
        review: review(&spec.review),
        traceparent: spec.trace.as_ref().map(|trace| trace.as_str().to_owned()),
    }
}

fn requires(requires: &Requires) -> RequiresForm {
    RequiresForm {
        languages: requires.languages.clone(),
        specialisations: requires.specialisations.clone(),
        tools: requires.tools.clone(),
        minimum_success_rate: requires.minimum_success_rate.map(Ratio::get),
    }
}

fn constraints(constraints: &Constraints) -> ConstraintsForm {
    ConstraintsForm {
        deadline: constraints.deadline.as_ref().map(Timestamp::to_string),
        attempt_timeout_seconds: Some(constraints.attempt_timeout.as_secs_f64()),
        max_attempts: Some(constraints.max_attempts),
        budget: budget(&constraints.budget),
    }
}

fn budget(budget: &Budget) -> BudgetForm {
    BudgetForm {
        files: budget.files,
        lines: budget.lines,
        tokens: budget.tokens,
        cost_micros: budget.cost_micros,
    }
}

fn review(review: &ReviewPlan) -> ReviewForm {
    ReviewForm {
        verification: review.verification.as_ref().map(verification),
        rubric: review.rubric.clone(),
        compliance: review.compliance.as_ref().map(compliance),
    }
}

fn verification(plan: &VerificationPlan) -> VerificationForm {
    VerificationForm {
        methods: plan.methods.clone(),
        minimum_confidence: plan.minimum_confidence.map(Ratio::get),
    }
}

fn compliance(plan: &CompliancePlan) -> ComplianceForm {
    ComplianceForm {
        gates: plan.gates.clone(),
        working_spec: plan.working_spec.clone(),
    }
}
