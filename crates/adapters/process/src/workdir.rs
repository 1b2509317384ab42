//! The folder of one attempt.

use std::collections::BTreeMap;
use std::fs::{File, Permissions};
use std::io::{self, Read as _};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::path::{Path, PathBuf};

use arbiter_core::model::{ArtifactRef, TenantId};
use arbiter_core::ports::{ArtifactStore, BoxError, ByteSource};
use async_trait::async_trait;
use nix::fcntl::{Flock, FlockArg, OFlag, openat};
use nix::sys::stat::Mode;
use nix::unistd::Uid;

/// A fresh folder, removed when dropped: `work` is the command's, `in` holds its input files.
#[derive(Debug)]
pub(crate) struct WorkDir {
    root: tempfile::TempDir,
    /// `work`, held open: a command that puts another folder or a link in its place changes nothing for us.
    held: File,
    uid: Option<u32>,
    /// Tells others that this process still uses the folder; the kernel takes the lock back when it ends.
    _alive: Flock<File>,
}

/// What the names of folders begin with.
const PREFIX: &str = "attempt-";
/// How many random characters follow.
const RANDOM: usize = 22;

impl WorkDir {
    /// Makes the folder below `base`, for the user `uid` when this process is root.
    pub(crate) fn make(base: &Path, uid: Option<u32>) -> io::Result<Self> {
        let uid = uid.filter(|_| Uid::effective().is_root());
        std::fs::create_dir_all(base)?;
        let base = base.canonicalize()?;
        owned(&base)?;
        // Until the new folder is locked, nobody may take it for one that was left.
        let _making = lock(&base, FlockArg::LockShared)?;
        let mut builder = tempfile::Builder::new();
        // The name cannot be guessed, and no folder on the way can be listed by the command's user.
        builder.prefix(PREFIX).rand_bytes(RANDOM);
        if let Some(uid) = uid {
            std::fs::set_permissions(&base, Permissions::from_mode(0o711))?;
            if let Some(closed) = closed_to(&base, uid) {
                let text = format!(
                    "user {uid} may not enter `{}`: choose another work folder",
                    closed.display()
                );
                return Err(io::Error::new(io::ErrorKind::PermissionDenied, text));
            }
            builder.permissions(Permissions::from_mode(0o711));
        }
        let root = builder.tempdir_in(&base)?;
        let alive = lock(root.path(), FlockArg::LockExclusive)?;
        let (work, input) = (root.path().join("work"), root.path().join("in"));
        for folder in [&work, &input, &work.join("tmp")] {
            std::fs::create_dir(folder)?;
            hand_over(folder, uid, 0o700)?;
        }
        let held = File::open(&work)?;
        Ok(Self {
            root,
            held,
            uid,
            _alive: alive,
        })
    }

    /// A name that no other attempt has, on this machine or another.
    pub(crate) fn name(&self) -> String {
        self.root
            .path()
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned()
    }

    /// The command's own folder.
    pub(crate) fn work(&self) -> PathBuf {
        self.root.path().join("work")
    }

    /// Where its input lies.
    pub(crate) fn input(&self) -> PathBuf {
        self.root.path().join("in")
    }

    /// Puts the input artifacts into the folder. Gives their paths by name.
    pub(crate) async fn fill(
        &self,
        store: &dyn ArtifactStore,
        tenant: TenantId,
        artifacts: &[ArtifactRef],
    ) -> Result<BTreeMap<String, String>, BoxError> {
        let mut paths = BTreeMap::new();
        for artifact in artifacts {
            if !ArtifactRef::is_name(&artifact.name) {
                return Err(format!("`{}` is no file name", artifact.name).into());
            }
            let content = store.get(tenant, artifact.digest, None).await?;
            let content =
                content.ok_or_else(|| format!("the artifact `{}` does not exist", artifact.digest))?;
            let path = self.input().join(&artifact.name);
            std::fs::write(&path, content)?;
            hand_over(&path, self.uid, 0o400)?;
            paths.insert(artifact.name.clone(), path.display().to_string());
        }
        Ok(paths)
    }

