//! The form of event streams (WHATWG HTML §9.2.6): lines that end in CR, LF or both, fields, an empty line at the end of an
//! event.

use arbiter_core::ports::BoxError;

/// The largest event, in bytes.
const MAX_EVENT_BYTES: usize = 16 << 20;

/// An event.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Event {
    /// Its name.
    pub(super) name: String,
    /// Its id, if it has one.
    pub(super) id: Option<String>,
    /// Its lines of data.
    pub(super) data: String,
}

/// Takes a stream in pieces of any size.
#[derive(Debug, Default)]
pub(super) struct Parser {
    line: Vec<u8>,
    /// The last line ended in CR: an LF that follows belongs to it.
    carriage_return: bool,
    event: Event,
    has_data: bool,
}

impl Parser {
    /// The events that a piece completes.
    ///
    /// # Errors
    /// When an event grows too large.
    pub(super) fn feed(&mut self, piece: &[u8]) -> Result<Vec<Event>, BoxError> {
        let mut events = Vec::new();
        for &byte in piece {
            let after_return = std::mem::take(&mut self.carriage_return);
            match byte {
                b'\n' if after_return => {}
                b'\n' => events.extend(self.end_of_line()),
                b'\r' => {
                    self.carriage_return = true;
                    events.extend(self.end_of_line());
                }
                byte => self.line.push(byte),
            }
            if self.line.len() + self.event.data.len() > MAX_EVENT_BYTES {
                return Err(format!("an event is larger than {MAX_EVENT_BYTES} bytes").into());
            }
        }
        Ok(events)
    }

    fn end_of_line(&mut self) -> Option<Event> {
        let line = std::mem::take(&mut self.line);
        if line.is_empty() {
            let event = std::mem::take(&mut self.event);
            return std::mem::take(&mut self.has_data).then_some(event);
        }
        let line = String::from_utf8_lossy(&line);
        let (field, value) = line.split_once(':').unwrap_or((&line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => value.clone_into(&mut self.event.name),
            "id" if !value.contains('\0') => self.event.id = Some(value.to_owned()),
            "data" => {
                if self.has_data {
                    self.event.data.push('\n');
                }
                self.event.data.push_str(value);
                self.has_data = true;
            }
            // Comments have an empty field; others have no meaning here.
            _ => {}
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(name: &str, id: Option<&str>, data: &str) -> Event {
        Event {
            name: name.to_owned(),
            id: id.map(str::to_owned),
            data: data.to_owned(),
        }
    }

    #[test]
    fn events_are_read_however_they_are_cut_and_their_lines_end() {
        let text = ": hello\n\nevent: task\nid: 7\ndata: {\"a\":\ndata:  1}\n\nid: 8\n\ndata\n\nretry: 5\nevent:x\ndata:y\n\nlost";
        let expected = [
            event("task", Some("7"), "{\"a\":\n 1}"),
            event("", None, ""),
            event("x", None, "y"),
        ];
        for end in ["\n", "\r\n", "\r"] {
            let text = text.replace('\n', end);
            for size in 1..=text.len() {
                let mut parser = Parser::default();
                let mut found = Vec::new();
                for piece in text.as_bytes().chunks(size) {
                    found.extend(parser.feed(piece).unwrap());
                }
                assert_eq!(found, expected, "{end:?} {size}");
            }
        }
    }

    #[test]
    fn an_event_without_end_is_an_error() {
        let mut parser = Parser::default();
        let piece = vec![b'x'; 1 << 20];
        let fed = (0..20).try_for_each(|_| parser.feed(&piece).map(|_| ()));
        assert!(fed.is_err());
    }
}
