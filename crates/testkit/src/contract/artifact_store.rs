//! The contract of `ArtifactStore`.

use arbiter_core::model::Digest;
use arbiter_core::ports::{ArtifactError, ArtifactPage, ArtifactUsage, BoxError, ByteSource, Bytes, Stored};
use async_trait::async_trait;

use crate::builders::tenant;
use crate::contract::desk::TENANT;
use crate::contract::{ArtifactHarness, suite};

suite!($ artifact_store_contract, artifact_store, [
    what_was_put_is_read_whole_or_in_part,
    a_range_must_lie_inside,
    the_digest_is_that_of_the_pieces_together,
    putting_again_gives_the_same_answer_and_costs_nothing,
    each_tenant_has_its_own,
    what_is_too_large_is_refused_and_leaves_nothing,
    the_quota_is_kept,
    a_source_that_fails_leaves_nothing,
    a_put_that_is_dropped_leaves_nothing,
    damage_is_noticed,
    a_deleted_artifact_is_gone,
    a_list_gives_every_artifact_of_a_tenant_once_by_digest,
    usage_is_what_is_kept,
]);

const LIMIT: u64 = 1 << 20;

async fn put(h: &ArtifactHarness, bytes: &[u8]) -> Result<Stored, ArtifactError> {
    h.store.put(TENANT, &mut Bytes::new(bytes), LIMIT).await
}

async fn get(h: &ArtifactHarness, digest: Digest) -> Option<Vec<u8>> {
    h.store.get(TENANT, digest, None).await.expect("get")
}

/// Gives pieces, then fails or ends.
struct Pieces {
    pieces: std::vec::IntoIter<Vec<u8>>,
    then: Option<&'static str>,
}

impl Pieces {
    fn new(pieces: &[&[u8]], then: Option<&'static str>) -> Self {
        let pieces: Vec<Vec<u8>> = pieces.iter().map(|piece| piece.to_vec()).collect();
        Self {
            pieces: pieces.into_iter(),
            then,
        }
    }
}

#[async_trait]
impl ByteSource for Pieces {
    async fn next(&mut self) -> Result<Option<Vec<u8>>, BoxError> {
        match (self.pieces.next(), self.then) {
            (Some(piece), _) => Ok(Some(piece)),
            (None, None) => Ok(None),
            (None, Some(why)) => Err(why.into()),
        }
    }
}

/// Waits for ever after its first piece.
struct Stuck(Option<Vec<u8>>);

#[async_trait]
impl ByteSource for Stuck {
    async fn next(&mut self) -> Result<Option<Vec<u8>>, BoxError> {
        match self.0.take() {
            Some(piece) => Ok(Some(piece)),
            None => std::future::pending().await,
        }
    }
}

/// What was put is read whole or in part, under its SHA-256; what was not is absent.
pub async fn what_was_put_is_read_whole_or_in_part(h: &ArtifactHarness) {
    let stored = put(h, b"0123456789").await.expect("put");
    let digest = Digest::of(b"0123456789");
    assert_eq!(
        stored,
        Stored {
            digest,
            size_bytes: 10
        }
    );
    assert_eq!(get(h, digest).await.as_deref(), Some(b"0123456789".as_slice()));
    for range in [0..10, 2..5, 9..10, 4..4, 10..10] {
        let part = h
            .store
            .get(TENANT, digest, Some(range.clone()))
            .await
            .expect("get");
        assert_eq!(
            part.as_deref(),
            Some(&b"0123456789"[range.start as usize..range.end as usize])
        );
    }
    assert_eq!(h.store.size(TENANT, digest).await.expect("size"), Some(10));
    let absent = Digest::of(b"absent");
    assert_eq!(get(h, absent).await, None);
    assert_eq!(h.store.get(TENANT, absent, Some(0..1)).await.expect("get"), None);
    assert_eq!(h.store.size(TENANT, absent).await.expect("size"), None);
    let empty = put(h, b"").await.expect("put");
    assert_eq!(
        (empty.size_bytes, get(h, empty.digest).await),
        (0, Some(Vec::new()))
    );
}

