//! Completion webhooks: which adapter delivers them.

use std::sync::Arc;

use arbiter_adapter_webhook::{WebhookConfig, WebhookDeliverer};
use arbiter_core::ports::{Documents, Outbox};
use arbiter_net::{Egress, HttpPorts, SystemResolver};
use arbiter_orchestration::supervisor::{Service, service};
use arbiter_queue::hooks::{Courier, CourierSettings, Feeder, FeederPorts, Hooks};

use crate::app::App;
use crate::config::HooksConfig;
use crate::exit::Failure;

/// The service that tenants manage their hooks with.
pub(crate) fn hooks(app: &App) -> Arc<Hooks> {
    let documents: Arc<dyn Documents> = app.store.clone();
    Arc::new(Hooks::new(
        Arc::clone(&app.queue),
        &documents,
        Arc::clone(&app.entropy),
        app.config.hooks.settings,
    ))
}

/// The services that make messages out of what happens, and that deliver them.
///
/// # Errors
/// A configuration failure when no client can be made.
pub(crate) fn services(app: &App) -> Result<[Arc<dyn Service>; 2], Failure> {
    let feeder = Arc::new(Feeder::new(FeederPorts {
        node: app.ids.node(),
        audit: app.store.clone(),
        documents: app.store.clone(),
        reader: app.store.clone(),
        leases: app.store.clone(),
        wakeups: Arc::clone(&app.wakeups),
        clock: Arc::clone(&app.clock),
    }));
    let courier = Arc::new(courier(app)?);
    let delivers = service("courier", move |stop| {
        let courier = Arc::clone(&courier);
        Box::pin(async move { courier.run(&stop).await })
    });
    let feeds = service("hook-feeder", move |stop| {
        let feeder = Arc::clone(&feeder);
        Box::pin(async move { feeder.run(&stop).await })
    });
    Ok([delivers, feeds])
}

/// The service that delivers messages.
///
/// # Errors
/// A configuration failure when no client can be made.
fn courier(app: &App) -> Result<Courier, Failure> {
    let config = WebhookConfig {
        egress: egress(&app.config.hooks),
        ..WebhookConfig::new()
    };
    let ports = HttpPorts {
        clock: Arc::clone(&app.clock),
        entropy: Arc::clone(&app.entropy),
        metrics: Arc::clone(&app.metrics),
        spawner: Arc::clone(&app.spawner),
        resolver: Arc::new(SystemResolver),
    };
    let deliverer = WebhookDeliverer::new(&config, ports)
        .map_err(|error| Failure::configuration(format!("webhooks cannot be delivered: {error}")))?;
    let documents: Arc<dyn Documents> = app.store.clone();
    let outbox: Arc<dyn Outbox> = app.store.clone();
    Ok(Courier::new(
        outbox,
        &documents,
        Arc::new(deliverer),
        Arc::clone(&app.clock),
        Arc::clone(&app.metrics),
        CourierSettings::default(),
    ))
}

/// Receivers are on the public Internet, or where the configuration permits.
fn egress(config: &HooksConfig) -> Egress {
    let mut egress = config
        .hosts
        .iter()
        .fold(Egress::public(), |egress, host| egress.allow_host(host));
    egress = config
        .networks
        .iter()
        .fold(egress, |egress, network| egress.allow_network(*network));
    if config.settings.loopback_http {
        // An address without TLS is accepted for this machine only, when a hook is made.
        egress = ["localhost", "127.0.0.1", "[::1]", "::1"]
            .into_iter()
            .fold(egress.plain_http(), Egress::allow_host);
    }
    egress
}
