//! Files.

use arbiter_client::ClientError;
use arbiter_client::pull::RemoteArtifacts;
use arbiter_core::model::{Digest, TenantId};
use arbiter_core::ports::{ArtifactError, ArtifactStore as _, Bytes};
use arbiter_testkit::{SeenRequest, StubAnswer};

use crate::support::{World, problem};

/// A server that has these bytes and answers ranges as it should.
fn serving(bytes: Vec<u8>) -> impl Fn(&SeenRequest) -> StubAnswer + Send + Sync + 'static {
    move |request| {
        let size = bytes.len();
        let range = request
            .header("range")
            .and_then(|text| text.strip_prefix("bytes="));
        let Some((first, last)) = range.and_then(|text| text.split_once('-')) else {
            return StubAnswer::reply(200, bytes.clone());
        };
        let (first, last): (usize, usize) = (first.parse().unwrap(), last.parse().unwrap());
        if first >= size {
            return problem("range_not_satisfiable");
        }
        let last = last.min(size - 1);
        StubAnswer::reply(206, &bytes[first..=last])
            .with("content-range", &format!("bytes {first}-{last}/{size}"))
    }
}

fn content(size: usize) -> Vec<u8> {
    (0..size).map(|place| (place % 251) as u8).collect()
}

#[tokio::test]
async fn files_are_read_in_parts_and_checked() {
    for size in [0, 1, 4 << 20, (4 << 20) + 1, 9_000_000] {
        let bytes = content(size);
        let digest = Digest::of(&bytes);
        let world = World::new(serving(bytes.clone())).await;
        let read = world.client.artifact_get(digest).await.unwrap().unwrap();
        assert!(read == bytes, "{size}");
        let other = Digest::of(b"another");
        let error = world.client.artifact_get(other).await.unwrap_err();
        assert!(
            matches!(error, ClientError::Damaged { expected } if expected == other),
            "{error:?}"
        );
    }
}

#[tokio::test]
async fn a_part_that_is_none_is_an_error() {
    for told in [
        "bytes 1-4/9",
        "bytes 0-9/9",
        "bytes 0-3/3",
        "nonsense",
        "bytes */9",
    ] {
        let answer = StubAnswer::reply(206, "abcd").with("content-range", told);
        let world = World::answering(vec![answer]).await;
        let error = world.client.artifact_get(Digest::of(b"")).await.unwrap_err();
        assert!(matches!(error, ClientError::Answer { .. }), "{told}: {error:?}");
    }
}

#[tokio::test]
async fn absent_files_are_absent() {
    let world = World::answering(vec![problem("not_found")]).await;
    let (digest, store) = (Digest::of(b"x"), RemoteArtifacts::new(world.client.clone()));
    assert!(world.client.artifact_get(digest).await.unwrap().is_none());
    let tenant = TenantId::SYSTEM;
    assert!(store.get(tenant, digest, None).await.unwrap().is_none());
    assert!(store.get(tenant, digest, Some(0..1)).await.unwrap().is_none());
    assert!(store.size(tenant, digest).await.unwrap().is_none());
    assert!(!store.delete(tenant, digest).await.unwrap());
}

#[tokio::test]
async fn a_file_is_sent_again_whole_after_a_failure() {
    let bytes = content(3_000_000);
    let digest = Digest::of(&bytes);
    let stored = format!(r#"{{"digest":"{digest}","size_bytes":3000000}}"#);
    let world = World::answering(vec![problem("unavailable"), StubAnswer::reply(200, stored)]).await;
    let store = RemoteArtifacts::new(world.client.clone());
    let put = store
        .put(TenantId::SYSTEM, &mut Bytes::new(bytes.clone()), 4_000_000)
        .await
        .unwrap();
    assert_eq!((put.digest, put.size_bytes), (digest, 3_000_000));
    let seen = world.stub.seen();
    assert_eq!(seen.len(), 2);
    for request in seen {
        assert_eq!(request.target, format!("/v1/artifacts/{digest}"));
        assert!(request.body == bytes);
    }
}

#[tokio::test]
async fn what_is_too_large_is_not_sent_or_is_refused() {
    let world = World::answering(vec![problem("too_large")]).await;
    let store = RemoteArtifacts::new(world.client.clone());
    let put = |limit| {
        let store = store.clone();
        async move {
            store
                .put(TenantId::SYSTEM, &mut Bytes::new(*b"12345"), limit)
                .await
        }
    };
    let own = put(4).await.unwrap_err();
    assert!(
        matches!(own, ArtifactError::TooLarge { limit_bytes: 4 }),
        "{own:?}"
    );
    assert!(world.stub.seen().is_empty());
    let theirs = put(100).await.unwrap_err();
    assert!(matches!(theirs, ArtifactError::TooLarge { .. }), "{theirs:?}");
}

#[tokio::test]
async fn ranges_are_given_as_the_port_promises() {
    let bytes = content(1_000);
    let digest = Digest::of(&bytes);
    let world = World::new(serving(bytes.clone())).await;
    let store = RemoteArtifacts::new(world.client.clone());
    let tenant = TenantId::SYSTEM;
    assert_eq!(store.size(tenant, digest).await.unwrap(), Some(1_000));
    for range in [0..0, 0..1_000, 10..20, 999..1_000, 1_000..1_000] {
        let (from, to) = (range.start as usize, range.end as usize);
        let read = store.get(tenant, digest, Some(range)).await.unwrap().unwrap();
        assert!(read == bytes[from..to]);
    }
    let outside = store.get(tenant, digest, Some(10..1_001)).await.unwrap_err();
    assert!(
        matches!(
            outside,
            ArtifactError::Range {
                size_bytes: 1_000,
                ..
            }
        ),
        "{outside:?}"
    );
}

#[tokio::test]
async fn lists_go_on_after_a_digest_whatever_the_servers_cursors_are() {
    let digests: Vec<Digest> = (0..5_u8).map(|number| Digest::from_bytes([number; 32])).collect();
    let page = |range: std::ops::Range<usize>, next: Option<&str>| {
        let artifacts: Vec<_> = digests[range]
            .iter()
            .map(|digest| serde_json::json!({"digest": digest.to_string(), "size_bytes": 7}))
            .collect();
        let page = serde_json::json!({"artifacts": artifacts, "next": next});
        StubAnswer::reply(200, page.to_string())
    };
    let (first, second) = (page(0..3, Some("c")), page(3..5, None));
    let quota = StubAnswer::reply(200, r#"{"used_bytes":35,"quota_bytes":100}"#);
    let world = World::new(move |request| match request.target.as_str() {
        "/v1/artifacts?limit=1000" => first.clone(),
        "/v1/artifacts?cursor=c&limit=1000" => second.clone(),
        _ => quota.clone(),
    })
    .await;
    let store = RemoteArtifacts::new(world.client.clone());
    let (mut seen, mut after) = (Vec::new(), None);
    loop {
        let page = store.list(TenantId::SYSTEM, after, 2).await.unwrap();
        seen.extend(page.artifacts.iter().map(|stored| stored.digest));
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(seen, digests);
    let usage = store.usage(TenantId::SYSTEM).await.unwrap();
    assert_eq!((usage.used_bytes, usage.quota_bytes), (35, 100));
}