    /// A file that the command made. Only regular files directly in its folder count, and no link.
    pub(crate) fn open(&self, name: &str) -> Result<FileSource, String> {
        if !ArtifactRef::is_name(name) {
            return Err(format!("the artifact `{name}` is no plain file name"));
        }
        // O_NONBLOCK: opening a pipe must not wait for its other end.
        let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
        let file = match openat(&self.held, name, flags, Mode::empty()) {
            Ok(file) => File::from(file),
            Err(nix::Error::ELOOP) => return Err(format!("the artifact `{name}` is a symbolic link")),
            Err(error) => return Err(format!("the artifact `{name}` cannot be read: {error}")),
        };
        let data = file
            .metadata()
            .map_err(|error| format!("the artifact `{name}` cannot be read: {error}"))?;
        if !data.is_file() || data.nlink() != 1 {
            return Err(format!("the artifact `{name}` is not a regular file of its own"));
        }
        Ok(FileSource(file))
    }
}

impl Drop for WorkDir {
    fn drop(&mut self) {
        // Root removes everything. Anybody else must first open folders that the command closed to itself.
        if !Uid::effective().is_root() {
            open_folders(self.root.path());
        }
    }
}

/// Removes the folders below `base` that attempts of dead processes left: a process that is killed removes nothing.
/// Gives how many. Folders of living processes, of other users and with other names stay, and no link is followed.
///
/// # Errors
/// When `base` belongs to somebody else, or a folder can be neither read nor removed; the others are removed all the same.
pub fn sweep(base: &Path) -> io::Result<usize> {
    let base = match base.canonicalize() {
        Ok(base) => base,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
        Err(error) => return Err(error),
    };
    owned(&base)?;
    let Ok(_alone) = lock(&base, FlockArg::LockExclusiveNonblock) else {
        // Somebody makes a folder or sweeps just now.
        return Ok(0);
    };
    let (mut removed, mut failed) = (0, None);
    for entry in std::fs::read_dir(&base)? {
        let entry = entry?;
        let (path, data) = (entry.path(), entry.metadata()?);
        let ours = is_name(&entry.file_name().to_string_lossy())
            && data.is_dir()
            && data.uid() == Uid::effective().as_raw();
        if !ours {
            continue;
        }
        let Ok(_dead) = lock(&path, FlockArg::LockExclusiveNonblock) else {
            continue;
        };
        if !Uid::effective().is_root() {
            open_folders(&path);
        }
        match std::fs::remove_dir_all(&path) {
            Ok(()) => removed += 1,
            Err(error) => failed = Some(error),
        }
    }
    failed.map_or(Ok(removed), Err)
}

/// Whether a folder has the name of an attempt's.
fn is_name(name: &str) -> bool {
    name.strip_prefix(PREFIX)
        .is_some_and(|rest| rest.len() == RANDOM && rest.bytes().all(|byte| byte.is_ascii_alphanumeric()))
}

/// Refuses a folder of another user, who could put anything in the place of what we make there.
fn owned(folder: &Path) -> io::Result<()> {
    let owner = folder.metadata()?.uid();
    if owner == Uid::effective().as_raw() {
        return Ok(());
    }
    let text = format!(
        "`{}` belongs to user {owner}: choose another work folder",
        folder.display()
    );
    Err(io::Error::new(io::ErrorKind::PermissionDenied, text))
}

fn lock(folder: &Path, how: FlockArg) -> io::Result<Flock<File>> {
    Flock::lock(File::open(folder)?, how).map_err(|(_, error)| error.into())
}

/// Gives every folder below `folder` back the rights that are needed to empty it. Follows no links.
fn open_folders(folder: &Path) {
    let _refused = std::fs::set_permissions(folder, Permissions::from_mode(0o700));
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            open_folders(&entry.path());
        }
    }
}

fn hand_over(path: &Path, uid: Option<u32>, mode: u32) -> io::Result<()> {
    std::fs::set_permissions(path, Permissions::from_mode(mode))?;
    match uid {
        Some(uid) => chown(path, Some(uid), Some(uid)),
        None => Ok(()),
    }
}

/// The first folder on the way to `path`, itself included, that the user may not enter.
pub(crate) fn closed_to(path: &Path, uid: u32) -> Option<&Path> {
    let mut way: Vec<&Path> = path.ancestors().collect();
    way.reverse();
    way.into_iter().find(|folder| {
        let Ok(data) = folder.metadata() else { return false };
        let needed = if data.uid() == uid {
            0o100
        } else if data.gid() == uid {
            0o010
        } else {
            0o001
        };
        data.is_dir() && data.mode() & needed == 0
    })
}

/// A file as a source of bytes.
#[derive(Debug)]
pub(crate) struct FileSource(File);

