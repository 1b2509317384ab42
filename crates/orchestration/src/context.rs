//! What an attempt is told beside its task: why earlier attempts did not succeed, and what other domains know.

use std::sync::Arc;

use arbiter_core::model::{AttemptEnd, Fence, StageOutcome, StoredTask, TenantScope};
use arbiter_core::ports::{ContextItem, TaskHistory, TaskReader};
use arbiter_core::services::ContextSource;

/// Bytes of context that an attempt gets.
const BUDGET: usize = 64 * 1024;
/// How many earlier attempts, and how many earlier reviews, are told of.
const EARLIER: usize = 3;

/// Gathers context. What cannot be read is left out and logged: an attempt does not wait for it.
pub(crate) async fn gather(
    reader: &dyn TaskReader,
    sources: &[Arc<dyn ContextSource>],
    stored: &StoredTask,
) -> Vec<ContextItem> {
    let mut items = Vec::new();
    let is_first = stored
        .task
        .attempt
        .as_ref()
        .is_none_or(|open| open.fence <= Fence(1));
    if !is_first {
        let scope = TenantScope::Tenant(stored.task.tenant);
        match reader.history(scope, stored.task.id).await {
            Ok(history) => items.extend(earlier(stored, &history)),
            Err(error) => tracing::warn!(
                event = "context_unavailable",
                task.id = %stored.task.id,
                error = %error,
                "earlier attempts could not be read"
            ),
        }
    }
    let mut budget = BUDGET;
    items.retain(|item| {
        let fits = item.text.len() <= budget;
        budget -= if fits { item.text.len() } else { 0 };
        fits
    });
    for source in sources {
        let more = source.context(stored, budget).await;
        budget = budget.saturating_sub(more.iter().map(|item| item.text.len()).sum());
        items.extend(more);
    }
    items
}

fn earlier<'a>(
    stored: &'a StoredTask,
    history: &'a TaskHistory,
) -> impl Iterator<Item = ContextItem> + use<'a> {
    let failed = history.attempts.iter().rev().take(EARLIER);
    let failed = failed.filter_map(|attempt| match &attempt.outcome {
        AttemptEnd::Failed(failure) => Some(("failed_attempt", failure.message.clone())),
        _ => None,
    });
    let refused = history.stages.iter().rev().take(EARLIER);
    let refused = refused.filter_map(|report| match &report.outcome {
        StageOutcome::Failed { reasons } => Some(("review", reasons.join("; "))),
        _ => None,
    });
    failed.chain(refused).map(|(kind, text)| ContextItem {
        kind: kind.to_owned(),
        tenant: stored.task.tenant,
        text,
    })
}
