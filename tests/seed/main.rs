//! Fills a server with things to look at: three tenants, five topics, twenty agents, and tasks. What is there already is
//! left as it is, so it can be run again. `cargo xtask seed` starts it.
#![expect(
    clippy::print_stdout,
    reason = "a developer command speaks on standard output"
)]
#![expect(clippy::print_stderr, reason = "its failures go to standard error")]

mod plant;
mod plot;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context as _;
use arbiter_adapter_system::{OsEntropy, SystemClock, TokioSpawner};
use arbiter_client::{Client, ClientConfig, HttpPorts};
use arbiter_core::mechanism::SecretText;
use arbiter_core::ports::NoMetrics;
use arbiter_net::SystemResolver;
use clap::Parser;

/// Fills a server with three tenants, five topics and twenty agents; safe to repeat.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask seed")]
struct Arguments {
    /// The server's address, such as http://127.0.0.1:7700
    #[arg(long)]
    server: String,
    /// File of an admin's key, such as operator.key in the server's data folder
    #[arg(long)]
    token_file: PathBuf,
    /// PEM file of further authorities that may vouch for the server
    #[arg(long)]
    ca_file: Option<PathBuf>,
}

impl Arguments {
    /// The settings of a client with a key.
    fn settings(&self, key: String) -> anyhow::Result<ClientConfig> {
        let mut settings = ClientConfig::new(&self.server);
        settings.key = Some(SecretText::new(key));
        if let Some(path) = &self.ca_file {
            let authorities = std::fs::read(path);
            let authorities = authorities.with_context(|| format!("reading `{}`", path.display()))?;
            settings.extra_roots_pem.push(authorities);
        }
        Ok(settings)
    }

    fn client(&self, key: String) -> anyhow::Result<Client> {
        let ports = HttpPorts {
            clock: Arc::new(SystemClock::new()),
            entropy: Arc::new(OsEntropy::new()),
            metrics: Arc::new(NoMetrics),
            spawner: Arc::new(TokioSpawner::new()),
            resolver: Arc::new(SystemResolver),
        };
        Client::new(&self.settings(key)?, ports).with_context(|| format!("--server {}", self.server))
    }
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let done = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("no runtime")
        .and_then(|runtime| runtime.block_on(run(&arguments)));
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("seed: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let path = &arguments.token_file;
    let key = std::fs::read_to_string(path).with_context(|| format!("reading `{}`", path.display()))?;
    let admin = arguments.client(key.trim().to_owned())?;
    let mut total = plant::Count::default();
    for plot in plot::all() {
        let tenant = plant::tenant(&admin, &plot).await?;
        let keeper = plant::Keeper::appoint(&admin, tenant).await?;
        let own = arguments.client(keeper.secret.clone())?;
        let planted = plant::everything(&admin, &own, tenant, &plot).await;
        // also when something failed: its key is of no use to anybody
        let retired = keeper.retire(&admin).await;
        let count = planted?;
        retired?;
        println!("{:<12} {tenant}  {count}", plot.name);
        total += count;
    }
    println!("{:<12} {total}", "in all");
    Ok(())
}
