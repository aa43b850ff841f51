//! CSV, record by record: strict where another reader would guess.
//!
//! The `csv` crate reads whatever it is given: a quote that is never closed takes the rest of the file
//! into one value, what stands behind a closing quote is added to the value, and whether a value was in
//! quotes, and so is an empty string rather than nothing, is not told. So the records are cut here.

use memchr::{memchr, memchr_iter, memchr3};

use crate::base::{Error, Result};

use super::input::BufferedInput;
use super::row::{CellKind, Row};

/// What may separate values, if the job does not say.
const DELIMITERS: [u8; 4] = [b',', b';', b'\t', b'|'];
/// The longest header line that is looked at for its delimiter.
const HEADER_MAX: usize = 1 << 20;

/// The records of a CSV file behind its header line.
pub(crate) struct CsvReader {
    input: BufferedInput,
    delimiter: u8,
    /// The line that comes next.
    line: u64,
    /// Whether a carriage return alone ends a line; unknown until the header has ended.
    returns_end: Option<bool>,
    bytes: Vec<u8>,
    names: Vec<String>,
    /// Columns without a name behind the last that has one: a trailing delimiter. They hold nothing.
    spare: usize,
}

/// Where in a record the reader is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// Before a value.
    Start,
    /// In a value without quotes.
    Bare,
    /// In quotes, which were opened on this line.
    Quoted(u64),
    /// Behind a quote within quotes that were opened on this line: they are closed, or it is one of two.
    Closed(u64),
    /// Behind a carriage return.
    Return,
    /// Behind the record.
    End,
}

impl CsvReader {
    /// Reads the header line.
    pub(crate) fn open(input: BufferedInput, delimiter: Option<u8>) -> Result<CsvReader> {
        let mut rows = CsvReader {
            input,
            delimiter: delimiter.unwrap_or(b','),
            line: 1,
            returns_end: None,
            bytes: Vec::new(),
            names: Vec::new(),
            spare: 0,
        };
        rows.find_delimiter(delimiter)?;
        let mut header = Row::default();
        while rows.record(&mut header)? {
            if !is_blank(&header) {
                rows.take_names(&header)?;
                break;
            }
        }
        Ok(rows)
    }

    /// The names of the columns; none if the file is empty.
    pub(crate) fn names(&self) -> &[String] {
        &self.names
    }

    /// The next record; `false` behind the last one.
    pub(crate) fn next(&mut self, row: &mut Row) -> Result<bool> {
        let wide = self.names.len() + self.spare > 1;
        loop {
            if !self.record(row)? {
                return Ok(false);
            }
            // A blank line in a file of one column is a null of that column.
            if !(wide && is_blank(row)) {
                break;
            }
        }
        let (least, most) = (self.names.len(), self.names.len() + self.spare);
        if row.len() < least || row.len() > most {
            return Err(self.miscounted(row));
        }
        if (least..row.len()).any(|at| !row.get(at).1.is_empty()) {
            return Err(self
                .input
                .line_error(row.line, "a value stands in a column that has no name")
                .hint("give the column a name in the header line"));
        }
        row.truncate(least);
        Ok(true)
    }

    fn miscounted(&self, row: &Row) -> Error {
        self.input
            .line_error(row.line, "a row has not as many values as the header has names")
            .with("values", row.len())
            .with("names", self.names.len())
            .hint("a value that holds the delimiter or a line break stands in double quotes, and a quote within it is doubled; mend that line")
    }

    fn take_names(&mut self, header: &Row) -> Result<()> {
        let all: Vec<&str> = (0..header.len()).map(|at| header.get(at).1).collect();
        let named = all.iter().rposition(|name| !name.is_empty());
        let Some(last) = named else {
            return Err(self
                .input
                .line_error(header.line, "the header line names no column")
                .hint("write the columns' names into the first line"));
        };
        self.spare = all.len() - last - 1;
        let mut sorted = all[..=last].to_vec();
        sorted.sort_unstable();
        if let Some(pair) = sorted.windows(2).find(|pair| pair[0] == pair[1]) {
            let what = if pair[0].is_empty() {
                "the header line leaves two columns without a name"
            } else {
                "the header line names two columns alike"
            };
            return Err(self
                .input
                .line_error(header.line, what)
                .with("column", pair[0])
                .hint("write another name for one of them into the header line"));
        }
        self.names = all[..=last].iter().map(|&name| name.to_owned()).collect();
        Ok(())
    }

