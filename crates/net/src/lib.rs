#![doc = include_str!("../README.md")]

mod body;
mod client;
mod config;
mod connect;
mod egress;
mod error;
mod exchange;
pub mod notice;
mod redirect;
mod request;
mod resolve;
mod response;
mod retry_after;
mod tls;
mod url;

pub use arbiter_layers::{BulkheadSettings, Classify, GuardSettings, RetrySettings};
pub use body::Content;
pub use bytes::Bytes;
pub use client::{HttpClient, HttpPorts};
pub use config::{HttpClientConfig, InvalidConfig, SingleTry};
pub use connect::ConnectError;
pub use egress::{Denied, Egress, Reason, Special, special};
pub use error::{NetError, Waited};
pub use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
pub use ipnet::IpNet;
pub use redirect::RedirectError;
pub use request::Request;
pub use resolve::{Resolve, SystemResolver};
pub use response::{Response, WholeResponse};
pub use retry_after::retry_after;
pub use url::{HttpUrl, InvalidUrl};
