//! A text while parts of it are replaced.

use std::ops::Range;

use regex::Regex;

use super::REDACTED;

/// The text with replacements so far.
pub(super) struct Output<'a> {
    text: &'a str,
    changed: String,
    /// Everything before this is in `changed`.
    pub(super) copied: usize,
}

impl<'a> Output<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self {
            text,
            changed: String::new(),
            copied: 0,
        }
    }

    pub(super) fn replace(&mut self, range: Range<usize>) {
        self.replace_with(range, REDACTED);
    }

    pub(super) fn replace_with(&mut self, range: Range<usize>, by: &str) {
        let start = range.start.max(self.copied);
        if let Some(before) = self.text.get(self.copied..start).filter(|_| start < range.end) {
            self.changed.push_str(before);
            self.changed.push_str(by);
            self.copied = range.end;
        }
    }

    pub(super) fn finish(mut self) -> Option<String> {
        if self.copied == 0 {
            return None;
        }
        self.changed
            .push_str(self.text.get(self.copied..).unwrap_or_default());
        Some(self.changed)
    }
}

/// Replaces the matches of an operator's pattern. A match inside of an earlier replacement is none.
pub(super) fn replace_matches(pattern: &Regex, text: &str) -> Option<String> {
    let mut output = Output::new(text);
    let mut marks = text
        .match_indices(REDACTED)
        .map(|(at, _)| at..at + REDACTED.len())
        .peekable();
    for found in pattern.find_iter(text).filter(|found| !found.is_empty()) {
        let mut range = found.range();
        while marks.next_if(|mark| mark.end <= range.start).is_some() {}
        if let Some(mark) = marks.peek() {
            if mark.start <= range.start && range.end <= mark.end {
                continue;
            }
            range.start = range.start.min(mark.start);
        }
        while let Some(mark) = marks.next_if(|mark| mark.start < range.end) {
            range.end = range.end.max(mark.end);
        }
        output.replace(range);
    }
    output.finish()
}
