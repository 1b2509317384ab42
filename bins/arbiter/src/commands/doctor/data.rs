//! The data folder: rights, space, database, audit log.

use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;
use std::time::Duration;

use arbiter_adapter_sqlite::{Inspection, SqliteConfig, inspect};
use arbiter_adapter_system::SystemClock;
use arbiter_core::ports::Clock as _;

use super::Finding;
use crate::commands::audit::vouched;
use crate::config::Config;
use crate::trust::Trust;

/// Less free space than this is a problem.
const FREE_BYTES: u64 = 512 << 20;
/// Clocks that are kept in step by the network jump by less.
const JUMP: Duration = Duration::from_secs(2);

pub(super) fn look(config: &Config) -> Vec<Finding> {
    let data = &config.data_dir;
    let folder = folder(data);
    if !data.is_dir() {
        return vec![folder];
    }
    let mut findings = vec![folder, space(data)];
    findings.extend(
        ["operator.key", "audit.key"]
            .into_iter()
            .map(|name| key(data, name)),
    );
    let sqlite = SqliteConfig::new(data);
    if !sqlite.database().exists() {
        findings.push(Finding::fine(
            "database",
            "there is none yet; the first start makes it",
        ));
        return findings;
    }
    match inspect(&sqlite) {
        Ok(found) => findings.extend([database(&found), audit(data, &found), clock(&found)]),
        Err(error) => findings.push(Finding::problem(
            "database",
            chain(&error),
            "restore the newest backup into another folder: arbiter restore",
        )),
    }
    findings
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text = format!("{text}: {cause}");
        next = cause.source();
    }
    text
}

fn folder(data: &Path) -> Finding {
    const CHECK: &str = "data folder";
    let shown = data.display();
    let meta = match std::fs::metadata(data) {
        Ok(meta) => meta,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Finding::note(
                CHECK,
                format!("`{shown}` is not there yet"),
                "the first start makes it; if there should be one, check --data-dir",
            );
        }
        Err(error) => {
            return Finding::problem(
                CHECK,
                format!("`{shown}` cannot be read: {error}"),
                "give this user the right to it, or name another with --data-dir",
            );
        }
    };
    if !meta.is_dir() {
        return Finding::problem(
            CHECK,
            format!("`{shown}` is no folder"),
            "name a folder with --data-dir",
        );
    }
    let (own, mode) = (nix::unistd::Uid::effective().as_raw(), meta.mode() & 0o777);
    if meta.uid() != own {
        return Finding::problem(
            CHECK,
            format!("`{shown}` belongs to user {}, not to {own}", meta.uid()),
            format!("run as that user, or `chown -R {own} {shown}`"),
        );
    }
    if let Err(error) = tempfile::tempfile_in(data) {
        return Finding::problem(
            CHECK,
            format!("nothing can be written into `{shown}`: {error}"),
            "make the file system writable, or free space on it",
        );
    }
    if mode & 0o077 != 0 {
        return Finding::problem(
            CHECK,
            format!("others may look into `{shown}` (mode {mode:o})"),
            format!("`chmod 700 {shown}`"),
        );
    }
    Finding::fine(CHECK, format!("`{shown}` is this user's alone"))
}

fn space(data: &Path) -> Finding {
    const CHECK: &str = "disk space";
    match nix::sys::statvfs::statvfs(data) {
        Ok(stat) => {
            let free = stat.blocks_available().saturating_mul(stat.fragment_size());
            let megabytes = free >> 20;
            if free < FREE_BYTES {
                Finding::problem(
                    CHECK,
                    format!("only {megabytes} MiB are free"),
                    "free space on the file system of the data folder; a full one stops every change",
                )
            } else {
                Finding::fine(CHECK, format!("{megabytes} MiB are free"))
            }
        }
        Err(error) => Finding::note(
            CHECK,
            format!("it cannot be told: {error}"),
            "look at it with `df`",
        ),
    }
}

fn key(data: &Path, name: &'static str) -> Finding {
    const CHECK: &str = "key file";
    let path = data.join(name);
    let shown = path.display();
    match std::fs::metadata(&path).map(|meta| meta.permissions().mode() & 0o777) {
        Ok(mode) if mode & 0o077 != 0 => Finding::problem(
            CHECK,
            format!("`{shown}` can be read by others (mode {mode:o})"),
            format!("`chmod 600 {shown}`, and replace the key if others were on this machine"),
        ),
        Ok(_) => Finding::fine(CHECK, format!("`{shown}` is this user's alone")),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Finding::note(
            CHECK,
            format!("`{shown}` is not there"),
            "the next start makes one",
        ),
        Err(error) => Finding::problem(
            CHECK,
            format!("`{shown}` cannot be looked at: {error}"),
            "give this user the right to it",
        ),
    }
}

fn database(found: &Inspection) -> Finding {
    const CHECK: &str = "database";
    if found.damage.is_empty() {
        Finding::fine(CHECK, format!("it is whole, schema {}", found.schema))
    } else {
        Finding::problem(
            CHECK,
            format!("it is damaged: {}", found.damage.join("; ")),
            "stop the server, keep a copy of the folder, and restore the newest backup: arbiter restore",
        )
    }
}

fn audit(data: &Path, found: &Inspection) -> Finding {
    const CHECK: &str = "audit log";
    let fix = "`arbiter audit verify` names the first bad entry; keep the folder as it is for whoever looks into it";
    let head = match (&found.head, &found.continues) {
        (Ok(head), Ok(())) => head,
        (Err(why), _) | (_, Err(why)) => return Finding::problem(CHECK, why.clone(), fix),
    };
    let Some((_, note)) = &found.published else {
        return Finding::note(
            CHECK,
            format!("{} entries, none of them signed", head.size),
            "the next start signs them",
        );
    };
    let signed = Trust::open(data)
        .and_then(|trust| trust.keyring())
        .and_then(|keyring| vouched(&keyring, note));
    match signed {
        Ok(signed) => Finding::fine(
            CHECK,
            format!(
                "{} entries continue the signed head of {}",
                head.size,
                signed.size()
            ),
        ),
        Err(failure) => Finding::problem(CHECK, failure.to_string(), fix),
    }
}

fn clock(found: &Inspection) -> Finding {
    const CHECK: &str = "clock";
    let now = SystemClock::new().now();
    match found.newest {
        Some(newest) if newest.since(now) > JUMP => Finding::problem(
            CHECK,
            format!(
                "it is {} s behind the newest entry of the audit log: it has gone backwards",
                newest.since(now).as_secs()
            ),
            "set the clock, and keep it in step with the network (chrony, systemd-timesyncd)",
        ),
        _ => Finding::fine(CHECK, "it is not behind the newest entry of the audit log"),
    }
}
