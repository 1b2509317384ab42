//! Reading what a command writes, within bounds.

use arbiter_core::model::{Progress, Usage};
use arbiter_core::ports::{Clock, ProgressSink};
use arbiter_wire::exec::{Line, parse_line};
use tokio::io::{AsyncRead, AsyncReadExt as _};

/// A line on standard error that is longer is cut.
const MAX_LINE: usize = 16 * 1024;
/// How much of the log is kept. More than is shown: a secret that is cut in two would not be recognised, so the cut
/// must lie outside of what is shown.
const KEPT: usize = 32 * 1024;
/// How much of the redacted log goes into the message of a failure.
pub(crate) const SHOWN: usize = 4 * 1024;

/// The output went over its limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct OverLimit;

/// Reads standard output to its end, or to the limit.
pub(crate) async fn read_answer(
    mut from: impl AsyncRead + Unpin,
    into: &mut Vec<u8>,
    limit_bytes: u64,
) -> Result<(), OverLimit> {
    let mut piece = vec![0; 16 * 1024];
    loop {
        match from.read(&mut piece).await {
            Ok(0) | Err(_) => return Ok(()),
            Ok(count) => into.extend_from_slice(&piece[..count]),
        }
        if into.len() as u64 > limit_bytes {
            return Err(OverLimit);
        }
    }
}

/// What a command told on standard error.
#[derive(Debug, Default)]
pub(crate) struct Log {
    tail: Vec<u8>,
    /// The latest usage that it told.
    pub(crate) usage: Usage,
}

impl Log {
    /// The end of what is not progress.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.tail).into_owned()
    }

    /// Reads standard error to its end: progress is told, the end of the rest is kept.
    pub(crate) async fn read(
        &mut self,
        mut from: impl AsyncRead + Unpin,
        sink: &dyn ProgressSink,
        clock: &dyn Clock,
    ) {
        let mut piece = vec![0; 4 * 1024];
        let mut line = Vec::new();
        loop {
            let count = match from.read(&mut piece).await {
                Ok(0) | Err(_) => break,
                Ok(count) => count,
            };
            for byte in &piece[..count] {
                if *byte == b'\n' {
                    self.take(&line, sink, clock);
                    line.clear();
                } else if line.len() < MAX_LINE {
                    line.push(*byte);
                }
            }
        }
        self.take(&line, sink, clock);
    }

    fn take(&mut self, line: &[u8], sink: &dyn ProgressSink, clock: &dyn Clock) {
        if line.is_empty() {
            return;
        }
        if let Line::Progress {
            fraction,
            message,
            usage,
        } = parse_line(&String::from_utf8_lossy(line))
        {
            let told = fraction.is_some() || message.is_some();
            let progress = told.then(|| Progress {
                at: clock.now(),
                fraction,
                message: message.unwrap_or_default(),
            });
            self.usage = usage.unwrap_or(self.usage);
            sink.tell(progress, usage);
            return;
        }
        self.tail.extend_from_slice(line);
        self.tail.push(b'\n');
        if self.tail.len() > KEPT {
            self.tail.drain(..self.tail.len() - KEPT);
        }
    }
}

/// The last bytes of a text, at most `limit_bytes`, cut between characters.
pub(crate) fn last(text: &str, limit_bytes: usize) -> &str {
    let start = text.ceil_char_boundary(text.len().saturating_sub(limit_bytes));
    &text[start..]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_is_cut_between_characters() {
        assert_eq!(last("abc", 5), "abc");
        assert_eq!(last("abc", 2), "bc");
        assert_eq!(last("aäö", 3), "ö");
        assert_eq!(last("", 3), "");
    }
}
