//! The agents' side of a queue that is elsewhere.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arbiter_core::lifecycle::Refusal;
use arbiter_core::model::{
    AgentId, Failure, Fence, Holder, Json, Principal, Ratio, Report, StoredTask, Task, TaskId, TenantId,
    TenantScope, Usage,
};
use arbiter_core::ports::{
    Applied, Assignment, ContextItem, IdSource, LeaseStatus, Retry, StoreError, Tally, TaskHistory, TaskPage,
    TaskQuery, TaskReader,
};
use arbiter_core::services::{Beat, ContextSource, WorkDesk, WorkError, WorkRef};
use arbiter_wire::http::{
    AttemptForm, BeatForm, ClaimForm, DeclineForm, FailForm, HeartbeatForm, HeldForm, LeaseView, LeaseWord,
    ProgressForm, ReportForm, UsageForm, WorkView,
};
use arbiter_wire::task::ArtifactForm;
use async_trait::async_trait;
use serde_json::value::RawValue;

use super::assignment::assignment;
use crate::client::Client;
use crate::error::ClientError;

/// How long to wait when a server that is over its limits does not say how long.
const SOME_TIME: Duration = Duration::from_secs(1);

/// The desk of one agent, whose key the client has: it claims work and knows what it holds, keeps it, and hands it in.
///
/// Calls are tried once: the code that runs attempts repeats them, under the same command. The tasks that calls answer with
/// are as they were claimed, because the server tells agents nothing more of them.
pub struct Desk {
    client: Client,
    agent: AgentId,
    ids: Arc<dyn IdSource>,
    held: Mutex<BTreeMap<(TaskId, Fence), Held>>,
}

struct Held {
    stored: StoredTask,
    /// Why earlier attempts did not succeed.
    context: Vec<String>,
}

impl Desk {
    /// The desk of an agent that holds nothing yet.
    pub fn new(client: &Client, agent: AgentId, ids: Arc<dyn IdSource>) -> Self {
        Self {
            client: client.once(),
            agent,
            ids,
            held: Mutex::default(),
        }
    }

    /// Asks for up to `slots` tasks and waits for them, up to `wait`. What is given is held until [`Self::end`].
    ///
    /// Work that cannot be read is given back.
    ///
    /// # Errors
    /// [`ClientError`]
    ///
    /// # Cancel safety
    /// What the server has given although the future was dropped is given again at the next claim.
    pub async fn claim(&self, slots: u32, wait: Duration) -> Result<Vec<Assignment>, ClientError> {
        let holding = self
            .held()
            .keys()
            .map(|(task, fence)| HeldForm {
                task: task.to_string(),
                fence: fence.0,
            })
            .collect();
        let claim = ClaimForm {
            slots,
            holding,
            wait_seconds: u32::try_from(wait.as_secs()).unwrap_or(u32::MAX),
        };
        let given = self.client.work_claim(&claim).await?;
        let mut assignments = Vec::with_capacity(given.work.len());
        for work in given.work {
            match assignment(&work, self.agent, self.client.shared.clock.now()) {
                Ok(assignment) => {
                    let held = Held {
                        stored: assignment.stored.clone(),
                        context: work.context,
                    };
                    let key = (assignment.stored.task.id, assignment.fence);
                    // Given twice, it is worked on once.
                    if self.held().insert(key, held).is_none() {
                        assignments.push(assignment);
                    }
                }
                Err(error) => {
                    tracing::warn!(
                        event = "work_unreadable",
                        task.id = work.task,
                        error = %error,
                        cause = %error.source,
                        "work cannot be read and is given back"
                    );
                    self.give_back(&work, error.to_string()).await;
                }
            }
        }
        Ok(assignments)
    }

    /// The attempt is over: it is not held any more.
    pub fn end(&self, task: TaskId, fence: Fence) {
        self.held().remove(&(task, fence));
    }

    /// How many attempts are held.
    pub fn holds(&self) -> usize {
        self.held().len()
    }

    async fn give_back(&self, work: &WorkView, reason: String) {
        let decline = DeclineForm {
            attempt: AttemptForm {
                task: work.task.clone(),
                tenant: Some(work.tenant.clone()),
                fence: work.fence,
                command: Some(self.ids.command().to_string()),
            },
            reason,
        };
        if let Err(error) = self.client.work_decline(&decline).await {
            // Its lease ends by itself.
            tracing::warn!(event = "decline_failed", task.id = work.task, error = %error, "work was not given back");
        }
    }

