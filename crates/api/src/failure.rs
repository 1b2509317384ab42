//! A call that was not done: the problem that the caller is told, and the cause that only the log is.

use arbiter_core::ports::BoxError;
use arbiter_wire::http::Problem;
use axum::response::{IntoResponse, Response};
use http::StatusCode;

/// A call that was not done.
#[derive(Debug)]
pub(crate) struct Failure {
    problem: Box<Problem>,
    cause: Option<BoxError>,
}

impl Failure {
    pub(crate) fn of(problem: Problem) -> Self {
        Self {
            problem: Box::new(problem),
            cause: None,
        }
    }

    /// A failure of a stable code.
    pub(crate) fn new(code: &str, detail: impl Into<String>) -> Self {
        Self::of(Problem::new(code, detail))
    }

    /// A value that breaks a rule.
    pub(crate) fn invalid(field: &str, problem: impl std::fmt::Display) -> Self {
        let mut told = Problem::new("invalid_value", format!("`{field}` {problem}"));
        told.field = Some(field.to_owned());
        Self::of(told)
    }

    /// There is no such thing, or the caller may not know of it.
    pub(crate) fn not_found() -> Self {
        Self::new("not_found", "not found")
    }

    /// Keeps the cause for the log.
    pub(crate) fn caused_by(self, cause: impl std::error::Error + Send + Sync + 'static) -> Self {
        self.caused_by_boxed(Box::new(cause))
    }

    /// The same for a cause of any sort.
    pub(crate) fn caused_by_boxed(mut self, cause: BoxError) -> Self {
        self.cause = Some(cause);
        self
    }

    /// What the caller is told.
    pub(crate) fn into_problem(self) -> Problem {
        *self.problem
    }
}

/// The problem on its way out: the outermost layer writes it, with the request's id.
#[derive(Debug, Clone)]
pub(crate) struct Told(pub(crate) Box<Problem>);

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        if self.problem.status >= 500
            && let Some(cause) = &self.cause
        {
            let mut chain = cause.to_string();
            let mut next = cause.source();
            while let Some(inner) = next {
                chain = format!("{chain}: {inner}");
                next = inner.source();
            }
            tracing::error!(
                event = "call_failed",
                code = self.problem.code,
                error = chain,
                "a call failed"
            );
        }
        let status = StatusCode::from_u16(self.problem.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = status.into_response();
        response.extensions_mut().insert(Told(self.problem));
        response
    }
}