    /// What separates the values: what `said` says, or the line `sep=;` of a spreadsheet, or the one
    /// that stands in the header line.
    fn find_delimiter(&mut self, said: Option<u8>) -> Result<()> {
        let line = self.first_line()?;
        if let [b's', b'e', b'p', b'=', delimiter] = line[..] {
            self.delimiter = said.unwrap_or(delimiter);
            let line_break = match self.input.held().get(5..7) {
                Some(b"\r\n") => 2,
                _ => 1,
            };
            self.input.consume(5 + line_break);
            self.line = 2;
            return Ok(());
        }
        if said.is_some() {
            return Ok(());
        }
        let mut quoted = false;
        let mut found = [false; DELIMITERS.len()];
        for byte in line {
            quoted ^= byte == b'"';
            if let Some(at) = DELIMITERS.iter().position(|one| *one == byte && !quoted) {
                found[at] = true;
            }
        }
        let candidates: Vec<u8> = DELIMITERS
            .into_iter()
            .zip(found)
            .filter_map(|(delimiter, found)| found.then_some(delimiter))
            .collect();
        match candidates[..] {
            [] => {}
            [one] => self.delimiter = one,
            _ => {
                let list: Vec<String> = candidates.iter().map(|one| shown(*one)).collect();
                return Err(self
                    .input
                    .line_error(1, "more than one character of the header line may be the delimiter")
                    .with("candidates", list.join(" "))
                    .hint(format!(
                        "say which one it is: `delimiter = \"{}\"` under `[source]`, or `--set source.delimiter='\"{}\"'`",
                        list[0], list[0]
                    )));
            }
        }
        Ok(())
    }

    /// The first line, without its end; quoted line breaks do not end it.
    fn first_line(&mut self) -> Result<Vec<u8>> {
        let (mut at, mut quoted) = (0, false);
        loop {
            let held = self.input.held();
            while let Some(byte) = held.get(at) {
                quoted ^= *byte == b'"';
                if !quoted && matches!(byte, b'\n' | b'\r') {
                    return Ok(held[..at].to_vec());
                }
                at += 1;
            }
            if at > HEADER_MAX || !self.input.more()? {
                return Ok(self.input.held()[..at].to_vec());
            }
        }
    }

    /// The next record, whatever it is; `false` at the end of the file.
    fn record(&mut self, row: &mut Row) -> Result<bool> {
        self.bytes = std::mem::take(&mut row.text).into_bytes();
        self.bytes.clear();
        row.clear(self.line);
        let (mut state, mut from) = (State::Start, 0);
        let mut any = false;
        while state != State::End {
            self.input.bound(self.bytes.len(), row.line)?;
            if self.input.fill()?.is_empty() {
                if !any {
                    return Ok(false);
                }
                self.end_of_file(state, row, from)?;
                break;
            }
            any = true;
            state = self.step(state, row, &mut from)?;
        }
        if self.returns_end.is_none() {
            self.returns_end = Some(false);
        }
        row.text = String::from_utf8(std::mem::take(&mut self.bytes))
            .map_err(|error| self.not_text(row, error.utf8_error().valid_up_to()))?;
        Ok(true)
    }

