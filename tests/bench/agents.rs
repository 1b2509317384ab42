//! Agents of one node: one claimer claims for all of them in batches, as the node's dispatcher does.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arbiter_core::model::{AgentId, Holder};
use arbiter_core::ports::{Assignment, ClaimRequest, Effects, LaneQuota};
use arbiter_core::services::{Allocator as _, Offer};
use arbiter_testkit::builders::{agent, agent_principal};
use futures_util::{FutureExt as _, select_biased};
use tokio::sync::Notify;

use crate::plane::Plane;

/// The dispatcher's largest claim.
const BATCH: u32 = 20;
/// It looks again at least this often.
const REFRESH: Duration = Duration::from_secs(1);

/// Agents with free slots. An agent reports as soon as it has a task.
#[derive(Clone)]
pub(crate) struct Agents(Arc<Slots>);

struct Slots {
    free: Mutex<BTreeMap<AgentId, u32>>,
    freed: Notify,
}

impl Agents {
    /// Registers so many agents.
    pub(crate) async fn register(plane: &Plane, count: u64, slots: u32) -> Self {
        let mut free = BTreeMap::new();
        for number in 2..count + 2 {
            plane.add_agent(number, slots).await;
            free.insert(agent(number), slots);
        }
        Self(Arc::new(Slots {
            free: Mutex::new(free),
            freed: Notify::new(),
        }))
    }

    /// Claims for all agents until they have reported so many tasks; between, waits for hints and for free slots.
    pub(crate) async fn work(self, plane: Plane, tasks: usize) {
        let mut hints = plane.wakeups.subscribe();
        let mut reports = tokio::task::JoinSet::new();
        let mut claimed = 0;
        while claimed < tasks {
            while let Some(done) = reports.try_join_next() {
                done.unwrap();
            }
            let assigned = self.claim(&plane).await;
            claimed += assigned.len();
            if assigned.is_empty() {
                select_biased! {
                    () = self.0.freed.notified().fuse() => {}
                    _ = hints.next().fuse() => {}
                    () = tokio::time::sleep(REFRESH).fuse() => {}
                }
            }
            for assignment in assigned {
                let (agents, plane) = (self.clone(), plane.clone());
                reports.spawn(async move { agents.report(&plane, assignment).await });
            }
        }
        reports.join_all().await;
    }

    async fn claim(&self, plane: &Plane) -> Vec<Assignment> {
        let offers: Vec<Offer> = self.free().iter().filter_map(offer).collect();
        let take = offers.iter().map(|offer| offer.free).sum::<u32>().min(BATCH);
        if take == 0 {
            return Vec::new();
        }
        let request = ClaimRequest {
            lanes: vec![LaneQuota {
                lane: Plane::lane(),
                take,
            }],
            chooser: plane.allocation.chooser(offers),
            command: plane.ids.command(),
            effects: Effects::default(),
        };
        let claimed = plane.store.claim(request).await.unwrap();
        let mut free = self.free();
        for assignment in &claimed.assigned {
            *free.get_mut(&holder(assignment)).unwrap() -= 1;
        }
        claimed.assigned
    }

    async fn report(&self, plane: &Plane, assignment: Assignment) {
        let id = holder(&assignment);
        plane.report(&agent_principal(2, id), assignment).await;
        *self.free().get_mut(&id).unwrap() += 1;
        self.0.freed.notify_one();
    }

    fn free(&self) -> MutexGuard<'_, BTreeMap<AgentId, u32>> {
        self.0.free.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn offer((agent, free): (&AgentId, &u32)) -> Option<Offer> {
    (*free > 0).then_some(Offer {
        agent: *agent,
        free: *free,
        acknowledges: true,
        without: Vec::new(),
    })
}

fn holder(assignment: &Assignment) -> AgentId {
    match assignment.to {
        Holder::Agent(id) => id,
        Holder::Node(_) => panic!("a task without review stages went to a node"),
    }
}
