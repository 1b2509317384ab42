//! What an operator lets an agent do.

use std::time::Duration;

use arbiter_core::lifecycle::{Command, Expect};
use arbiter_core::model::{
    AgentId, AgentMode, AuditAction, Holder, Json, Operation, Principal, PrincipalId, RecordDraft, Resource,
    StoredTask, Target,
};
use arbiter_core::ports::{AgentRegistry, Effects, Hint, RegistryError, Transition};
use serde_json::json;

use crate::error::QueueError;
use crate::service::SecureQueue;
use crate::validate;

/// How often what a quarantined agent holds is looked at and taken.
const REVOKE_TRIES: usize = 4;

/// What an agent may do from now on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModeChange {
    /// The agent.
    pub agent: AgentId,
    /// The mode.
    pub mode: AgentMode,
    /// Why; kept in the audit log.
    pub why: String,
    /// For whom another control plane asks for it; kept in the audit log, where the principal stays the one that called.
    pub on_behalf_of: Option<PrincipalId>,
}

impl SecureQueue {
    /// Authorises and limits an operation on `target` that another service carries out.
    ///
    /// # Errors
    /// See [`QueueError`]; a refusal is audited.
    pub async fn permit_on(
        &self,
        principal: &Principal,
        operation: Operation,
        target: &Target,
    ) -> Result<(), QueueError> {
        self.guard(principal, operation, target).await
    }

    /// Sets what an agent may do. A quarantined agent's leases are fenced at once: its work is given back, and what it
    /// hands in later is refused. The caller has checked that the principal may know of the agent.
    ///
    /// # Errors
    /// See [`QueueError`]; [`QueueError::NotFound`] when there is no such agent.
    ///
    /// # Cancel safety
    /// The mode may be set although the future is dropped; a repeat finishes what was begun.
    pub async fn set_agent_mode(
        &self,
        principal: &Principal,
        registry: &dyn AgentRegistry,
        change: ModeChange,
    ) -> Result<(), QueueError> {
        let ModeChange {
            agent,
            mode,
            why,
            on_behalf_of,
        } = change;
        let target = Target {
            agent: Some(agent),
            ..Target::of(principal.tenant)
        };
        self.authorize(principal, Operation::AgentMode, &target).await?;
        validate::reason(&self.settings.fields, &why)?;
        let why = self.content.reason(why);
        let mut detail = json!({"schema": "agent_mode/1", "mode": mode.word(), "reason": why});
        if let Some(by) = on_behalf_of {
            detail["on_behalf_of"] = json!(by.to_string());
        }
        let draft = Self::draft(principal, Operation::AgentMode).with_detail(Json::of(&detail));
        let found = registry.set_mode(agent, mode, draft).await.map_err(unavailable)?;
        if !found {
            return Err(QueueError::NotFound);
        }
        // Before its work is taken, so that no claim that begins meanwhile gives it more.
        self.ports.wakeups.publish(&[Hint::Registry]);
        if mode == AgentMode::Quarantined {
            self.revoke(agent, &why, Self::draft(principal, Operation::AgentMode))
                .await?;
        }
        Ok(())
    }

    /// Takes every task from an agent, by nobody's order but that of its quarantine, which is on record.
    ///
    /// # Errors
    /// See [`QueueError`]; a repeat finishes what was begun.
    pub async fn fence_agent(&self, agent: AgentId) -> Result<(), QueueError> {
        self.revoke(agent, "the agent is in quarantine", RecordDraft::default())
            .await
    }

    /// Removes an agent that holds no task. One that is given a task at the same moment may still end it. The caller has
    /// checked that the principal may know of the agent.
    ///
    /// # Errors
    /// See [`QueueError`]; [`QueueError::AgentHoldsWork`] when it holds tasks, [`QueueError::NotFound`] when there is no
    /// such agent.
    pub async fn remove_agent(
        &self,
        principal: &Principal,
        registry: &dyn AgentRegistry,
        agent: AgentId,
    ) -> Result<(), QueueError> {
        let operation = Operation::AgentRemove;
        let target = Target {
            agent: Some(agent),
            ..Target::of(principal.tenant)
        };
        self.authorize(principal, operation, &target).await?;
        let held = self.ports.reader.held_by(Holder::Agent(agent)).await?.len();
        if held > 0 {
            let error = QueueError::AgentHoldsWork { held };
            let mut record = self.refusal(principal, operation, AuditAction::Rejected, error.code());
            record.resource = Resource::new("agent", agent.to_string());
            self.append(record).await?;
            return Err(error);
        }
        let draft = Self::draft(principal, operation);
        if !registry.remove(agent, draft).await.map_err(unavailable)? {
            return Err(QueueError::NotFound);
        }
        self.ports.wakeups.publish(&[Hint::Registry]);
        Ok(())
    }

    /// Takes every task from an agent. One that ends meanwhile is left as it is.
    async fn revoke(&self, agent: AgentId, why: &str, draft: RecordDraft) -> Result<(), QueueError> {
        // A task that moved between reading and taking is looked at again.
        for _ in 0..REVOKE_TRIES {
            let held = self.ports.reader.held_by(Holder::Agent(agent)).await?;
            if held.is_empty() {
                return Ok(());
            }
            self.take_all(held, why, &draft).await?;
        }
        Ok(())
    }

    async fn take_all(
        &self,
        held: Vec<StoredTask>,
        why: &str,
        draft: &RecordDraft,
    ) -> Result<(), QueueError> {
        let mut transitions = Vec::with_capacity(held.len());
        for stored in held {
            transitions.push(Transition {
                command: self.ports.ids.command(),
                task: stored.task.id,
                tenant: stored.task.tenant,
                expect: Expect::Version(stored.task.version),
                action: Command::Revoke { why: why.to_owned() },
                effects: Effects::of(draft.clone()),
            });
        }
        let hints: Vec<Hint> = transitions
            .iter()
            .map(|transition| Hint::Task(transition.task))
            .collect();
        self.ports.store.apply(transitions).await?;
        self.ports.wakeups.publish(&hints);
        Ok(())
    }
}

/// The registry did not do what it was asked.
pub(crate) fn unavailable(error: RegistryError) -> QueueError {
    match error {
        RegistryError::Store(error) => error.into(),
        RegistryError::Unavailable { retry_after, .. } => QueueError::RegistryUnavailable {
            retry_after: retry_after.unwrap_or(Duration::from_secs(1)),
            source: Box::new(error),
        },
        RegistryError::Refused { .. } => QueueError::RegistryRefused {
            source: Box::new(error),
        },
        error => QueueError::Unavailable {
            retry_after: Duration::from_secs(1),
            source: Box::new(error),
        },
    }
}
