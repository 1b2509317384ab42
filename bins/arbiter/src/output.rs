//! The only place that writes to standard output and standard error.

use std::io::{self, IsTerminal as _, Write as _};

use crate::exit::Failure;

/// Prints one line of a command's result. A reader that went away is no error of ours.
pub(crate) fn line(text: &str) {
    let _reader_may_be_gone = writeln!(io::stdout().lock(), "{text}");
}

/// Prints one line of an error.
pub(crate) fn error_line(text: &str) {
    let _reader_may_be_gone = writeln!(io::stderr().lock(), "{text}");
}

/// Prints a JSON value on one line.
pub(crate) fn json(value: &serde_json::Value) {
    line(&value.to_string());
}

/// Prints a JSON object: on one line, or indented for people.
pub(crate) fn object(value: &serde_json::Value, json_wanted: bool) -> Result<(), Failure> {
    if json_wanted {
        json(value);
        return Ok(());
    }
    let text = serde_json::to_string_pretty(value)
        .map_err(|error| Failure::internal("it could not be shown", error))?;
    line(&text);
    Ok(())
}

/// Whether a person watches standard error.
pub(crate) fn is_watched() -> bool {
    io::stderr().is_terminal()
}

/// A table for people, or tab-separated lines when nobody watches.
pub(crate) fn table(header: &[&str], rows: &[Vec<String>]) {
    if !io::stdout().is_terminal() {
        line(&header.join("\t"));
        rows.iter().for_each(|row| line(&row.join("\t")));
        return;
    }
    let mut table = comfy_table::Table::new();
    table
        .load_style(comfy_table::presets::NOTHING)
        .set_header(header.to_vec());
    for row in rows {
        table.add_row(row.clone());
    }
    line(&table.to_string());
}
