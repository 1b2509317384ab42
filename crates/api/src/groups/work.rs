//! The agents' side: acknowledge, keep, hand in, give back.

use std::time::Duration;

use arbiter_core::model::{
    ArtifactRef, CommandId, Digest, Failure as AttemptFailure, FailureClass, Fence, Json as JsonText,
    Principal, Progress, Ratio, Report, TaskId, TenantId, Usage,
};
use arbiter_core::ports::LeaseStatus;
use arbiter_core::services::{Beat, WorkDesk as _, WorkRef};
use arbiter_orchestration::Asked;
use arbiter_wire::http::{
    AttemptForm, BeatForm, ClaimForm, ClaimedView, DeclineForm, FailForm, HeartbeatForm, HeartbeatView,
    LeaseView, LeaseWord, ReportForm, ToldForm, UsageForm,
};
use arbiter_wire::task::ArtifactForm;
use axum::Json;
use axum::extract::State;
use http::StatusCode;
use serde_json::value::RawValue;

use crate::auth::Caller;
use crate::body::JsonBody;
use crate::failure::Failure;
use crate::routes::{Operation, Routes};
use crate::state::Api;
use crate::view;

const MOVES: &[&str] = &[
    "lease_lost",
    "illegal_transition",
    "precondition_failed",
    "over_budget",
];
const DONE: &str = "It is done; sending it again with the same `command` gives the same answer";
/// The most attempts of one heartbeat.
const MAX_BEATS: usize = 10_000;
/// The most tasks of one claim.
const MAX_CLAIM: u32 = 100;
/// The longest wait of one claim.
const MAX_WAIT_SECONDS: u32 = 60;

pub(super) fn routes() -> Routes {
    Routes::default()
        .add(
            Operation::post("/v1/work/claim", "work.claim", "Ask for work, and wait for it")
                .body::<ClaimForm>()
                .answers::<ClaimedView>(200, "What to work on, perhaps nothing")
                .errors(&["not_found", "registry_unavailable"])
                .waits(),
            claim,
        )
        .add(
            Operation::post("/v1/work/acknowledge", "work.acknowledge", "Take an assignment")
                .body::<AttemptForm>()
                .answers_with(204, "", DONE)
                .errors(MOVES),
            acknowledge,
        )
        .add(
            Operation::post(
                "/v1/work/heartbeat",
                "work.heartbeat",
                "Keep leases and tell progress",
            )
            .body::<HeartbeatForm>()
            .answers::<HeartbeatView>(200, "What became of each lease"),
            heartbeat,
        )
        .add(
            Operation::post(
                "/v1/work/progress",
                "work.progress",
                "Tell progress of one attempt, and keep its lease",
            )
            .body::<ToldForm>()
            .answers::<LeaseView>(200, "What became of the lease"),
            progress,
        )
        .add(
            Operation::post("/v1/work/report", "work.report", "Hand in an output")
                .body::<ReportForm>()
                .answers_with(204, "", DONE)
                .errors(MOVES),
            report,
        )
        .add(
            Operation::post("/v1/work/fail", "work.fail", "Report a failed attempt")
                .body::<FailForm>()
                .answers_with(204, "", DONE)
                .errors(MOVES),
            fail,
        )
        .add(
            Operation::post("/v1/work/decline", "work.decline", "Give an assignment back")
                .body::<DeclineForm>()
                .answers_with(204, "", DONE)
                .errors(MOVES),
            decline,
        )
}

async fn claim(
    State(api): State<Api>,
    Caller(caller): Caller,
    JsonBody(form): JsonBody<ClaimForm>,
) -> Result<Json<ClaimedView>, Failure> {
    if !(1..=MAX_CLAIM).contains(&form.slots) {
        return Err(Failure::invalid("slots", format!("must lie in 1..={MAX_CLAIM}")));
    }
    if form.wait_seconds > MAX_WAIT_SECONDS {
        return Err(Failure::invalid(
            "wait_seconds",
            format!("must lie in 0..={MAX_WAIT_SECONDS}"),
        ));
    }
    if form.holding.len() > MAX_BEATS {
        return Err(Failure::invalid(
            "holding",
            format!("has more than {MAX_BEATS} items"),
        ));
    }
    // What is no id is held by nobody.
    let holding = form
        .holding
        .iter()
        .filter_map(|held| Some((held.task.parse::<TaskId>().ok()?, Fence(held.fence))))
        .collect();
    let asked = Asked {
        slots: form.slots,
        holding,
        wait: Duration::from_secs(form.wait_seconds.into()),
    };
    let parts = api.parts();
    let pulled = parts.work.claim(&caller, asked, &parts.stop).await?;
    Ok(Json(ClaimedView {
        work: pulled.iter().map(view::work).collect(),
    }))
}

