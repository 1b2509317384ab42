//! Tasks, and what is counted of them, as the columns that statements take.

use arbiter_core::model::{LaneId, TaskId, TenantId};
use arbiter_wire::stored::stage_code;
use arbiter_wire::transfer::{Body, TaskRow};

use super::import::{Target, refused};
use crate::error::Fault;
use crate::number::whole;
use crate::session::uuid;
use crate::tasks::{ADD_ATTEMPTS, ADD_AWAITED, ADD_SPECS, ADD_TASKS, KEEP_LANES, PUT_STAGES, label_hash};

const LOADS: &str = "INSERT INTO load (scope, used) SELECT scope, used::integer FROM unnest($1::text[], $2::bigint[]) AS new (scope, used)";

const TALLIES: &str = "INSERT INTO tally (tenant, shard, queued, running, reviewing, held, dead)
     SELECT tenant, 0, queued, running, reviewing, held, dead
     FROM unnest($1::uuid[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[])
       AS new (tenant, queued, running, reviewing, held, dead)";

impl Target<'_, '_> {
    pub(super) async fn lanes(&self, rows: &[(LaneId, Body)]) -> Result<(), Fault> {
        let (mut lanes, mut tenants, mut bodies) = (Vec::new(), Vec::new(), Vec::new());
        for (lane, body) in rows {
            let key = self.check.lane(*lane, body).map_err(refused)?;
            lanes.push(lane.0);
            tenants.push(uuid(key.tenant.as_bytes()));
            bodies.push(body.0.as_str());
        }
        self.session
            .execute(KEEP_LANES, &[&lanes, &tenants, &bodies])
            .await?;
        Ok(())
    }

    /// What stands twice is found when rows are counted.
    pub(super) async fn tasks(&mut self, rows: &[TaskRow]) -> Result<(), Fault> {
        let mut read = Vec::new();
        for row in rows {
            read.push((row, self.check.task(row).map_err(refused)?));
        }
        let ids: Vec<_> = read
            .iter()
            .map(|(_, found)| uuid(found.task.id.as_bytes()))
            .collect();
        let tenants: Vec<_> = read
            .iter()
            .map(|(_, found)| uuid(found.task.tenant.as_bytes()))
            .collect();
        let columns = || read.iter().map(|(_, found)| found.columns);
        let statuses: Vec<_> = rows.iter().map(|row| row.status.0.as_str()).collect();
        let holders = columns().map(|columns| columns.holder.map(|holder| holder.to_vec()));
        self.session
            .execute(
                ADD_TASKS,
                &[
                    &ids,
                    &tenants,
                    &columns().map(|columns| columns.lane).collect::<Vec<_>>(),
                    &columns().map(|columns| columns.order_key).collect::<Vec<_>>(),
                    &columns().map(|columns| columns.state).collect::<Vec<_>>(),
                    &columns().map(|columns| columns.due_at).collect::<Vec<_>>(),
                    &holders.collect::<Vec<_>>(),
                    &columns().map(|columns| columns.closed_at).collect::<Vec<_>>(),
                    &statuses,
                ],
            )
            .await?;
        let submitters: Vec<_> = read
            .iter()
            .map(|(_, found)| uuid(found.task.submitter.as_bytes()))
            .collect();
        let keyed = || rows.iter().map(|row| row.idempotency.as_ref());
        let keys: Vec<_> = keyed()
            .map(|keyed| keyed.map(|(key, _)| key.as_bytes()))
            .collect();
        let fingerprints: Vec<_> = keyed()
            .map(|keyed| keyed.map(|(_, fingerprint)| fingerprint.as_bytes().as_slice()))
            .collect();
        let kinds: Vec<_> = read.iter().map(|(_, found)| found.spec.kind.as_str()).collect();
        let specs: Vec<_> = rows.iter().map(|row| row.spec.0.as_str()).collect();
        let (mut labelled, mut labels) = (Vec::new(), Vec::new());
        for (_, found) in &read {
            for (name, value) in &found.spec.labels {
                labelled.push(uuid(found.task.id.as_bytes()));
                labels.push(label_hash(name, value));
            }
        }
        self.session
            .execute(
                ADD_SPECS,
                &[
                    &ids,
                    &tenants,
                    &submitters,
                    &keys,
                    &fingerprints,
                    &kinds,
                    &specs,
                    &labelled,
                    &labels,
                ],
            )
            .await?;
        self.attempts(&read).await?;
        self.stages(&read).await
    }

    async fn attempts(&self, read: &[Read<'_>]) -> Result<(), Fault> {
        let mut columns = (Vec::new(), Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for (row, found) in read {
            for (attempt, body) in found.attempts.iter().zip(&row.attempts) {
                columns.0.push(uuid(found.task.id.as_bytes()));
                columns.1.push(whole(attempt.open.fence.0));
                columns.2.push(uuid(found.task.tenant.as_bytes()));
                columns.3.push(uuid(attempt.command.as_bytes()));
                columns.4.push(body.0.as_str());
            }
        }
        let (tasks, fences, tenants, commands, bodies) = &columns;
        self.session
            .execute(ADD_ATTEMPTS, &[tasks, fences, tenants, commands, bodies])
            .await?;
        Ok(())
    }

    async fn stages(&self, read: &[Read<'_>]) -> Result<(), Fault> {
        let (mut tasks, mut fences, mut stages) = (Vec::new(), Vec::new(), Vec::new());
        let (mut tenants, mut commands, mut bodies) = (Vec::new(), Vec::new(), Vec::new());
        for (row, found) in read {
            for (report, body) in found.stages.iter().zip(&row.stages) {
                tasks.push(uuid(found.task.id.as_bytes()));
                fences.push(whole(report.fence.0));
                stages.push(stage_code(report.stage));
                tenants.push(uuid(found.task.tenant.as_bytes()));
                commands.push(uuid(report.command.as_bytes()));
                bodies.push(body.0.as_str());
            }
        }
        self.session
            .execute(
                PUT_STAGES,
                &[&tasks, &fences, &stages, &tenants, &commands, &bodies],
            )
            .await?;
        Ok(())
    }

    pub(super) async fn dependencies(&self, rows: &[(TaskId, TaskId)]) -> Result<(), Fault> {
        let prerequisites: Vec<_> = rows.iter().map(|(id, _)| uuid(id.as_bytes())).collect();
        let dependants: Vec<_> = rows.iter().map(|(_, id)| uuid(id.as_bytes())).collect();
        self.session
            .execute(ADD_AWAITED, &[&prerequisites, &dependants])
            .await?;
        Ok(())
    }

    pub(super) async fn loads(&mut self, rows: &[(String, i64)]) -> Result<(), Fault> {
        self.check.loads(rows);
        let (scopes, used): (Vec<&str>, Vec<i64>) =
            rows.iter().map(|(scope, used)| (scope.as_str(), *used)).unzip();
        self.session.execute(LOADS, &[&scopes, &used]).await?;
        Ok(())
    }

    /// A tenant has one shard then, the one of submissions; others come with the calls that count on them.
    pub(super) async fn tallies(&mut self, rows: &[(TenantId, [i64; 5])]) -> Result<(), Fault> {
        self.check.tallies(rows);
        let tenants: Vec<_> = rows.iter().map(|(tenant, _)| uuid(tenant.as_bytes())).collect();
        let count = |place: usize| {
            let counts = rows.iter().map(|(_, counts)| counts.get(place).copied());
            counts.collect::<Option<Vec<i64>>>().unwrap_or_default()
        };
        self.session
            .execute(
                TALLIES,
                &[&tenants, &count(0), &count(1), &count(2), &count(3), &count(4)],
            )
            .await?;
        Ok(())
    }
}

/// A row with what was read of it.
type Read<'a> = (&'a TaskRow, arbiter_wire::transfer::CheckedTask);
