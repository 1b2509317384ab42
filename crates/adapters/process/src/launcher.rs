//! The program between node and command: it sets limits on itself, gives up its rights, and becomes the command.
//!
//! Doing this in a program of its own, instead of between `fork` and `exec`, needs no unsafe code: everything that it
//! sets is inherited by the command.

use std::ffi::OsString;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use landlock::{
    ABI, Access as _, AccessFs, Ruleset, RulesetAttr as _, RulesetCreatedAttr as _, path_beneath_rules,
};
use nix::sys::prctl;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::Signal;
use nix::sys::stat::{Mode, umask};
use nix::unistd::{Gid, Uid, getppid, setgid, setgroups, setuid};

use crate::cgroup::put;
use crate::workdir::closed_to;

/// The exit code when the command could not be started, as `env` and `nohup` use it.
pub const CANNOT_START: u8 = 126;

/// How many files a process of the command may have open: what most systems allow without being asked.
const OPEN_FILES: u64 = 1_024;

/// What the launcher is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    /// The node's process: when it is gone, the command must not start.
    pub parent: i32,
    /// The user to become, when root.
    pub uid: Option<u32>,
    /// The largest file that may be written.
    pub file_bytes: u64,
    /// The working folder.
    pub folder: PathBuf,
    /// Where the input lies.
    pub input: PathBuf,
    /// The files `cgroup.procs` of the control groups to join.
    pub doors: Vec<PathBuf>,
    /// The program and its arguments.
    pub command: Vec<OsString>,
}

impl Order {
    /// The launcher's arguments.
    pub fn arguments(&self) -> Vec<OsString> {
        let mut arguments: Vec<OsString> = vec![
            self.parent.to_string().into(),
            self.uid
                .map_or_else(|| "-".to_owned(), |uid| uid.to_string())
                .into(),
            self.file_bytes.to_string().into(),
            self.folder.clone().into(),
            self.input.clone().into(),
        ];
        arguments.extend(self.doors.iter().map(OsString::from));
        arguments.push("--".into());
        arguments.extend(self.command.iter().cloned());
        arguments
    }

    /// Reads the launcher's arguments.
    pub fn parse(arguments: &[OsString]) -> Option<Self> {
        let (head, rest) = arguments.split_at_checked(5)?;
        let [parent, uid, file_bytes, folder, input] = head else {
            return None;
        };
        let (doors, command) = rest.split_at(rest.iter().position(|text| text == "--")?);
        let doors: Vec<PathBuf> = doors.iter().map(PathBuf::from).collect();
        let (_separator, command) = command.split_first()?;
        let uid = match uid.to_str()? {
            "-" => None,
            text => Some(text.parse().ok()?),
        };
        if command.is_empty() || !doors.iter().all(|door| door.is_absolute()) {
            return None;
        }
        Some(Self {
            parent: parent.to_str()?.parse().ok()?,
            uid,
            file_bytes: file_bytes.to_str()?.parse().ok()?,
            folder: folder.into(),
            input: input.into(),
            doors,
            command: command.to_vec(),
        })
    }
}

/// Sets the limits and becomes the command. Returns only when that failed.
pub fn main(arguments: Vec<OsString>) -> ExitCode {
    let Some(order) = Order::parse(&arguments) else {
        complain("the launcher's arguments are malformed: it is started by arbiter only");
        return ExitCode::from(CANNOT_START);
    };
    let problem = match prepare(&order) {
        Ok(()) => start(&order),
        Err(problem) => problem,
    };
    complain(&problem);
    ExitCode::from(CANNOT_START)
}

/// Becomes the command. Gives why that failed.
fn start(order: &Order) -> String {
    let Some((program, arguments)) = order.command.split_first() else {
        return "there is no command".to_owned();
    };
    let error = Command::new(program).args(arguments).exec();
    let name = program.to_string_lossy();
    let uid = Uid::effective().as_raw();
    match closed_to(Path::new(program), uid) {
        Some(closed) if uid != 0 => {
            format!(
                "`{name}` cannot be started: user {uid} may not enter `{}`",
                closed.display()
            )
        }
        _ => format!("`{name}` cannot be started: {error}"),
    }
}

/// Joins the control groups, so that nothing of the command is ever outside. That it cannot is no reason not to run:
/// what is outside is measured.
fn join(order: &Order) {
    let this = std::process::id().to_string();
    for door in &order.doors {
        if let Err(problem) = put(door, &this) {
            complain(&problem);
        }
    }
}

