//! Makes what is not there yet.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::AddAssign;

use anyhow::{Context as _, bail};
use arbiter_client::Client;
use arbiter_core::model::{PrincipalId, TenantId};
use arbiter_wire::http::{
    AgentForm, KeyForm, PrincipalForm, PrincipalView, SubmitAnswer, SubmitMany, TenantForm, TenantLimitsForm,
};
use serde_json::{Value, json};

use crate::plot::{Agent, Plot};

/// How long the key of a run is good for if the run cannot revoke it.
const KEY_SECONDS: u64 = 3_600;
const PAGE: Option<usize> = Some(100);

/// How much there is, and how much of it is new.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Count {
    agents: (usize, usize),
    tasks: (usize, usize),
}

impl AddAssign for Count {
    fn add_assign(&mut self, other: Self) {
        let add = |one: &mut (usize, usize), other: (usize, usize)| {
            one.0 += other.0;
            one.1 += other.1;
        };
        add(&mut self.agents, other.agents);
        add(&mut self.tasks, other.tasks);
    }
}

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ((agents, new_agents), (tasks, new_tasks)) = (self.agents, self.tasks);
        write!(
            f,
            "{agents} agents ({new_agents} new), {tasks} tasks ({new_tasks} new)"
        )
    }
}

/// The tenant of a plot.
pub(crate) async fn tenant(admin: &Client, plot: &Plot) -> anyhow::Result<TenantId> {
    let mut cursor = None;
    loop {
        let page = admin.tenant_list(cursor, PAGE).await.context("listing tenants")?;
        let known = page.tenants.iter().find(|tenant| tenant.name == plot.name);
        if let Some(tenant) = known {
            return Ok(tenant.id.parse()?);
        }
        cursor = page.next;
        if cursor.is_none() {
            break;
        }
    }
    let form = TenantForm {
        name: plot.name.to_owned(),
        weight: plot.weight,
        limits: TenantLimitsForm::default(),
    };
    let made = admin.tenant_create(&form, None).await;
    let (tenant, _) = made.with_context(|| format!("making the tenant `{}`", plot.name))?;
    Ok(tenant.id.parse()?)
}

/// Who does things in a tenant, with a key for this run.
#[derive(Debug)]
pub(crate) struct Keeper {
    tenant: TenantId,
    principal: PrincipalId,
    key: String,
    pub(crate) secret: String,
}

impl Keeper {
    pub(crate) async fn appoint(admin: &Client, tenant: TenantId) -> anyhow::Result<Self> {
        let form = json!({"name": "seed", "kind": "service", "roles": ["operator", "submitter"]});
        let known = principals(admin, tenant).await?;
        let principal = principal(admin, tenant, &known, form).await?.id.parse()?;
        let form = KeyForm {
            expires_in_seconds: Some(KEY_SECONDS),
        };
        let made = admin.key_create(Some(tenant), principal, &form, None).await;
        let made = made.context("making a key for this run")?;
        Ok(Self {
            tenant,
            principal,
            key: made.key.id,
            secret: made.secret.context("the key was made by another call")?,
        })
    }

    pub(crate) async fn retire(self, admin: &Client) -> anyhow::Result<()> {
        let revoked = admin
            .key_revoke(Some(self.tenant), self.principal, &self.key)
            .await;
        revoked.map(|_| ()).context("revoking the key of this run")
    }
}

/// The principals of a tenant by name.
async fn principals(admin: &Client, tenant: TenantId) -> anyhow::Result<BTreeMap<String, PrincipalView>> {
    let (mut all, mut cursor) = (BTreeMap::new(), None);
    loop {
        let page = admin.principal_list(Some(tenant), cursor, PAGE).await;
        let page = page.context("listing principals")?;
        all.extend((page.principals.into_iter()).map(|principal| (principal.name.clone(), principal)));
        cursor = page.next;
        if cursor.is_none() {
            return Ok(all);
        }
    }
}

async fn principal(
    admin: &Client,
    tenant: TenantId,
    known: &BTreeMap<String, PrincipalView>,
    form: Value,
) -> anyhow::Result<PrincipalView> {
    let form: PrincipalForm = serde_json::from_value(form)?;
    if let Some(principal) = known.get(&form.name) {
        return Ok(principal.clone());
    }
    let made = admin.principal_create(Some(tenant), &form, None).await;
    let (principal, _) = made.with_context(|| format!("making the principal `{}`", form.name))?;
    Ok(principal)
}

/// Agents and tasks of a tenant; `own` acts in it.
pub(crate) async fn everything(
    admin: &Client,
    own: &Client,
    tenant: TenantId,
    plot: &Plot,
) -> anyhow::Result<Count> {
    let known = principals(admin, tenant).await?;
    let mut count = Count::default();
    for agent in &plot.agents {
        let is_new = register(admin, own, tenant, &known, agent).await?;
        count.agents.0 += 1;
        count.agents.1 += usize::from(is_new);
    }
    let tasks = plot.tasks.iter().map(|task| {
        serde_json::from_value(json!({
            "kind": task.kind,
            "title": task.title,
            "instructions": format!("Say what is known about {} and what to do next.", task.topic),
            "labels": {"topic": task.topic, "made-by": "seed"},
            "idempotency_key": task.key,
        }))
    });
    let many = SubmitMany {
        tasks: tasks.collect::<Result<_, _>>()?,
        all_or_nothing: true,
    };
    for answer in own
        .task_submit_many(many)
        .await
        .context("submitting tasks")?
        .answers
    {
        match answer {
            SubmitAnswer::Stored(task) => {
                count.tasks.0 += 1;
                count.tasks.1 += usize::from(!task.repeated);
            }
            SubmitAnswer::Refused(problem) => bail!("a task was refused: {}", problem.detail),
        }
    }
    Ok(count)
}

/// Registers an agent under the id of its principal, and says whether it was not there.
async fn register(
    admin: &Client,
    own: &Client,
    tenant: TenantId,
    known: &BTreeMap<String, PrincipalView>,
    agent: &Agent,
) -> anyhow::Result<bool> {
    let form = json!({"name": agent.name, "kind": "agent", "roles": ["agent"]});
    let principal = principal(admin, tenant, known, form).await?;
    let form: AgentForm = serde_json::from_value(json!({
        "id": principal.agent,
        "name": agent.name,
        "model_family": "none",
        "kinds": [agent.kind],
        "specialisations": [agent.topic],
        "slots": agent.slots,
        "labels": {"topic": agent.topic, "made-by": "seed"},
    }))?;
    let registered = own.agent_register(&form).await;
    let registered = registered.with_context(|| format!("registering the agent `{}`", agent.name))?;
    Ok(registered.outcome == "new")
}
