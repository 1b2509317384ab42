//! Hints as the text of notifications: one word each, parted by blanks.

use std::fmt::Write as _;

use arbiter_core::model::{LaneId, TaskId};
use arbiter_core::ports::Hint;

/// PostgreSQL takes 7999 bytes.
const MAX_BYTES: usize = 7_000;

/// The text that stands for lost hints.
const EVERYTHING: &str = "*";

/// The texts of hints; no hints stand for some that were lost.
pub(super) fn encode(hints: &[Hint]) -> Vec<String> {
    if hints.is_empty() {
        return vec![EVERYTHING.to_owned()];
    }
    let mut texts = Vec::new();
    let mut text = String::new();
    for hint in hints {
        if text.len() > MAX_BYTES {
            texts.push(std::mem::take(&mut text));
        }
        if !text.is_empty() {
            text.push(' ');
        }
        let written = match hint {
            Hint::Lane(lane) => write!(text, "l{}", lane.0),
            Hint::Task(task) => write!(text, "t{task}"),
            Hint::Agents => write!(text, "a"),
            Hint::Registry => write!(text, "r"),
        };
        // INVARIANT: writing to a string cannot fail
        debug_assert!(written.is_ok());
    }
    texts.push(text);
    texts
}

/// The hints of a text; none when it holds a word that is not known here, such as one of a newer program: then whoever
/// listens looks at everything.
pub(super) fn decode(text: &str) -> Vec<Hint> {
    let hints: Option<Vec<Hint>> = text.split(' ').map(word).collect();
    hints.unwrap_or_default()
}

fn word(word: &str) -> Option<Hint> {
    match word.split_at_checked(1)? {
        ("a", "") => Some(Hint::Agents),
        ("r", "") => Some(Hint::Registry),
        ("l", lane) => lane.parse().ok().map(|lane| Hint::Lane(LaneId(lane))),
        ("t", task) => task.parse::<TaskId>().ok().map(Hint::Task),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hints_are_read_as_they_were_written() {
        let task = TaskId::from_bytes([7; 16]);
        let hints = [
            Hint::Agents,
            Hint::Lane(LaneId(i64::MIN)),
            Hint::Task(task),
            Hint::Registry,
        ];
        let texts = encode(&hints);
        assert_eq!(texts.len(), 1);
        assert_eq!(decode(&texts[0]), hints);
        let many = vec![Hint::Task(task); 1024];
        let texts = encode(&many);
        assert!(texts.len() > 1 && texts.iter().all(|text| text.len() < 7999));
        let read: Vec<Hint> = texts.iter().flat_map(|text| decode(text)).collect();
        assert_eq!(read, many);
    }

    #[test]
    fn what_is_not_known_means_everything() {
        assert_eq!(encode(&[]), ["*"]);
        for text in ["*", "", "a x1", "lx", "t1", "a  r", "ä"] {
            assert_eq!(decode(text), [], "{text}");
        }
    }
}
