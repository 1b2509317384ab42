//! The contract of authorizers: the default policies, and with others that permit nothing more.
#![expect(clippy::expect_used, reason = "helpers of tests fail the test")]

use std::sync::Arc;

use arbiter_adapter_cedar::CedarAuthorizer;
use arbiter_core::ports::Authorizer;

fn with(policies: &[(String, String)]) -> Arc<dyn Authorizer> {
    Arc::new(CedarAuthorizer::new(policies).expect("valid policies"))
}

arbiter_testkit::authorizer_contract!(with(&[]));

/// Every configuration runs the suite: here one with a policy more.
mod with_more_policies {
    use super::with;

    fn stricter() -> Vec<(String, String)> {
        let text = "forbid (principal, action == Arbiter::Action::\"task.submit\", resource)\n\
                    when { resource has security && resource.security == \"restricted\" };";
        vec![("extra.cedar".to_owned(), text.to_owned())]
    }

    arbiter_testkit::authorizer_contract!(with(&stricter()));
}
