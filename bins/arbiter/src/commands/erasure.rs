//! `arbiter erasure`.

use arbiter_core::model::{ErasureId, InvalidId};
use arbiter_wire::http::{ErasureForm, ErasureSubjectWord, ErasureView};
use serde_json::json;

use crate::cli::{ErasureCommand, ErasureSort};
use crate::exit::Failure;
use crate::output;
use crate::reach::{Reach, tenant_id};

const COLUMNS: [&str; 6] = ["ID", "SUBJECT", "SUBJECT ID", "STAGE", "REQUESTED", "REASON"];

/// Runs an erasure command.
pub(crate) async fn run(reach: &Reach, command: ErasureCommand, json: bool) -> Result<(), Failure> {
    match command {
        ErasureCommand::Request {
            sort,
            id,
            reason,
            in_tenant,
        } => {
            let tenant = in_tenant.as_deref().map(tenant_id).transpose()?;
            let subject = match sort {
                ErasureSort::Task => ErasureSubjectWord::Task,
                ErasureSort::Principal => ErasureSubjectWord::Principal,
            };
            let form = ErasureForm { subject, id, reason };
            let erasure = reach.request_erasure(tenant, form).await?;
            if json {
                output::json(&json!(erasure));
            } else if erasure.finished_at.is_some() {
                output::line(&format!("{} is finished", erasure.id));
            } else {
                output::line(&format!(
                    "{} goes on (arbiter erasure get says how far)",
                    erasure.id
                ));
            }
        }
        ErasureCommand::List {
            limit,
            after,
            in_tenant,
        } => {
            let tenant = in_tenant.as_deref().map(tenant_id).transpose()?;
            let (found, next) = reach.erasures(tenant, after, usize::from(limit)).await?;
            if json {
                output::json(&json!({"erasures": found, "next": next}));
                return Ok(());
            }
            let rows: Vec<Vec<String>> = found.iter().map(row).collect();
            output::table(&COLUMNS, &rows);
            if let Some(next) = next {
                output::error_line(&format!("there may be more: --after {next}"));
            }
        }
        ErasureCommand::Get { id, in_tenant } => {
            let tenant = in_tenant.as_deref().map(tenant_id).transpose()?;
            let id = id.parse::<ErasureId>();
            let id = id.map_err(|error: InvalidId| Failure::usage(error.to_string()))?;
            let erasure = reach.erasure(tenant, id).await?;
            if json {
                output::json(&json!(erasure));
            } else {
                output::table(&COLUMNS, &[row(&erasure)]);
            }
        }
    }
    Ok(())
}

fn row(erasure: &ErasureView) -> Vec<String> {
    vec![
        erasure.id.clone(),
        erasure.subject.clone(),
        erasure.subject_id.clone().unwrap_or_default(),
        erasure.stage.clone(),
        erasure.requested_at.clone(),
        erasure.reason.clone(),
    ]
}
