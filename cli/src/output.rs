//! Everything that reaches the terminal goes through here: text, tables, colours.
//!
//! Results go to standard output, progress and complaints to standard error. A reader that went
//! away (`wharfie logs | head`) ends the program quietly, as it ends any other Unix program.

use std::io::{self, IsTerminal, Write};

use crate::terminal;

pub(crate) mod template;
mod units;

pub(crate) use units::{binary_size, decimal_size, duration};

/// Writes a result to standard output.
pub(crate) fn result(text: impl AsRef<str>) {
    raw_stdout(text.as_ref().as_bytes());
}

/// Writes a line of a result to standard output.
pub(crate) fn line(text: impl AsRef<str>) {
    result(format!("{}\n", text.as_ref()));
}

/// Writes a line for the person to standard error.
pub(crate) fn note(text: impl AsRef<str>) {
    raw_stderr(format!("{}\n", text.as_ref()).as_bytes());
}

/// Writes what a container said to standard output.
pub(crate) fn raw_stdout(bytes: &[u8]) {
    let mut out = io::stdout().lock();
    finish(out.write_all(bytes).and_then(|()| out.flush()));
}

/// Writes what a container said to standard error.
pub(crate) fn raw_stderr(bytes: &[u8]) {
    let mut out = io::stderr().lock();
    finish(out.write_all(bytes).and_then(|()| out.flush()));
}

fn finish(outcome: io::Result<()>) {
    if outcome.is_err_and(|error| error.kind() == io::ErrorKind::BrokenPipe) {
        terminal::restore();
        std::process::exit(0);
    }
}

/// Whether escape sequences may be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Colour {
    On,
    Off,
}

impl Colour {
    /// Wraps the text in an SGR sequence such as `32`.
    pub(crate) fn paint(self, sgr: &str, text: &str) -> String {
        match self {
            Self::On => format!("\x1b[{sgr}m{text}\x1b[0m"),
            Self::Off => text.to_owned(),
        }
    }
}

/// Standard output is a terminal.
pub(crate) fn stdout_is_terminal() -> bool {
    io::stdout().is_terminal()
}

/// Standard error is a terminal.
pub(crate) fn stderr_is_terminal() -> bool {
    io::stderr().is_terminal()
}

/// A table as Docker prints it: columns are padded by three spaces (two in `top`), the last one is not padded.
pub(crate) struct Table {
    min_width: usize,
    padding: usize,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table whose columns, padding included, are at least `min_width` wide.
    ///
    /// Docker uses 10, Compose's own tables use 20.
    pub(crate) fn new(min_width: usize, header: &[&str]) -> Self {
        let header = header.iter().map(|&cell| cell.to_owned()).collect();
        Self {
            min_width,
            padding: 3,
            rows: vec![header],
        }
    }

    /// Columns are at least so many spaces apart.
    #[must_use]
    pub(crate) fn padded_by(mut self, spaces: usize) -> Self {
        self.padding = spaces;
        self
    }

    pub(crate) fn row(&mut self, cells: Vec<String>) {
        self.rows.push(cells);
    }

    pub(crate) fn render(&self) -> String {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let widths: Vec<usize> = (0..columns)
            .map(|column| {
                let cells = self.rows.iter().filter_map(|row| row.get(column));
                let widest = cells.map(|cell| cell.chars().count()).max().unwrap_or(0);
                (widest + self.padding).max(self.min_width)
            })
            .collect();
        let mut text = String::new();
        for row in &self.rows {
            for (index, cell) in row.iter().enumerate() {
                text.push_str(cell);
                if index + 1 < row.len() {
                    let width = widths.get(index).copied().unwrap_or(0);
                    let padding = width.saturating_sub(cell.chars().count());
                    text.extend(std::iter::repeat_n(' ', padding));
                }
            }
            text.push('\n');
        }
        text
    }
}

/// Cuts a text to at most `width` characters, the last of which is then an ellipsis.
pub(crate) fn ellipsis(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    let mut cut: String = text.chars().take(width.saturating_sub(1)).collect();
    cut.push('…');
    cut
}

#[cfg(test)]
mod tests;
