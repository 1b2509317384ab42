//! Input files become artifacts.

use std::path::Path;

use arbiter_core::model::{ArtifactRef, Operation};
use arbiter_core::ports::{BoxError, ByteSource};
use arbiter_queue::QueueError;
use async_trait::async_trait;
use tokio::io::AsyncReadExt as _;

use crate::app::App;
use crate::exit::Failure;

/// The largest input file.
const MAX_FILE_BYTES: u64 = 1 << 30;
/// How much of a file is read at once.
const PIECE_BYTES: usize = 64 << 10;

/// Stores a file as an artifact.
pub(crate) async fn upload(app: &App, name: &str, path: &Path) -> Result<ArtifactRef, Failure> {
    let cannot = |error: std::io::Error| {
        Failure::usage(format!("the file `{}` cannot be read: {error}", path.display()))
    };
    let size = std::fs::metadata(path).map_err(cannot)?.len();
    if size > MAX_FILE_BYTES {
        return Err(Failure::usage(format!(
            "the file `{}` has more than {MAX_FILE_BYTES} bytes",
            path.display()
        )));
    }
    permitted(app).await?;
    let mut source = FileSource(tokio::fs::File::open(path).await.map_err(cannot)?);
    let stored = app
        .artifacts
        .put(app.operator.tenant, &mut source, MAX_FILE_BYTES)
        .await
        .map_err(|error| {
            Failure::unavailable(
                format!("the file `{}` could not be stored", path.display()),
                error,
            )
        })?;
    Ok(ArtifactRef {
        name: name.to_owned(),
        digest: stored.digest,
        size_bytes: stored.size_bytes,
    })
}

/// Authorises one artifact. Waits where the limits of calls say so.
async fn permitted(app: &App) -> Result<(), Failure> {
    loop {
        match app.queue.permit(&app.operator, Operation::ArtifactPut).await {
            Err(QueueError::RateLimited { retry_after }) => {
                app.clock.sleep_until(app.clock.monotonic() + retry_after).await;
            }
            other => return Ok(other?),
        }
    }
}

/// A file, piece by piece.
struct FileSource(tokio::fs::File);

#[async_trait]
impl ByteSource for FileSource {
    async fn next(&mut self) -> Result<Option<Vec<u8>>, BoxError> {
        let mut piece = vec![0; PIECE_BYTES];
        let read = self.0.read(&mut piece).await?;
        piece.truncate(read);
        Ok((read > 0).then_some(piece))
    }
}
