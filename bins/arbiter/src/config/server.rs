//! The section `server`.

use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

use arbiter_api::ApiSettings;

use super::file::ServerSection;

/// Where the server listens unless told otherwise: this machine only.
const LISTEN: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 7700);

/// The server.
#[derive(Debug, Clone)]
pub(crate) struct ServerConfig {
    /// The address.
    pub(crate) listen: SocketAddr,
    /// Files of the certificate chain and its key.
    pub(crate) tls: Option<(PathBuf, PathBuf)>,
    /// File of the authorities whose certificates clients may show.
    pub(crate) client_ca: Option<PathBuf>,
    /// Agents that this node hosts.
    pub(crate) agents: Option<PathBuf>,
    /// Limits.
    pub(crate) api: ApiSettings,
}

impl ServerConfig {
    pub(super) fn of(section: &ServerSection, folder: &Path, problems: &mut Vec<String>) -> Self {
        let listen = section.listen.as_deref().map_or(LISTEN, |text| {
            text.parse().unwrap_or_else(|_| {
                problems.push(format!(
                    "server.listen: `{text}` is not an address and a port, such as `127.0.0.1:7700`"
                ));
                LISTEN
            })
        });
        let tls = match (&section.tls_certificate, &section.tls_key) {
            (Some(certificate), Some(key)) => Some((folder.join(certificate), folder.join(key))),
            (None, None) => None,
            _ => {
                problems
                    .push("server: tls_certificate and tls_key belong together; give both or none".into());
                None
            }
        };
        if section.tls_client_ca.is_some() && tls.is_none() {
            problems.push(
                "server.tls_client_ca: certificates are shown over TLS only; set tls_certificate and tls_key"
                    .into(),
            );
        }
        Self {
            listen,
            tls,
            client_ca: section.tls_client_ca.as_ref().map(|path| folder.join(path)),
            agents: section.agents.as_ref().map(|path| folder.join(path)),
            api: api(section, problems),
        }
    }
}

fn api(section: &ServerSection, problems: &mut Vec<String>) -> ApiSettings {
    let mut api = ApiSettings::default();
    let mut count = |name: &str, given: Option<usize>, range: RangeInclusive<usize>, into: &mut usize| {
        let Some(value) = given else { return };
        if range.contains(&value) {
            *into = value;
        } else {
            let (least, most) = range.into_inner();
            problems.push(format!(
                "server.{name}: must lie in {least}..={most}, not {value}"
            ));
        }
    };
    count(
        "body_bytes",
        section.body_bytes,
        1 << 16..=1 << 30,
        &mut api.body_bytes,
    );
    count(
        "connections",
        section.connections,
        1..=1_000_000,
        &mut api.connections,
    );
    count("calls", section.calls, 1..=1_000_000, &mut api.calls);
    count("waiting", section.waiting, 1..=1_000_000, &mut api.waiting);
    match section.artifact_bytes {
        Some(0) => problems.push("server.artifact_bytes: must be at least 1".into()),
        Some(bytes) => api.artifact_bytes = bytes,
        None => {}
    }
    let mut seconds = |name: &str, given: Option<u32>, into: &mut Duration| {
        let Some(value) = given else { return };
        if (1..=3_600).contains(&value) {
            *into = Duration::from_secs(value.into());
        } else {
            problems.push(format!("server.{name}: must lie in 1..=3600, not {value}"));
        }
    };
    seconds("call_seconds", section.call_seconds, &mut api.call_timeout);
    seconds("head_seconds", section.head_seconds, &mut api.head_timeout);
    seconds("body_seconds", section.body_seconds, &mut api.body_timeout);
    seconds("write_seconds", section.write_seconds, &mut api.write_timeout);
    seconds("drain_seconds", section.drain_seconds, &mut api.drain);
    api
}
