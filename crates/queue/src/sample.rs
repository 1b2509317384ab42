//! Which progress messages are audited: a sample of each attempt's.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use arbiter_core::model::{Fence, TaskId};

/// How many attempts are counted at once. When there are more, counting starts again: some attempts then have a
/// message more on record.
const MAX_ATTEMPTS: usize = 65_536;

/// Counts the progress messages of attempts.
#[derive(Debug, Default)]
pub(crate) struct ProgressSample(Mutex<HashMap<(TaskId, Fence), u32>>);

impl ProgressSample {
    /// Whether this message is audited: the first of an attempt, and each `every`th after it; none when `every` is 0.
    pub(crate) fn takes(&self, task: TaskId, fence: Fence, every: u32) -> bool {
        if every == 0 {
            return false;
        }
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if counts.len() >= MAX_ATTEMPTS && !counts.contains_key(&(task, fence)) {
            counts.clear();
        }
        let count = counts.entry((task, fence)).or_default();
        let taken = *count == 0;
        *count = (*count + 1) % every;
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_message_of_each_attempt_is_taken_and_each_nth_after_it() {
        let sample = ProgressSample::default();
        let task = TaskId::from_bytes([1; 16]);
        let taken = |fence, every| {
            (0..7)
                .map(|_| sample.takes(task, fence, every))
                .collect::<Vec<_>>()
        };
        let expected = [true, false, false, true, false, false, true];
        assert_eq!(taken(Fence(1), 3), expected);
        assert_eq!(taken(Fence(2), 3), expected, "attempts are counted apart");
        assert_eq!(taken(Fence(3), 1), [true; 7]);
        assert_eq!(taken(Fence(4), 0), [false; 7]);
    }

    #[test]
    fn it_never_counts_more_than_its_bound() {
        let sample = ProgressSample::default();
        let task = TaskId::from_bytes([1; 16]);
        for fence in 0..=MAX_ATTEMPTS as u64 {
            assert!(sample.takes(task, Fence(fence), 2));
        }
        assert_eq!(sample.0.lock().unwrap().len(), 1);
    }
}
