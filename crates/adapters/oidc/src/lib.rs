#![doc = include_str!("../README.md")]

mod algorithm;
mod cache;
mod certificate;
mod claims;
mod config;
mod der;
mod error;
mod jwk;
mod object;
mod provider;
mod replay;
mod rules;
mod subject;
mod token;
mod tokens;

pub use algorithm::Algorithm;
pub use certificate::CertificateIdentities;
pub use config::{InvalidConfig, OidcConfig};
pub use error::ProviderError;
pub use rules::{CertificateName, Grant, Rule, When};
pub use tokens::{OidcTokens, ProviderStatus};
