//! The section `allocation`.

use std::collections::BTreeSet;
use std::time::Duration;

use arbiter_allocation::{Settings, Strategy};
use arbiter_core::model::{TaskKind, TenantId};

use super::file::AllocationSection;
use crate::bootstrap::DEFAULT_TENANT;
use crate::engine::registry::EVERY;

/// The settings of allocation; what is wrong with them goes to `problems`.
pub(super) fn settings(section: &AllocationSection, problems: &mut Vec<String>) -> Settings {
    let mut settings = Settings::default();
    if let Some(strategy) = &section.strategy {
        take(strategy_of(strategy), &mut settings.strategy, problems);
    }
    for (kind, strategy) in &section.by_kind {
        match (kind_of(kind), strategy_of(strategy)) {
            (Ok(kind), Ok(strategy)) => {
                settings.by_kind.insert(kind, strategy);
            }
            (kind, strategy) => {
                let wrong = kind.err().into_iter().chain(strategy.err());
                problems.extend(wrong.map(|problem| format!("allocation.by_kind: {problem}")));
            }
        }
    }
    let mut seconds = |name: &str, given: Option<u32>, into: &mut Duration| match given {
        Some(value @ 1..=86_400) => *into = Duration::from_secs(value.into()),
        Some(value) => problems.push(format!("allocation.{name}: must lie in 1..=86400, not {value}")),
        None => {}
    };
    seconds(
        "heartbeat_seconds",
        section.heartbeat_seconds,
        &mut settings.heartbeat,
    );
    seconds("stale_seconds", section.stale_seconds, &mut settings.stale_after);
    if settings.stale_after <= EVERY {
        // Else nobody would be chosen between two readings.
        problems.push(format!(
            "allocation.stale_seconds: must be more than {}, because the registry is read that often",
            EVERY.as_secs()
        ));
    }
    if settings.stale_after < settings.heartbeat {
        problems.push("allocation.stale_seconds: must not be less than heartbeat_seconds".into());
    }
    let mut seen = BTreeSet::new();
    for limit in &section.running {
        let tenant = limit.tenant.as_deref().map_or(Ok(DEFAULT_TENANT), tenant_of);
        let kind = limit.kind.as_deref().map(kind_of).transpose();
        match (tenant, kind) {
            (Ok(tenant), Ok(kind)) => {
                if !seen.insert((tenant, kind.clone())) {
                    problems.push("allocation.running: names one tenant and kind twice".into());
                }
                match kind {
                    Some(kind) => settings.running_per_kind.insert((tenant, kind), limit.most),
                    None => settings.running_per_tenant.insert(tenant, limit.most),
                };
            }
            (tenant, kind) => {
                let wrong = tenant.err().into_iter().chain(kind.err());
                problems.extend(wrong.map(|problem| format!("allocation.running: {problem}")));
            }
        }
    }
    settings.policy_version = settings.fingerprint();
    settings
}

fn take<T>(given: Result<T, String>, into: &mut T, problems: &mut Vec<String>) {
    match given {
        Ok(value) => *into = value,
        Err(problem) => problems.push(format!("allocation.strategy: {problem}")),
    }
}

fn strategy_of(word: &String) -> Result<Strategy, String> {
    Strategy::from_word(word).ok_or_else(|| {
        let known: Vec<&str> = Strategy::ALL.iter().map(|strategy| strategy.word()).collect();
        format!("`{word}` is no strategy; the strategies are {}", known.join(", "))
    })
}

fn kind_of(word: impl AsRef<str>) -> Result<TaskKind, String> {
    TaskKind::new(word.as_ref()).map_err(|error| error.to_string())
}

fn tenant_of(text: &str) -> Result<TenantId, String> {
    text.parse()
        .map_err(|error: arbiter_core::model::InvalidId| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> (Settings, Vec<String>) {
        let mut problems = Vec::new();
        let section = toml::from_str(text).expect("a section");
        (settings(&section, &mut problems), problems)
    }

    #[test]
    fn every_strategy_can_be_set_for_all_kinds_and_for_one() {
        for strategy in Strategy::ALL {
            let word = strategy.word();
            let text = format!("strategy = \"{word}\"\nby_kind = {{ analysis = \"{word}\" }}");
            let (made, problems) = read(&text);
            assert_eq!(problems, Vec::<String>::new());
            let kind = TaskKind::new("analysis").expect("kind");
            assert_eq!(
                (made.strategy, made.by_kind.get(&kind)),
                (strategy, Some(&strategy))
            );
        }
    }

    #[test]
    fn limits_are_by_tenant_and_kind_and_other_settings_are_another_policy() {
        let tenant = "0190f3c2-7b5e-7c3a-9d41-5f6e8a1b2c3d";
        let (made, problems) = read(&format!(
            "heartbeat_seconds = 5\nstale_seconds = 60\nrunning = [{{ most = 8 }}, {{ kind = \"analysis\", most = 2 }}, \
             {{ tenant = \"{tenant}\", most = 0 }}]"
        ));
        assert_eq!(problems, Vec::<String>::new());
        let kind = TaskKind::new("analysis").expect("kind");
        assert_eq!(made.heartbeat, Duration::from_secs(5));
        assert_eq!(made.stale_after, Duration::from_secs(60));
        let tenant = tenant.parse().expect("tenant");
        assert_eq!(made.running_per_tenant, [(DEFAULT_TENANT, 8), (tenant, 0)].into());
        assert_eq!(made.running_per_kind, [((DEFAULT_TENANT, kind), 2)].into());
        let (plain, _) = read("");
        assert_eq!(plain.policy_version, read("").0.policy_version);
        assert_ne!(plain.policy_version, made.policy_version);
    }

    #[test]
    fn what_was_read_outlives_the_time_between_two_readings() {
        let text = |stale: u32| format!("heartbeat_seconds = 1\nstale_seconds = {stale}");
        for stale in [1, 4, 5] {
            let (_, problems) = read(&text(stale));
            let expected =
                "allocation.stale_seconds: must be more than 5, because the registry is read that often";
            assert_eq!(problems, [expected], "{stale}");
        }
        let (made, problems) = read(&text(6));
        assert_eq!(
            (made.stale_after, problems.len()),
            (Duration::from_secs(6), 0),
            "{problems:?}"
        );
    }

    #[test]
    fn every_mistake_is_told() {
        let (_, problems) = read(
            "strategy = \"guess\"\nheartbeat_seconds = 0\nstale_seconds = 1\nby_kind = { \"A b\" = \"best\" }\n\
             running = [{ tenant = \"x\", most = 1 }, { most = 1 }, { most = 2 }]",
        );
        for part in [
            "`guess` is no strategy; the strategies are round_robin",
            "heartbeat_seconds: must lie in",
            "stale_seconds: must not be less",
            "A b",
            "`best`",
            "allocation.running: `x`",
            "twice",
        ] {
            assert!(
                problems.iter().any(|problem| problem.contains(part)),
                "{part}: {problems:?}"
            );
        }
    }
}
