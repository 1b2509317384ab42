//! Those outside: they submit, try again when they hear nothing, cancel, retry, release.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use arbiter_core::lifecycle::ReleaseDecision;
use arbiter_core::model::{
    OnPrerequisiteFailure, Principal, Priority, ReviewPlan, Role, StoredTask, TaskId, TaskSpec,
    VerificationPlan,
};
use arbiter_queue::{Accepted, Prerequisite, QueueError, SecureQueue, Submission};
use arbiter_testkit::builders::{spec, tenant, user};
use futures_util::{FutureExt as _, select_biased};

use crate::node::Door;
use crate::world::{OUTSIDE, World};

/// How many tenants submit.
pub(crate) const TENANTS: u64 = 2;

/// Everybody outside of the nodes.
pub(crate) struct People {
    pub(crate) world: Arc<World>,
    pub(crate) doors: Vec<Arc<Door>>,
    /// How many submitters are not done yet.
    pub(crate) busy: Arc<AtomicUsize>,
}

fn person(number: u64) -> Principal {
    Principal {
        tenant: tenant(number % TENANTS + 1),
        ..user(100 + number, [Role::Submitter, Role::Operator])
    }
}

impl People {
    /// Starts submitters with so many calls each, and operators.
    pub(crate) fn start(self: &Arc<Self>, submitters: u64, calls: u64) {
        let spawner = self.world.executor.spawner(OUTSIDE);
        self.busy.store(submitters as usize, Ordering::Relaxed);
        for number in 0..submitters {
            let people = Arc::clone(self);
            let future = async move {
                for call in 0..calls {
                    people
                        .world
                        .sleep(Duration::from_millis(people.world.draw(20_000)))
                        .await;
                    people.submit(number, call).await;
                }
                people.busy.fetch_sub(1, Ordering::Relaxed);
            };
            spawner.spawn("submitter", Box::pin(future));
        }
        let people = Arc::clone(self);
        spawner.spawn("operator", Box::pin(async move { people.operate().await }));
    }

    /// Calls some node until one answers for good.
    async fn call<T, F>(&self, call: impl Fn(Arc<SecureQueue>) -> F) -> Result<T, QueueError>
    where
        F: Future<Output = Result<T, QueueError>>,
    {
        loop {
            let door = &self.doors[self.world.draw(self.doors.len() as u64) as usize];
            if let Some(queue) = door.queue() {
                let mut life = door.life.subscribe();
                // the node's death is heard before its answer
                let answer = select_biased! {
                    _ = life.changed().fuse() => None,
                    answer = call(queue).fuse() => Some(answer),
                };
                match answer {
                    Some(Err(QueueError::Unavailable { .. } | QueueError::RateLimited { .. })) | None => {}
                    Some(answer) => return answer,
                }
            }
            self.world
                .sleep(Duration::from_millis(200 + self.world.draw(2_000)))
                .await;
        }
    }

    async fn submit(&self, number: u64, call: u64) {
        let who = person(number);
        let count = 1 + self.world.draw(3);
        let known: Vec<TaskId> = self.accepted(number);
        let drawn: Vec<(String, Submission)> = (0..count)
            .map(|place| {
                let key = format!("{number}/{call}/{place}");
                (key.clone(), self.draw(key, place as usize, &known))
            })
            .collect();
        let submissions: Vec<Submission> = drawn.iter().map(|(_, submission)| submission.clone()).collect();
        let together = self.world.happens(300);
        let answers = self
            .call(|queue| {
                let (who, submissions) = (who.clone(), submissions.clone());
                async move { queue.submit_many(&who, submissions, together).await }
            })
            .await
            .unwrap_or_else(|error| panic!("submitting {number}/{call}: {error:?}"));
        // A deadline that passes before the first try is heard is refused, and with it what depends on it.
        let timed = drawn
            .iter()
            .any(|(_, submission)| submission.spec.constraints.deadline.is_some());
        let mut journal = self.world.journal();
        for ((key, _), answer) in drawn.iter().zip(answers) {
            match answer {
                Ok(Accepted { task, .. }) => journal.accepted.push((key.clone(), task)),
                Err(QueueError::InvalidTask { .. } | QueueError::NeighbourRefused) if timed => {}
                Err(error) => panic!("submitting {key}: {error:?}"),
            }
        }
    }

