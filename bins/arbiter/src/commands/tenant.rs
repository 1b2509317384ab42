//! `arbiter tenant`.

mod limits;

use arbiter_wire::http::{TenantChangeForm, TenantForm, TenantLimitsForm, TenantView};
use serde_json::{Value, json};

use crate::cli::{TenantCommand, TenantOperate, TenantUpdate};
use crate::exit::Failure;
use crate::output;
use crate::reach::{Reach, tenant_id};

/// Runs a tenant command.
pub(crate) async fn run(reach: &Reach, command: TenantCommand, json: bool) -> Result<(), Failure> {
    match command {
        TenantCommand::List { limit, after } => {
            let (found, next) = reach.tenants(after, usize::from(limit)).await?;
            show_list(&found, next.as_deref(), json);
        }
        TenantCommand::Get { id } => show(&reach.tenant(tenant_id(&id)?).await?, json),
        TenantCommand::Create { name, weight, limits } => {
            let limits = limits::over(TenantLimitsForm::default(), limits, &[])?;
            let form = TenantForm { name, weight, limits };
            let made = reach.create_tenant(form).await?;
            if json {
                output::json(&told(&made));
            } else {
                output::line(&made.id);
            }
        }
        TenantCommand::Update(arguments) => show(&update(reach, *arguments).await?, json),
        TenantCommand::Suspend(TenantOperate {
            id,
            reason,
            if_revision,
        }) => {
            let tenant = reach.suspend_tenant(tenant_id(&id)?, if_revision, reason);
            moved(&tenant.await?, "is suspended", json);
        }
        TenantCommand::Resume(TenantOperate {
            id,
            reason,
            if_revision,
        }) => {
            let tenant = reach.resume_tenant(tenant_id(&id)?, if_revision, reason);
            moved(&tenant.await?, "goes on", json);
        }
        TenantCommand::Delete(TenantOperate {
            id,
            reason,
            if_revision,
        }) => {
            let tenant = reach.delete_tenant(tenant_id(&id)?, if_revision, reason).await?;
            let what = match &tenant.deleted {
                Some(deleted) if deleted.erased_at.is_some() => "is deleted, with all its data",
                _ => "is deleted; its data is being erased (arbiter tenant get says when that is done)",
            };
            moved(&tenant, what, json);
        }
    }
    Ok(())
}

async fn update(reach: &Reach, arguments: TenantUpdate) -> Result<TenantView, Failure> {
    let TenantUpdate {
        id,
        name,
        weight,
        limits: named,
        unset,
        mut if_revision,
    } = arguments;
    let id = tenant_id(&id)?;
    let limits = if limits::is_named(&named) || !unset.is_empty() {
        // Limits are replaced as a whole. What is not named stays as it was read, or nothing is changed.
        let present = reach.tenant(id).await?;
        if_revision = if_revision.or(Some(present.revision));
        Some(limits::over(present.limits, named, &unset)?)
    } else {
        None
    };
    let change = TenantChangeForm { name, weight, limits };
    reach.update_tenant(id, if_revision, change).await
}

/// A tenant as JSON. What is absent is null.
fn told(tenant: &TenantView) -> Value {
    let limits = &tenant.limits;
    json!({
        "id": tenant.id,
        "name": tenant.name,
        "weight": tenant.weight,
        "limits": {
            "open_tasks": limits.open_tasks,
            "submit": limits.submit,
            "running": limits.running,
            "running_per_kind": limits.running_per_kind,
            "kinds": limits.kinds,
        },
        "suspended": tenant.suspended,
        "deleted": tenant.deleted,
        "created_by": tenant.created_by,
        "created_at": tenant.created_at,
        "revision": tenant.revision,
    })
}

fn row(tenant: &TenantView) -> Vec<String> {
    let state = match (&tenant.deleted, &tenant.suspended) {
        (Some(deleted), _) if deleted.erased_at.is_some() => "deleted".to_owned(),
        (Some(_), _) => "deleted, being erased".to_owned(),
        (None, Some(suspended)) => format!("suspended: {}", suspended.reason),
        (None, None) => "active".to_owned(),
    };
    vec![
        tenant.id.clone(),
        tenant.name.clone(),
        tenant.weight.to_string(),
        state,
        limits::text(&tenant.limits),
    ]
}

const COLUMNS: [&str; 5] = ["ID", "NAME", "WEIGHT", "STATE", "LIMITS"];

fn show(tenant: &TenantView, json: bool) {
    if json {
        output::json(&told(tenant));
    } else {
        output::table(&COLUMNS, &[row(tenant)]);
    }
}

fn moved(tenant: &TenantView, what: &str, json: bool) {
    if json {
        output::json(&told(tenant));
    } else {
        output::line(&format!("{} {what}", tenant.id));
    }
}

fn show_list(found: &[TenantView], next: Option<&str>, json: bool) {
    if json {
        let tenants: Vec<Value> = found.iter().map(told).collect();
        output::json(&json!({"tenants": tenants, "next": next}));
        return;
    }
    let rows: Vec<Vec<String>> = found.iter().map(row).collect();
    output::table(&COLUMNS, &rows);
    if let Some(next) = next {
        output::error_line(&format!("there may be more: --after {next}"));
    }
}
