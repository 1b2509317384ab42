//! Artifacts: files by digest.

use std::ops::Range;
use std::sync::{Arc, OnceLock};

use arbiter_core::model::{Digest, Operation as Action, Principal};
use arbiter_core::ports::{BoxError, ByteSource, Stored};
use arbiter_wire::http::{ArtifactPageView, ArtifactQuotaView, ArtifactView};
use async_trait::async_trait;
use axum::Json;
use axum::body::{Body, BodyDataStream};
use axum::extract::{Path, Request, State};
use axum::response::{IntoResponse, Response};
use futures_util::StreamExt as _;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use sha2::{Digest as _, Sha256};

use crate::auth::{Caller, Shown};
use crate::body::{Query, announced, stream, too_slow, within};
use crate::cursor::{self, Cursors, PageQuery};
use crate::failure::Failure;
use crate::routes::{Operation, Routes};
use crate::state::Api;

/// The most bytes of one answer: larger artifacts are read in ranges.
const MAX_ANSWER_BYTES: u64 = 16 << 20;

pub(super) fn routes() -> Routes {
    Routes::default()
        .add(
            Operation::put(
                "/v1/artifacts/{digest}",
                "artifact.put",
                "Store a file by its digest",
            )
            .bytes()
            .waits()
            .answers::<ArtifactView>(200, "The file is stored")
            .errors(&["too_large"]),
            put,
        )
        .add(
            Operation::get(
                "/v1/artifacts/{digest}",
                "artifact.get",
                "Read a file, or a range of it",
            )
            .headers(&["Range"])
            .answers_with(200, "application/octet-stream", "The whole file")
            .answers_with(206, "application/octet-stream", "The range that was asked for")
            .errors(&["range_not_satisfiable", "too_large"]),
            get,
        )
        .add(
            Operation::delete("/v1/artifacts/{digest}", "artifact.delete", "Delete a file").answers_with(
                204,
                "",
                "It is gone",
            ),
            delete,
        )
        .add(
            Operation::get("/v1/artifacts", "artifact.list", "List files, by digest")
                .query::<PageQuery>()
                .answers::<ArtifactPageView>(200, "A page of files")
                .errors(&["bad_cursor"]),
            list,
        )
        .add(
            Operation::get(
                "/v1/artifacts/quota",
                "artifact.quota",
                "Read how much of its quota the tenant uses",
            )
            .answers::<ArtifactQuotaView>(200, "The quota"),
            quota,
        )
}

/// The pieces of a body as a source of bytes, each within the time that a body may take.
struct Pieces {
    api: Api,
    body: BodyDataStream,
    expected: Digest,
    hash: Sha256,
    /// Who sends it, and what was shown for that: it is looked at again at the end, which may come much later.
    caller: Principal,
    shown: Shown,
    /// What was wrong with what was sent, for the caller.
    told: Arc<OnceLock<&'static str>>,
}

impl Pieces {
    /// Ends the put, which then leaves nothing behind.
    fn refuse<T>(&self, what: &'static str) -> Result<T, BoxError> {
        let _first_word_counts = self.told.set(what);
        Err(what.into())
    }
}

const NOT_ANY_MORE: &str = "may not be stored any more";
const TOO_SLOW: &str = "took too long to arrive";
const OTHER_DIGEST: &str = "is not the content of the digest in the path";

#[async_trait]
impl ByteSource for Pieces {
    async fn next(&mut self) -> Result<Option<Vec<u8>>, BoxError> {
        match within(&self.api, self.api.settings().body_timeout, self.body.next()).await {
            None => self.refuse(TOO_SLOW),
            Some(None) => {
                let found: [u8; 32] = self.hash.clone().finalize().into();
                if found == *self.expected.as_bytes() {
                    let allowed = self.shown.authenticate(&self.api).await.is_ok()
                        && self
                            .api
                            .queue()
                            .permit(&self.caller, Action::ArtifactPut)
                            .await
                            .is_ok();
                    if allowed {
                        Ok(None)
                    } else {
                        self.refuse(NOT_ANY_MORE)
                    }
                } else {
                    self.refuse(OTHER_DIGEST)
                }
            }
            Some(Some(piece)) => {
                let piece = piece?;
                self.hash.update(&piece);
                Ok(Some(piece.to_vec()))
            }
        }
    }
}

async fn put(
    State(api): State<Api>,
    Caller(caller): Caller,
    shown: Shown,
    Path(digest): Path<String>,
    request: Request,
) -> Result<Json<ArtifactView>, Failure> {
    let digest = digest
        .parse::<Digest>()
        .map_err(|error| Failure::invalid("digest", error))?;
    api.queue().permit(&caller, Action::ArtifactPut).await?;
    let limit = api.settings().artifact_bytes;
    announced(request.body(), limit)?;
    let told = Arc::new(OnceLock::new());
    let mut source = Pieces {
        api: api.clone(),
        body: stream(request)?.into_data_stream(),
        expected: digest,
        hash: Sha256::new(),
        caller: caller.clone(),
        shown,
        told: Arc::clone(&told),
    };
    let stored = api.parts().artifacts.put(caller.tenant, &mut source, limit).await;
    let stored = stored.map_err(|error| match told.get() {
        Some(&TOO_SLOW) => too_slow(),
        Some(&NOT_ANY_MORE) => Failure::new("forbidden", "the principal may not store files any more"),
        Some(what) => Failure::invalid("body", what),
        None => error.into(),
    })?;
    Ok(Json(view(&stored)))
}

