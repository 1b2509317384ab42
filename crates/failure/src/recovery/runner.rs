//! Drives stored recoveries through the controllers. Whoever holds the component's lease goes on where the record says.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use arbiter_core::model::{AuditAction, ComponentName, Json, NodeId, OperationId, RecordDraft, Timestamp};
use arbiter_core::ports::{
    Clock, ComponentHealth, Effects, IdSource, InfrastructureController, LeaseStore, OperationRequest,
    OperationState, StoreError, Verb,
};
use async_trait::async_trait;

use super::machine::{Next, Recovery, Seen, one_more};
use crate::actions::{Action, Means};
use crate::component::{ComponentRecord, Outcome, placed};
use crate::records::{Kept, Shelf, written};
use crate::settings::Settings;

/// How long a node has a recovery without a word; the holder takes it again at each step.
const TURN: Duration = Duration::from_secs(15);
/// The longest sleep between two steps, so that the turn is kept.
const LONGEST_SLEEP: Duration = Duration::from_secs(5);

/// Keeps something away from work without touching infrastructure.
#[async_trait]
pub(crate) trait Containment: Send + Sync + 'static {
    /// Does so until a moment.
    ///
    /// # Errors
    /// Why it cannot.
    async fn contain(
        &self,
        component: &ComponentName,
        action: Action,
        subject: Option<&str>,
        until: Timestamp,
    ) -> Result<(), String>;
}

/// What a runner needs.
#[derive(Clone)]
pub(crate) struct RunnerPorts {
    pub(crate) node: NodeId,
    pub(crate) records: Shelf,
    pub(crate) leases: Arc<dyn LeaseStore>,
    pub(crate) controllers: Arc<BTreeMap<ComponentName, Arc<dyn InfrastructureController>>>,
    pub(crate) containment: Arc<dyn Containment>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) ids: Arc<dyn IdSource>,
    pub(crate) settings: Arc<Settings>,
}

/// Drives recoveries.
#[derive(Clone)]
pub(crate) struct Runner(pub(crate) RunnerPorts);

/// A recovery that has come to its end, which is not stored yet.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Ended {
    pub(crate) id: OperationId,
    pub(crate) outcome: Outcome,
}

/// What came of a step.
enum Step {
    /// It must be stored.
    Changed,
    /// It is looked at again after a while.
    Same,
    /// The while has passed.
    Waited,
}

impl Step {
    const fn of(changed: bool) -> Self {
        if changed { Self::Changed } else { Self::Same }
    }
}

/// The name of the lease of a component's recovery.
pub(crate) fn lease_name(component: &ComponentName) -> String {
    format!("recovery/{component}")
}

impl Runner {
    /// Goes on with the recovery of a component until its end. `None` when there is none, or another node has it.
    ///
    /// # Errors
    /// The store's; the recovery stands as it was stored last.
    ///
    /// # Cancel safety
    /// Safe: an operation that was begun goes on, and is found by its id.
    pub(crate) async fn drive(&self, component: &ComponentName) -> Result<Option<Ended>, StoreError> {
        let ports = &self.0;
        let lease = lease_name(component);
        loop {
            if ports.leases.take(&lease, ports.node, TURN).await?.is_none() {
                return Ok(None);
            }
            let Some(kept) = ports.records.get::<ComponentRecord>(component.as_str()).await? else {
                return Ok(None);
            };
            let Some(mut recovery) = kept.body.recovery.clone() else {
                return Ok(None);
            };
            let now = ports.clock.now();
            let step = match recovery.next(now) {
                Next::End(outcome) => {
                    let id = recovery.id;
                    return Ok(Some(Ended { id, outcome }));
                }
                Next::Wait(until) => {
                    self.sleep(until.since(now).min(LONGEST_SLEEP)).await;
                    Step::Waited
                }
                Next::Begin(action) => {
                    self.begin(component, &mut recovery, action).await;
                    Step::Changed
                }
                Next::Operate {
                    operation,
                    action,
                    to,
                } => {
                    let seen = self.operate(component, &recovery, (operation, action, to)).await;
                    Step::of(recovery.saw(&seen, ports.clock.now()))
                }
                Next::Check => {
                    let seen = self.check(component).await;
                    Step::of(recovery.saw(&seen, ports.clock.now()))
                }
                Next::Cancel(operation) => {
                    let seen = self.cancel(component, operation).await;
                    Step::of(recovery.saw(&seen, ports.clock.now()))
                }
            };
            match step {
                Step::Changed => self.save(kept, recovery).await?,
                Step::Same => self.sleep(Recovery::LOOK_AGAIN).await,
                Step::Waited => {}
            }
        }
    }

    /// Gives the lease back, once the end is stored.
    pub(crate) async fn give_back(&self, component: &ComponentName) {
        let given = self.0.leases.give_back(&lease_name(component), self.0.node).await;
        if let Err(error) = given {
            tracing::debug!(component = %component, error = %error, "the lease of a recovery ends by itself");
        }
    }

