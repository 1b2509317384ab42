//! What a command works on: the store of this machine, or a server.

mod agents;
mod audit;
mod bulk;
mod erasures;
mod hooks;
mod policies;
mod queue;
mod schedules;
mod tasks;
mod tenants;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use arbiter_adapter_system::{OsEntropy, SystemClock, TokioSpawner};
use arbiter_client::{Client, ClientConfig, HttpPorts};
use arbiter_core::mechanism::SecretText;
use arbiter_core::model::TenantId;
use arbiter_core::ports::NoMetrics;
use arbiter_net::SystemResolver;

use crate::app::App;
use crate::cli::Global;
use crate::config::{Config, Environment};
use crate::exit::Failure;
use crate::{bootstrap, owner};

pub(crate) use bulk::Bulk;
pub(crate) use queue::PauseChoice;
pub(crate) use tasks::{Line, Moved, Refusal, task_id, verdict};
pub(crate) use tenants::tenant_id;

/// Which server, and as whom, as it was asked for.
#[derive(Debug, Clone, Default)]
pub(crate) struct Choice {
    /// The store of this machine, whoever serves.
    local: bool,
    /// A server's address.
    server: Option<String>,
    /// Whether it stands on the command line.
    is_named: bool,
    /// The file of the key.
    token_file: Option<PathBuf>,
    /// A file of authorities to trust.
    ca_file: Option<PathBuf>,
    /// The tenant that the caller means to act in.
    tenant: Option<String>,
}

impl Choice {
    /// Flags first, then the environment.
    pub(crate) fn of(global: &Global, environment: &dyn Environment) -> Self {
        let path = |flag: &Option<PathBuf>, name: &str| {
            flag.clone().or_else(|| environment.get(name).map(PathBuf::from))
        };
        let server = global
            .server
            .clone()
            .or_else(|| environment.get("ARBITER_SERVER"))
            .filter(|_| !global.local);
        Self {
            local: global.local,
            server,
            is_named: global.server.is_some(),
            token_file: path(&global.token_file, "ARBITER_TOKEN_FILE"),
            ca_file: path(&global.ca_file, "ARBITER_CA_FILE"),
            tenant: global.tenant.clone(),
        }
    }

    /// Whether a key's file was named.
    pub(crate) const fn has_token(&self) -> bool {
        self.token_file.is_some()
    }

    /// Refuses a server for a command that works on this machine only.
    ///
    /// # Errors
    /// A usage failure that says what to do.
    pub(crate) fn only_here(&self, command: &str) -> Result<(), Failure> {
        if !self.is_named {
            return Ok(());
        }
        Err(Failure::usage(format!(
            "`{command}` works on the store of this machine only: leave --server out"
        )))
    }

    /// The server to work against: the one that was named, or the process that serves this machine's store.
    ///
    /// # Errors
    /// A failure that says what is missing.
    pub(crate) fn client(&self, config: &Config) -> Result<Option<Client>, Failure> {
        if self.local {
            return Ok(None);
        }
        let owner = owner::find(&config.data_dir);
        let (server, is_owner) = match (&self.server, owner) {
            (Some(server), Some(owner)) => (server.clone(), is_same(server, &owner.url)),
            (Some(server), None) => (server.clone(), false),
            (None, Some(owner)) => (owner.url, true),
            (None, None) => return Ok(None),
        };
        let key = match &self.token_file {
            Some(path) => token(path)?,
            None if is_owner => Self::operator_key(config, &server)?,
            None => {
                return Err(Failure::usage(format!(
                    "`{server}` wants a key: name its file with --token-file or ARBITER_TOKEN_FILE"
                )));
            }
        };
        let mut settings = ClientConfig::new(server);
        settings.key = Some(key);
        let own_certificate = config
            .server
            .tls
            .as_ref()
            .map(|(certificate, _)| certificate)
            .filter(|_| is_owner);
        for path in self.ca_file.iter().chain(own_certificate) {
            let pem = std::fs::read(path).map_err(|error| {
                Failure::configuration(format!("`{}` cannot be read: {error}", path.display()))
            })?;
            settings.extra_roots_pem.push(pem);
        }
        connect(&settings).map(Some)
    }

    fn operator_key(config: &Config, server: &str) -> Result<SecretText, Failure> {
        let path = bootstrap::key_file(&config.data_dir);
        let told = |failure: Failure| Failure {
            message: format!(
                "the store is served at {server}; name a key with --server {server} --token-file FILE, since {}",
                failure.message
            ),
            ..failure
        };
        let missing = || Failure::usage(format!("`{}` does not exist", path.display()));
        bootstrap::read(&path)
            .and_then(|key| key.ok_or_else(missing))
            .map_err(told)
    }

    /// Opens what the command works on.
    ///
    /// # Errors
    /// A failure that says what could not be opened and what to do.
    async fn open(&self, config: Config) -> Result<Reach, Failure> {
        if let Some(client) = self.client(&config)? {
            if self.tenant.is_some() {
                return Err(Failure::usage(
                    "a key belongs to one tenant: choose the tenant by the key, with --token-file",
                ));
            }
            return Ok(Reach::Server(client));
        }
        let app = App::open(config).await?;
        match self.check_tenant(&app) {
            Ok(()) => Ok(Reach::Store(Box::new(app))),
            Err(failure) => {
                app.close().await?;
                Err(failure)
            }
        }
    }

    fn check_tenant(&self, app: &App) -> Result<(), Failure> {
        let Some(text) = &self.tenant else { return Ok(()) };
        let tenant: TenantId = text
            .parse()
            .map_err(|error: arbiter_core::model::InvalidId| Failure::usage(error.to_string()))?;
        if tenant == app.operator.tenant {
            return Ok(());
        }
        Err(Failure {
            code: "forbidden",
            exit: arbiter_wire::codes::EXIT_DENIED,
            ..Failure::usage(format!(
                "the operator of this store belongs to the tenant {}",
                app.operator.tenant
            ))
        })
    }
}

/// What a command works on. Both sides take the same path of rights, limits and audit.
pub(crate) enum Reach {
    /// The store of this machine, as its operator.
    Store(Box<App>),
    /// A server, as whoever the key says.
    Server(Client),
}

/// Opens what a command works on, runs the command, and closes it whatever came of it.
pub(crate) async fn with(
    choice: &Choice,
    config: Config,
    command: impl AsyncFnOnce(&Reach) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let reach = choice.open(config).await?;
    let done = command(&reach).await;
    match reach {
        Reach::Store(app) => {
            let closed = app.close().await;
            done.and(closed)
        }
        Reach::Server(_) => done,
    }
}

/// The ports of clients.
pub(crate) fn ports() -> HttpPorts {
    HttpPorts {
        clock: Arc::new(SystemClock::new()),
        entropy: Arc::new(OsEntropy::new()),
        metrics: Arc::new(NoMetrics),
        spawner: Arc::new(TokioSpawner::new()),
        resolver: Arc::new(SystemResolver),
    }
}

fn connect(settings: &ClientConfig) -> Result<Client, Failure> {
    Client::new(settings, ports()).map_err(|error| {
        let cause = std::error::Error::source(&error).map_or_else(String::new, |cause| format!(": {cause}"));
        Failure::usage(format!("--server {}: {error}{cause}", settings.server))
    })
}

fn token(path: &Path) -> Result<SecretText, Failure> {
    bootstrap::read(path)?
        .ok_or_else(|| Failure::usage(format!("the key file `{}` does not exist", path.display())))
}

fn is_same(one: &str, other: &str) -> bool {
    one.trim_end_matches('/')
        .eq_ignore_ascii_case(other.trim_end_matches('/'))
}
