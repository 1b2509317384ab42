//! What the artifacts of this store promise beyond the contract: nothing held while a source is slow, exact quotas over
//! several nodes, and nothing left of what did not become an artifact.

use std::collections::BTreeSet;

use arbiter_adapter_postgres::PostgresArtifacts;
use arbiter_core::model::Digest;
use arbiter_core::ports::{
    ArtifactError, ArtifactStore, BoxError, ByteSource, Bytes, LeaseStore, Retry, Stored,
};
use arbiter_testkit::TestSpawner;
use arbiter_testkit::builders::{node, tenant};
use async_trait::async_trait;
use futures_util::future::{join, join_all};
use tokio::sync::oneshot;
use tokio_postgres::Client;

use crate::cut::cut_after_commit_of;
use crate::faults::waiting;
use crate::support::Place;

const CHUNK: usize = 256 * 1024;
const LIMIT: u64 = 64 << 20;

/// Content that no two chunks of have in common.
fn content(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = Vec::with_capacity(length);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

async fn artifacts(place: &Place, quota_bytes: u64) -> PostgresArtifacts {
    place.open().await.artifacts(quota_bytes, &TestSpawner)
}

async fn put(store: &PostgresArtifacts, bytes: &[u8]) -> Result<Stored, ArtifactError> {
    store.put(tenant(1), &mut Bytes::new(bytes), LIMIT).await
}

async fn used(store: &PostgresArtifacts) -> u64 {
    store.usage(tenant(1)).await.unwrap().used_bytes
}

async fn number(client: &Client, sql: &str) -> i64 {
    client.query_one(sql, &[]).await.unwrap().get(0)
}

/// Waits until chunks of artifacts alone are stored, and no upload is known.
async fn nothing_else_is_left(client: &Client) {
    const LEFT: &str = "SELECT (SELECT count(*) FROM artifact_upload)
         + (SELECT count(*) FROM artifact_chunk WHERE upload NOT IN (SELECT upload FROM artifact))";
    for _ in 0..10_000 {
        if number(client, LEFT).await == 0 {
            return;
        }
        tokio::task::yield_now().await;
    }
    panic!("something is left");
}

fn is_transient(answer: &Result<Stored, ArtifactError>) -> bool {
    matches!(
        answer,
        Err(ArtifactError::Backend {
            retry: Retry::Transient,
            ..
        })
    )
}

/// Gives pieces; waits between the first and the others until it is told to go on.
struct Slow {
    first: Option<Vec<u8>>,
    reached: Option<oneshot::Sender<()>>,
    go_on: Option<oneshot::Receiver<()>>,
    rest: Option<Vec<u8>>,
}

impl Slow {
    /// The source, what tells that its first piece was taken, and what lets it go on.
    fn new(first: &[u8], rest: &[u8]) -> (Self, oneshot::Receiver<()>, oneshot::Sender<()>) {
        let ((reached, is_reached), (go, go_on)) = (oneshot::channel(), oneshot::channel());
        let source = Self {
            first: Some(first.to_vec()),
            reached: Some(reached),
            go_on: Some(go_on),
            rest: Some(rest.to_vec()),
        };
        (source, is_reached, go)
    }
}

#[async_trait]
impl ByteSource for Slow {
    async fn next(&mut self) -> Result<Option<Vec<u8>>, BoxError> {
        if let Some(first) = self.first.take() {
            return Ok(Some(first));
        }
        if let Some(reached) = self.reached.take() {
            reached.send(()).unwrap();
        }
        if let Some(go_on) = self.go_on.take() {
            go_on.await?;
        }
        Ok(self.rest.take())
    }
}

#[tokio::test]
async fn content_of_many_chunks_is_read_whole_or_in_part() {
    let place = Place::new().await;
    let store = artifacts(&place, LIMIT).await;
    for length in [CHUNK - 1, CHUNK, CHUNK + 1, 9 * CHUNK, 9 * CHUNK + 7] {
        let bytes = content(1, length);
        let (mut source, _reached, go) = Slow::new(&bytes[..1000], &bytes[1000..]);
        go.send(()).unwrap();
        let stored = store.put(tenant(1), &mut source, LIMIT).await.unwrap();
        assert_eq!(
            (stored.digest, stored.size_bytes),
            (Digest::of(&bytes), length as u64)
        );
        let whole = store.get(tenant(1), stored.digest, None).await.unwrap().unwrap();
        assert!(whole == bytes, "{length}");
        let borders = [
            0,
            1,
            CHUNK - 1,
            CHUNK,
            CHUNK + 1,
            8 * CHUNK,
            8 * CHUNK + 1,
            length - 1,
            length,
        ];
        for from in borders {
            for to in borders.into_iter().filter(|to| from <= *to && *to <= length) {
                let range = Some(from as u64..to as u64);
                let part = store.get(tenant(1), stored.digest, range).await.unwrap().unwrap();
                assert!(part == bytes[from..to], "{from}..{to} of {length}");
            }
        }
    }
    nothing_else_is_left(&place.client().await).await;
}

#[tokio::test]
async fn a_chunk_that_is_missing_or_short_is_damage() {
    let place = Place::new().await;
    let store = artifacts(&place, LIMIT).await;
    let client = place.client().await;
    let digest = put(&store, &content(1, 3 * CHUNK)).await.unwrap().digest;
    for harm in [
        "UPDATE artifact_chunk SET body = substring(body FROM 1 FOR 10) WHERE place = 1",
        "DELETE FROM artifact_chunk WHERE place = 1",
    ] {
        client.batch_execute(harm).await.unwrap();
        for range in [None, Some(CHUNK as u64..2 * CHUNK as u64)] {
            let answer = store.get(tenant(1), digest, range).await;
            assert!(
                matches!(answer, Err(ArtifactError::Damaged { digest: of }) if of == digest),
                "{harm}: {answer:?}"
            );
        }
        let other = store.get(tenant(1), digest, Some(0..CHUNK as u64)).await.unwrap();
        assert_eq!(other.unwrap().len(), CHUNK, "what is not touched is read");
    }
}

/// A client may take as long as it likes: meanwhile no transaction is open, and the only connection serves others.
#[tokio::test]
async fn a_slow_put_holds_no_connection_and_no_lock() {
    let place = Place::new().await;
    let mut config = place.config.clone();
    config.engine_connections = 1;
    let store = place.open_with(&config).await;
    let artifacts = store.artifacts(LIMIT, &TestSpawner);
    let client = place.client().await;
    let bytes = content(1, 4 * CHUNK);
    let (mut source, reached, go) = Slow::new(&bytes[..3 * CHUNK], &bytes[3 * CHUNK..]);
    let meanwhile = async {
        reached.await.unwrap();
        let time = std::time::Duration::from_secs(10);
        assert!(
            LeaseStore::take(&store, "sweep", node(1), time)
                .await
                .unwrap()
                .is_some()
        );
        put(&artifacts, b"small").await.unwrap();
        let open = format!(
            "SELECT count(*) FROM pg_stat_activity WHERE application_name = '{}' AND xact_start IS NOT NULL",
            place.config.application_name
        );
        // a reader's rollback needs no answer, so it may still be on its way
        let mut ended = false;
        for _ in 0..10_000 {
            ended = number(&client, &open).await == 0;
            if ended {
                break;
            }
        }
        assert!(ended, "a transaction is open");
        assert!(
            number(&client, "SELECT count(*) FROM artifact_chunk").await > 1,
            "chunks are stored"
        );
        let seen = artifacts.list(tenant(1), None, 10).await.unwrap().artifacts;
        assert_eq!(seen.len(), 1, "what is not whole is not seen");
        assert_eq!(used(&artifacts).await, 5);
        go.send(()).unwrap();
    };
    let (stored, ()) = join(artifacts.put(tenant(1), &mut source, LIMIT), meanwhile).await;
    let stored = stored.unwrap();
    let read = artifacts.get(tenant(1), stored.digest, None).await.unwrap();
    assert!(read.unwrap() == bytes);
    nothing_else_is_left(&client).await;
}

#[tokio::test]
async fn equal_content_that_is_put_at_the_same_time_is_kept_and_counted_once() {
    let place = Place::new().await;
    let (one, two) = (artifacts(&place, LIMIT).await, artifacts(&place, LIMIT).await);
    let client = place.client().await;
    let bytes = content(1, 2 * CHUNK + 1);
    let (mut sources, mut gates) = (Vec::new(), Vec::new());
    for _ in 0..4 {
        let (source, reached, go) = Slow::new(&bytes[..2 * CHUNK], &bytes[2 * CHUNK..]);
        sources.push(source);
        gates.push((reached, go));
    }
    let puts = join_all(
        sources
            .iter_mut()
            .zip([&one, &two, &one, &two])
            .map(async |(source, store)| store.put(tenant(1), source, LIMIT).await.unwrap()),
    );
    // all of them have stored chunks before any of them ends
    let start = async {
        let (reached, go): (Vec<_>, Vec<_>) = gates.into_iter().unzip();
        join_all(reached).await;
        go.into_iter().for_each(|go| go.send(()).unwrap());
    };
    let (stored, ()) = join(puts, start).await;
    let expected = Stored {
        digest: Digest::of(&bytes),
        size_bytes: bytes.len() as u64,
    };
    assert_eq!(stored, [expected; 4]);
    assert_eq!(used(&one).await, expected.size_bytes);
    nothing_else_is_left(&client).await;
    assert_eq!(number(&client, "SELECT count(*) FROM artifact_chunk").await, 3);
    let read = two.get(tenant(1), expected.digest, None).await.unwrap();
    assert!(read.unwrap() == bytes);
}

#[tokio::test]
async fn the_quota_is_exact_when_nodes_race_for_it() {
    const SIZE: usize = CHUNK + 10;
    let place = Place::new().await;
    let quota_bytes = 4 * SIZE as u64 + 5;
    let (one, two) = (
        artifacts(&place, quota_bytes).await,
        artifacts(&place, quota_bytes).await,
    );
    let client = place.client().await;
    let puts = (0..10).map(async |number| {
        let store = if number % 2 == 0 { &one } else { &two };
        put(store, &content(number + 1, SIZE)).await
    });
    let answers = join_all(puts).await;
    let kept: BTreeSet<Digest> = answers.iter().flatten().map(|stored| stored.digest).collect();
    assert_eq!(kept.len(), 4, "{answers:?}");
    let refused = |answer: &&Result<_, _>| matches!(answer, Err(ArtifactError::QuotaExceeded { quota_bytes: told }) if *told == quota_bytes);
    assert_eq!(answers.iter().filter(refused).count(), 6, "{answers:?}");
    assert_eq!(used(&one).await, 4 * SIZE as u64);
    put(&two, &content(77, 5)).await.unwrap();
    assert!(put(&one, &content(78, 1)).await.is_err(), "the quota is used up");
    // and so it is when artifacts go, and come again, at the same time
    let deleted = join_all(
        kept.iter()
            .flat_map(|digest| [(&one, digest), (&two, digest)])
            .map(async |(store, digest)| store.delete(tenant(1), *digest).await.unwrap()),
    );
    assert_eq!(deleted.await.iter().filter(|deleted| **deleted).count(), 4);
    assert_eq!(used(&two).await, 5);
    nothing_else_is_left(&client).await;
}

#[tokio::test]
async fn a_put_that_is_dropped_half_way_is_cleared_away() {
    let place = Place::new().await;
    let store = artifacts(&place, LIMIT).await;
    let client = place.client().await;
    let bytes = content(1, 4 * CHUNK);
    let (mut source, reached, _go) = Slow::new(&bytes, b"");
    {
        let putting = store.put(tenant(1), &mut source, LIMIT);
        let half = futures_util::future::select(putting, reached).await;
        assert!(matches!(half, futures_util::future::Either::Right(_)));
        assert!(number(&client, "SELECT count(*) FROM artifact_chunk").await > 0);
    }
    nothing_else_is_left(&client).await;
    assert_eq!(number(&client, "SELECT count(*) FROM artifact").await, 0);
    assert_eq!(used(&store).await, 0);
    put(&store, &bytes).await.unwrap();
}

#[tokio::test]
async fn a_put_that_is_refused_or_fails_half_way_is_cleared_away() {
    let place = Place::new().await;
    let store = artifacts(&place, 4 * CHUNK as u64).await;
    let client = place.client().await;
    let bytes = content(1, 5 * CHUNK);
    let large = store
        .put(tenant(1), &mut Bytes::new(&bytes[..3 * CHUNK]), CHUNK as u64)
        .await;
    assert!(matches!(large, Err(ArtifactError::TooLarge { .. })), "{large:?}");
    let (mut source, _reached, go) = Slow::new(&bytes[..4 * CHUNK], &bytes[4 * CHUNK..]);
    go.send(()).unwrap();
    let full = store.put(tenant(1), &mut source, LIMIT).await;
    assert!(
        matches!(full, Err(ArtifactError::QuotaExceeded { .. })),
        "{full:?}"
    );
    let (mut source, reached, go) = Slow::new(&bytes[..3 * CHUNK], b"");
    let fail = async {
        reached.await.unwrap();
        drop(go);
    };
    let (failed, ()) = join(store.put(tenant(1), &mut source, LIMIT), fail).await;
    assert!(matches!(failed, Err(ArtifactError::Source(_))), "{failed:?}");
    nothing_else_is_left(&client).await;
    assert_eq!(used(&store).await, 0);
}

#[tokio::test]
async fn a_connection_that_is_killed_half_way_ends_the_put_and_leaves_nothing() {
    let place = Place::new().await;
    let store = artifacts(&place, LIMIT).await;
    let (holder, killer) = (place.client().await, place.client().await);
    let bytes = content(1, 4 * CHUNK);
    let (mut source, reached, go) = Slow::new(&bytes[..2 * CHUNK], &bytes[2 * CHUNK..]);
    let kill = async {
        reached.await.unwrap();
        holder
            .batch_execute("BEGIN; LOCK TABLE artifact_chunk IN ACCESS EXCLUSIVE MODE")
            .await
            .unwrap();
        go.send(()).unwrap();
        let pid = waiting(&killer, &place).await;
        killer
            .execute("SELECT pg_terminate_backend($1)", &[&pid])
            .await
            .unwrap();
    };
    let (stored, ()) = join(store.put(tenant(1), &mut source, LIMIT), kill).await;
    assert!(is_transient(&stored), "{stored:?}");
    holder.batch_execute("ROLLBACK").await.unwrap();
    nothing_else_is_left(&killer).await;
    assert_eq!(used(&store).await, 0);
    let stored = put(&store, &bytes).await.unwrap();
    let read = store.get(tenant(1), stored.digest, None).await.unwrap();
    assert!(read.unwrap() == bytes);
}

/// The put is told of a failure, and what it brought is an artifact all the same: that must not be cleared away.
#[tokio::test]
async fn an_artifact_whose_commit_was_not_answered_is_whole() {
    let place = Place::new().await;
    let mut config = place.config.clone();
    config.url = cut_after_commit_of(&config.url, "INSERT INTO artifact (").await;
    let store = place.open_with(&config).await.artifacts(LIMIT, &TestSpawner);
    let client = place.client().await;
    let bytes = content(1, 3 * CHUNK);
    let unanswered = put(&store, &bytes).await;
    assert!(is_transient(&unanswered), "{unanswered:?}");
    // the task that clears works in turn: when it has cleared this, it has looked at the put above
    let other = content(2, 3 * CHUNK);
    let large = store
        .put(tenant(1), &mut Bytes::new(other), 2 * CHUNK as u64)
        .await;
    assert!(matches!(large, Err(ArtifactError::TooLarge { .. })), "{large:?}");
    let again = put(&store, &bytes).await.unwrap();
    nothing_else_is_left(&client).await;
    assert_eq!(again.digest, Digest::of(&bytes));
    assert_eq!(used(&store).await, bytes.len() as u64, "it is counted once");
    let read = store.get(tenant(1), again.digest, None).await.unwrap();
    assert!(read.unwrap() == bytes);
}

/// What a process left that ended is cleared away by another one; what still goes on is not.
#[tokio::test]
async fn uploads_that_stand_still_are_cleared_away_by_the_next_start() {
    let place = Place::new().await;
    let store = artifacts(&place, LIMIT).await;
    let client = place.client().await;
    let kept = put(&store, &content(1, 2 * CHUNK)).await.unwrap();
    client
        .batch_execute(
            "INSERT INTO artifact_upload (id, touched_at) VALUES
               ('00000000-0000-0000-0000-000000000001', store_now() - 3601 * 1000000::bigint),
               ('00000000-0000-0000-0000-000000000002', store_now() - 3500 * 1000000::bigint),
               ('00000000-0000-0000-0000-000000000003', NULL);
             INSERT INTO artifact_chunk (upload, place, tenant, body)
               SELECT u.id, place, '00000000-0000-0000-0000-0000000000aa', '\\x00'
               FROM artifact_upload AS u, generate_series(0, 199) AS place",
        )
        .await
        .unwrap();
    let next = artifacts(&place, LIMIT).await;
    for _ in 0..10_000 {
        if number(&client, "SELECT count(*) FROM artifact_upload").await == 1 {
            break;
        }
    }
    let left = "SELECT count(*) FROM artifact_upload WHERE id = '00000000-0000-0000-0000-000000000002'";
    assert_eq!(number(&client, left).await, 1);
    assert_eq!(number(&client, "SELECT count(*) FROM artifact_upload").await, 1);
    assert_eq!(
        number(&client, "SELECT count(*) FROM artifact_chunk").await,
        200 + 2
    );
    assert!(next.get(tenant(1), kept.digest, None).await.unwrap().is_some());
}

/// A source that wakes up after its upload was cleared away is told so; half an artifact is never seen.
#[tokio::test]
async fn an_upload_that_was_given_up_does_not_go_on() {
    let place = Place::new().await;
    let store = artifacts(&place, LIMIT).await;
    let client = place.client().await;
    let bytes = content(1, 4 * CHUNK);
    for rest in [&bytes[3 * CHUNK..], b""] {
        let (mut source, reached, go) = Slow::new(&bytes[..3 * CHUNK], rest);
        let give_up = async {
            reached.await.unwrap();
            client
                .batch_execute("UPDATE artifact_upload SET touched_at = NULL")
                .await
                .unwrap();
            go.send(()).unwrap();
        };
        let (stored, ()) = join(store.put(tenant(1), &mut source, LIMIT), give_up).await;
        assert!(is_transient(&stored), "{stored:?}");
        assert_eq!(used(&store).await, 0);
        nothing_else_is_left(&client).await;
    }
}

/// Deleting many chunks takes several transactions; the answer comes after the last.
#[tokio::test]
async fn of_a_large_artifact_that_was_deleted_nothing_is_left() {
    let place = Place::new().await;
    let store = artifacts(&place, LIMIT).await;
    let client = place.client().await;
    let stored = put(&store, &content(1, 65 * CHUNK + 1)).await.unwrap();
    assert_eq!(number(&client, "SELECT count(*) FROM artifact_chunk").await, 66);
    assert!(store.delete(tenant(1), stored.digest).await.unwrap());
    let left = "SELECT (SELECT count(*) FROM artifact_chunk) + (SELECT count(*) FROM artifact_upload)";
    assert_eq!(number(&client, left).await, 0);
    assert_eq!(used(&store).await, 0);
}