    async fn sleep(&self, time: Duration) {
        let until = self.0.clock.monotonic() + time;
        self.0.clock.sleep_until(until).await;
    }

    /// Decides what an action's operation will be.
    async fn begin(&self, component: &ComponentName, recovery: &mut Recovery, action: Action) {
        let now = self.0.clock.now();
        let to = if action.means() == Means::ScaleUp {
            let most = self.0.settings.max_instances(component);
            match one_more(self.instances(component).await, most) {
                Ok(to) => Some(to),
                Err(why) => return recovery.passes_over(&why, now),
            }
        } else {
            None
        };
        recovery.begins(self.0.ids.operation(), to);
    }

    async fn instances(&self, component: &ComponentName) -> Option<u32> {
        let controller = self.0.controllers.get(component)?;
        match controller.health(component).await {
            Ok(ComponentHealth::Healthy { instances }) => instances,
            _ => None,
        }
    }

    /// Begins an operation, or looks how it stands.
    async fn operate(
        &self,
        component: &ComponentName,
        recovery: &Recovery,
        (operation, action, to): (OperationId, Action, Option<u32>),
    ) -> Seen {
        let verb = match action.means() {
            Means::Verb(verb) => verb,
            Means::ScaleUp => match to {
                Some(to) => Verb::Scale { to },
                None => return Seen::Failed("it was not decided how many there are to be".to_owned()),
            },
            Means::Contain => return self.contain(component, recovery, action).await,
            Means::Alert => return Seen::Failed("an alert is no recovery".to_owned()),
        };
        let Some(controller) = self.0.controllers.get(component) else {
            return Seen::Failed("nothing here controls it".to_owned());
        };
        let request = OperationRequest {
            id: operation,
            component: component.clone(),
            verb,
        };
        match controller.start(request).await {
            Ok(status) => match status.state {
                OperationState::Running => Seen::Running,
                OperationState::Succeeded if verb == Verb::Isolate => Seen::Contained,
                OperationState::Succeeded => Seen::Succeeded,
                OperationState::Cancelled => Seen::Failed("the operation was cancelled".to_owned()),
                OperationState::Failed => {
                    Seen::Failed(status.why.unwrap_or_else(|| "the operation failed".to_owned()))
                }
            },
            Err(error) => Seen::Failed(error.to_string()),
        }
    }

    async fn contain(&self, component: &ComponentName, recovery: &Recovery, action: Action) -> Seen {
        let holds = action.holds_for().unwrap_or_default();
        let until = self.0.clock.now().plus(holds);
        let subject = recovery.subject.as_deref();
        match self
            .0
            .containment
            .contain(component, action, subject, until)
            .await
        {
            Ok(()) => Seen::Contained,
            Err(why) => Seen::Failed(why),
        }
    }

    async fn check(&self, component: &ComponentName) -> Seen {
        let Some(controller) = self.0.controllers.get(component) else {
            return Seen::Unhealthy("nothing here can look".to_owned());
        };
        match controller.health(component).await {
            Ok(ComponentHealth::Healthy { .. }) => Seen::Healthy,
            Ok(ComponentHealth::Unhealthy { why }) => Seen::Unhealthy(why),
            Ok(ComponentHealth::Isolated) => Seen::Unhealthy("it is isolated".to_owned()),
            Err(error) => Seen::Unhealthy(error.to_string()),
        }
    }

    async fn cancel(&self, component: &ComponentName, operation: OperationId) -> Seen {
        let Some(controller) = self.0.controllers.get(component) else {
            return Seen::Stopped;
        };
        match controller.cancel(operation).await {
            Ok(Some(status)) if status.state == OperationState::Running => Seen::Running,
            Ok(_) => Seen::Stopped,
            // It cannot be reached to be cancelled: there is nothing more that can be done about it.
            Err(error) => {
                tracing::warn!(
                    event = "recovery_not_cancelled",
                    component = %component,
                    error = %error,
                    "the operation of a recovery could not be cancelled"
                );
                Seen::Stopped
            }
        }
    }

    /// Stores how a recovery stands. Somebody else's change of the record comes first: the step is decided again then.
    async fn save(&self, mut kept: Kept<ComponentRecord>, recovery: Recovery) -> Result<(), StoreError> {
        kept.body.recovery = Some(recovery);
        let write = self.0.records.put(
            &kept.id,
            kept.unchanged(),
            &kept.body,
            placed(&kept.body, self.0.clock.now()),
        )?;
        let detail = kept.body.recovery.as_ref().map(|recovery| {
            Json::of(&serde_json::json!({
                "recovery": recovery.id.to_string(),
                "action": recovery.action().map(Action::word),
            }))
        });
        let effects = Effects::of(RecordDraft {
            actions: vec![AuditAction::RecoveryStepped],
            detail,
            ..RecordDraft::default()
        });
        written(self.0.records.documents.write(vec![write], effects).await).map(|_| ())
    }
}
