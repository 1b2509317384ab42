//! `arbiter task bulk-cancel`, `bulk-requeue` and `bulk-purge`.

use std::collections::BTreeMap;

use arbiter_core::model::{InvalidTime, Timestamp};
use arbiter_queue::{BulkFilter, BulkRequest};
use arbiter_wire::http::BulkView;
use serde_json::json;

use super::{label_pair, state_name, task_kind};
use crate::cli::BulkArgs;
use crate::exit::Failure;
use crate::output;
use crate::reach::{Bulk, Reach, tenant_id};

/// How many tasks one call takes at most.
const AT_ONCE: usize = 1_000;
/// How many ids are told.
const SAMPLE: usize = 20;

/// Does it call by call, until there are no more tasks or as many as were asked for.
pub(super) async fn run(reach: &Reach, what: Bulk, arguments: BulkArgs, json: bool) -> Result<(), Failure> {
    let request = BulkRequest {
        filter: filter(&arguments)?,
        after: None,
        limit: AT_ONCE,
        dry_run: arguments.dry_run,
        why: arguments.reason,
    };
    let mut left = arguments.limit.map(|limit| limit as usize);
    let mut total = BulkView {
        dry_run: request.dry_run,
        matched: 0,
        done: 0,
        refused: BTreeMap::new(),
        sample: Vec::new(),
        next: arguments.after,
    };
    loop {
        let request = BulkRequest {
            limit: left.map_or(AT_ONCE, |left| left.min(AT_ONCE)),
            ..request.clone()
        };
        let page = reach.bulk(what, request, total.next.clone()).await;
        let page = page.map_err(|failure| interrupted(failure, what, &total))?;
        left = left.map(|left| left.saturating_sub(page.matched));
        add(&mut total, page);
        if total.next.is_none() || left == Some(0) {
            break;
        }
    }
    show(&total, what, json);
    if total.dry_run || total.refused.is_empty() {
        Ok(())
    } else {
        Err(Failure::some_failed())
    }
}

fn filter(arguments: &BulkArgs) -> Result<BulkFilter, Failure> {
    let before = arguments.submitted_before.as_deref().map(str::parse::<Timestamp>);
    let before = before
        .transpose()
        .map_err(|error: InvalidTime| Failure::usage(format!("--submitted-before: {error}")))?;
    Ok(BulkFilter {
        tenant: arguments.in_tenant.as_deref().map(tenant_id).transpose()?,
        state: arguments.state.as_deref().map(state_name).transpose()?,
        kind: arguments.kind.as_deref().map(task_kind).transpose()?,
        label: arguments.label.as_deref().map(label_pair).transpose()?,
        submitted_before: before,
    })
}

/// Adds what one call did to what was done before it.
fn add(total: &mut BulkView, page: BulkView) {
    total.matched += page.matched;
    total.done += page.done;
    for (code, count) in page.refused {
        *total.refused.entry(code).or_default() += count;
    }
    total.sample.extend(page.sample);
    total.sample.truncate(SAMPLE);
    total.next = page.next;
}

/// A failure that also says what was done before it.
fn interrupted(failure: Failure, what: Bulk, total: &BulkView) -> Failure {
    if total.done == 0 {
        return failure;
    }
    Failure {
        message: format!(
            "{} tasks are {}, then: {}; the same command finds the rest",
            total.done,
            past(what),
            failure.message
        ),
        ..failure
    }
}

const fn past(what: Bulk) -> &'static str {
    match what {
        Bulk::Cancel => "cancelled",
        Bulk::Requeue => "queued again",
        Bulk::Purge => "deleted",
    }
}

fn show(total: &BulkView, what: Bulk, json: bool) {
    if json {
        output::json(&json!({
            "dry_run": total.dry_run,
            "matched": total.matched,
            "done": total.done,
            "refused": total.refused,
            "sample": total.sample,
            "next": total.next,
        }));
        return;
    }
    let (matched, past) = (total.matched, past(what));
    if total.dry_run {
        output::line(&format!("{matched} tasks would be {past}"));
        total.sample.iter().for_each(|id| output::line(id));
        let more = matched.saturating_sub(total.sample.len());
        if more > 0 {
            output::line(&format!("and {more} more"));
        }
    } else {
        output::line(&format!("{} of {matched} tasks are {past}", total.done));
    }
    for (code, count) in &total.refused {
        output::error_line(&format!("{count} are refused: {code}"));
    }
    if let Some(next) = &total.next {
        output::error_line(&format!("there may be more: --after {next}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(done: usize, refused: usize, next: Option<&str>) -> BulkView {
        BulkView {
            dry_run: false,
            matched: done + refused,
            done,
            refused: BTreeMap::from([("forbidden".to_owned(), refused)]),
            sample: vec!["id".to_owned(); SAMPLE],
            next: next.map(str::to_owned),
        }
    }

    #[test]
    fn calls_add_up_and_a_failure_tells_what_was_done_before() {
        let mut total = page(3, 1, Some("a"));
        add(&mut total, page(2, 4, None));
        assert_eq!((total.matched, total.done, total.sample.len()), (10, 5, SAMPLE));
        assert_eq!((total.refused["forbidden"], total.next.as_deref()), (5, None));
        let told = interrupted(Failure::usage("no more"), Bulk::Cancel, &total);
        assert_eq!(
            told.message,
            "5 tasks are cancelled, then: no more; the same command finds the rest"
        );
        let told = interrupted(Failure::usage("no more"), Bulk::Cancel, &page(0, 0, None));
        assert_eq!(told.message, "no more");
    }
}
