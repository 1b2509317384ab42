//! The HTTP interface over real sockets.

mod access;
mod authorization;
mod contract;
mod erasure;
mod history;
pub(crate) mod hooks;
mod hostile;
mod identity;
mod limits;
mod load;
mod matrix;
mod repeats;
mod schedules;
mod shutdown;
mod streams;
mod tenants;
mod tls;
mod upkeep;
mod work;

use arbiter_tests::http::{Answer, Caller};
use arbiter_tests::{Place, Serving};
use serde_json::{Value, json};

/// A server with a caller that may do everything.
pub(crate) struct Served {
    pub(crate) place: Place,
    pub(crate) serving: Serving,
    pub(crate) operator: Caller,
}

impl Served {
    /// A server of the default configuration, without agents.
    pub(crate) fn new() -> Self {
        Self::with("", &[])
    }

    pub(crate) fn with(config: &str, arguments: &[&str]) -> Self {
        Self::at(Place::new(), config, arguments)
    }

    /// A server over what a place holds already.
    pub(crate) fn at(place: Place, config: &str, arguments: &[&str]) -> Self {
        let config = place.write("config.toml", config);
        let mut all = vec!["--config", config.to_str().expect("a path")];
        all.extend(arguments);
        let serving = Serving::start(&place, &all);
        let key = std::fs::read_to_string(place.path("data/operator.key")).expect("the operator's key");
        let operator = Caller::new(&serving, Some(&key));
        Self {
            place,
            serving,
            operator,
        }
    }

    /// An operator of the default tenant who is no admin.
    pub(crate) fn plain_operator(&self) -> Caller {
        let form = json!({"name": "plain", "roles": ["operator", "submitter", "reviewer"]});
        let made = self.operator.post("/v1/principals", &form);
        assert_eq!(made.status, 201, "{made:?}");
        let id = made.json()["id"].as_str().expect("an id").to_owned();
        let key = self
            .operator
            .post(&format!("/v1/principals/{id}/keys"), &json!({}));
        Caller::new(&self.serving, key.json()["secret"].as_str())
    }

    pub(crate) fn submit(&self, task: &Value) -> String {
        let answer = self.operator.post("/v1/tasks", task);
        assert_eq!(answer.status, 201, "{answer:?}");
        answer.json()["id"].as_str().expect("an id").to_owned()
    }
}

/// A task that no agent takes unless one is registered for it.
pub(crate) fn task() -> Value {
    json!({"kind": "analysis", "title": "count", "instructions": "count the words"})
}

pub(crate) fn refused(answer: &Answer, status: u16, code: &str) {
    assert_eq!(
        (answer.status, answer.code().as_str()),
        (status, code),
        "{answer:?}"
    );
}