    /// Reads on within a record, as far as what is at hand reaches, or to the next turn in it.
    fn step(&mut self, state: State, row: &mut Row, from: &mut usize) -> Result<State> {
        let held = self.input.held();
        let first = held[0];
        match state {
            State::Start if first == b'"' => {
                self.input.consume(1);
                Ok(State::Quoted(self.line))
            }
            State::Start | State::Bare => {
                let end = memchr3(self.delimiter, b'\n', b'\r', held);
                self.bytes.extend_from_slice(&held[..end.unwrap_or(held.len())]);
                let used = end.unwrap_or(held.len());
                let Some(byte) = end.map(|at| held[at]) else {
                    self.input.consume(used);
                    return Ok(State::Bare);
                };
                self.input.consume(used + 1);
                let kind = if self.bytes.len() == *from {
                    CellKind::Null
                } else {
                    CellKind::Bare
                };
                Ok(self.ended(byte, kind, row, from))
            }
            State::Quoted(opened) => {
                let end = memchr(b'"', held);
                let text = &held[..end.unwrap_or(held.len())];
                self.line += memchr_iter(b'\n', text).count() as u64;
                self.bytes.extend_from_slice(text);
                let used = text.len() + usize::from(end.is_some());
                self.input.consume(used);
                Ok(end.map_or(State::Quoted(opened), |_| State::Closed(opened)))
            }
            State::Closed(opened) if first == b'"' => {
                self.bytes.push(b'"');
                self.input.consume(1);
                Ok(State::Quoted(opened))
            }
            State::Closed(_) if first == self.delimiter || matches!(first, b'\n' | b'\r') => {
                self.input.consume(1);
                Ok(self.ended(first, CellKind::Quoted, row, from))
            }
            State::Closed(opened) => Err(self
                .input
                .line_error(self.line, "something stands behind a closing quote")
                .with("opened_on_line", opened)
                .hint("a quote within a quoted value is doubled (`\"\"`); is one before it not closed?")),
            State::Return => self.behind_return(first),
            State::End => Ok(State::End),
        }
    }

    /// A value has ended at `byte`.
    fn ended(&mut self, byte: u8, kind: CellKind, row: &mut Row, from: &mut usize) -> State {
        row.push(kind, *from..self.bytes.len());
        // Between two values, so that no character is made of the ends of both.
        self.bytes.push(b',');
        *from = self.bytes.len();
        match byte {
            b'\n' => {
                self.line += 1;
                State::End
            }
            b'\r' => State::Return,
            _ => State::Start,
        }
    }

    fn behind_return(&mut self, first: u8) -> Result<State> {
        if first == b'\n' {
            self.input.consume(1);
        } else if !*self.returns_end.get_or_insert(true) {
            return Err(self
                .input
                .line_error(
                    self.line,
                    "a carriage return stands in a value without quotes",
                )
                .hint("put the value into double quotes, or end every line in the same way"));
        }
        self.line += 1;
        Ok(State::End)
    }

    fn end_of_file(&mut self, state: State, row: &mut Row, from: usize) -> Result<()> {
        let kind = match state {
            State::Return | State::End => return Ok(()),
            State::Quoted(opened) => {
                return Err(self
                    .input
                    .line_error(opened, "a quote is never closed")
                    .hint("close it where the value ends; a quote within a quoted value is doubled (`\"\"`)"));
            }
            State::Closed(_) => CellKind::Quoted,
            State::Start | State::Bare if self.bytes.len() == from => CellKind::Null,
            State::Start | State::Bare => CellKind::Bare,
        };
        row.push(kind, from..self.bytes.len());
        Ok(())
    }

    /// That a value is not UTF-8, `at` bytes into a record.
    fn not_text(&self, row: &Row, at: usize) -> Error {
        let column = (0..row.len()).find(|&column| row.range(column).end >= at);
        let name = column.and_then(|column| self.names.get(column));
        let error = self.input.not_utf8(row.line);
        match name {
            Some(name) => error.with("column", name),
            None => error,
        }
    }
}

/// Whether a record is a line with nothing but blanks in it.
fn is_blank(row: &Row) -> bool {
    let (kind, text) = row.get(0);
    row.len() == 1 && kind != CellKind::Quoted && text.trim_matches([' ', '\t']).is_empty()
}

/// A delimiter as it is written in a job file.
fn shown(delimiter: u8) -> String {
    match delimiter {
        b'\t' => "\\t".to_owned(),
        other => char::from(other).to_string(),
    }
}
