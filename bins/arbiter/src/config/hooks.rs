//! The section `hooks`.

use std::str::FromStr as _;

use arbiter_net::IpNet;
use arbiter_queue::hooks::HookSettings;

use super::file::HooksSection;

/// Completion webhooks.
#[derive(Debug, Clone, Default)]
pub(crate) struct HooksConfig {
    /// What tenants may do.
    pub(crate) settings: HookSettings,
    /// Hosts in private networks that receivers may have.
    pub(crate) hosts: Vec<String>,
    /// Private networks that receivers may be in.
    pub(crate) networks: Vec<IpNet>,
}

impl HooksConfig {
    pub(super) fn of(section: &HooksSection, problems: &mut Vec<String>) -> Self {
        let mut settings = HookSettings {
            loopback_http: section.loopback_http,
            ..HookSettings::default()
        };
        match section.per_tenant {
            Some(count) if (1..=1_000).contains(&count) => settings.per_tenant = count,
            Some(count) => problems.push(format!("hooks.per_tenant: must lie in 1..=1000, not {count}")),
            None => {}
        }
        let mut networks = Vec::new();
        for text in &section.networks {
            match IpNet::from_str(text) {
                Ok(network) => networks.push(network),
                Err(_) => problems.push(format!(
                    "hooks.networks: `{text}` is not a network, such as `10.1.0.0/16`"
                )),
            }
        }
        Self {
            settings,
            hosts: section.hosts.clone(),
            networks,
        }
    }
}
