//! Errors of commands and their exit codes.

use std::fmt;
use std::process::ExitCode;

use arbiter_adapter_sqlite::OpenError;
use arbiter_client::ClientError;
use arbiter_core::ports::StoreError;
use arbiter_queue::{KeyError, QueueError, RecordError};
use arbiter_wire::codes;

/// Why a command failed: a stable code, a message that says what to do, and the causes.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) code: &'static str,
    pub(crate) exit: u8,
    pub(crate) message: String,
    pub(crate) source: Option<anyhow::Error>,
}

impl Failure {
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self {
            code: "usage",
            exit: codes::EXIT_USAGE,
            message: message.into(),
            source: None,
        }
    }

    pub(crate) fn configuration(message: impl Into<String>) -> Self {
        Self {
            code: "configuration",
            exit: codes::EXIT_CONFIGURATION,
            message: message.into(),
            source: None,
        }
    }

    pub(crate) fn unavailable(message: impl Into<String>, source: impl Into<anyhow::Error>) -> Self {
        Self {
            code: "unavailable",
            exit: codes::EXIT_UNAVAILABLE,
            message: message.into(),
            source: Some(source.into()),
        }
    }

    pub(crate) fn internal(message: impl Into<String>, source: impl Into<anyhow::Error>) -> Self {
        Self {
            code: "internal",
            ..Self::unavailable(message, source)
        }
    }

    pub(crate) fn interrupted() -> Self {
        Self {
            code: "interrupted",
            exit: codes::EXIT_INTERRUPTED,
            message: "interrupted; run the same command again to go on".into(),
            source: None,
        }
    }

    /// Not an error, but not everything succeeded: nothing is printed for it.
    pub(crate) fn some_failed() -> Self {
        Self {
            code: "",
            exit: codes::EXIT_SOME_FAILED,
            message: String::new(),
            source: None,
        }
    }

    /// Prints the failure to standard error and gives the exit code.
    pub(crate) fn report(&self, json: bool) -> ExitCode {
        if json && !self.code.is_empty() {
            let causes: Vec<String> = self.causes();
            let body =
                serde_json::json!({"error": {"code": self.code, "message": self.message, "causes": causes}});
            crate::output::error_line(&body.to_string());
        } else if !self.code.is_empty() {
            crate::output::error_line(&format!("error: {self}"));
        }
        ExitCode::from(self.exit)
    }

    fn causes(&self) -> Vec<String> {
        self.source
            .iter()
            .flat_map(anyhow::Error::chain)
            .map(ToString::to_string)
            .collect()
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        self.causes()
            .iter()
            .try_for_each(|cause| write!(f, "\n  caused by: {cause}"))
    }
}

impl From<QueueError> for Failure {
    fn from(error: QueueError) -> Self {
        let code = error.code();
        Self {
            code,
            exit: codes::meaning(code).exit,
            message: error.to_string(),
            source: source_of(&error),
        }
    }
}

impl From<RecordError> for Failure {
    fn from(error: RecordError) -> Self {
        match error {
            RecordError::Queue(error) => error.into(),
            error => Self {
                code: error.code(),
                exit: codes::meaning(error.code()).exit,
                message: error.to_string(),
                source: None,
            },
        }
    }
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        let meaning = codes::meaning(error.code());
        let request = error
            .request_id()
            .filter(|_| error.status().is_some_and(|status| status >= 500));
        Self {
            code: meaning.word,
            exit: meaning.exit,
            message: match request {
                Some(id) => format!("{error} (request {id})"),
                None => error.to_string(),
            },
            source: source_of(&error),
        }
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self::unavailable("the store could not do it", error)
    }
}

impl From<KeyError> for Failure {
    fn from(error: KeyError) -> Self {
        match error {
            KeyError::Store(error) => error.into(),
            error => Self {
                code: "key",
                exit: codes::EXIT_SOME_FAILED,
                message: error.to_string(),
                source: None,
            },
        }
    }
}

#[cfg(feature = "postgres")]
impl From<arbiter_adapter_postgres::OpenError> for Failure {
    fn from(error: arbiter_adapter_postgres::OpenError) -> Self {
        use arbiter_adapter_postgres::OpenError;
        let source = source_of(&error);
        match &error {
            OpenError::Setting { .. } | OpenError::Reader { .. } => Self::configuration(error.to_string()),
            _ => Self {
                code: "unavailable",
                exit: codes::EXIT_UNAVAILABLE,
                message: error.to_string(),
                source,
            },
        }
    }
}

impl From<OpenError> for Failure {
    fn from(error: OpenError) -> Self {
        Self {
            code: "unavailable",
            exit: codes::EXIT_UNAVAILABLE,
            message: error.to_string(),
            source: source_of(&error),
        }
    }
}

/// The causes below an error whose own text is shown already.
fn source_of(error: &dyn std::error::Error) -> Option<anyhow::Error> {
    let mut texts = Vec::new();
    let mut next = error.source();
    while let Some(cause) = next {
        texts.push(cause.to_string());
        next = cause.source();
    }
    let mut chain = texts.into_iter().rev();
    let innermost = anyhow::anyhow!("{}", chain.next()?);
    Some(chain.fold(innermost, anyhow::Error::context))
}
