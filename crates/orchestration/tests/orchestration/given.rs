//! What tests start from, in one word each.

use std::time::Duration;

use arbiter_core::model::{AgentId, Priority, ReviewPlan, Stage, TaskKind, TenantId};
use arbiter_core::ports::NewTask;
use arbiter_testkit::builders::{agent, new_task_with, tenant};

/// A task of a tenant.
pub(crate) fn of(owner: TenantId, number: u64) -> NewTask {
    NewTask {
        tenant: owner,
        ..new_task_with(number, |_| {})
    }
}

/// Tasks of a numbered tenant, with the numbers of a range.
pub(crate) fn many_of(owner: u64, numbers: std::ops::Range<u64>) -> Vec<NewTask> {
    numbers.map(|number| of(tenant(owner), number)).collect()
}

/// The plan that asks for these stages.
pub(crate) fn reviewed(stages: &[Stage]) -> ReviewPlan {
    ReviewPlan {
        verification: stages.contains(&Stage::Verify).then(Default::default),
        rubric: stages.contains(&Stage::Judge).then(|| "clarity".to_owned()),
        compliance: stages.contains(&Stage::Comply).then(Default::default),
    }
}

pub(crate) fn priority(value: u8) -> Priority {
    Priority::new(value).expect("a priority")
}

pub(crate) fn word(text: &str) -> TaskKind {
    TaskKind::new(text).expect("a kind")
}

pub(crate) const fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

pub(crate) const fn millis(count: u64) -> Duration {
    Duration::from_millis(count)
}

/// The agents with these numbers.
pub(crate) fn agents(numbers: &[u64]) -> Vec<AgentId> {
    numbers.iter().map(|number| agent(*number)).collect()
}
