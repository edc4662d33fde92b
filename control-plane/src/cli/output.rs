//! What commands print: tables for people, JSON for programs. Nothing that a user wrote may steer the terminal. It must
//! not know what is printed.

use std::io::{self, IsTerminal as _, Write as _};

use comfy_table::{ContentArrangement, Table, presets};
use serde_json::Value;

use super::fault::CliFault;

/// Least width of a terminal for which texts are broken, in columns.
const LEAST_WIDTH: u16 = 40;

/// Where and how a command prints.
#[derive(Debug, Clone, Copy)]
pub(super) struct Output {
    json: bool,
    is_terminal: bool,
}

impl Output {
    /// To stdout.
    pub(super) fn new(json: bool) -> Self {
        Self { json, is_terminal: io::stdout().is_terminal() }
    }

    /// Whether JSON is wanted.
    pub(super) const fn is_json(self) -> bool {
        self.json
    }

    /// Prints a line, whatever form is wanted.
    pub(super) fn line(self, text: &str) -> Result<(), CliFault> {
        writeln!(io::stdout().lock(), "{text}").map_err(Into::into)
    }

    /// Prints a text of the operator's own as it is.
    pub(super) fn text(self, text: &str) -> Result<(), CliFault> {
        io::stdout().lock().write_all(text.as_bytes()).map_err(Into::into)
    }

    /// Prints one JSON document, on one line.
    pub(super) fn json(self, value: &Value) -> Result<(), CliFault> {
        self.line(&value.to_string())
    }

    /// Prints the JSON, or the sentence.
    pub(super) fn said(self, value: &Value, sentence: &str) -> Result<(), CliFault> {
        if self.json { self.json(value) } else { self.line(&clean(sentence)) }
    }

    /// Prints names and values below each other, or the JSON.
    pub(super) fn facts(self, value: &Value, facts: &[(&str, String)]) -> Result<(), CliFault> {
        if self.json {
            return self.json(value);
        }
        let mut table = self.new_table();
        for (name, value) in facts.iter().filter(|(_, value)| !value.is_empty()) {
            table.add_row([clean(name), clean(value)]);
        }
        self.print(&table)
    }

    /// Prints a table.
    pub(super) fn table(self, headers: &[&str], rows: &[Vec<String>]) -> Result<(), CliFault> {
        let mut table = self.rows();
        table.set_header(headers.iter().map(|header| clean(header)).collect::<Vec<_>>());
        for row in rows {
            table.add_row(row.iter().map(|cell| clean(cell)).collect::<Vec<_>>());
        }
        self.print(&table)
    }

    /// Rows that can be copied: a line each, however long it is.
    fn rows(self) -> Table {
        let mut table = self.new_table();
        if self.is_terminal {
            table.load_style(presets::UTF8_HORIZONTAL_ONLY).set_content_arrangement(ContentArrangement::Disabled);
        }
        table
    }

    fn new_table(self) -> Table {
        let mut table = Table::new();
        if !self.is_terminal {
            table.force_no_tty().load_style(presets::NOTHING);
            return table;
        }
        table.load_style(presets::UTF8_FULL_CONDENSED);
        // A terminal that does not know how wide it is says 0.
        if table.width().is_some_and(|width| width >= LEAST_WIDTH) {
            table.set_content_arrangement(ContentArrangement::Dynamic);
        }
        table
    }

    fn print(self, table: &Table) -> Result<(), CliFault> {
        let mut out = io::stdout().lock();
        for line in table.lines() {
            // Without borders a cell's padding stands at the edge.
            let line = if self.is_terminal { &line } else { line.strip_prefix(' ').unwrap_or(&line) };
            writeln!(out, "{}", line.trim_end())?;
        }
        Ok(())
    }
}

/// A text without control characters: they are shown as what they are.
pub(super) fn clean(text: &str) -> String {
    if !text.chars().any(char::is_control) {
        return text.to_owned();
    }
    text.chars().map(|c| if c.is_control() { c.escape_default().to_string() } else { c.to_string() }).collect()
}

/// A message for people, of one or more lines, beside the output.
pub(super) fn note(text: &str) {
    for line in text.lines() {
        // Not `eprintln!`: it panics where nobody reads.
        let _ = writeln!(io::stderr(), "{}", clean(line));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_a_user_wrote_steers_the_terminal() {
        assert_eq!(clean("Ada \u{e9}\u{1F40C}"), "Ada \u{e9}\u{1F40C}");
        assert_eq!(clean("\u{1b}[2J\r\nx\u{9b}"), "\\u{1b}[2J\\r\\nx\\u{9b}");
    }
}
