//! The keys as they were fetched last, and when they are fetched again.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arbiter_core::ports::{Clock, Spawner};
use tokio::sync::watch;

use crate::algorithm::Algorithm;
use crate::config::OidcConfig;
use crate::error::ProviderError;
use crate::jwk::{Found, Key, KeySet};
use crate::provider::Provider;

/// How many keys that a provider withdrew are remembered, to tell their tokens from unknown ones.
const WITHDRAWN: usize = 16;

/// Keys of one provider. One fetch is under way at most, and two begin `refetch_after` apart at least, whatever is asked for.
/// Who asks for a key that is there waits for nothing.
pub(crate) struct Keys {
    shared: Arc<Shared>,
    spawner: Arc<dyn Spawner>,
}

struct Shared {
    provider: Provider,
    clock: Arc<dyn Clock>,
    max_age: Duration,
    max_stale: Duration,
    refetch_after: Duration,
    waiting: usize,
    state: Mutex<State>,
    /// Counts fetches that have ended.
    ended: watch::Sender<u64>,
}

#[derive(Default)]
struct State {
    keys: KeySet,
    /// When they were fetched, on the monotonic clock.
    fetched: Option<Duration>,
    /// When the last fetch began.
    began: Option<Duration>,
    under_way: bool,
    /// Why the last fetch failed.
    problem: Option<Arc<ProviderError>>,
    withdrawn: VecDeque<Key>,
    waiting: usize,
}

/// What is known of a key.
#[derive(Debug)]
pub(crate) enum Known {
    /// It is in force.
    Key(Key),
    /// The provider had it once.
    Withdrawn(Key),
    /// The provider does not have it, or not for this algorithm.
    Unknown,
    /// It cannot be told.
    Unavailable(Arc<ProviderError>),
}

/// How the keys stand.
#[derive(Debug, Clone)]
pub(crate) struct Standing {
    pub(crate) keys: usize,
    pub(crate) age: Option<Duration>,
    pub(crate) problem: Option<Arc<ProviderError>>,
}

enum Looked {
    Known(Known),
    Wait(watch::Receiver<u64>, Waiting),
}

impl Keys {
    pub(crate) fn new(
        provider: Provider,
        config: &OidcConfig,
        clock: Arc<dyn Clock>,
        spawner: Arc<dyn Spawner>,
    ) -> Self {
        Self {
            shared: Arc::new(Shared {
                provider,
                clock,
                max_age: config.max_age,
                max_stale: config.max_stale,
                refetch_after: config.refetch_after,
                waiting: config.waiting,
                state: Mutex::default(),
                ended: watch::Sender::new(0),
            }),
            spawner,
        }
    }

    /// The key of an id, for an algorithm. A key that is not known is looked for at the provider, within the limits.
    ///
    /// # Cancel safety
    /// Safe.
    pub(crate) async fn find(&self, id: Option<&str>, algorithm: Algorithm) -> Known {
        match self.look(id, algorithm, true) {
            Looked::Known(known) => known,
            Looked::Wait(mut ended, waiting) => {
                // The sender lives as long as we do.
                let _ended = ended.changed().await;
                drop(waiting);
                match self.look(id, algorithm, false) {
                    Looked::Known(known) => known,
                    Looked::Wait(..) => Known::Unavailable(Arc::new(ProviderError::Pending)),
                }
            }
        }
    }

    /// Fetches the keys when they are due, and waits for the end of that.
    ///
    /// # Cancel safety
    /// Safe: a fetch that has begun goes on.
    pub(crate) async fn keep_fresh(&self) {
        let mut ended = {
            let mut state = self.shared.state();
            let now = self.shared.clock.monotonic();
            if self.shared.is_due(&state, now) {
                self.begin(&mut state, now);
            }
            if !state.under_way {
                return;
            }
            self.shared.ended.subscribe()
        };
        let _ended = ended.changed().await;
    }

    pub(crate) fn standing(&self) -> Standing {
        let state = self.shared.state();
        let now = self.shared.clock.monotonic();
        Standing {
            keys: state.keys.len(),
            age: state.fetched.map(|at| now.saturating_sub(at)),
            problem: state.problem.clone(),
        }
    }

