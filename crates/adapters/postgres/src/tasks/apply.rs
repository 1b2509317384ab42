//! Transitions.

use std::collections::BTreeSet;

use arbiter_core::lifecycle::{Command, Expect, Refusal, Rules, apply, refused, settle};
use arbiter_core::model::{
    AuditAction, CommandId, Fence, Holder, Json, Record, RecordOutcome, Report, Resource, Task, TaskId,
};
use arbiter_core::ports::Transition;
use futures_util::future::BoxFuture;

use super::flush::nothing;
use super::group::Group;
use super::rows;
use crate::error::Fault;
use crate::line::{Call, Try};
use crate::number::whole;
use crate::session::{Session, id_bytes, uuid};
use crate::write::Write;

/// Those of the commands that ended the attempt with their token, or a stage of the task's review.
const ENDED_BY: &str =
    "SELECT a.task, a.command FROM unnest($1::uuid[], $2::bigint[], $3::uuid[]) AS c (task, fence, command)
       JOIN attempt AS a ON a.task = c.task AND a.fence = c.fence AND a.command = c.command
     UNION ALL
     SELECT s.task, s.command FROM unnest($1::uuid[], $2::bigint[], $3::uuid[]) AS c (task, fence, command)
       JOIN stage_report AS s ON s.task = c.task AND s.command = c.command";

/// A call of `TaskStore::apply`.
#[derive(Debug)]
pub(crate) struct Apply(pub(super) Vec<Transition>);

impl Call for Apply {
    type Answer = Vec<Result<Task, Refusal>>;

    const OPERATION: &'static str = "apply";

    fn bytes(&self) -> usize {
        let bytes = self.0.iter().map(|transition| 1024 + carried(&transition.action));
        bytes.sum()
    }

    fn run<'a>(
        write: &'a mut Write<'_>,
        rules: &'a Rules,
        calls: &'a [Self],
        _attempt: Try,
    ) -> BoxFuture<'a, Result<Vec<Self::Answer>, Fault>> {
        Box::pin(apply_all(write, rules, calls))
    }
}

async fn apply_all(
    write: &mut Write<'_>,
    rules: &Rules,
    calls: &[Apply],
) -> Result<Vec<Vec<Result<Task, Refusal>>>, Fault> {
    let mut group = Group::new(rules, write.session.now);
    let transitions = || calls.iter().flat_map(|call| &call.0);
    let tasks = rows::lock(&write.session, transitions().map(|transition| transition.task)).await?;
    group.take(tasks.into_values());
    let repeats = Repeats::read(&write.session, &group, transitions()).await?;
    let answers = calls.iter().map(|Apply(transitions)| {
        let answers = transitions.iter();
        answers
            .map(|transition| transit(&mut group, &repeats, transition))
            .collect()
    });
    let answers = answers.collect();
    group.flush(write, nothing).await?;
    Ok(answers)
}

/// Applies one transition.
fn transit(group: &mut Group<'_>, repeats: &Repeats, transition: &Transition) -> Result<Task, Refusal> {
    let Some(task) = group.find_in(transition.tenant, transition.task).cloned() else {
        let record = not_found(group, transition);
        group.records.push(record);
        return Err(Refusal::NotFound);
    };
    let call = arbiter_core::lifecycle::Call {
        command: transition.command,
        expect: transition.expect,
        draft: &transition.effects.record,
        rules: group.rules,
        now: group.now,
    };
    match apply(&task, &transition.action, call) {
        Ok(change) => Ok(group.save(&task, change, &transition.effects.outbox)),
        Err(refusal) => refuse(group, repeats, task, transition, refusal),
    }
}

fn refuse(
    group: &mut Group<'_>,
    repeats: &Repeats,
    task: Task,
    transition: &Transition,
    refusal: Refusal,
) -> Result<Task, Refusal> {
    let lease = match (&refusal, transition.expect) {
        (Refusal::LeaseLost, Expect::Lease { fence, holder }) => Some((fence, holder)),
        _ => None,
    };
    if let Some((fence, _)) = lease
        && (repeats.has(transition) || group.ends_by(task.id, fence, transition.command))
    {
        return Ok(task);
    }
    let draft = &transition.effects.record;
    let record = refused(&task, &transition.action, &refusal, draft, group.now);
    group.records.push(record);
    if let Some(change) = lease.and_then(|(fence, holder)| settle(&task, fence, holder)) {
        group.save(&task, change, &[]);
    }
    Err(refusal)
}

fn not_found(group: &Group<'_>, transition: &Transition) -> Record {
    let draft = &transition.effects.record;
    let mut actions = draft.actions.clone();
    actions.push(AuditAction::Rejected);
    Record {
        at: group.now,
        tenant: transition.tenant,
        principal: draft.principal,
        operation: draft.operation,
        actions,
        resource: Resource::new("task", transition.task.to_string()),
        outcome: RecordOutcome::Refused,
        reason: Some(Refusal::NotFound.code()),
        count: None,
        detail: draft.detail.clone(),
    }
}

/// Which transitions with a lease that is no longer held are repeats of the command that ended it.
#[derive(Debug, Default)]
struct Repeats(BTreeSet<(TaskId, CommandId)>);

impl Repeats {
    /// Asks for those whose lease is not the present one; as a rule there are none.
    async fn read<'a>(
        session: &Session<'_>,
        group: &Group<'_>,
        transitions: impl Iterator<Item = &'a Transition>,
    ) -> Result<Self, Fault> {
        let (mut tasks, mut fences, mut commands) = (Vec::new(), Vec::new(), Vec::new());
        for transition in transitions {
            if let Expect::Lease { fence, holder } = transition.expect
                && let Some(task) = group.find_in(transition.tenant, transition.task)
                && !holds(task, fence, holder)
            {
                tasks.push(uuid(task.id.as_bytes()));
                fences.push(whole(fence.0));
                commands.push(uuid(transition.command.as_bytes()));
            }
        }
        if tasks.is_empty() {
            return Ok(Self::default());
        }
        let rows = session.query(ENDED_BY, &[&tasks, &fences, &commands]).await?;
        let ended = rows.iter().map(|row| {
            let command = CommandId::from_bytes(id_bytes(row, 1)?);
            Ok((TaskId::from_bytes(id_bytes(row, 0)?), command))
        });
        Ok(Self(ended.collect::<Result<_, Fault>>()?))
    }

    fn has(&self, transition: &Transition) -> bool {
        self.0.contains(&(transition.task, transition.command))
    }
}

fn holds(task: &Task, fence: Fence, holder: Holder) -> bool {
    let lease = task.state.lease();
    lease.is_some_and(|lease| lease.fence == fence && lease.holder == holder)
}

/// The bytes of what a command carries.
fn carried(action: &Command) -> usize {
    let json = |json: &Option<Json>| json.as_ref().map_or(0, Json::len_bytes);
    let list = |list: &[Json]| list.iter().map(Json::len_bytes).sum::<usize>();
    match action {
        Command::Report(report) => {
            let Report {
                output,
                claims,
                evidence,
                ..
            } = &**report;
            json(output) + list(claims) + list(evidence)
        }
        Command::Stage { body, .. } => json(body),
        _ => 0,
    }
}
