//! Bodies to send.

use std::convert::Infallible;
use std::sync::Arc;

use arbiter_core::ports::{BoxError, ByteSource};
use bytes::Bytes;
use futures_util::stream;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::Frame;

/// Content that is sent piece by piece. It is read from its beginning at each attempt.
pub trait Content: Send + Sync + 'static {
    /// How many bytes it has: so many are announced, and sent.
    fn size_bytes(&self) -> u64;

    /// Its bytes, from the first one on.
    ///
    /// # Errors
    /// Why it cannot be read; the request is not sent then.
    fn open(&self) -> Result<Box<dyn ByteSource>, BoxError>;
}

/// What a request carries.
#[derive(Clone)]
pub(crate) enum Payload {
    Whole(Bytes),
    Pieces(Arc<dyn Content>),
}

/// What the driver sends.
pub(crate) type SentBody = UnsyncBoxBody<Bytes, BoxError>;

impl Payload {
    pub(crate) fn size_bytes(&self) -> u64 {
        match self {
            Self::Whole(bytes) => bytes.len() as u64,
            Self::Pieces(content) => content.size_bytes(),
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.size_bytes() == 0
    }

    /// The body of one attempt.
    pub(crate) fn open(&self) -> Result<SentBody, BoxError> {
        let content = match self {
            Self::Whole(bytes) => {
                let never = |never: Infallible| match never {};
                return Ok(Full::new(bytes.clone()).map_err(never).boxed_unsync());
            }
            Self::Pieces(content) => content.open()?,
        };
        let frames = stream::try_unfold(content, |mut content| async move {
            let piece = content.next().await?;
            Ok::<_, BoxError>(piece.map(|piece| (Frame::data(Bytes::from(piece)), content)))
        });
        Ok(StreamBody::new(frames).boxed_unsync())
    }
}

impl From<Bytes> for Payload {
    fn from(bytes: Bytes) -> Self {
        Self::Whole(bytes)
    }
}