fn prepare(order: &Order) -> Result<(), String> {
    // First of all: the user that it becomes may not.
    join(order);
    let set = |what: &'static str| move |error: nix::Error| format!("{what} could not be set: {error}");
    setrlimit(Resource::RLIMIT_CORE, 0, 0).map_err(set("RLIMIT_CORE"))?;
    setrlimit(Resource::RLIMIT_FSIZE, order.file_bytes, order.file_bytes).map_err(set("RLIMIT_FSIZE"))?;
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE).map_err(set("RLIMIT_NOFILE"))?;
    let files = most.min(OPEN_FILES);
    setrlimit(Resource::RLIMIT_NOFILE, files, files).map_err(set("RLIMIT_NOFILE"))?;
    umask(Mode::from_bits_truncate(0o077));
    if let (Some(uid), true) = (order.uid, Uid::effective().is_root()) {
        setgroups(&[]).map_err(set("the groups"))?;
        setgid(Gid::from_raw(uid)).map_err(set("the group"))?;
        setuid(Uid::from_raw(uid)).map_err(set("the user"))?;
    }
    // The node uses no huge pages itself; whether a command does is for the system to say.
    prctl::set_thp_disable(false).map_err(set("the use of huge pages"))?;
    prctl::set_no_new_privs().map_err(set("no_new_privs"))?;
    // After the change of user, which clears it; and only then is it known whether the node was still there.
    prctl::set_pdeathsig(Signal::SIGKILL).map_err(set("the parent-death signal"))?;
    if getppid().as_raw() != order.parent {
        return Err("the node that asked for the command is gone".to_owned());
    }
    confine(order).map_err(|error| format!("Landlock could not be set: {error}"))
}

/// Writing only in the working folder; reading there, in system folders, and where the command's own files are. Does
/// nothing on kernels without Landlock.
fn confine(order: &Order) -> Result<(), landlock::RulesetError> {
    const SYSTEM: [&str; 12] = [
        "/usr",
        "/bin",
        "/sbin",
        "/lib",
        "/lib32",
        "/lib64",
        "/etc",
        "/opt",
        "/proc",
        "/sys",
        "/dev",
        "/nix/store",
    ];
    let abi = ABI::V1;
    let system = SYSTEM.iter().map(PathBuf::from);
    let own = order.command.iter().enumerate().filter_map(|(place, text)| {
        let path = Path::new(text);
        let real = path.is_absolute().then(|| path.canonicalize().ok()).flatten()?;
        // The program's folder, for what lies beside it; of arguments only what they name.
        if place == 0 {
            real.parent().map(Path::to_path_buf)
        } else {
            Some(real)
        }
    });
    // `/` must not open everything.
    let own = own.filter(|path| path.parent().is_some());
    let readable = system.chain(own).chain([order.input.clone()]);
    let devices = [
        "/dev/null",
        "/dev/zero",
        "/dev/full",
        "/dev/random",
        "/dev/urandom",
        "/dev/tty",
    ];
    let device_access = AccessFs::ReadFile | AccessFs::WriteFile;
    Ruleset::default()
        .handle_access(AccessFs::from_all(abi))?
        .create()?
        .add_rules(path_beneath_rules(readable, AccessFs::from_read(abi)))?
        .add_rules(path_beneath_rules(devices, device_access))?
        .add_rules(path_beneath_rules([&order.folder], AccessFs::from_all(abi)))?
        .restrict_self()?;
    Ok(())
}

#[expect(
    clippy::print_stderr,
    reason = "standard error is where the node reads why a command did not start"
)]
fn complain(problem: &str) {
    eprintln!("arbiter launcher: {problem}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_round_trips_through_arguments() {
        let order = Order {
            parent: 7,
            uid: Some(65_534),
            file_bytes: 1,
            folder: "/tmp/x y".into(),
            input: "/tmp/in".into(),
            doors: vec!["/c/memory/x/cgroup.procs".into(), "/c/pids/x/cgroup.procs".into()],
            command: vec!["sh".into(), "--".into()],
        };
        assert_eq!(Order::parse(&order.arguments()), Some(order.clone()));
        let same_user = Order {
            uid: None,
            doors: Vec::new(),
            ..order
        };
        assert_eq!(Order::parse(&same_user.arguments()), Some(same_user));
        for bad in [
            &[][..],
            &["1".into()],
            &["x", "-", "1", "/", "/", "--", "sh"].map(OsString::from),
            &["1", "-", "1", "/", "/", "--"].map(OsString::from),
            &["1", "-", "1", "/", "/", "sh", "sh"].map(OsString::from),
            &["1", "-", "1", "/", "/", "sh", "--", "sh"].map(OsString::from),
        ] {
            assert_eq!(Order::parse(bad), None);
        }
    }
}
