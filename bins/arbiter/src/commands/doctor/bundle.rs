//! The support bundle: what helps others to help, without keys, inputs or outputs.
//!
//! Nothing of the store's content is read for it, and all of it passes through the redactor before it is written.

use std::fs::OpenOptions;
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::Arc;

use arbiter_adapter_system::{OsEntropy, SystemClock, TokioSpawner};
use arbiter_core::mechanism::Redactor;
use arbiter_core::ports::{Clock as _, NoMetrics};
use arbiter_net::{Egress, HttpClient, HttpClientConfig, HttpPorts, HttpUrl, Request, SystemResolver};
use serde_json::{Value, json};

use super::Finding;
use crate::config::{Config, show};
use crate::exit::Failure;
use crate::owner;

/// How much of the end of a log is looked at, and how many of its lines are kept.
const LOG_BYTES: u64 = 256 << 10;
const LOG_LINES: usize = 200;

pub(super) async fn write(
    config: &Config,
    findings: &[Finding],
    path: &Path,
    log: Option<&Path>,
) -> Result<(), Failure> {
    let cannot = |error: std::io::Error| {
        Failure::unavailable(
            format!("the bundle `{}` could not be written", path.display()),
            error,
        )
    };
    let log = log
        .map(last_lines)
        .transpose()
        .map_err(|error| Failure::usage(format!("the log cannot be read: {error}")))?;
    let mut bundle = json!({
        "bundle": 1,
        "made_at": SystemClock::new().now().to_string(),
        "program": env!("CARGO_PKG_VERSION"),
        "system": {
            "name": std::env::consts::OS,
            "machine": std::env::consts::ARCH,
            "release": std::fs::read_to_string("/proc/sys/kernel/osrelease").ok(),
            "processors": std::thread::available_parallelism().map(std::num::NonZeroUsize::get).ok(),
        },
        "configuration": show(config),
        "enforced": crate::engine::enforced(config),
        "findings": super::as_json(findings),
        "metrics": metrics(config).await,
        "log": log,
    });
    let redactor = Redactor::new(&config.redaction)
        .map_err(|error| Failure::configuration(format!("redaction: {error}")))?;
    redactor.value(&mut bundle);
    let text = serde_json::to_string_pretty(&bundle)
        .map_err(|error| Failure::internal("the bundle could not be made", error))?;
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .map_err(cannot)?;
    file.write_all(text.as_bytes()).map_err(cannot)?;
    file.sync_all().map_err(cannot)
}

/// The last lines of a log.
fn last_lines(path: &Path) -> std::io::Result<Vec<String>> {
    let mut file = std::fs::File::open(path)?;
    let size = file.metadata()?.len();
    file.seek(SeekFrom::Start(size.saturating_sub(LOG_BYTES)))?;
    let mut bytes = Vec::new();
    file.take(LOG_BYTES).read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<&str> = text.lines().collect();
    let kept = lines.len().saturating_sub(LOG_LINES);
    Ok(lines
        .get(kept..)
        .unwrap_or_default()
        .iter()
        .map(|line| (*line).to_owned())
        .collect())
}

/// The measurements of the server that has the data folder, or why there are none.
async fn metrics(config: &Config) -> Value {
    let Some(owner) = owner::find(&config.data_dir) else {
        return json!({"absent": "no server uses the data folder"});
    };
    match fetched(&owner.url).await {
        Ok(text) => json!({"text": text}),
        Err(why) => json!({"absent": why}),
    }
}

async fn fetched(url: &str) -> Result<String, String> {
    let url = format!("{url}/metrics")
        .parse::<HttpUrl>()
        .map_err(|error| error.to_string())?;
    let config = HttpClientConfig {
        egress: Egress::public().plain_http().allow_host(url.host()),
        ..HttpClientConfig::new("doctor")
    };
    let ports = HttpPorts {
        clock: Arc::new(SystemClock::new()),
        entropy: Arc::new(OsEntropy::new()),
        metrics: Arc::new(NoMetrics),
        spawner: Arc::new(TokioSpawner::new()),
        resolver: Arc::new(SystemResolver),
    };
    let client = HttpClient::new(&config, ports).map_err(|error| error.to_string())?;
    let answer = client
        .send(Request::get(url).operation("metrics"))
        .await
        .map_err(|error| error.to_string())?;
    String::from_utf8(answer.body.to_vec()).map_err(|_| "the measurements are no text".to_owned())
}