/// A range that does not lie inside is refused with the size.
#[expect(
    clippy::reversed_empty_ranges,
    reason = "a range that ends before it starts is one of the cases"
)]
pub async fn a_range_must_lie_inside(h: &ArtifactHarness) {
    let digest = put(h, b"0123456789").await.expect("put").digest;
    for range in [5..11, 11..12, 6..5, 0..u64::MAX] {
        let answer = h.store.get(TENANT, digest, Some(range.clone())).await;
        let told = matches!(&answer, Err(ArtifactError::Range { size_bytes: 10, range: of }) if *of == range);
        assert!(told, "{answer:?}");
    }
}

/// The digest is that of the pieces together.
pub async fn the_digest_is_that_of_the_pieces_together(h: &ArtifactHarness) {
    let mut pieces = Pieces::new(&[b"one", b"", b"two"], None);
    let stored = h.store.put(TENANT, &mut pieces, LIMIT).await.expect("put");
    assert_eq!((stored.digest, stored.size_bytes), (Digest::of(b"onetwo"), 6));
    assert_eq!(get(h, stored.digest).await.as_deref(), Some(b"onetwo".as_slice()));
}

/// Putting what is there gives the same answer and takes up nothing, also when the quota is used up.
pub async fn putting_again_gives_the_same_answer_and_costs_nothing(h: &ArtifactHarness) {
    let content = vec![7; h.quota_bytes as usize];
    let first = put(h, &content).await.expect("put");
    assert_eq!(put(h, &content).await.expect("again"), first);
}

/// Each tenant has its own artifacts, equal content included.
pub async fn each_tenant_has_its_own(h: &ArtifactHarness) {
    let digest = put(h, b"shared").await.expect("put").digest;
    assert_eq!(h.store.get(tenant(2), digest, None).await.expect("get"), None);
    assert_eq!(h.store.size(tenant(2), digest).await.expect("size"), None);
    assert!(!h.store.delete(tenant(2), digest).await.expect("delete"));
    h.store
        .put(tenant(2), &mut Bytes::new(*b"shared"), LIMIT)
        .await
        .expect("put");
    assert!(h.store.delete(tenant(2), digest).await.expect("delete"));
    assert!(get(h, digest).await.is_some());
}

/// What is larger than the limit of the call is refused and leaves nothing; the limit itself passes.
pub async fn what_is_too_large_is_refused_and_leaves_nothing(h: &ArtifactHarness) {
    for pieces in [[b"01234567".as_slice(), b"8"], [b"0123".as_slice(), b"45678"]] {
        let answer = h.store.put(TENANT, &mut Pieces::new(&pieces, None), 8).await;
        assert!(
            matches!(answer, Err(ArtifactError::TooLarge { limit_bytes: 8 })),
            "{answer:?}"
        );
    }
    assert_eq!(get(h, Digest::of(b"012345678")).await, None);
    let fits = h.store.put(TENANT, &mut Bytes::new(*b"01234567"), 8).await;
    assert_eq!(fits.expect("put").size_bytes, 8);
}

/// A tenant keeps no more than its quota; deleting makes room, and what is refused takes up nothing.
pub async fn the_quota_is_kept(h: &ArtifactHarness) {
    let half = h.quota_bytes as usize / 2;
    let first = put(h, &vec![1; half]).await.expect("put").digest;
    let too_much = put(h, &vec![2; half + 2]).await;
    let full = |answer: &Result<Stored, ArtifactError>| matches!(answer, Err(ArtifactError::QuotaExceeded { quota_bytes }) if *quota_bytes == h.quota_bytes);
    assert!(full(&too_much), "{too_much:?}");
    assert_eq!(get(h, Digest::of(&vec![2; half + 2])).await, None);
    put(h, &vec![3; half]).await.expect("exactly the quota");
    h.store
        .put(tenant(2), &mut Bytes::new(vec![4; half]), LIMIT)
        .await
        .expect("another tenant's quota");
    let larger = put(h, &vec![5; h.quota_bytes as usize + 1]).await;
    assert!(full(&larger), "{larger:?}");
    assert!(h.store.delete(TENANT, first).await.expect("delete"));
    put(h, &vec![6; half]).await.expect("room again");
}