    fn accepted(&self, number: u64) -> Vec<TaskId> {
        let mine = |key: &str| {
            let other: u64 = key
                .split('/')
                .next()
                .and_then(|word| word.parse().ok())
                .unwrap_or(0);
            other % TENANTS == number % TENANTS
        };
        let journal = self.world.journal();
        let accepted = journal.accepted.iter().filter(|(key, _)| mine(key));
        accepted.map(|(_, task)| *task).collect()
    }

    fn draw(&self, key: String, place: usize, known: &[TaskId]) -> Submission {
        let world = &self.world;
        let mut spec: TaskSpec = spec();
        spec.priority = Priority::new([10, 40, 60, 90][world.draw(4) as usize]).unwrap_or_default();
        spec.constraints.max_attempts = 1 + world.draw(4) as u16;
        spec.constraints.attempt_timeout = Duration::from_secs(20 + world.draw(100));
        spec.constraints.budget.tokens = world.happens(300).then_some(100);
        if world.happens(100) {
            let wait = Duration::from_secs(world.draw(600));
            spec.constraints.deadline = Some(arbiter_core::ports::Clock::now(&*world.clock).plus(wait));
        }
        if world.happens(250) {
            spec.review = ReviewPlan {
                verification: Some(VerificationPlan::default()),
                rubric: world.happens(500).then(|| "clarity".to_owned()),
                compliance: None,
            };
        }
        if world.happens(500) {
            spec.on_prerequisite_failure = OnPrerequisiteFailure::Hold;
        }
        let mut submission = Submission::new(spec);
        submission.idempotency_key = Some(key);
        if place > 0 && world.happens(200) {
            submission.after.push(Prerequisite::Sibling(0));
        } else if !known.is_empty() && world.happens(150) {
            let task = known[world.draw(known.len() as u64) as usize];
            submission.after.push(Prerequisite::Task(task));
        }
        submission
    }

    /// Interferes now and then, as long as the world is wild.
    async fn operate(&self) {
        while self.world.wild() {
            self.world
                .sleep(Duration::from_secs(1 + self.world.draw(20)))
                .await;
            let number = self.world.draw(TENANTS);
            let known = self.accepted(number);
            if known.is_empty() {
                continue;
            }
            let task = known[self.world.draw(known.len() as u64) as usize];
            let who = person(number);
            let word = self.world.draw(6);
            // most moves are illegal in the state that the task happens to have: that is the point
            let _ = self
                .call(|queue| {
                    let who = who.clone();
                    async move {
                        let why = "drawn".to_owned();
                        match word {
                            0 => queue.cancel(&who, task, None, why).await,
                            1 => queue.retry(&who, task, None, why).await,
                            2 => queue.dead_letter(&who, task, None, why).await,
                            3 => queue.requeue(&who, task, None, why).await,
                            4 => {
                                queue
                                    .release(&who, task, None, ReleaseDecision::Resume, why)
                                    .await
                            }
                            _ => {
                                queue
                                    .release(&who, task, None, ReleaseDecision::Reject, why)
                                    .await
                            }
                        }
                    }
                })
                .await;
        }
    }

    /// Has somebody decide about a held task.
    pub(crate) fn settle(self: &Arc<Self>, stored: &StoredTask) {
        let people = Arc::clone(self);
        let who = Principal {
            tenant: stored.task.tenant,
            ..person(0)
        };
        let task = stored.task.id;
        let future = async move {
            for decision in [
                ReleaseDecision::Accept,
                ReleaseDecision::Resume,
                ReleaseDecision::Reject,
            ] {
                let answer = people.call(|queue| {
                    let who = who.clone();
                    async move {
                        queue
                            .release(&who, task, None, decision, "settled".to_owned())
                            .await
                    }
                });
                if answer.await.is_ok() {
                    return;
                }
            }
        };
        let spawner = self.world.executor.spawner(OUTSIDE);
        spawner.spawn("settle", Box::pin(future));
    }
}
