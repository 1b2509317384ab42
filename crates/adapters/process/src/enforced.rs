//! Which limits hold on this machine.

use nix::unistd::Uid;

/// Limits and how they are enforced here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Enforced {
    /// Each limit with how it is enforced, or that it is not and why.
    pub limits: Vec<(String, String)>,
}

impl Enforced {
    /// What holds for commands that this process starts to run as `uid`.
    pub fn here(uid: Option<u32>) -> Self {
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
                "memory",
                "resident memory is measured every 100 ms; above the limit all processes are killed",
            ),
            (
                "processes",
                "counted every 100 ms; above the limit all are killed",
            ),
            (
                "control groups",
                "not enforced: peaks between two measurements are not seen",
            ),
            (
                "output",
                "counted while it is read; above the limit all processes are killed",
            ),
            ("file size", "RLIMIT_FSIZE"),
            ("open files", "RLIMIT_NOFILE"),
            ("core dumps", "RLIMIT_CORE"),
            ("time", "SIGTERM at the deadline, SIGKILL after the grace"),
            (
                "survivors",
                "the group, its descendants and whatever carries the attempt's marker are killed at the end",
            ),
            ("privileges", "no_new_privs"),
        ];
        limits.extend(rest.map(|(limit, how)| (limit.to_owned(), how.to_owned())));
        Self { limits }
    }
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

    #[test]
    fn what_is_not_enforced_is_said() {
        let enforced = Enforced::here(None);
        let how = |limit: &str| {
            enforced
                .limits
                .iter()
                .find(|(name, _)| name == limit)
                .map(|(_, how)| how.as_str())
        };
        assert!(how("user").is_some_and(|how| how.starts_with("not enforced")));
        assert!(how("network").is_some_and(|how| how.starts_with("not enforced")));
        assert!(how("memory").is_some_and(|how| !how.starts_with("not enforced")));
    }
}
