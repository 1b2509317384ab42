//! Which events were logged.

use std::sync::{Arc, Mutex};

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::subscriber::DefaultGuard;
use tracing::{Event, Metadata, Subscriber};

use crate::watch::lock;

/// The names of events, from now on, on this thread.
pub(crate) struct Events {
    named: Arc<Mutex<Vec<String>>>,
    _default: DefaultGuard,
}

impl Events {
    pub(crate) fn new() -> Self {
        let named = Arc::default();
        let log = Log(Arc::clone(&named));
        Self {
            named,
            _default: tracing::subscriber::set_default(log),
        }
    }

    /// How many there were of a name.
    pub(crate) fn count(&self, name: &str) -> usize {
        lock(&self.named).iter().filter(|known| *known == name).count()
    }
}

struct Log(Arc<Mutex<Vec<String>>>);

impl Subscriber for Log {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        event.record(&mut Name(&self.0));
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

struct Name<'a>(&'a Mutex<Vec<String>>);

impl Visit for Name<'_> {
    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "event" {
            lock(self.0).push(value.to_owned());
        }
    }

    fn record_debug(&mut self, _: &Field, _: &dyn std::fmt::Debug) {}
}
