//! A controller that does as it is told.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;

use arbiter_core::model::{ComponentName, OperationId, Timestamp};
use arbiter_core::ports::{
    ComponentHealth, InfrastructureController, InfrastructureError, OperationRequest, OperationState,
    OperationStatus, Verb, VerbName,
};
use async_trait::async_trait;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Does {
    Succeed,
    Fail,
    Hang,
    StaySick,
}

pub(super) struct Scripted(Mutex<State>);

struct State {
    does: Does,
    operations: BTreeMap<OperationId, OperationRequest>,
    begun: Vec<String>,
    cancelled: usize,
}

impl Scripted {
    pub(super) fn new() -> Self {
        Self(Mutex::new(State {
            does: Does::Succeed,
            operations: BTreeMap::new(),
            begun: Vec::new(),
            cancelled: 0,
        }))
    }

    pub(super) fn will(&self, does: Does) {
        self.0.lock().unwrap().does = does;
    }

    pub(super) fn begun(&self) -> Vec<String> {
        self.0.lock().unwrap().begun.clone()
    }

    pub(super) fn cancelled(&self) -> usize {
        self.0.lock().unwrap().cancelled
    }
}

fn status(request: &OperationRequest, state: OperationState) -> OperationStatus {
    OperationStatus {
        id: request.id,
        component: request.component.clone(),
        verb: request.verb,
        state,
        began_at: Timestamp::from_micros(0),
        ended_at: None,
        steps: Vec::new(),
        why: (state == OperationState::Failed).then(|| "as told".to_owned()),
    }
}

#[async_trait]
impl InfrastructureController for Scripted {
    fn verbs(&self) -> BTreeSet<VerbName> {
        VerbName::ALL.iter().copied().collect()
    }

    async fn start(&self, request: OperationRequest) -> Result<OperationStatus, InfrastructureError> {
        let mut state = self.0.lock().unwrap();
        if state.operations.insert(request.id, request.clone()).is_none() {
            state
                .begun
                .push(format!("{} {}", request.verb.name().word(), request.component));
        }
        let stands = match state.does {
            Does::Succeed | Does::StaySick => OperationState::Succeeded,
            Does::Fail => OperationState::Failed,
            Does::Hang => OperationState::Running,
        };
        Ok(status(&request, stands))
    }

    async fn status(&self, id: OperationId) -> Result<Option<OperationStatus>, InfrastructureError> {
        let state = self.0.lock().unwrap();
        Ok(state
            .operations
            .get(&id)
            .map(|request| status(request, OperationState::Running)))
    }

    async fn cancel(&self, id: OperationId) -> Result<Option<OperationStatus>, InfrastructureError> {
        let mut state = self.0.lock().unwrap();
        state.cancelled += 1;
        Ok(state
            .operations
            .get(&id)
            .map(|request| status(request, OperationState::Cancelled)))
    }

    async fn health(&self, _: &ComponentName) -> Result<ComponentHealth, InfrastructureError> {
        let state = self.0.lock().unwrap();
        let isolated = state
            .operations
            .values()
            .last()
            .is_some_and(|last| last.verb == Verb::Isolate);
        Ok(match state.does {
            _ if isolated => ComponentHealth::Isolated,
            Does::Succeed => ComponentHealth::Healthy { instances: Some(1) },
            _ => ComponentHealth::Unhealthy {
                why: "as told".to_owned(),
            },
        })
    }
}
