//! Schedules: the service that tenants manage them with, and its runner.

use std::sync::Arc;

use arbiter_core::ports::{Documents, LeaseStore};
use arbiter_orchestration::supervisor::{self, Service};
use arbiter_queue::Principals;
use arbiter_queue::schedules::{RunnerSettings, ScheduleRunner, ScheduleSettings, Schedules};
use arbiter_wire::stored::StoredSpecs;

use crate::app::App;

/// The service that tenants manage their schedules with.
pub(crate) fn schedules(app: &App) -> Arc<Schedules> {
    let documents: Arc<dyn Documents> = app.store.clone();
    Arc::new(Schedules::new(
        Arc::clone(&app.queue),
        &documents,
        Arc::new(StoredSpecs),
        ScheduleSettings::default(),
    ))
}

/// The loop that submits their tasks.
pub(crate) fn service(app: &App, schedules: Arc<Schedules>) -> Arc<dyn Service> {
    let documents: Arc<dyn Documents> = app.store.clone();
    let leases: Arc<dyn LeaseStore> = app.store.clone();
    let runner = Arc::new(ScheduleRunner::new(
        schedules,
        Principals::new(documents),
        leases,
        app.ids.node(),
        RunnerSettings::default(),
    ));
    supervisor::service("schedules", move |stop| {
        let runner = Arc::clone(&runner);
        Box::pin(async move { runner.run(&stop).await })
    })
}