    fn look(&self, id: Option<&str>, algorithm: Algorithm, may_wait: bool) -> Looked {
        let mut state = self.shared.state();
        let now = self.shared.clock.monotonic();
        let serves = (state.fetched).is_some_and(|at| now.saturating_sub(at) < self.shared.max_stale);
        let found = if serves {
            state.keys.find(id, algorithm)
        } else {
            Found::Absent
        };
        let is_wanted = may_wait && found == Found::Absent;
        if is_wanted || self.shared.is_due(&state, now) {
            self.begin(&mut state, now);
        }
        match found {
            Found::Key(key) => return Looked::Known(Known::Key(key)),
            Found::Misfit => return Looked::Known(Known::Unknown),
            Found::Absent => {}
        }
        if may_wait && state.under_way {
            if state.waiting >= self.shared.waiting {
                return Looked::Known(Known::Unavailable(Arc::new(ProviderError::Busy)));
            }
            state.waiting += 1;
            let waiting = Waiting(Arc::clone(&self.shared));
            return Looked::Wait(self.shared.ended.subscribe(), waiting);
        }
        // Without fresh word of the provider, a key that is not known may be a new one.
        Looked::Known(match &state.problem {
            Some(problem) => Known::Unavailable(Arc::clone(problem)),
            None if !serves => Known::Unavailable(Arc::new(ProviderError::Pending)),
            None => state.withdrawn(id, algorithm),
        })
    }

    /// Begins a fetch, if none is under way and the last one began long enough ago.
    fn begin(&self, state: &mut State, now: Duration) {
        let shared = &self.shared;
        let is_early = state
            .began
            .is_some_and(|at| now.saturating_sub(at) < shared.refetch_after);
        if state.under_way || is_early {
            return;
        }
        (state.under_way, state.began) = (true, Some(now));
        let flight = Flight(Arc::clone(shared));
        let _it_runs_by_itself = self.spawner.spawn("oidc-keys", Box::pin(flight.run()));
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_due(&self, state: &State, now: Duration) -> bool {
        (state.fetched).is_none_or(|at| now.saturating_sub(at) >= self.max_age)
    }
}

impl State {
    fn withdrawn(&self, id: Option<&str>, algorithm: Algorithm) -> Known {
        let is_it = |key: &&Key| id.is_some() && key.id() == id && key.fits(algorithm);
        // The newest of that id.
        match self.withdrawn.iter().rev().find(is_it) {
            Some(key) => Known::Withdrawn(key.clone()),
            None => Known::Unknown,
        }
    }
}

/// A fetch under way. However it ends, those who wait hear of it.
struct Flight(Arc<Shared>);

impl Flight {
    async fn run(self) {
        let fetched = self.0.provider.keys().await;
        let mut state = self.0.state();
        match fetched {
            Ok(keys) => {
                let gone: Vec<Key> = state.keys.without(&keys).cloned().collect();
                if !gone.is_empty() || keys.len() != state.keys.len() {
                    tracing::info!(
                        event = "identity_keys_changed",
                        keys = keys.len(),
                        withdrawn = gone.len(),
                        "the keys of the identity provider have changed"
                    );
                }
                state.withdrawn.extend(gone);
                let over = state.withdrawn.len().saturating_sub(WITHDRAWN);
                state.withdrawn.drain(..over);
                // From when it began: the set is as old as that at least.
                (state.keys, state.fetched, state.problem) = (keys, state.began, None);
            }
            Err(error) => {
                tracing::warn!(
                    event = "identity_keys_unavailable",
                    error = &error as &dyn std::error::Error,
                    "the keys of the identity provider could not be fetched"
                );
                state.problem = Some(Arc::new(error));
            }
        }
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.under_way = false;
        drop(state);
        self.0.ended.send_modify(|count| *count += 1);
    }
}

/// Somebody who waits.
struct Waiting(Arc<Shared>);

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.state().waiting -= 1;
    }
}
