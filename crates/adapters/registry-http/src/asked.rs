//! Whether an answer is one to what was asked: whoever goes on from its end must come to one.

use arbiter_core::model::AgentSeen;
use arbiter_core::ports::{BoxError, HeardFrom};

/// A page of who was heard of lies behind the place that was asked for, each agent behind the one before.
pub(crate) fn heard(from: HeardFrom, limit: usize, told: &[AgentSeen], more: bool) -> Result<(), BoxError> {
    at_most(limit, told.len())?;
    let mut last = from;
    for seen in told {
        if !last.precedes(seen) {
            return Err(format!("the agent `{}` stands out of its place", seen.agent).into());
        }
        last = HeardFrom::after(seen);
    }
    if more && told.is_empty() {
        return Err("it says that there is more, and tells nothing of it".into());
    }
    Ok(())
}

fn at_most(limit: usize, told: usize) -> Result<(), BoxError> {
    if told > limit {
        return Err(format!("it tells {told} where {limit} were asked for").into());
    }
    Ok(())
}
