//! Where things stand in the folder.

use std::path::{Path, PathBuf};

use arbiter_core::model::{Digest, TenantId};

/// The folder of a tenant.
pub(crate) fn tenant(root: &Path, tenant: TenantId) -> PathBuf {
    root.join(tenant.to_string())
}

/// The folder in which an artifact's file stands.
pub(crate) fn folder(root: &Path, owner: TenantId, digest: Digest) -> PathBuf {
    let name = digest.to_string();
    tenant(root, owner).join(name.get(..2).unwrap_or_default())
}

/// The file of an artifact.
pub(crate) fn file(root: &Path, owner: TenantId, digest: Digest) -> PathBuf {
    folder(root, owner, digest).join(digest.to_string())
}

/// The folder of files that are being written.
pub(crate) fn incoming(root: &Path) -> PathBuf {
    root.join("incoming")
}