    fn held(&self) -> MutexGuard<'_, BTreeMap<(TaskId, Fence), Held>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn task(&self, work: WorkRef) -> Result<Task, WorkError> {
        let held = self.held();
        let found = held.get(&(work.task, work.fence));
        found
            .map(|held| held.stored.task.clone())
            .ok_or(WorkError::Refused(Refusal::LeaseLost))
    }
}

impl std::fmt::Debug for Desk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Desk")
            .field("agent", &self.agent)
            .field("holds", &self.holds())
            .finish_non_exhaustive()
    }
}

#[async_trait]
impl WorkDesk for Desk {
    /// The server says so at the first claim.
    async fn may_claim(&self, _: &Principal) -> Result<(), WorkError> {
        Ok(())
    }

    async fn acknowledge(&self, _: &Principal, work: WorkRef) -> Result<Task, WorkError> {
        let task = self.task(work)?;
        self.client
            .work_acknowledge(&attempt(work))
            .await
            .map_err(refused)?;
        Ok(task)
    }

    async fn heartbeat(&self, _: &Principal, items: Vec<Beat>) -> Result<Vec<LeaseStatus>, WorkError> {
        let form = HeartbeatForm {
            attempts: items.into_iter().map(beat).collect(),
        };
        let told = self.client.work_heartbeat(&form).await.map_err(refused)?;
        told.leases.iter().map(status).collect()
    }

    async fn report(&self, _: &Principal, work: WorkRef, report: Report) -> Result<Task, WorkError> {
        let task = self.task(work)?;
        let form = ReportForm {
            attempt: attempt(work),
            output: report.output.map(raw).transpose()?,
            artifacts: report
                .artifacts
                .into_iter()
                .map(|artifact| ArtifactForm {
                    name: artifact.name,
                    digest: artifact.digest.to_string(),
                    size_bytes: artifact.size_bytes,
                })
                .collect(),
            claims: report.claims.into_iter().map(raw).collect::<Result<_, _>>()?,
            evidence: report.evidence.into_iter().map(raw).collect::<Result<_, _>>()?,
            usage: usage(report.usage),
        };
        self.client.work_report(&form).await.map_err(refused)?;
        Ok(task)
    }

    async fn fail(&self, _: &Principal, work: WorkRef, failure: Failure) -> Result<Task, WorkError> {
        let task = self.task(work)?;
        let form = FailForm {
            attempt: attempt(work),
            class: Some(failure.code.unwrap_or_else(|| failure.class.word().to_owned())),
            message: failure.message,
            usage: usage(failure.usage),
        };
        self.client.work_fail(&form).await.map_err(refused)?;
        Ok(task)
    }

    async fn decline(&self, _: &Principal, work: WorkRef, why: String) -> Result<Task, WorkError> {
        let task = self.task(work)?;
        let form = DeclineForm {
            attempt: attempt(work),
            reason: why,
        };
        self.client.work_decline(&form).await.map_err(refused)?;
        Ok(task)
    }
}

/// Tasks that are held; others are absent.
#[async_trait]
impl TaskReader for Desk {
    async fn get(&self, scope: TenantScope, ids: &[TaskId]) -> Result<Vec<Option<StoredTask>>, StoreError> {
        let held = self.seen(scope);
        let find = |id: &TaskId| held.iter().find(|stored| stored.task.id == *id).cloned();
        Ok(ids.iter().map(find).collect())
    }

    async fn list(&self, scope: TenantScope, query: TaskQuery) -> Result<TaskPage, StoreError> {
        let mut tasks = self.seen(scope);
        tasks.retain(|stored| {
            query.after.is_none_or(|after| stored.task.id > after)
                && query.state.is_none_or(|state| stored.task.state.name() == state)
                && query.kind.as_ref().is_none_or(|kind| stored.spec.kind == *kind)
                && query
                    .label
                    .as_ref()
                    .is_none_or(|(name, value)| stored.spec.labels.get(name) == Some(value))
        });
        let next = tasks
            .get(query.limit)
            .and_then(|_| tasks.get(query.limit.checked_sub(1)?))
            .map(|stored| stored.task.id);
        tasks.truncate(query.limit);
        Ok(TaskPage { tasks, next })
    }

    /// Nothing: what earlier attempts have to say comes with the work, as [`ContextSource`] gives it.
    async fn history(&self, _: TenantScope, _: TaskId) -> Result<TaskHistory, StoreError> {
        Ok(TaskHistory::default())
    }

    async fn held_by(&self, holder: Holder) -> Result<Vec<StoredTask>, StoreError> {
        let own = holder == Holder::Agent(self.agent);
        Ok(if own {
            self.seen(TenantScope::All)
        } else {
            Vec::new()
        })
    }

