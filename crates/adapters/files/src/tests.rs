//! The contract of the artifact store on a real folder.

use arbiter_core::model::{Digest, TenantId};
use arbiter_core::ports::{ArtifactError, ArtifactStore as _, BoxError, ByteSource, Bytes, Retry};
use async_trait::async_trait;

use crate::FileArtifacts;

const ONE: TenantId = TenantId::from_bytes([1; 16]);
const TWO: TenantId = TenantId::from_bytes([2; 16]);

struct Failing(u8);

#[async_trait]
impl ByteSource for Failing {
    async fn next(&mut self) -> Result<Option<Vec<u8>>, BoxError> {
        self.0 += 1;
        if self.0 == 3 {
            Err("the line was cut".into())
        } else {
            Ok(Some(vec![7; 100]))
        }
    }
}

fn files_below(folder: &std::path::Path) -> usize {
    let entries = std::fs::read_dir(folder)
        .expect("folder")
        .map(|entry| entry.expect("entry").path());
    entries
        .map(|path| if path.is_dir() { files_below(&path) } else { 1 })
        .sum()
}

async fn open(quota: u64) -> (tempfile::TempDir, FileArtifacts) {
    let folder = tempfile::tempdir().expect("folder");
    let store = FileArtifacts::open(folder.path().join("artifacts"), quota)
        .await
        .expect("opened");
    (folder, store)
}

#[tokio::test]
async fn what_was_put_is_read_whole_and_in_ranges_by_its_tenant_only() {
    let (_folder, store) = open(1_000).await;
    let stored = store
        .put(ONE, &mut Bytes::new(*b"hello world"), 1_000)
        .await
        .expect("put");
    assert_eq!(
        (stored.digest, stored.size_bytes),
        (Digest::of(b"hello world"), 11)
    );
    assert_eq!(
        store.get(ONE, stored.digest, None).await.expect("get").as_deref(),
        Some(&b"hello world"[..])
    );
    assert_eq!(
        store
            .get(ONE, stored.digest, Some(6..11))
            .await
            .expect("get")
            .as_deref(),
        Some(&b"world"[..])
    );
    assert_eq!(
        store
            .get(ONE, stored.digest, Some(3..3))
            .await
            .expect("get")
            .as_deref(),
        Some(&b""[..])
    );
    let range = store.get(ONE, stored.digest, Some(6..12)).await;
    assert!(matches!(range, Err(ArtifactError::Range { size_bytes: 11, .. })));
    assert_eq!(store.get(TWO, stored.digest, None).await.expect("get"), None);
    assert_eq!(store.size(TWO, stored.digest).await.expect("size"), None);
    assert!(!store.delete(TWO, stored.digest).await.expect("delete"));
    assert!(store.delete(ONE, stored.digest).await.expect("delete"));
    assert_eq!(store.size(ONE, stored.digest).await.expect("size"), None);
}

#[tokio::test]
async fn limits_hold_and_nothing_is_left_of_what_was_refused() {
    let (folder, store) = open(250).await;
    let large = store.put(ONE, &mut Bytes::new(vec![1; 101]), 100).await;
    assert!(matches!(large, Err(ArtifactError::TooLarge { limit_bytes: 100 })));
    assert!(matches!(
        store.put(ONE, &mut Failing(0), 1_000).await,
        Err(ArtifactError::Source(_))
    ));
    assert_eq!(files_below(folder.path()), 0);
    for fill in [1, 2] {
        store
            .put(ONE, &mut Bytes::new(vec![fill; 100]), 1_000)
            .await
            .expect("put");
    }
    store
        .put(ONE, &mut Bytes::new(vec![1; 100]), 1_000)
        .await
        .expect("the same again takes no room");
    let over = store.put(ONE, &mut Bytes::new(vec![3; 100]), 1_000).await;
    assert!(matches!(
        over,
        Err(ArtifactError::QuotaExceeded { quota_bytes: 250 })
    ));
    store
        .put(TWO, &mut Bytes::new(vec![3; 100]), 1_000)
        .await
        .expect("another tenant has a quota of its own");
    assert!(store.delete(ONE, Digest::of(&[1; 100])).await.expect("delete"));
    store
        .put(ONE, &mut Bytes::new(vec![3; 100]), 1_000)
        .await
        .expect("there is room again");
    assert_eq!(files_below(folder.path()), 3);
}

#[tokio::test]
async fn damage_is_found_and_leftovers_are_removed_at_the_next_opening() {
    let (folder, store) = open(1_000).await;
    let digest = store
        .put(ONE, &mut Bytes::new(*b"content"), 1_000)
        .await
        .expect("put")
        .digest;
    let path = crate::layout::file(&folder.path().join("artifacts"), ONE, digest);
    std::fs::write(&path, b"c0ntent").expect("changed");
    assert!(
        matches!(store.get(ONE, digest, None).await, Err(ArtifactError::Damaged { digest: found }) if found == digest)
    );
    std::fs::write(folder.path().join("artifacts/incoming/half"), b"half").expect("left");
    let store = FileArtifacts::open(folder.path().join("artifacts"), 10)
        .await
        .expect("opened");
    assert_eq!(files_below(folder.path()), 1);
    let over = store.put(ONE, &mut Bytes::new(*b"four"), 1_000).await;
    assert!(
        matches!(over, Err(ArtifactError::QuotaExceeded { .. })),
        "what is there from before counts"
    );
}

#[tokio::test]
async fn concurrent_puts_of_the_same_content_count_once() {
    let (_folder, store) = open(100).await;
    let put = || async { store.put(ONE, &mut Bytes::new(vec![1; 60]), 100).await };
    let (one, two, three) = tokio::join!(put(), put(), put());
    assert!(one.is_ok() && two.is_ok() && three.is_ok());
    store
        .put(ONE, &mut Bytes::new(vec![2; 40]), 100)
        .await
        .expect("exactly full");
}

#[tokio::test]
async fn a_root_that_cannot_be_made_is_a_permanent_failure() {
    let folder = tempfile::tempdir().expect("folder");
    std::fs::write(folder.path().join("file"), b"in the way").expect("written");
    let refused = FileArtifacts::open(folder.path().join("file/artifacts"), 10).await;
    assert!(matches!(
        refused,
        Err(ArtifactError::Backend {
            retry: Retry::Permanent,
            ..
        })
    ));
}

#[tokio::test]
async fn a_copy_holds_every_artifact_and_names_the_damaged() {
    let (folder, store) = open(1_000).await;
    for (tenant, content) in [(ONE, b"one"), (ONE, b"two"), (TWO, b"one")] {
        store
            .put(tenant, &mut Bytes::new(*content), 100)
            .await
            .expect("put");
    }
    std::fs::write(folder.path().join("artifacts/incoming/half"), b"half").expect("left");
    let target = folder.path().join("copy");
    assert_eq!(store.copy_into(&target).await.expect("copied"), []);
    assert_eq!(files_below(&target), 3);
    let copy = FileArtifacts::open(&target, 1_000).await.expect("opened");
    let read = copy.get(TWO, Digest::of(b"one"), None).await.expect("get");
    assert_eq!(read.as_deref(), Some(&b"one"[..]));
    let digest = Digest::of(b"two");
    let path = crate::layout::file(&folder.path().join("artifacts"), ONE, digest);
    std::fs::write(path, b"tw0").expect("changed");
    let again = folder.path().join("again");
    assert_eq!(store.copy_into(&again).await.expect("copied"), [(ONE, digest)]);
}