async fn get(
    State(api): State<Api>,
    Caller(caller): Caller,
    Path(digest): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Failure> {
    let digest: Digest = digest.parse().map_err(|_| Failure::not_found())?;
    api.queue().permit(&caller, Action::ArtifactGet).await?;
    let store = &api.parts().artifacts;
    let size = store
        .size(caller.tenant, digest)
        .await?
        .ok_or_else(Failure::not_found)?;
    let range = range(&headers, size)?;
    let asked = range.as_ref().map_or(size, |range| range.end - range.start);
    if asked > MAX_ANSWER_BYTES {
        return Err(Failure::new(
            "too_large",
            format!("more than {MAX_ANSWER_BYTES} bytes are read in ranges; send `Range: bytes=…`"),
        ));
    }
    let bytes = store
        .get(caller.tenant, digest, range.clone())
        .await?
        .ok_or_else(Failure::not_found)?;
    let mut response = Body::from(bytes).into_response();
    let headers = response.headers_mut();
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/octet-stream"),
    );
    headers.insert(
        header::CONTENT_DISPOSITION,
        HeaderValue::from_static("attachment"),
    );
    headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    if let Some(range) = range {
        let told = format!("bytes {}-{}/{size}", range.start, range.end.saturating_sub(1));
        if let Ok(told) = HeaderValue::from_str(&told) {
            headers.insert(header::CONTENT_RANGE, told);
        }
        *response.status_mut() = StatusCode::PARTIAL_CONTENT;
    }
    Ok(response)
}

/// The range that is asked for (RFC 9110 §14.2), a single one of bytes; anything else is left aside, as it may be.
fn range(headers: &HeaderMap, size: u64) -> Result<Option<Range<u64>>, Failure> {
    let asked = headers
        .get(header::RANGE)
        .and_then(|value| value.to_str().ok()?.strip_prefix("bytes="))
        .and_then(|text| text.split_once('-'));
    let (first, last) = match asked {
        Some(("", suffix)) => match suffix.parse::<u64>() {
            Ok(length) => (size.saturating_sub(length), size),
            Err(_) => return Ok(None),
        },
        Some((first, "")) => match first.parse::<u64>() {
            Ok(first) => (first, size),
            Err(_) => return Ok(None),
        },
        Some((first, last)) => match (first.parse::<u64>(), last.parse::<u64>()) {
            (Ok(first), Ok(last)) if first <= last => (first, last.saturating_add(1).min(size)),
            _ => return Ok(None),
        },
        None => return Ok(None),
    };
    if first >= last {
        let detail = format!("the range does not lie inside the file of {size} bytes");
        return Err(Failure::new("range_not_satisfiable", detail));
    }
    Ok(Some(first..last))
}

async fn delete(
    State(api): State<Api>,
    Caller(caller): Caller,
    Path(digest): Path<String>,
) -> Result<StatusCode, Failure> {
    let digest: Digest = digest.parse().map_err(|_| Failure::not_found())?;
    api.queue().permit(&caller, Action::ArtifactDelete).await?;
    if api.parts().artifacts.delete(caller.tenant, digest).await? {
        Ok(StatusCode::NO_CONTENT)
    } else {
        Err(Failure::not_found())
    }
}

async fn list(
    State(api): State<Api>,
    Caller(caller): Caller,
    Query(asked): Query<PageQuery>,
) -> Result<Json<ArtifactPageView>, Failure> {
    let limit = cursor::limit(asked.limit)?;
    let cursors = Cursors::of("artifact.list", &[]);
    let after = cursors.place(asked.cursor.as_deref())?.map(Digest::from_bytes);
    api.queue().permit(&caller, Action::ArtifactList).await?;
    let page = api.parts().artifacts.list(caller.tenant, after, limit).await?;
    Ok(Json(ArtifactPageView {
        artifacts: page.artifacts.iter().map(view).collect(),
        next: page.next.map(|digest| cursors.after(digest.as_bytes())),
    }))
}

async fn quota(State(api): State<Api>, Caller(caller): Caller) -> Result<Json<ArtifactQuotaView>, Failure> {
    api.queue().permit(&caller, Action::ArtifactList).await?;
    let usage = api.parts().artifacts.usage(caller.tenant).await?;
    Ok(Json(ArtifactQuotaView {
        used_bytes: usage.used_bytes,
        quota_bytes: usage.quota_bytes,
    }))
}

fn view(stored: &Stored) -> ArtifactView {
    ArtifactView {
        digest: stored.digest.to_string(),
        size_bytes: stored.size_bytes,
    }
}
