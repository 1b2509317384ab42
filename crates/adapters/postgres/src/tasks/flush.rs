//! Writing what a group has gathered: one statement over arrays for each table.

use std::collections::{BTreeMap, BTreeSet};

use arbiter_core::model::{Digest, TaskId, TaskSpec, TenantId};
use arbiter_core::ports::{NewTask, Scope};
use arbiter_wire::stored::{
    TaskColumns, encode_attempt, encode_lane, encode_spec, encode_stage_report, encode_status, scope_key,
};
use futures_util::future::{BoxFuture, try_join, try_join_all};
use tokio_postgres::types::ToSql;
use uuid::Uuid;

use super::group::{Entry, Group};
use super::lanes::FIRST;
use crate::error::Fault;
use crate::number::{natural, whole};
use crate::outbox::{PUT as PUT_OUTBOX, put_outbox};
use crate::session::{Session, get, id_bytes, uuid};
use crate::write::{PUT_LEAVES, Write, put_leaves};

/// A task that somebody else has stored meanwhile is an error of the statement: to look before each row, as `ON CONFLICT`
/// does, costs a tenth of a submission, and finds something once in a blue moon.
pub(crate) const ADD_TASKS: &str =
    "INSERT INTO task (id, tenant, lane, order_key, state, due_at, holder, closed_at, status)
     SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::bigint[], $4::bigint[], $5::smallint[], $6::bigint[],
       $7::bytea[], $8::bigint[], $9::text[])";

pub(crate) const ADD_SPECS: &str = "INSERT INTO task_spec
       (id, tenant, submitter, idempotency_key, fingerprint, kind, labels, body)
     SELECT id, tenant, submitter, key, fingerprint, kind, coalesce(s.labels, '{}'), body
     FROM unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::bytea[], $5::bytea[], $6::text[], $7::text[])
       AS new (id, tenant, submitter, key, fingerprint, kind, body)
     LEFT JOIN (
       SELECT task, array_agg(label) FROM unnest($8::uuid[], $9::bigint[]) AS l (task, label) GROUP BY task)
       AS s (task, labels) ON s.task = new.id";

const CHANGE_TASKS: &str = "UPDATE task AS t SET lane = n.lane, order_key = n.order_key, state = n.state,
       due_at = n.due_at, holder = n.holder, closed_at = n.closed_at, status = n.status
     FROM unnest($1::uuid[], $2::uuid[], $3::bigint[], $4::bigint[], $5::smallint[], $6::bigint[], $7::bytea[],
       $8::bigint[], $9::text[])
       AS n (id, tenant, lane, order_key, state, due_at, holder, closed_at, status)
     WHERE t.id = n.id AND t.tenant = n.tenant";

pub(crate) const ADD_ATTEMPTS: &str = "INSERT INTO attempt (task, fence, tenant, command, body)
     SELECT * FROM unnest($1::uuid[], $2::bigint[], $3::uuid[], $4::uuid[], $5::text[])";

pub(crate) const PUT_STAGES: &str = "INSERT INTO stage_report (task, fence, stage, tenant, command, body)
     SELECT * FROM unnest($1::uuid[], $2::bigint[], $3::smallint[], $4::uuid[], $5::uuid[], $6::text[])
     ON CONFLICT (task, fence, stage) DO UPDATE SET command = excluded.command, body = excluded.body";

pub(crate) const ADD_AWAITED: &str = "INSERT INTO dependency (prerequisite, dependant)
     SELECT * FROM unnest($1::uuid[], $2::uuid[]) ON CONFLICT DO NOTHING";

const FORGET_TOLD: &str =
    "DELETE FROM dependency AS d USING unnest($1::uuid[], $2::uuid[]) AS t (prerequisite, dependant)
     WHERE d.prerequisite = t.prerequisite AND d.dependant = t.dependant";

