//! Where things stand in the folder.

use std::path::{Path, PathBuf};

use arbiter_core::model::{Digest, TenantId};

/// The folder of a tenant.
pub(crate) fn tenant(root: &Path, tenant: TenantId) -> PathBuf {
    root.join(tenant.to_string())
}

/// The folder in which an artifact's file stands.
pub(crate) fn folder(root: &Path, owner: TenantId, digest: Digest) -> PathBuf {
    tenant(root, owner).join(part(digest))
}

/// The name of that folder: the first byte of the digest.
pub(crate) fn part(digest: Digest) -> String {
    digest.to_string().chars().take(2).collect()
}

/// The file of an artifact in a folder that [`FileArtifacts`](crate::FileArtifacts) opens.
pub fn file(root: &Path, owner: TenantId, digest: Digest) -> PathBuf {
    folder(root, owner, digest).join(digest.to_string())
}

/// The folder of files that are being written.
pub(crate) fn incoming(root: &Path) -> PathBuf {
    root.join("incoming")
}