    async fn tally(&self, tenant: TenantId) -> Result<Tally, StoreError> {
        let running = self.seen(TenantScope::Tenant(tenant)).len() as u64;
        Ok(Tally {
            open: running,
            running,
            ..Tally::default()
        })
    }
}

impl Desk {
    /// What is held, oldest first.
    fn seen(&self, scope: TenantScope) -> Vec<StoredTask> {
        let held = self.held();
        let of_scope = held.values().filter(|held| match scope {
            TenantScope::All => true,
            TenantScope::Tenant(tenant) => held.stored.task.tenant == tenant,
        });
        of_scope.map(|held| held.stored.clone()).collect()
    }
}

#[async_trait]
impl ContextSource for Desk {
    async fn context(&self, stored: &StoredTask, budget_bytes: usize) -> Vec<ContextItem> {
        let held = self.held();
        let Some(held) = held.get(&(stored.task.id, stored.task.fence)) else {
            return Vec::new();
        };
        let mut left = budget_bytes;
        let fits = held.context.iter().filter(|text| {
            let fits = text.len() <= left;
            left -= if fits { text.len() } else { 0 };
            fits
        });
        fits.map(|text| ContextItem {
            kind: "failed_attempt".to_owned(),
            tenant: stored.task.tenant,
            text: text.clone(),
        })
        .collect()
    }
}

fn attempt(work: WorkRef) -> AttemptForm {
    AttemptForm {
        task: work.task.to_string(),
        tenant: Some(work.tenant.to_string()),
        fence: work.fence.0,
        command: Some(work.command.to_string()),
    }
}

fn beat(beat: Beat) -> BeatForm {
    BeatForm {
        task: beat.task.to_string(),
        tenant: Some(beat.tenant.to_string()),
        fence: beat.fence.0,
        progress: beat.progress.map(|told| ProgressForm {
            fraction: told.fraction.map(Ratio::get),
            message: told.message,
        }),
        usage: beat.usage.map(usage),
    }
}

fn usage(usage: Usage) -> UsageForm {
    UsageForm {
        files: usage.files,
        lines: usage.lines,
        tokens: usage.tokens,
        cost_micros: usage.cost_micros,
        duration_ms: usage
            .duration
            .map(|taken| u64::try_from(taken.as_millis()).unwrap_or(u64::MAX)),
    }
}

fn raw(json: Json) -> Result<Box<RawValue>, WorkError> {
    RawValue::from_string(json.as_str().to_owned()).map_err(|error| WorkError::Invalid {
        field: "output".to_owned(),
        problem: error.to_string(),
    })
}

fn status(lease: &LeaseView) -> Result<LeaseStatus, WorkError> {
    let unreadable = |source| {
        WorkError::Store(StoreError::Backend {
            operation: "keeping leases",
            applied: Applied::Unknown,
            retry: Retry::Permanent,
            source,
        })
    };
    match (lease.status, &lease.until) {
        (LeaseWord::Cancelled, _) => Ok(LeaseStatus::Cancelled),
        (LeaseWord::Lost, _) => Ok(LeaseStatus::Lost),
        (LeaseWord::Held, Some(until)) => Ok(LeaseStatus::Held {
            until: until
                .parse()
                .map_err(|error: arbiter_core::model::InvalidTime| unreadable(error.into()))?,
        }),
        (LeaseWord::Held, None) => Err(unreadable("a held lease has no end".into())),
    }
}

/// What a refusal means to an attempt.
fn refused(error: ClientError) -> WorkError {
    let ClientError::Refused(refused) = &error else {
        return store(error);
    };
    match refused.code.as_str() {
        "auth_failed" | "forbidden" => WorkError::Forbidden,
        "rate_limited" => WorkError::RateLimited {
            retry_after: refused.retry_after.unwrap_or(SOME_TIME),
        },
        "not_found" => WorkError::Refused(Refusal::NotFound),
        // The attempt is over, whatever ended it.
        "lease_lost" | "illegal_transition" | "over_budget" | "precondition_failed" => {
            tracing::debug!(
                code = refused.code,
                detail = refused.detail,
                "the attempt is over"
            );
            WorkError::Refused(Refusal::LeaseLost)
        }
        _ if refused.status < 500 && !error.is_transient() => WorkError::Invalid {
            field: refused.field.clone().unwrap_or_else(|| refused.code.clone()),
            problem: refused.detail.clone(),
        },
        _ => store(error),
    }
}

fn store(error: ClientError) -> WorkError {
    let retry = if error.is_transient() {
        Retry::Transient
    } else {
        Retry::Permanent
    };
    WorkError::Store(StoreError::Backend {
        operation: "calling the server",
        applied: error.applied(),
        retry,
        source: Box::new(error),
    })
}