/// Counts below zero break the check of the table.
const COUNT_LOADS: &str = "INSERT INTO load AS l (scope, used)
     SELECT * FROM unnest($1::text[], $2::integer[]) AS n (scope, by) ORDER BY scope
     ON CONFLICT (scope) DO UPDATE SET used = l.used + excluded.used";

/// Scopes whose count may go down have a row: so nothing below zero is ever inserted.
const LESS_LOADS: &str = "UPDATE load AS l SET used = l.used + n.by
     FROM unnest($1::text[], $2::integer[]) AS n (scope, by) WHERE l.scope = n.scope";

const LOCK_LOADS: &str = "SELECT scope FROM load WHERE scope = ANY($1) ORDER BY scope FOR UPDATE";

const COUNT_TALLIES: &str = "INSERT INTO tally AS t (tenant, shard, queued, running, reviewing, held, dead)
     SELECT tenant, $7, queued, running, reviewing, held, dead
     FROM unnest($1::uuid[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[])
       AS n (tenant, queued, running, reviewing, held, dead) ORDER BY tenant
     ON CONFLICT (tenant, shard) DO UPDATE SET queued = t.queued + excluded.queued,
       running = t.running + excluded.running, reviewing = t.reviewing + excluded.reviewing,
       held = t.held + excluded.held, dead = t.dead + excluded.dead";

const OPEN: &str = "SELECT tenant, sum(queued + running + reviewing + held)::bigint FROM tally
     WHERE tenant = ANY($1) GROUP BY tenant";

pub(crate) const KEEP_LANES: &str = "INSERT INTO lane (lane, tenant, body)
     SELECT * FROM unnest($1::bigint[], $2::uuid[], $3::text[]) ON CONFLICT DO NOTHING";

/// Everything that a flush may send.
const STATEMENTS: [&str; 16] = [
    ADD_TASKS,
    ADD_SPECS,
    CHANGE_TASKS,
    ADD_ATTEMPTS,
    PUT_STAGES,
    FORGET_TOLD,
    ADD_AWAITED,
    LESS_LOADS,
    COUNT_LOADS,
    COUNT_TALLIES,
    KEEP_LANES,
    PUT_OUTBOX,
    LOCK_LOADS,
    PUT_LEAVES,
    OPEN,
    FIRST,
];

/// Nothing is to be read after a flush.
pub(super) fn nothing<'s>(_: &'s Session<'_>) -> BoxFuture<'s, Result<(), Fault>> {
    Box::pin(async { Ok(()) })
}

impl Group<'_> {
    /// Writes everything into the transaction, the leaves last, and reads what `then` asks for.
    ///
    /// Rows are touched in the order tasks, loads, tallies, lanes, each sorted by key, so that no two groups wait for
    /// each other in a circle. Lanes come after tallies: who forgets the lanes of a tenant holds its tallies.
    ///
    /// All statements are on their way before the first answer: on one connection the server does them in their order,
    /// so this costs one round trip.
    pub(super) async fn flush<T, F>(&mut self, write: &mut Write<'_>, then: F) -> Result<T, Fault>
    where
        T: Send,
        F: for<'s> FnOnce(&'s Session<'_>) -> BoxFuture<'s, Result<T, Fault>> + Send,
    {
        let records = std::mem::take(&mut self.records);
        for record in &records {
            write.leaf(record)?;
        }
        let loads = Loads::of(&self.loads)?;
        let leaves = write.take_leaves();
        // what is not prepared yet would be sent too late, behind statements that follow it
        write.session.prepare(&STATEMENTS).await?;
        let (group, write) = (&*self, &*write);
        let work: Vec<BoxFuture<'_, Result<(), Fault>>> = vec![
            Box::pin(group.add_tasks(write)),
            Box::pin(group.change_tasks(write)),
            Box::pin(group.add_attempts(write)),
            Box::pin(group.put_stages(write)),
            Box::pin(pairs(write, FORGET_TOLD, &group.told)),
            Box::pin(pairs(write, ADD_AWAITED, &group.awaited)),
            Box::pin(loads.lock(write)),
            Box::pin(loads.count_less(write)),
            Box::pin(loads.count_more(write)),
            Box::pin(group.count_tallies(write)),
            Box::pin(group.keep_lanes(write)),
            Box::pin(put_outbox(write, &group.outbox)),
            Box::pin(put_leaves(&write.session, &leaves)),
        ];
        let (_, told) = try_join(try_join_all(work), then(&write.session)).await?;
        Ok(told)
    }

    async fn add_tasks(&self, write: &Write<'_>) -> Result<(), Fault> {
        if self.submitted.is_empty() {
            return Ok(());
        }
        let rows = TaskRows::of(self.entries.values().filter(|entry| entry.is_new))?;
        let specs = SpecRows::of(self.submitted.values().copied())?;
        let (rows, specs) = (rows.columns(), specs.columns());
        let tasks = write.session.execute(ADD_TASKS, &rows);
        let bodies = write.session.execute(ADD_SPECS, &specs);
        let added = try_join(tasks, bodies);
        added.await.map(drop).map_err(Fault::or_raced)
    }

    async fn change_tasks(&self, write: &Write<'_>) -> Result<(), Fault> {
        let changed = |entry: &&Entry| entry.is_changed && !entry.is_new;
        let rows = TaskRows::of(self.entries.values().filter(changed))?;
        if rows.ids.is_empty() {
            return Ok(());
        }
        let expected = rows.ids.len() as u64;
        if write.session.execute(CHANGE_TASKS, &rows.columns()).await? != expected {
            return Err(Fault::Damaged("task"));
        }
        Ok(())
    }

    async fn add_attempts(&self, write: &Write<'_>) -> Result<(), Fault> {
        if self.attempts.is_empty() {
            return Ok(());
        }
        let mut columns = (Vec::new(), Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for ((task, fence), (tenant, attempt)) in &self.attempts {
            columns.0.push(uuid(task.as_bytes()));
            columns.1.push(whole(fence.0));
            columns.2.push(uuid(tenant.as_bytes()));
            columns.3.push(uuid(attempt.command.as_bytes()));
            columns.4.push(encode_attempt(attempt)?);
        }
        let (tasks, fences, tenants, commands, bodies) = &columns;
        write
            .session
            .execute(ADD_ATTEMPTS, &[tasks, fences, tenants, commands, bodies])
            .await?;
        Ok(())
    }

    async fn put_stages(&self, write: &Write<'_>) -> Result<(), Fault> {
        if self.stages.is_empty() {
            return Ok(());
        }
        let mut columns = (
            Vec::new(),
            Vec::new(),
            Vec::new(),
            Vec::new(),
            Vec::new(),
            Vec::new(),
        );
        for ((task, fence, stage), (tenant, report)) in &self.stages {
            columns.0.push(uuid(task.as_bytes()));
            columns.1.push(whole(fence.0));
            columns.2.push(*stage);
            columns.3.push(uuid(tenant.as_bytes()));
            columns.4.push(uuid(report.command.as_bytes()));
            columns.5.push(encode_stage_report(report)?);
        }
        let (tasks, fences, stages, tenants, commands, bodies) = &columns;
        write
            .session
            .execute(PUT_STAGES, &[tasks, fences, stages, tenants, commands, bodies])
            .await?;
        Ok(())
    }

    async fn count_tallies(&self, write: &Write<'_>) -> Result<(), Fault> {
        let mut tenants = Vec::new();
        let mut counts: [Vec<i64>; 5] = Default::default();
        for (tenant, by) in self.tallies.iter().filter(|(_, by)| **by != [0; 5]) {
            tenants.push(uuid(tenant.as_bytes()));
            for (column, by) in counts.iter_mut().zip(by) {
                column.push(*by);
            }
        }
        if tenants.is_empty() {
            return Ok(());
        }
        let [queued, running, reviewing, held, dead] = &counts;
        write
            .session
            .execute(
                COUNT_TALLIES,
                &[&tenants, queued, running, reviewing, held, dead, &write.shard],
            )
            .await?;
        Ok(())
    }

    async fn keep_lanes(&self, write: &Write<'_>) -> Result<(), Fault> {
        if self.lanes.is_empty() {
            return Ok(());
        }
        let lanes: Vec<i64> = self.lanes.keys().map(|lane| lane.0).collect();
        let tenants: Vec<Uuid> = (self.lanes.values())
            .map(|key| uuid(key.tenant.as_bytes()))
            .collect();
        let bodies: Result<Vec<String>, _> = self.lanes.values().map(encode_lane).collect();
        write
            .session
            .execute(KEEP_LANES, &[&lanes, &tenants, &bodies?])
            .await?;
        Ok(())
    }
}

/// What changes of loads, by scope: those that go up, and those that go down.
#[derive(Debug, Default)]
struct Loads {
    more: (Vec<String>, Vec<i32>),
    less: (Vec<String>, Vec<i32>),
}

impl Loads {
    fn of(counts: &BTreeMap<Scope, i64>) -> Result<Self, Fault> {
        let mut loads = Self::default();
        let counts = counts.iter().filter(|(_, by)| **by != 0);
        let counts: BTreeMap<String, i64> = counts.map(|(scope, by)| (scope_key(scope), *by)).collect();
        for (scope, by) in counts {
            let by = i32::try_from(by).map_err(|_| Fault::Damaged("load"))?;
            let (scopes, steps) = if by > 0 { &mut loads.more } else { &mut loads.less };
            scopes.push(scope);
            steps.push(by);
        }
        Ok(loads)
    }

    /// Locks the rows in the order of their scopes: an update takes them in the order in which it finds them.
    async fn lock(&self, write: &Write<'_>) -> Result<(), Fault> {
        if self.less.0.is_empty() || self.less.0.len() + self.more.0.len() < 2 {
            return Ok(());
        }
        let scopes: Vec<&String> = self.less.0.iter().chain(&self.more.0).collect();
        write.session.query(LOCK_LOADS, &[&scopes]).await?;
        Ok(())
    }

    async fn count_less(&self, write: &Write<'_>) -> Result<(), Fault> {
        let (scopes, steps) = &self.less;
        if scopes.is_empty() {
            return Ok(());
        }
        let found = write.session.execute(LESS_LOADS, &[scopes, steps]).await?;
        if found != scopes.len() as u64 {
            return Err(Fault::Damaged("load"));
        }
        Ok(())
    }

    async fn count_more(&self, write: &Write<'_>) -> Result<(), Fault> {
        let (scopes, steps) = &self.more;
        if !scopes.is_empty() {
            write.session.execute(COUNT_LOADS, &[scopes, steps]).await?;
        }
        Ok(())
    }
}

/// Writes or deletes pairs of prerequisite and dependant.
async fn pairs(write: &Write<'_>, sql: &str, pairs: &BTreeSet<(TaskId, TaskId)>) -> Result<(), Fault> {
    if pairs.is_empty() {
        return Ok(());
    }
    let prerequisites: Vec<Uuid> = pairs.iter().map(|(id, _)| uuid(id.as_bytes())).collect();
    let dependants: Vec<Uuid> = pairs.iter().map(|(_, id)| uuid(id.as_bytes())).collect();
    write.session.execute(sql, &[&prerequisites, &dependants]).await?;
    Ok(())
}

/// How many tasks of tenants are open, as the transaction sees it now.
pub(super) async fn open(
    session: &Session<'_>,
    tenants: impl IntoIterator<Item = TenantId>,
) -> Result<BTreeMap<TenantId, u64>, Fault> {
    let tenants: Vec<Uuid> = tenants.into_iter().map(|id| uuid(id.as_bytes())).collect();
    if tenants.is_empty() {
        return Ok(BTreeMap::new());
    }
    let rows = session.query(OPEN, &[&tenants]).await?;
    let counts = rows.iter().map(|row| {
        let tenant = TenantId::from_bytes(id_bytes(row, 0)?);
        Ok((tenant, natural(get(row, 1)?)))
    });
    counts.collect()
}

/// Rows of `task` as the columns that a statement takes.
#[derive(Debug, Default)]
struct TaskRows {
    ids: Vec<Uuid>,
    tenants: Vec<Uuid>,
    lanes: Vec<i64>,
    orders: Vec<Option<i64>>,
    states: Vec<i16>,
    dues: Vec<Option<i64>>,
    holders: Vec<Option<Vec<u8>>>,
    ends: Vec<Option<i64>>,
    statuses: Vec<String>,
}

impl TaskRows {
    fn of<'a>(entries: impl Iterator<Item = &'a Entry>) -> Result<Self, Fault> {
        let mut rows = Self::default();
        for Entry { task, .. } in entries {
            let columns = TaskColumns::of(task);
            rows.ids.push(uuid(task.id.as_bytes()));
            rows.tenants.push(uuid(task.tenant.as_bytes()));
            rows.lanes.push(columns.lane);
            rows.orders.push(columns.order_key);
            rows.states.push(columns.state);
            rows.dues.push(columns.due_at);
            rows.holders.push(columns.holder.map(|holder| holder.to_vec()));
            rows.ends.push(columns.closed_at);
            rows.statuses.push(encode_status(task)?);
        }
        Ok(rows)
    }

    fn columns(&self) -> [&(dyn ToSql + Sync); 9] {
        [
            &self.ids,
            &self.tenants,
            &self.lanes,
            &self.orders,
            &self.states,
            &self.dues,
            &self.holders,
            &self.ends,
            &self.statuses,
        ]
    }
}

