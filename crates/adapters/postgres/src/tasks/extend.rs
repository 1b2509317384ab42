//! Heartbeats of leases.

use arbiter_core::lifecycle::{Rules, extend};
use arbiter_core::ports::{LeaseRef, LeaseStatus};
use futures_util::future::BoxFuture;

use super::flush::nothing;
use super::group::Group;
use super::rows;
use crate::error::Fault;
use crate::line::{Call, Try};
use crate::write::Write;

/// A call of `TaskStore::extend`.
#[derive(Debug)]
pub(crate) struct Extend(pub(super) Vec<LeaseRef>);

impl Call for Extend {
    type Answer = Vec<LeaseStatus>;

    const OPERATION: &'static str = "extend";

    fn bytes(&self) -> usize {
        self.0.len() * 512
    }

    fn run<'a>(
        write: &'a mut Write<'_>,
        rules: &'a Rules,
        calls: &'a [Self],
        _attempt: Try,
    ) -> BoxFuture<'a, Result<Vec<Self::Answer>, Fault>> {
        Box::pin(extend_all(write, rules, calls))
    }
}

async fn extend_all(
    write: &mut Write<'_>,
    rules: &Rules,
    calls: &[Extend],
) -> Result<Vec<Vec<LeaseStatus>>, Fault> {
    let mut group = Group::new(rules, write.session.now);
    let leases = calls.iter().flat_map(|call| &call.0);
    let tasks = rows::lock(&write.session, leases.map(|lease| lease.task)).await?;
    group.take(tasks.into_values());
    let answers = calls.iter().map(|Extend(leases)| {
        let answers = leases.iter().map(|lease| beat(&mut group, lease));
        answers.collect()
    });
    let answers = answers.collect();
    group.flush(write, nothing).await?;
    Ok(answers)
}

/// Extends one lease.
fn beat(group: &mut Group<'_>, lease: &LeaseRef) -> LeaseStatus {
    let Some(task) = group.find_in(lease.tenant, lease.task).cloned() else {
        return LeaseStatus::Lost;
    };
    let (status, change) = extend(&task, lease, group.rules, group.now);
    if let Some(change) = change {
        group.save(&task, change, &[]);
    }
    status
}
