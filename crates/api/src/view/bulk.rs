//! One operation on many tasks.

use arbiter_queue::BulkOutcome;
use arbiter_wire::http::BulkView;

/// What became of many tasks. `next` is where to go on, as callers are told it.
pub fn bulk(outcome: &BulkOutcome, dry_run: bool, next: Option<String>) -> BulkView {
    BulkView {
        dry_run,
        matched: outcome.matched,
        done: outcome.done,
        refused: outcome
            .refused
            .iter()
            .map(|(code, count)| ((*code).to_owned(), *count))
            .collect(),
        sample: outcome.sample.iter().map(ToString::to_string).collect(),
        next,
    }
}
