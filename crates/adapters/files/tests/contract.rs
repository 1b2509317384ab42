//! The contract suite of the artifact store, each case on a folder of its own.
#![expect(clippy::expect_used, reason = "a harness that cannot be made fails its test")]

use std::path::PathBuf;
use std::sync::Arc;

use arbiter_adapter_files::FileArtifacts;
use arbiter_core::model::{Digest, TenantId};
use arbiter_testkit::contract::{ArtifactHarness, Damage};
use async_trait::async_trait;

/// Changes the first byte of a file; keeps the folder until the harness is dropped.
struct Rewritten {
    folder: tempfile::TempDir,
}

impl Rewritten {
    fn file(&self, tenant: TenantId, digest: Digest) -> PathBuf {
        let name = digest.to_string();
        self.folder
            .path()
            .join(tenant.to_string())
            .join(&name[..2])
            .join(&name)
    }
}

#[async_trait]
impl Damage for Rewritten {
    async fn damage(&self, tenant: TenantId, digest: Digest) {
        let path = self.file(tenant, digest);
        let mut content = std::fs::read(&path).expect("the file");
        content[0] = !content[0];
        std::fs::write(&path, content).expect("the file");
    }
}

async fn harness() -> ArtifactHarness {
    let folder = tempfile::tempdir().expect("folder");
    let store = FileArtifacts::open(folder.path(), 64).await.expect("opened");
    ArtifactHarness {
        store: Arc::new(store),
        quota_bytes: 64,
        damage: Box::new(Rewritten { folder }),
    }
}

arbiter_testkit::artifact_store_contract!(harness().await);