async fn acknowledge(
    State(api): State<Api>,
    Caller(caller): Caller,
    JsonBody(form): JsonBody<AttemptForm>,
) -> Result<StatusCode, Failure> {
    let work = work_ref(&api, &caller, &form)?;
    api.parts().work.acknowledge(&caller, work).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn heartbeat(
    State(api): State<Api>,
    Caller(caller): Caller,
    JsonBody(form): JsonBody<HeartbeatForm>,
) -> Result<Json<HeartbeatView>, Failure> {
    if form.attempts.len() > MAX_BEATS {
        return Err(Failure::invalid(
            "attempts",
            format!("has more than {MAX_BEATS} items"),
        ));
    }
    // A malformed id is held by nobody: that item is lost, the others are kept.
    let mut statuses = vec![LeaseStatus::Lost; form.attempts.len()];
    let (mut places, mut beats) = (Vec::new(), Vec::new());
    for (place, beat_form) in form.attempts.into_iter().enumerate() {
        let Ok(task) = beat_form.task.parse::<TaskId>() else {
            continue;
        };
        places.push(place);
        beats.push(beat(&api, &caller, task, beat_form)?);
    }
    let told = api.parts().work.heartbeat(&caller, beats).await?;
    for (place, status) in places.into_iter().zip(told) {
        if let Some(slot) = statuses.get_mut(place) {
            *slot = status;
        }
    }
    Ok(Json(HeartbeatView {
        leases: statuses.into_iter().map(lease).collect(),
    }))
}

async fn progress(
    State(api): State<Api>,
    Caller(caller): Caller,
    JsonBody(form): JsonBody<ToldForm>,
) -> Result<Json<LeaseView>, Failure> {
    // A malformed id is held by nobody.
    let Ok(task) = form.task.parse::<TaskId>() else {
        return Ok(Json(lease(LeaseStatus::Lost)));
    };
    let told = BeatForm {
        task: form.task,
        tenant: form.tenant,
        fence: form.fence,
        progress: Some(form.progress),
        usage: form.usage,
    };
    let told = beat(&api, &caller, task, told)?;
    Ok(Json(lease(api.queue().progress(&caller, told).await?)))
}

fn lease(status: LeaseStatus) -> LeaseView {
    let (status, until) = match status {
        LeaseStatus::Held { until } => (LeaseWord::Held, Some(until.to_string())),
        // The queue has ended the task by then: nobody wants the output.
        LeaseStatus::OverBudget { .. } | LeaseStatus::Cancelled => (LeaseWord::Cancelled, None),
        LeaseStatus::Lost => (LeaseWord::Lost, None),
    };
    LeaseView { status, until }
}

async fn report(
    State(api): State<Api>,
    Caller(caller): Caller,
    JsonBody(form): JsonBody<ReportForm>,
) -> Result<StatusCode, Failure> {
    let work = work_ref(&api, &caller, &form.attempt)?;
    let report = Report {
        output: form.output.map(|raw| json("output", &raw)).transpose()?,
        artifacts: form
            .artifacts
            .into_iter()
            .map(artifact)
            .collect::<Result<_, _>>()?,
        claims: form
            .claims
            .iter()
            .map(|raw| json("claims", raw))
            .collect::<Result<_, _>>()?,
        evidence: form
            .evidence
            .iter()
            .map(|raw| json("evidence", raw))
            .collect::<Result<_, _>>()?,
        usage: usage(form.usage),
        not_enforced: None,
    };
    api.parts().work.report(&caller, work, report).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn fail(
    State(api): State<Api>,
    Caller(caller): Caller,
    JsonBody(form): JsonBody<FailForm>,
) -> Result<StatusCode, Failure> {
    let work = work_ref(&api, &caller, &form.attempt)?;
    let failure = AttemptFailure {
        class: FailureClass::Agent,
        code: form.class,
        message: form.message,
        usage: usage(form.usage),
        // Nobody can say from here what the agent's machine holds it to.
        not_enforced: None,
    };
    api.parts().work.fail(&caller, work, failure).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn decline(
    State(api): State<Api>,
    Caller(caller): Caller,
    JsonBody(form): JsonBody<DeclineForm>,
) -> Result<StatusCode, Failure> {
    let work = work_ref(&api, &caller, &form.attempt)?;
    api.parts().work.decline(&caller, work, form.reason).await?;
    Ok(StatusCode::NO_CONTENT)
}

fn work_ref(api: &Api, caller: &Principal, form: &AttemptForm) -> Result<WorkRef, Failure> {
    let command = match &form.command {
        Some(text) => text
            .parse::<CommandId>()
            .map_err(|error| Failure::invalid("command", error))?,
        None => api.parts().ids.command(),
    };
    Ok(WorkRef {
        task: task(&form.task)?,
        tenant: tenant(caller, form.tenant.as_deref())?,
        fence: Fence(form.fence),
        command,
    })
}

/// A malformed id is held by nobody.
fn task(text: &str) -> Result<TaskId, Failure> {
    text.parse()
        .map_err(|_| Failure::new("lease_lost", "the lease is lost: the agent holds no such task"))
}

fn tenant(caller: &Principal, text: Option<&str>) -> Result<TenantId, Failure> {
    match text {
        Some(text) => text.parse().map_err(|error| Failure::invalid("tenant", error)),
        None => Ok(caller.tenant),
    }
}

fn beat(api: &Api, caller: &Principal, task: TaskId, form: BeatForm) -> Result<Beat, Failure> {
    let progress = match form.progress {
        Some(told) => Some(Progress {
            at: api.parts().clock.now(),
            fraction: told
                .fraction
                .map(|fraction| Ratio::new(fraction).map_err(|error| Failure::invalid("fraction", error)))
                .transpose()?,
            message: told.message,
        }),
        None => None,
    };
    Ok(Beat {
        task,
        tenant: tenant(caller, form.tenant.as_deref())?,
        fence: Fence(form.fence),
        progress,
        usage: form.usage.map(usage),
        not_enforced: None,
    })
}

fn json(field: &str, raw: &RawValue) -> Result<JsonText, Failure> {
    JsonText::parse(raw.get()).map_err(|error| Failure::invalid(field, error))
}

fn artifact(form: ArtifactForm) -> Result<ArtifactRef, Failure> {
    Ok(ArtifactRef {
        name: form.name,
        digest: form
            .digest
            .parse::<Digest>()
            .map_err(|error| Failure::invalid("artifacts.digest", error))?,
        size_bytes: form.size_bytes,
    })
}

fn usage(form: UsageForm) -> Usage {
    Usage {
        files: form.files,
        lines: form.lines,
        tokens: form.tokens,
        cost_micros: form.cost_micros,
        duration: form.duration_ms.map(Duration::from_millis),
    }
}