/// Rows of `task_spec` as the columns that a statement takes.
#[derive(Debug, Default)]
struct SpecRows<'a> {
    ids: Vec<Uuid>,
    tenants: Vec<Uuid>,
    submitters: Vec<Uuid>,
    keys: Vec<Option<&'a [u8]>>,
    fingerprints: Vec<Option<&'a [u8]>>,
    kinds: Vec<&'a str>,
    bodies: Vec<String>,
    labelled: Vec<Uuid>,
    labels: Vec<i64>,
}

impl<'a> SpecRows<'a> {
    fn of(submitted: impl Iterator<Item = &'a NewTask>) -> Result<Self, Fault> {
        let mut rows = Self::default();
        for new in submitted {
            let id = uuid(new.id.as_bytes());
            let idempotency = new.idempotency.as_ref();
            rows.ids.push(id);
            rows.tenants.push(uuid(new.tenant.as_bytes()));
            rows.submitters.push(uuid(new.submitter.as_bytes()));
            rows.keys.push(idempotency.map(|found| found.key.as_bytes()));
            rows.fingerprints
                .push(idempotency.map(|found| found.fingerprint.as_bytes().as_slice()));
            rows.kinds.push(new.spec.kind.as_str());
            rows.bodies.push(encode_spec(&new.spec)?);
            for label in labels(&new.spec) {
                rows.labelled.push(id);
                rows.labels.push(label);
            }
        }
        Ok(rows)
    }

    fn columns(&self) -> [&(dyn ToSql + Sync); 9] {
        [
            &self.ids,
            &self.tenants,
            &self.submitters,
            &self.keys,
            &self.fingerprints,
            &self.kinds,
            &self.bodies,
            &self.labelled,
            &self.labels,
        ]
    }
}

fn labels(spec: &TaskSpec) -> impl Iterator<Item = i64> + '_ {
    spec.labels.iter().map(|(name, value)| label_hash(name, value))
}

/// A label as lists look for it. Two labels may share one: who reads compares the label itself.
pub(crate) fn label_hash(name: &str, value: &str) -> i64 {
    let text = [name.as_bytes(), &[0], value.as_bytes()].concat();
    let digest = Digest::of(&text);
    let first = digest.as_bytes().first_chunk();
    first.map_or(0, |bytes| i64::from_be_bytes(*bytes))
}