#[async_trait]
impl ByteSource for FileSource {
    async fn next(&mut self) -> Result<Option<Vec<u8>>, BoxError> {
        let mut piece = vec![0; 64 * 1024];
        let count = self.0.read(&mut piece)?;
        piece.truncate(count);
        Ok((count > 0).then_some(piece))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_that_were_closed_are_removed_too() {
        let base = tempfile::tempdir().expect("folder");
        let folder = WorkDir::make(base.path(), None).expect("folder");
        let closed = folder.work().join("a/b");
        std::fs::create_dir_all(&closed).expect("folder");
        std::fs::write(closed.join("file"), "x").expect("file");
        std::fs::set_permissions(&closed, Permissions::from_mode(0o000)).expect("rights");
        drop(folder);
        assert_eq!(std::fs::read_dir(base.path()).expect("base").count(), 0);
    }

    #[test]
    fn only_what_dead_processes_left_is_swept() {
        let base = tempfile::tempdir().expect("folder");
        let living = WorkDir::make(base.path(), None).expect("folder");
        let dead = base.path().join(format!("{PREFIX}{}", "d".repeat(RANDOM)));
        let closed = dead.join("work/closed");
        std::fs::create_dir_all(&closed).expect("folder");
        let elsewhere = tempfile::tempdir().expect("folder");
        std::fs::write(elsewhere.path().join("file"), "x").expect("file");
        std::os::unix::fs::symlink(elsewhere.path(), closed.join("link")).expect("link");
        std::fs::set_permissions(&closed, Permissions::from_mode(0o000)).expect("rights");
        let others = [
            format!("{PREFIX}short"),
            format!("{PREFIX}{}", ".".repeat(RANDOM)),
            "mine".to_owned(),
        ];
        for name in &others {
            std::fs::create_dir(base.path().join(name)).expect("folder");
        }
        let link = base.path().join(format!("{PREFIX}{}", "l".repeat(RANDOM)));
        std::os::unix::fs::symlink(elsewhere.path(), &link).expect("link");

        assert_eq!(sweep(base.path()).expect("swept"), 1);
        assert!(!dead.exists());
        assert!(living.work().exists() && elsewhere.path().join("file").exists());
        assert!(link.is_symlink() && others.iter().all(|name| base.path().join(name).exists()));

        // While somebody makes a folder nothing is swept: it is not locked yet.
        std::fs::create_dir(&dead).expect("folder");
        let making = lock(base.path(), FlockArg::LockShared).expect("lock");
        assert_eq!(sweep(base.path()).expect("nothing"), 0);
        drop(making);
        assert_eq!(sweep(base.path()).expect("swept"), 1);
        assert_eq!(sweep(&base.path().join("absent")).expect("nothing"), 0);
    }

    #[test]
    fn only_plain_files_of_the_folder_are_opened() {
        let base = tempfile::tempdir().expect("folder");
        let folder = WorkDir::make(base.path(), None).expect("folder");
        let secret = base.path().join("secret");
        std::fs::write(&secret, "s").expect("file");
        std::fs::write(folder.work().join("plain"), "p").expect("file");
        std::os::unix::fs::symlink(&secret, folder.work().join("link")).expect("link");
        std::fs::hard_link(&secret, folder.work().join("hard")).expect("link");
        nix::unistd::mkfifo(&folder.work().join("pipe"), Mode::S_IRWXU).expect("pipe");
        assert!(folder.open("plain").is_ok());
        for (name, part) in [
            ("link", "symbolic link"),
            ("hard", "regular file of its own"),
            ("pipe", "regular file"),
            ("tmp", "regular file"),
            ("absent", "cannot be read"),
            ("../in", "plain file name"),
        ] {
            let problem = folder.open(name).expect_err(name);
            assert!(problem.contains(part), "{name}: {problem}");
        }
        // A folder put in the place of the command's own is not looked at.
        std::fs::rename(folder.work(), base.path().join("away")).expect("rename");
        std::os::unix::fs::symlink(base.path(), folder.work()).expect("link");
        assert!(folder.open("secret").is_err());
    }

    #[test]
    fn closed_folders_on_the_way_are_named() {
        let base = tempfile::tempdir().expect("folder");
        let inner = base.path().join("inner");
        std::fs::create_dir(&inner).expect("folder");
        std::fs::set_permissions(base.path(), Permissions::from_mode(0o700)).expect("rights");
        assert_eq!(closed_to(&inner, 4_242), Some(base.path()));
        std::fs::set_permissions(base.path(), Permissions::from_mode(0o711)).expect("rights");
        std::fs::set_permissions(&inner, Permissions::from_mode(0o755)).expect("rights");
        assert_eq!(closed_to(&inner, 4_242), None);
    }
}
