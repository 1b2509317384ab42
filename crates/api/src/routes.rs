//! The operations: one list from which the router and the document are made, so that they cannot differ.

use axum::handler::Handler;
use axum::routing::{MethodFilter, MethodRouter, on};
use axum::{Extension, Router};
use http::Method;
use schemars::{JsonSchema, Schema, SchemaGenerator};

use crate::repeats;
use crate::settings::ApiSettings;
use crate::state::Api;

/// How large a body may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BodyLimit {
    /// As the settings say for every operation.
    Plain,
    /// As they say for many tasks at once.
    Batch,
}

impl BodyLimit {
    pub(crate) const fn bytes(self, settings: &ApiSettings) -> usize {
        match self {
            Self::Plain => settings.body_bytes,
            Self::Batch => settings.batch_bytes,
        }
    }
}

/// How long an operation may wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pace {
    /// It answers at once.
    Prompt,
    /// It waits for something to happen: a long poll or a stream.
    Waits,
}

type MakeSchema = fn(&mut SchemaGenerator) -> Schema;

/// What a success looks like.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) what: &'static str,
    pub(crate) media: &'static str,
    pub(crate) schema: Option<MakeSchema>,
    pub(crate) etag: bool,
}

/// One operation, as the document tells it.
#[derive(Debug, Clone)]
pub(crate) struct Operation {
    pub(crate) id: &'static str,
    pub(crate) method: Method,
    pub(crate) path: &'static str,
    pub(crate) summary: &'static str,
    pub(crate) public: bool,
    pub(crate) query: Option<MakeSchema>,
    pub(crate) body: Option<(&'static str, Option<MakeSchema>)>,
    pub(crate) limit: BodyLimit,
    pub(crate) pace: Pace,
    pub(crate) headers: &'static [&'static str],
    pub(crate) answers: Vec<Answer>,
    pub(crate) errors: &'static [&'static str],
}

impl Operation {
    fn new(method: Method, path: &'static str, id: &'static str, summary: &'static str) -> Self {
        Self {
            id,
            method,
            path,
            summary,
            public: false,
            query: None,
            body: None,
            limit: BodyLimit::Plain,
            pace: Pace::Prompt,
            headers: &[],
            answers: Vec::new(),
            errors: &[],
        }
    }

    pub(crate) fn get(path: &'static str, id: &'static str, summary: &'static str) -> Self {
        Self::new(Method::GET, path, id, summary)
    }

    pub(crate) fn post(path: &'static str, id: &'static str, summary: &'static str) -> Self {
        Self::new(Method::POST, path, id, summary)
    }

    pub(crate) fn put(path: &'static str, id: &'static str, summary: &'static str) -> Self {
        Self::new(Method::PUT, path, id, summary)
    }

    pub(crate) fn patch(path: &'static str, id: &'static str, summary: &'static str) -> Self {
        Self::new(Method::PATCH, path, id, summary)
    }

    pub(crate) fn delete(path: &'static str, id: &'static str, summary: &'static str) -> Self {
        Self::new(Method::DELETE, path, id, summary)
    }

    /// Anybody may call it.
    pub(crate) fn public(mut self) -> Self {
        self.public = true;
        self
    }

    /// It has a query of this form.
    pub(crate) fn query<T: JsonSchema>(mut self) -> Self {
        self.query = Some(|generator| T::json_schema(generator));
        self
    }

    /// It takes a JSON body of this form.
    pub(crate) fn body<T: JsonSchema>(mut self) -> Self {
        self.body = Some(("application/json", Some(SchemaGenerator::subschema_for::<T>)));
        self
    }

    /// It takes bytes.
    pub(crate) fn bytes(mut self) -> Self {
        self.body = Some(("application/octet-stream", None));
        self
    }

    /// Its body may be this large.
    pub(crate) fn limit(mut self, limit: BodyLimit) -> Self {
        self.limit = limit;
        self
    }

    /// It waits for something to happen.
    pub(crate) fn waits(mut self) -> Self {
        self.pace = Pace::Waits;
        self
    }

    /// It looks at these headers.
    pub(crate) fn headers(mut self, names: &'static [&'static str]) -> Self {
        self.headers = names;
        self
    }

    /// It answers with JSON of this form.
    pub(crate) fn answers<T: JsonSchema>(mut self, status: u16, what: &'static str) -> Self {
        self.answers.push(Answer {
            status,
            what,
            media: "application/json",
            schema: Some(SchemaGenerator::subschema_for::<T>),
            etag: false,
        });
        self
    }

    /// It makes something of this form, once per idempotency key. `again` says what a repeat gets.
    pub(crate) fn makes<T: JsonSchema>(self, what: &'static str, again: &'static str) -> Self {
        self.headers(&[repeats::HEADER])
            .answers::<T>(201, what)
            .answers::<T>(200, again)
    }

    /// It answers with something that is not JSON.
    pub(crate) fn answers_with(mut self, status: u16, media: &'static str, what: &'static str) -> Self {
        self.answers.push(Answer {
            status,
            what,
            media,
            schema: None,
            etag: false,
        });
        self
    }

    /// Its answers so far carry the version as `ETag`.
    pub(crate) fn etag(mut self) -> Self {
        for answer in &mut self.answers {
            answer.etag = true;
        }
        self
    }

    /// It may be refused with these codes, beside those that every operation has.
    pub(crate) fn errors(mut self, codes: &'static [&'static str]) -> Self {
        self.errors = codes;
        self
    }
}

/// Operations and their handlers.
#[derive(Default)]
pub(crate) struct Routes {
    pub(crate) operations: Vec<Operation>,
    handlers: Vec<MethodRouter<Api>>,
}

impl Routes {
    pub(crate) fn add<H, T>(mut self, operation: Operation, handler: H) -> Self
    where
        H: Handler<T, Api>,
        T: 'static,
    {
        let filter = match operation.method {
            Method::POST => MethodFilter::POST,
            Method::PUT => MethodFilter::PUT,
            Method::PATCH => MethodFilter::PATCH,
            Method::DELETE => MethodFilter::DELETE,
            _ => MethodFilter::GET,
        };
        let route = on(filter, handler)
            .layer::<_, std::convert::Infallible>(axum::middleware::from_fn_with_state(
                operation.pace,
                crate::outer::bounded,
            ))
            .layer::<_, std::convert::Infallible>(Extension(operation.limit))
            .layer::<_, std::convert::Infallible>(Extension(OperationId(operation.id)));
        self.handlers.push(route);
        self.operations.push(operation);
        self
    }

    pub(crate) fn join(mut self, other: Self) -> Self {
        self.operations.extend(other.operations);
        self.handlers.extend(other.handlers);
        self
    }

    pub(crate) fn listed(&self) -> Vec<(&'static str, Method, &'static str)> {
        self.operations
            .iter()
            .map(|operation| (operation.id, operation.method.clone(), operation.path))
            .collect()
    }

    /// The router of all operations.
    pub(crate) fn router(self) -> Router<Api> {
        self.operations
            .iter()
            .zip(self.handlers)
            .fold(Router::new(), |router, (operation, handler)| {
                router.route(operation.path, handler)
            })
    }
}

/// Which operation a request came to, for logs and metrics.
#[derive(Debug, Clone, Copy)]
pub(crate) struct OperationId(pub(crate) &'static str);
