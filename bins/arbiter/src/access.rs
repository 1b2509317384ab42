//! Principals, keys and policies: their services, and what is done about them now and then.

use std::sync::Arc;
use std::time::Duration;

use arbiter_core::ports::{Clock, Documents, PolicyEngine};
use arbiter_orchestration::Stop;
use arbiter_orchestration::supervisor::{self, Service};
use arbiter_queue::policies::{PolicyLoadError, PolicySets};
use arbiter_queue::{ApiKeys, Directory, KeyDesk, SecureQueue};
use futures_util::{FutureExt as _, select_biased};

use crate::app::App;
use crate::exit::Failure;

/// How often uses of keys are written, and policies that another node activated are looked for.
const EVERY: Duration = Duration::from_secs(60);

/// The service that operators manage principals with.
pub(crate) fn directory(app: &App) -> Arc<Directory> {
    let principals = app.keys.principals().clone();
    Arc::new(Directory::new(Arc::clone(&app.queue), principals))
}

/// The service that operators manage keys with.
pub(crate) fn key_desk(app: &App) -> Arc<KeyDesk> {
    Arc::new(KeyDesk::new(Arc::clone(&app.queue), Arc::clone(&app.keys)))
}

/// The stored policies, put into force in `engine`.
///
/// # Errors
/// A configuration failure when the stored policies are not valid any more.
pub(crate) async fn policies(
    queue: &Arc<SecureQueue>,
    documents: &Arc<dyn Documents>,
    engine: Arc<dyn PolicyEngine>,
) -> Result<Arc<PolicySets>, Failure> {
    let policies = PolicySets::new(Arc::clone(queue), documents, engine);
    match policies.load().await {
        Ok(_) => Ok(Arc::new(policies)),
        Err(PolicyLoadError::Invalid { number, source }) => Err(Failure::configuration(format!(
            "the policy set {number}, which was put into force by an operator, is not valid: {source}; start the \
             version and configuration that it was made with, and roll it back"
        ))),
        Err(PolicyLoadError::Store(error)) => Err(error.into()),
        Err(error) => Err(Failure::internal(
            "the policies could not be put into force",
            error,
        )),
    }
}

/// The service that keeps what is known of access fresh.
pub(crate) fn service(app: &App) -> Arc<dyn Service> {
    let (keys, policies) = (Arc::clone(&app.keys), Arc::clone(&app.policies));
    let clock = Arc::clone(&app.clock);
    supervisor::service("access", move |stop| {
        let (keys, policies, clock) = (Arc::clone(&keys), Arc::clone(&policies), Arc::clone(&clock));
        Box::pin(async move { keep(&keys, &policies, clock.as_ref(), &stop).await })
    })
}

/// Works until told to stop, and once more then.
async fn keep(keys: &ApiKeys, policies: &PolicySets, clock: &dyn Clock, stop: &Stop) {
    while !stop.is_stopped() {
        let until = clock.monotonic() + EVERY;
        select_biased! {
            () = stop.wait().fuse() => {}
            () = clock.sleep_until(until).fuse() => {}
        }
        if let Err(error) = keys.flush_uses().await {
            tracing::warn!(event = "key_uses_failed", error = %error, "when keys were last used was not written");
        }
        if let Err(error) = policies.load().await {
            tracing::error!(event = "policies_failed", error = %error, "the stored policies were not put into force");
        }
    }
}
