//! Which limits hold on this machine.

use nix::unistd::Uid;

use crate::cgroup::Mode;

/// What is said first of a limit that is not enforced.
const NOT: &str = "not enforced: ";

/// Limits and how they are enforced here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Enforced {
    /// Each limit, by a word that stays the same, with how it is enforced, or that it is not and why.
    pub limits: Vec<(String, String)>,
}

impl Enforced {
    /// What holds for commands that this process starts to run as `uid`, with memory and processes held as in `mode`.
    pub fn here(uid: Option<u32>, mode: &Mode) -> Self {
        let user = match (Uid::effective().is_root(), uid) {
            (true, Some(uid)) if uid != 0 => {
                format!("commands run as user and group {uid}, without other groups")
            }
            (true, _) => "not enforced: commands run as root, as configured".to_owned(),
            (false, _) => "not enforced: not root, so commands run as the same user".to_owned(),
        };
        let files = if landlock_works() {
            "Landlock: writing only in the working folder; reading only there, in system folders and where the command \
             lies"
        } else {
            "not enforced: the kernel has no Landlock, so only file permissions hold"
        };
        let mut limits = vec![("user".to_owned(), user)];
        let rest = [
            ("files", files),
            (
                "network",
                "not enforced: commands reach whatever this machine reaches",
            ),
            (
                "output",
                "counted while it is read; above the limit all processes are killed",
            ),
            ("file_size", "RLIMIT_FSIZE"),
            ("open_files", "RLIMIT_NOFILE"),
            ("core_dumps", "RLIMIT_CORE"),
            ("time", "SIGTERM at the deadline, SIGKILL after the grace"),
            ("privileges", "no_new_privs"),
        ];
        limits.extend(held(mode).map(|(limit, how)| (limit.to_owned(), how)));
        limits.extend(rest.map(|(limit, how)| (limit.to_owned(), how.to_owned())));
        Self { limits }
    }

    /// What holds for one attempt. Where groups work but none could be made for it, it is measured.
    pub(crate) fn for_attempt(uid: Option<u32>, mode: &Mode, has_group: bool) -> Self {
        match mode {
            Mode::V1 | Mode::V2 if !has_group => Self::here(
                uid,
                &Mode::Measured("none could be made for the attempt".to_owned()),
            ),
            mode => Self::here(uid, mode),
        }
    }

    /// The limits that are not enforced, and why.
    pub fn missing(&self) -> impl Iterator<Item = (&str, &str)> {
        let limits = self.limits.iter();
        limits.filter_map(|(limit, how)| Some((limit.as_str(), how.strip_prefix(NOT)?)))
    }
}

/// How memory and processes are held to their limits, and what is left of them ended.
fn held(mode: &Mode) -> [(&'static str, String); 5] {
    let (memory, threads, groups) = match mode {
        Mode::Measured(why) => (
            format!("{mode}: resident memory; above the limit all processes are killed"),
            format!("{mode}; above the limit all are killed"),
            format!("not enforced: peaks between two measurements are not seen; {why}"),
        ),
        Mode::V1 | Mode::V2 => (
            format!("{mode}: the kernel gives no more than the limit; then all processes are killed"),
            format!("{mode}: the kernel starts no more than the limit; then all are killed"),
            format!("{mode}"),
        ),
    };
    // Groups count threads, so that processes are also looked at.
    let processes = match mode {
        Mode::Measured(_) => threads.clone(),
        Mode::V1 | Mode::V2 => {
            format!(
                "{mode} up to the limit of threads, and measured every 100 ms; above the limit all are killed"
            )
        }
    };
    let in_group = match mode {
        Mode::Measured(_) => "",
        Mode::V1 | Mode::V2 => "whatever is in the control group, ",
    };
    let survivors = format!(
        "{in_group}the process group, its descendants and whatever carries the attempt's marker are killed at the end"
    );
    [
        ("memory", memory),
        ("processes", processes),
        ("threads", threads),
        ("control_groups", groups),
        ("survivors", survivors),
    ]
}

/// Whether the kernel would take a Landlock ruleset. Asking changes nothing.
fn landlock_works() -> bool {
    use landlock::{ABI, Access as _, AccessFs, CompatLevel, Compatible as _, Ruleset, RulesetAttr as _};
    Ruleset::default()
        .set_compatibility(CompatLevel::HardRequirement)
        .handle_access(AccessFs::from_all(ABI::V1))
        .and_then(Ruleset::create)
        .is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find<'a>(enforced: &'a Enforced, limit: &str) -> Option<&'a str> {
        let found = enforced.limits.iter().find(|(name, _)| name == limit);
        found.map(|(_, how)| how.as_str())
    }

    #[test]
    fn what_is_not_enforced_is_said() {
        let measured = Enforced::here(None, &Mode::Measured("there are none".to_owned()));
        let how = |limit: &str| find(&measured, limit);
        assert!(how("user").is_some_and(|how| how.starts_with("not enforced")));
        assert!(how("network").is_some_and(|how| how.starts_with("not enforced")));
        assert!(how("control_groups").is_some_and(|how| how.ends_with("; there are none")));
        for limit in ["memory", "processes", "threads"] {
            assert!(how(limit).is_some_and(|how| how.starts_with("measured every 100 ms")));
        }
        let missing: Vec<(&str, &str)> = measured.missing().collect();
        let left_out = |(limit, _): &&(&str, &str)| *limit != "files";
        assert_eq!(
            missing
                .iter()
                .filter(left_out)
                .map(|(limit, _)| *limit)
                .collect::<Vec<_>>(),
            ["user", "control_groups", "network"]
        );
        assert!(
            missing
                .iter()
                .all(|(_, why)| !why.is_empty() && !why.starts_with(NOT))
        );
    }

    #[test]
    fn an_attempt_without_its_group_is_told_as_measured() {
        let why = |has_group| {
            let enforced = Enforced::for_attempt(None, &Mode::V2, has_group);
            let mut missing = enforced.missing();
            let found = missing.find(|(limit, _)| *limit == "control_groups");
            found.map(|(_, why)| why.to_owned())
        };
        assert_eq!(why(true), None);
        assert!(why(false).is_some_and(|why| why.ends_with("none could be made for the attempt")));
    }

    #[test]
    fn control_groups_are_named() {
        for (mode, name) in [(Mode::V1, "cgroup v1"), (Mode::V2, "cgroup v2")] {
            let held = Enforced::here(None, &mode);
            for limit in ["memory", "processes", "threads", "control_groups"] {
                assert!(
                    find(&held, limit).is_some_and(|how| how.starts_with(name)),
                    "{limit}"
                );
            }
        }
    }
}
