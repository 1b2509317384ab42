//! The section `registry`: the registry of agents, where it is another arbiter's.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::file::RegistrySection;

/// Another arbiter that is the registry of agents.
#[derive(Debug, Clone)]
pub(crate) struct RegistryElsewhere {
    /// Its address.
    pub(crate) url: String,
    /// The file of the key that it knows this one by.
    pub(crate) key_file: PathBuf,
    /// File of further authorities for its certificate.
    pub(crate) ca_file: Option<PathBuf>,
    /// The longest that one attempt of a call may take.
    pub(crate) timeout: Duration,
}

impl RegistryElsewhere {
    /// The registry elsewhere, if there is one; else agents are in the store.
    pub(super) fn of(section: &RegistrySection, folder: &Path, problems: &mut Vec<String>) -> Option<Self> {
        let Some(url) = &section.url else {
            if *section != RegistrySection::default() {
                problems.push("registry: what is set there is of no use without registry.url".into());
            }
            return None;
        };
        if cfg!(not(feature = "registry-http")) {
            problems.push(
                "registry.url: this build knows no registry elsewhere; build it with `--features registry-http`, or leave \
                 it out to keep agents in the store"
                    .into(),
            );
        }
        let seconds = section.timeout_seconds.unwrap_or(5);
        if !(1..=60).contains(&seconds) {
            problems.push(format!(
                "registry.timeout_seconds: must lie in 1..=60, not {seconds}"
            ));
        }
        let Some(key_file) = &section.key_file else {
            problems.push(
                "registry.key_file: is needed with registry.url; an admin there makes the key, see docs/agent-registry.md"
                    .into(),
            );
            return None;
        };
        Some(Self {
            url: url.clone(),
            key_file: folder.join(key_file),
            ca_file: section.ca_file.as_ref().map(|path| folder.join(path)),
            timeout: Duration::from_secs(seconds.into()),
        })
    }
}

#[cfg(feature = "registry-http")]
#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> (Option<RegistryElsewhere>, Vec<String>) {
        let mut problems = Vec::new();
        let section = toml::from_str(text).expect("a section");
        let made = RegistryElsewhere::of(&section, Path::new("/etc/arbiter"), &mut problems);
        (made, problems)
    }

    #[test]
    fn a_registry_has_an_address_and_a_key() {
        assert!(matches!(read(""), (None, problems) if problems.is_empty()));
        let (made, problems) = read("url = \"https://a.example\"\nkey_file = \"peer.key\"");
        assert_eq!(problems, Vec::<String>::new());
        let made = made.expect("a registry");
        assert_eq!(
            (made.key_file, made.timeout),
            (PathBuf::from("/etc/arbiter/peer.key"), Duration::from_secs(5))
        );
        for (text, part) in [
            ("key_file = \"peer.key\"", "without registry.url"),
            ("url = \"https://a.example\"", "registry.key_file"),
            (
                "url = \"https://a.example\"\ntimeout_seconds = 0",
                "timeout_seconds",
            ),
        ] {
            let (_, problems) = read(text);
            assert!(
                problems.iter().any(|problem| problem.contains(part)),
                "{problems:?}"
            );
        }
    }
}
