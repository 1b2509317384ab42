//! The executor: polls ready tasks one at a time, in an order that follows from the seed.

use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll, Wake, Waker};

use arbiter_core::ports::{BoxFuture, Ended, Spawner, TaskHandle};
use async_trait::async_trait;
use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use tokio::sync::watch;

/// What lives and dies together: a node, or everybody outside of the nodes.
pub(crate) type Group = usize;

type Key = u64;

/// Polls tasks. There are no threads: whatever happens follows from the seed.
#[derive(Clone)]
pub(crate) struct Executor(Arc<Mutex<State>>);

struct State {
    tasks: BTreeMap<Key, Slot>,
    /// Ordered by key: wakers of one moment come in any order (`tokio::sync::watch` shuffles them).
    ready: BTreeSet<Key>,
    paused: BTreeSet<Group>,
    next: Key,
    chance: ChaCha8Rng,
    trace: u64,
    panics: Vec<String>,
}

struct Slot {
    group: Group,
    name: &'static str,
    /// Absent while it is polled.
    future: Option<BoxFuture>,
    ended: watch::Sender<Option<Ended>>,
}

impl Executor {
    pub(crate) fn new(seed: u64) -> Self {
        let state = State {
            tasks: BTreeMap::new(),
            ready: BTreeSet::new(),
            paused: BTreeSet::new(),
            next: 0,
            chance: ChaCha8Rng::seed_from_u64(seed),
            trace: 0xcbf2_9ce4_8422_2325,
            panics: Vec::new(),
        };
        Self(Arc::new(Mutex::new(state)))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Spawns tasks that belong to a group.
    pub(crate) fn spawner(&self, group: Group) -> Arc<dyn Spawner> {
        Arc::new(GroupSpawner {
            executor: self.clone(),
            group,
        })
    }

    /// Polls one ready task. False when there is none.
    pub(crate) fn step(&self) -> bool {
        let (key, mut future) = {
            let mut state = self.state();
            let State {
                tasks, ready, paused, ..
            } = &mut *state;
            let able: Vec<Key> = ready
                .iter()
                .copied()
                .filter(|key| {
                    let slot = tasks.get(key);
                    slot.is_some_and(|slot| !paused.contains(&slot.group))
                })
                .collect();
            if able.is_empty() {
                return false;
            }
            let key = able[(state.chance.next_u64() % able.len() as u64) as usize];
            state.ready.remove(&key);
            // FNV-1a over which task was polled when
            state.trace = (state.trace ^ key).wrapping_mul(0x0100_0000_01b3);
            let Some(future) = state.tasks.get_mut(&key).and_then(|slot| slot.future.take()) else {
                return true;
            };
            (key, future)
        };
        let waker = Waker::from(Arc::new(TaskWaker {
            key,
            state: Arc::downgrade(&self.0),
        }));
        let polled = catch_unwind(AssertUnwindSafe(|| {
            future.as_mut().poll(&mut Context::from_waker(&waker))
        }));
        let ended = match polled {
            Ok(Poll::Pending) => {
                let mut state = self.state();
                // gone when the task was killed while it was polled: it is dropped below
                if let Some(slot) = state.tasks.get_mut(&key) {
                    slot.future = Some(future);
                    return true;
                }
                Ended::Aborted
            }
            Ok(Poll::Ready(())) => Ended::Finished,
            Err(_) => Ended::Panicked,
        };
        let slot = {
            let mut state = self.state();
            let slot = state.tasks.remove(&key);
            if let (Some(slot), Ended::Panicked) = (&slot, ended) {
                state.panics.push(slot.name.to_owned());
            }
            slot
        };
        if let Some(slot) = slot {
            slot.ended.send_replace(Some(ended));
        }
        true
    }

    /// Ends every task of a group where it stands, as the end of its process does.
    pub(crate) fn kill(&self, group: Group) {
        let killed: Vec<Slot> = {
            let mut state = self.state();
            state.paused.remove(&group);
            let keys: Vec<Key> = state
                .tasks
                .iter()
                .filter(|(_, slot)| slot.group == group)
                .map(|(key, _)| *key)
                .collect();
            state.ready.retain(|key| !keys.contains(key));
            keys.iter().filter_map(|key| state.tasks.remove(key)).collect()
        };
        // Dropping a future may wake others, which takes the lock.
        for slot in killed {
            drop(slot.future);
            slot.ended.send_replace(Some(Ended::Aborted));
        }
    }

    /// Stops or lets go on the tasks of a group, as `SIGSTOP` and `SIGCONT` do.
    pub(crate) fn pause(&self, group: Group, paused: bool) {
        let mut state = self.state();
        if paused {
            state.paused.insert(group);
        } else {
            state.paused.remove(&group);
        }
    }

    /// What follows from all choices so far.
    pub(crate) fn trace(&self) -> u64 {
        self.state().trace
    }

    /// The names of tasks that panicked.
    pub(crate) fn panics(&self) -> Vec<String> {
        self.state().panics.clone()
    }
}

struct TaskWaker {
    key: Key,
    state: Weak<Mutex<State>>,
}

impl Wake for TaskWaker {
    fn wake(self: Arc<Self>) {
        let Some(state) = self.state.upgrade() else {
            return;
        };
        let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.tasks.contains_key(&self.key) {
            state.ready.insert(self.key);
        }
    }
}

struct GroupSpawner {
    executor: Executor,
    group: Group,
}

impl Spawner for GroupSpawner {
    fn spawn(&self, name: &'static str, future: BoxFuture) -> Box<dyn TaskHandle> {
        let (ended, told) = watch::channel(None);
        let mut state = self.executor.state();
        let key = state.next;
        state.next += 1;
        let slot = Slot {
            group: self.group,
            name,
            future: Some(future),
            ended,
        };
        state.tasks.insert(key, slot);
        state.ready.insert(key);
        Box::new(Handle {
            key,
            executor: self.executor.clone(),
            told,
        })
    }
}

struct Handle {
    key: Key,
    executor: Executor,
    told: watch::Receiver<Option<Ended>>,
}

#[async_trait]
impl TaskHandle for Handle {
    async fn join(&mut self) -> Ended {
        let told = self.told.wait_for(Option::is_some).await;
        told.ok().and_then(|ended| *ended).unwrap_or(Ended::Aborted)
    }

    fn abort(&self) {
        let slot = self.executor.state().tasks.remove(&self.key);
        if let Some(slot) = slot {
            drop(slot.future);
            slot.ended.send_replace(Some(Ended::Aborted));
        }
    }
}
