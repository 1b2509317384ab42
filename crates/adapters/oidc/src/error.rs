//! Why the keys of a provider cannot be had.

use arbiter_net::NetError;

/// Why the keys of a provider cannot be had.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProviderError {
    /// There is no answer.
    #[error("{what} could not be fetched")]
    Net {
        /// What was asked for.
        what: &'static str,
        /// Why.
        source: NetError,
    },
    /// The answer is none that holds something. Redirects are not followed.
    #[error("{what} was answered with the status {status}")]
    Status {
        /// What was asked for.
        what: &'static str,
        /// The status.
        status: u16,
    },
    /// The answer cannot be read.
    #[error("{what} is not readable")]
    Content {
        /// What was asked for.
        what: &'static str,
        /// Why.
        source: serde_json::Error,
    },
    /// The answer lacks something.
    #[error("{what} has no valid member `{member}`")]
    Missing {
        /// What was asked for.
        what: &'static str,
        /// What it lacks.
        member: &'static str,
    },
    /// The provider says that it is another one.
    #[error("the provider calls itself `{told}`, not by the issuer of the settings")]
    Issuer {
        /// What it calls itself, cut short.
        told: String,
    },
    /// The address of the keys is not protected by TLS.
    #[error(
        "the address of the keys is neither https nor, where the settings permit that, this machine's own"
    )]
    Insecure,
    /// The set has more keys than any provider needs.
    #[error("the set has more than {limit} keys")]
    TooManyKeys {
        /// The limit.
        limit: usize,
    },
    /// Two keys have one id.
    #[error("the set has two keys with the id `{key}`")]
    Ambiguous {
        /// The id, cut short.
        key: String,
    },
    /// Nothing was fetched yet, or the fetch was broken off.
    #[error("the keys were not fetched yet")]
    Pending,
    /// So many callers wait for the keys that one more would not help.
    #[error("too many calls wait for the keys")]
    Busy,
}
