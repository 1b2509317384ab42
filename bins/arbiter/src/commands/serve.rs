//! `arbiter serve`: the HTTP interface, and the services behind it.

use arbiter_api::TlsIdentity;
use serde_json::json;

use crate::app::App;
use crate::batch::{AgentEntry, Agents};
use crate::cli::ServeArgs;
use crate::config::{Config, Environment};
use crate::exit::Failure;
use crate::serving::Serving;
use crate::{identities, output, signals};

/// Serves until a signal comes.
pub(crate) async fn run(
    mut config: Config,
    arguments: ServeArgs,
    json: bool,
    environment: &dyn Environment,
) -> Result<(), Failure> {
    if let Some(listen) = arguments.listen {
        config.server.listen = listen;
    }
    if arguments.agents.is_some() {
        config.server.agents = arguments.agents;
    }
    let tls = identity(&config)?;
    let agents = agents(&config)?;
    raise_file_limit();
    let app = App::open(config).await?;
    let served = serve(&app, tls, agents, json, environment).await;
    let closed = app.close().await;
    served.and(closed)
}

async fn serve(
    app: &App,
    tls: Option<TlsIdentity>,
    agents: Vec<AgentEntry>,
    json: bool,
    environment: &dyn Environment,
) -> Result<(), Failure> {
    let stop = signals::first(app.spawner.as_ref());
    let serving = Serving::start(app, tls, agents, environment).await?;
    if json {
        output::json(&json!({"url": serving.url, "pid": std::process::id()}));
    } else {
        output::line(&format!("serving on {}; stop with Ctrl-C", serving.url));
    }
    stop.wait().await;
    serving.stop().await;
    Ok(())
}

/// The certificate, if one is configured. Keys in clear text leave this machine only over TLS.
fn identity(config: &Config) -> Result<Option<TlsIdentity>, Failure> {
    let identity = identities::certificate(config)?;
    let listen = config.server.listen;
    if identity.is_some() || listen.ip().is_loopback() {
        return Ok(identity);
    }
    Err(Failure::configuration(format!(
        "`{listen}` can be reached from other machines, and keys would cross the network in clear text; set \
         server.tls_certificate and server.tls_key, or listen on 127.0.0.1 behind a proxy"
    )))
}

fn agents(config: &Config) -> Result<Vec<AgentEntry>, Failure> {
    let Some(path) = &config.server.agents else {
        return Ok(Vec::new());
    };
    let text = std::fs::read_to_string(path).map_err(|error| {
        Failure::configuration(format!(
            "the agents file `{}` cannot be read: {error}",
            path.display()
        ))
    })?;
    let folder = path.parent().unwrap_or(std::path::Path::new("."));
    Ok(Agents::read(&text, folder, crate::bootstrap::DEFAULT_TENANT)?.0)
}

/// Takes as many file handles as the system lets us: each connection needs one.
fn raise_file_limit() {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    let raised = getrlimit(Resource::RLIMIT_NOFILE)
        .and_then(|(_, hard)| setrlimit(Resource::RLIMIT_NOFILE, hard, hard).map(|()| hard));
    match raised {
        Ok(limit) => tracing::debug!(event = "file_limit", limit, "file handles that may be open"),
        Err(error) => {
            tracing::warn!(event = "file_limit", error = %error, "the limit of open files could not be raised");
        }
    }
}