/// A source that fails leaves nothing behind, and takes up nothing.
pub async fn a_source_that_fails_leaves_nothing(h: &ArtifactHarness) {
    for _ in 0..3 {
        let most = vec![1; h.quota_bytes as usize - 1];
        let answer = h
            .store
            .put(TENANT, &mut Pieces::new(&[&most], Some("cut off")), LIMIT)
            .await;
        assert!(matches!(&answer, Err(ArtifactError::Source(_))), "{answer:?}");
        assert_eq!(get(h, Digest::of(&most)).await, None);
    }
    put(h, &vec![2; h.quota_bytes as usize])
        .await
        .expect("the whole quota is free");
}

/// A put whose future is dropped leaves nothing behind, and takes up nothing.
pub async fn a_put_that_is_dropped_leaves_nothing(h: &ArtifactHarness) {
    let mut source = Stuck(Some(b"half of it".to_vec()));
    let putting = h.store.put(TENANT, &mut source, LIMIT);
    // polled often enough for any store to have taken the piece
    let dropped = futures_util::future::select(putting, Box::pin(yield_often())).await;
    drop(dropped);
    assert_eq!(get(h, Digest::of(b"half of it")).await, None);
    put(h, &vec![2; h.quota_bytes as usize])
        .await
        .expect("the whole quota is free");
}

async fn yield_often() {
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
}

/// Content that does not have its digest is an error when it is read whole.
pub async fn damage_is_noticed(h: &ArtifactHarness) {
    let digest = put(h, b"0123456789").await.expect("put").digest;
    h.damage.damage(TENANT, digest).await;
    let answer = h.store.get(TENANT, digest, None).await;
    assert!(
        matches!(answer, Err(ArtifactError::Damaged { digest: of }) if of == digest),
        "{answer:?}"
    );
}

/// A deleted artifact is gone; deleting what is absent gives false.
pub async fn a_deleted_artifact_is_gone(h: &ArtifactHarness) {
    let digest = put(h, b"short-lived").await.expect("put").digest;
    assert!(h.store.delete(TENANT, digest).await.expect("delete"));
    assert_eq!(get(h, digest).await, None);
    assert!(!h.store.delete(TENANT, digest).await.expect("delete"));
    put(h, b"short-lived").await.expect("put");
    assert!(get(h, digest).await.is_some());
}

/// Pages by digest together give each of a tenant's artifacts once, and nobody else's.
pub async fn a_list_gives_every_artifact_of_a_tenant_once_by_digest(h: &ArtifactHarness) {
    let none = h.store.list(TENANT, None, 10).await.expect("list");
    assert_eq!(none, ArtifactPage::default());
    let mut kept = Vec::new();
    for content in [b"a".as_slice(), b"bb", b"ccc", b"dddd", b""] {
        kept.push(put(h, content).await.expect("put"));
    }
    h.store
        .put(tenant(2), &mut Bytes::new(*b"foreign"), LIMIT)
        .await
        .expect("put");
    let gone = kept.remove(1).digest;
    assert!(h.store.delete(TENANT, gone).await.expect("delete"));
    kept.sort_by_key(|stored| stored.digest);
    for limit in [1, 2, 3, 100] {
        let (mut after, mut found) = (None, Vec::new());
        loop {
            let page = h.store.list(TENANT, after, limit).await.expect("list");
            assert!(page.artifacts.len() <= limit);
            found.extend(page.artifacts);
            let Some(next) = page.next else { break };
            assert!(after.is_none_or(|after| after < next), "the cursor goes on");
            after = Some(next);
        }
        assert_eq!(found, kept, "by {limit}");
    }
}

/// What a tenant uses is what it keeps; what was refused, repeated or deleted is not counted.
pub async fn usage_is_what_is_kept(h: &ArtifactHarness) {
    let usage = async |of| h.store.usage(of).await.expect("usage");
    let expected = |used_bytes| ArtifactUsage {
        used_bytes,
        quota_bytes: h.quota_bytes,
    };
    assert_eq!(usage(TENANT).await, expected(0));
    let first = put(h, b"0123456789").await.expect("put").digest;
    put(h, b"0123456789").await.expect("again");
    put(h, b"01234").await.expect("put");
    assert!(put(h, &vec![1; h.quota_bytes as usize]).await.is_err());
    assert_eq!(usage(TENANT).await, expected(15));
    assert_eq!(usage(tenant(2)).await, expected(0));
    assert!(h.store.delete(TENANT, first).await.expect("delete"));
    assert_eq!(usage(TENANT).await, expected(5));
}
