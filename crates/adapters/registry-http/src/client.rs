//! One call: from an operation to an answer, or to why there is none.

use std::fmt::Write as _;
use std::sync::Arc;

use arbiter_core::mechanism::SecretText;
use arbiter_core::model::PrincipalId;
use arbiter_core::ports::Clock;
use arbiter_net::{HttpClient, HttpPorts, HttpUrl, Method, Request, WholeResponse};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::config::{InvalidRegistry, RegistryConfig};
use crate::error::CallError;

const JSON: &str = "application/json";
/// For whom the call is made.
const ON_BEHALF_OF: &str = "on-behalf-of";

/// An operation: its id, its method, its path.
pub(crate) type Operation = (&'static str, Method, &'static str);

/// The other control plane.
pub(crate) struct Remote {
    http: HttpClient,
    base: String,
    key: SecretText,
    clock: Arc<dyn Clock>,
}

/// A call that is being put together.
#[derive(Debug, Default)]
pub(crate) struct Call {
    /// What stands for the brace in the path.
    pub(crate) id: Option<String>,
    pub(crate) query: Vec<(&'static str, String)>,
    pub(crate) body: Option<Vec<u8>>,
    pub(crate) on_behalf_of: Option<PrincipalId>,
    /// Whether its repeat has the same effect and the same answer.
    pub(crate) repeatable: bool,
}

impl Call {
    /// A call that may be repeated.
    pub(crate) fn new() -> Self {
        Self {
            repeatable: true,
            ..Self::default()
        }
    }

    pub(crate) fn id(mut self, id: impl ToString) -> Self {
        self.id = Some(id.to_string());
        self
    }

    /// With a parameter, if it is there.
    pub(crate) fn query(mut self, name: &'static str, value: Option<String>) -> Self {
        self.query.extend(value.map(|value| (name, value)));
        self
    }

    pub(crate) fn json(mut self, body: &impl Serialize) -> Result<Self, serde_json::Error> {
        self.body = Some(serde_json::to_vec(body)?);
        Ok(self)
    }

    pub(crate) fn on_behalf_of(mut self, principal: Option<PrincipalId>) -> Self {
        self.on_behalf_of = principal;
        self
    }

    /// A repeat would be answered otherwise.
    pub(crate) fn once(mut self) -> Self {
        self.repeatable = false;
        self
    }
}

impl Remote {
    pub(crate) fn new(config: &RegistryConfig, ports: HttpPorts) -> Result<Self, InvalidRegistry> {
        let (base, url) = config.base()?;
        let clock = Arc::clone(&ports.clock);
        Ok(Self {
            http: HttpClient::new(&config.http(&url), ports)?,
            base,
            key: config.key.clone(),
            clock,
        })
    }

    pub(crate) fn clock(&self) -> &dyn Clock {
        self.clock.as_ref()
    }

    /// Whether it tries calls again. Only one on the way of a call may.
    pub(crate) const fn owns_retries(&self) -> bool {
        self.http.owns_retries()
    }

    /// An answer of status 200, as JSON.
    pub(crate) async fn read<T: DeserializeOwned>(
        &self,
        operation: &Operation,
        call: Call,
    ) -> Result<T, CallError> {
        let answer = self.send(operation, call).await?;
        let id = operation.0;
        let status = answer.status.as_u16();
        if status != 200 {
            return Err(CallError::answer(id, status, "the contract promises 200"));
        }
        let media = answer.header("content-type").unwrap_or_default();
        let media = media.split(';').next().unwrap_or_default().trim();
        if !media.eq_ignore_ascii_case(JSON) {
            return Err(CallError::answer(id, status, "its content is no JSON"));
        }
        serde_json::from_slice(&answer.body).map_err(|error| CallError::answer(id, status, error))
    }

    /// An answer of status 204.
    pub(crate) async fn done(&self, operation: &Operation, call: Call) -> Result<(), CallError> {
        let answer = self.send(operation, call).await?;
        let status = answer.status.as_u16();
        if status != 204 {
            return Err(CallError::answer(
                operation.0,
                status,
                "the contract promises 204",
            ));
        }
        Ok(())
    }

    async fn send(&self, operation: &Operation, call: Call) -> Result<WholeResponse, CallError> {
        let (id, method, path) = operation;
        let url: HttpUrl = self
            .address(path, &call)
            .parse()
            .map_err(|error| CallError::Unanswered(arbiter_net::NetError::Url(error)))?;
        let mut request = Request::new(method.clone(), url)
            .operation(id)
            .header("accept", JSON)?
            .bearer(&self.key)?;
        if let Some(principal) = call.on_behalf_of {
            request = request.header(ON_BEHALF_OF, &principal.to_string())?;
        }
        if let Some(body) = call.body {
            request = request.with_body(body).header("content-type", JSON)?;
        }
        request = if call.repeatable {
            request.repeatable()
        } else {
            request.once()
        };
        let answer = self.http.send(request).await?;
        if answer.status.is_success() {
            return Ok(answer);
        }
        Err(CallError::refused(id, &answer, self.clock.now()))
    }

    /// The address of a call. Ids and moments hold no character that means something in an address but `:` and `+`.
    fn address(&self, path: &str, call: &Call) -> String {
        let mut address = self.base.clone();
        match &call.id {
            Some(id) => address.push_str(&path.replace("{id}", id)),
            None => address.push_str(path),
        }
        for (place, (name, value)) in call.query.iter().enumerate() {
            address.push(if place == 0 { '?' } else { '&' });
            address.push_str(name);
            address.push('=');
            for byte in value.bytes() {
                if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
                    address.push(char::from(byte));
                } else {
                    // Writing to a text does not fail.
                    let _written = write!(address, "%{byte:02X}");
                }
            }
        }
        address
    }
}

impl std::fmt::Debug for Remote {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Remote")
            .field("base", &self.base)
            .finish_non_exhaustive()
    }
}
