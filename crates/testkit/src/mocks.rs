//! Mocks of the outward ports and of services, made by `mockall`. Storage is tested on the in-memory store instead.

use std::collections::BTreeSet;

use arbiter_core::model::{ComponentName, Operation, OperationId, Principal, ReviewPlan, Stage, Target};
use arbiter_core::ports::{
    AgentTransport, AuthenticationError, Authenticator, AuthorizationError, Authorizer, ComponentHealth,
    Credential, Delivered, Delivery, IncidentNotice, IncidentNotifier, InfrastructureController,
    InfrastructureError, Notified, NotifyError, OperationRequest, OperationStatus, TransportError, VerbName,
    Verdict,
};
use arbiter_core::services::{ReviewError, ReviewStage, ReviewVerdict, ReviewWork};
use async_trait::async_trait;
use mockall::mock;

mock! {
    pub AgentTransport {}

    #[async_trait]
    impl AgentTransport for AgentTransport {
        async fn deliver(&self, delivery: Delivery) -> Result<Delivered, TransportError>;
    }
}

mock! {
    pub IncidentNotifier {}

    #[async_trait]
    impl IncidentNotifier for IncidentNotifier {
        async fn notify(&self, notice: &IncidentNotice) -> Result<Notified, NotifyError>;
    }
}

mock! {
    pub InfrastructureController {}

    #[async_trait]
    impl InfrastructureController for InfrastructureController {
        fn verbs(&self) -> BTreeSet<VerbName>;
        async fn start(&self, request: OperationRequest) -> Result<OperationStatus, InfrastructureError>;
        async fn status(&self, id: OperationId) -> Result<Option<OperationStatus>, InfrastructureError>;
        async fn cancel(&self, id: OperationId) -> Result<Option<OperationStatus>, InfrastructureError>;
        async fn health(&self, component: &ComponentName) -> Result<ComponentHealth, InfrastructureError>;
    }
}

mock! {
    pub Authorizer {}

    impl Authorizer for Authorizer {
        fn authorize(
            &self,
            principal: &Principal,
            operation: Operation,
            target: &Target,
        ) -> Result<Verdict, AuthorizationError>;
    }
}

mock! {
    pub Authenticator {}

    #[async_trait]
    impl Authenticator for Authenticator {
        async fn authenticate(&self, credential: &Credential) -> Result<Principal, AuthenticationError>;
    }
}

mock! {
    pub ReviewStage {}

    #[async_trait]
    impl ReviewStage for ReviewStage {
        fn stage(&self) -> Stage;
        fn accepts(&self, plan: &ReviewPlan) -> bool;
        async fn review(&self, work: ReviewWork) -> Result<ReviewVerdict, ReviewError>;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::builders::{tenant, user};

    #[tokio::test]
    async fn mocks_answer_as_told() {
        let mut authorizer = MockAuthorizer::new();
        authorizer
            .expect_authorize()
            .times(1)
            .returning(|_, _, _| Ok(Verdict::Denied));
        let verdict = authorizer.authorize(&user(1, []), Operation::TaskGet, &Target::of(tenant(1)));
        assert_eq!(verdict.unwrap(), Verdict::Denied);
    }
}
