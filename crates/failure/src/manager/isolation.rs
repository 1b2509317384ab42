//! The end of an isolation: it is stored, so that whichever node is there then reinstates the component.

use std::time::Duration;

use arbiter_core::model::{AuditAction, ComponentName, FailureKind, Impact, Json, Timestamp};
use arbiter_core::ports::{
    ComponentHealth, DocumentError, OperationRequest, OperationState, StoreError, Verb,
};
use serde_json::json;

use super::FailureManager;
use crate::classify::severity;
use crate::component::placed;
use crate::incident::{Cause, Writes};
use crate::records::{TRIES, contended, written};
use crate::recovery::lease_name;

/// How long a node has a reinstatement without a word.
const TURN: Duration = Duration::from_secs(30);
/// How often it is looked whether the component is healthy again.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

impl FailureManager {
    /// Reinstates a component whose isolation is over. Nothing when another node does.
    pub(super) async fn reinstate(&self, component: &ComponentName) -> Result<(), StoreError> {
        let lease = lease_name(component);
        let node = self.ports.node;
        if self.ports.leases.take(&lease, node, TURN).await?.is_none() {
            return Ok(());
        }
        let result = self.reinstated(component).await;
        let ended = self.end_isolation(component, result).await;
        self.runner.give_back(component).await;
        ended
    }

    /// Gives the component work again, and looks until it is healthy.
    async fn reinstated(&self, component: &ComponentName) -> Result<(), String> {
        let controller = self.ports.controllers.get(component);
        let controller = controller.ok_or("nothing here controls it any more")?;
        let request = OperationRequest {
            id: self.ports.ids.operation(),
            component: component.clone(),
            verb: Verb::Reinstate,
        };
        let limit = self.ports.clock.monotonic() + self.settings.check_for;
        let mut status = controller
            .start(request.clone())
            .await
            .map_err(|error| error.to_string())?;
        while status.state == OperationState::Running {
            if self.ports.clock.monotonic() >= limit {
                return Err("it could not be reinstated in time".to_owned());
            }
            self.sleep(LOOK_AGAIN).await;
            status = controller
                .start(request.clone())
                .await
                .map_err(|error| error.to_string())?;
        }
        if status.state != OperationState::Succeeded {
            return Err(status
                .why
                .unwrap_or_else(|| "it could not be reinstated".to_owned()));
        }
        loop {
            let why = match controller.health(component).await {
                Ok(ComponentHealth::Healthy { .. }) => return Ok(()),
                Ok(ComponentHealth::Unhealthy { why }) => why,
                Ok(ComponentHealth::Isolated) => "it is still isolated".to_owned(),
                Err(error) => error.to_string(),
            };
            if self.ports.clock.monotonic() >= limit {
                return Err(format!("it is not healthy: {why}"));
            }
            self.sleep(LOOK_AGAIN).await;
        }
    }

    async fn end_isolation(
        &self,
        component: &ComponentName,
        result: Result<(), String>,
    ) -> Result<(), StoreError> {
        for _ in 0..TRIES {
            if written(self.try_end_isolation(component, &result).await)? {
                return Ok(());
            }
        }
        Err(contended())
    }

    async fn try_end_isolation(
        &self,
        component: &ComponentName,
        result: &Result<(), String>,
    ) -> Result<(), DocumentError> {
        let now = self.ports.clock.now();
        let mut kept = self.component(component).await?;
        if kept.body.isolated_until.take().is_none() {
            return Ok(());
        }
        let detail = json!({ "component": component.as_str(), "healthy": result.is_ok() });
        let writes = Writes {
            actions: vec![AuditAction::Reinstated],
            detail: Some(Json::of(&detail)),
            ..Writes::default()
        };
        let incident = match result {
            Ok(()) => {
                let why = "it is healthy after its isolation";
                self.book
                    .settle(component, FailureKind::Dependency, why, now)
                    .await?
            }
            Err(why) => {
                let cause = self.still_bad(component, why, now);
                Some(self.book.raise(&cause, now).await?)
            }
        };
        let mut writes = match incident {
            Some(incident) => incident.and(writes),
            None => writes,
        };
        writes.documents.push(self.components.put(
            &kept.id,
            kept.unchanged(),
            &kept.body,
            placed(&kept.body, now),
        )?);
        let told = !writes.outbox.is_empty();
        self.book.commit(writes, None).await?;
        tracing::warn!(event = "component_reinstated", component = %component, healthy = result.is_ok(), "the isolation of a component is over");
        self.stir(told);
        Ok(())
    }

    fn still_bad(&self, component: &ComponentName, why: &str, now: Timestamp) -> Cause {
        let kind = FailureKind::Dependency;
        Cause {
            component: component.clone(),
            kind,
            severity: severity(kind, self.settings.tier(component), &Impact::default()),
            title: format!("{component}: not healthy after its isolation"),
            failures: 0,
            at: now,
            details: vec![("error".to_owned(), why.to_owned())],
            impact: Impact::default(),
            why: why.to_owned(),
        }
    }
}
