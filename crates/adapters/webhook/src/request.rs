//! The signed request of a message.

use arbiter_core::model::Timestamp;
use arbiter_net::{Bytes, NetError, Request};

use crate::message::{Endpoint, Message};
use crate::signature::sign;

/// A try to deliver `message`, made at `now`.
pub(crate) fn signed(endpoint: &Endpoint, message: &Message, now: Timestamp) -> Result<Request, NetError> {
    let body = message.body().as_str();
    let timestamp = now.as_micros().div_euclid(1_000_000).to_string();
    let signature = sign(endpoint.secrets(), message.id(), &timestamp, body.as_bytes());
    let request = Request::post(endpoint.url().clone(), Bytes::copy_from_slice(body.as_bytes()))
        .secret_path()
        .header("content-type", "application/json")?
        .header("webhook-id", message.id())?
        .header("webhook-timestamp", &timestamp)?
        .header("webhook-signature", &signature)?;
    Ok(match message.trace_context() {
        Some(context) => request.trace(context),
        None => request,
    })
}
