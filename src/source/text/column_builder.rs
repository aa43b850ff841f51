//! From records to a batch: the values of each column, as its type.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, StringArray, StringBuilder, new_null_array};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{DataType, FieldRef};
use arrow::json::ReaderBuilder;
use arrow::json::reader::Decoder;

use crate::base::{Error, ErrorKind, Result, ResultExt};
use crate::source::text::read::{CellKind, Row, line_error};

/// Characters of a value that an error quotes.
const QUOTED: usize = 40;

/// The values of one column, as they come.
pub(super) struct ColumnBuilder {
    field: FieldRef,
    values: Values,
}

enum Values {
    /// Text, and what is cast from text.
    Texts(StringBuilder),
    /// Objects and lists.
    Nested(Box<Decoder>, usize),
}

impl ColumnBuilder {
    /// A column of at most `rows` values.
    pub(super) fn new(field: FieldRef, rows: usize) -> Result<ColumnBuilder> {
        let values = if field.data_type().is_nested() {
            let decoder = ReaderBuilder::new_with_field(Arc::clone(&field))
                .with_batch_size(rows.max(1))
                .build_decoder()
                .or_err(ErrorKind::Internal, "cannot read a column of objects")?;
            Values::Nested(Box::new(decoder), 0)
        } else {
            Values::Texts(StringBuilder::new())
        };
        Ok(ColumnBuilder { field, values })
    }

    /// Adds what stands in `column` of `row`.
    pub(super) fn push(&mut self, row: &Row, column: Option<usize>) -> Result<()> {
        let (kind, text) = column.map_or((CellKind::Null, ""), |column| row.get(column));
        match &mut self.values {
            Values::Texts(texts) => {
                let is_text = matches!(self.field.data_type(), DataType::Utf8);
                match kind {
                    CellKind::Null => texts.append_null(),
                    // Writers that quote everything write a missing number as an empty string.
                    CellKind::Quoted if text.is_empty() && !is_text => texts.append_null(),
                    _ => texts.append_value(text),
                }
            }
            Values::Nested(decoder, rows) => {
                *rows += 1;
                let json = if kind == CellKind::Null { "null" } else { text };
                for part in [json, "\n"] {
                    decoder
                        .decode(part.as_bytes())
                        .or_err(ErrorKind::Invalid, CHANGED)?;
                }
            }
        }
        Ok(())
    }

    /// The values so far, as the column's type; `place` says file and line of each.
    pub(super) fn finish<'p>(
        &mut self,
        place: impl Fn(usize) -> (&'p str, u64),
    ) -> Result<ArrayRef> {
        match &mut self.values {
            Values::Texts(texts) => typed(&texts.finish(), &self.field, place),
            Values::Nested(decoder, rows) => {
                let rows = std::mem::take(rows);
                let batch = decoder.flush().or_err(ErrorKind::Invalid, CHANGED)?;
                match batch {
                    Some(batch) if batch.num_rows() == rows => Ok(Arc::clone(batch.column(0))),
                    None if rows == 0 => Ok(new_null_array(self.field.data_type(), 0)),
                    _ => Err(Error::internal("a column of objects lost a value")),
                }
            }
        }
    }
}

/// All values were read before, to find the types.
const CHANGED: &str = "the file changed while it was being read";

/// `texts` as the type of `field`, or an error that names the first value that is not of it.
fn typed<'p>(
    texts: &StringArray,
    field: &FieldRef,
    place: impl Fn(usize) -> (&'p str, u64),
) -> Result<ArrayRef> {
    if *field.data_type() == DataType::Utf8 {
        return Ok(Arc::new(texts.clone()));
    }
    let options = CastOptions {
        safe: true,
        ..CastOptions::default()
    };
    let values = cast_with_options(texts, field.data_type(), &options)
        .or_err(ErrorKind::Invalid, "text cannot be read as this type")
        .map_err(|error| {
            error
                .with("column", field.name())
                .with("type", field.data_type())
        })?;
    let failed = (0..texts.len()).find(|&at| values.is_null(at) && texts.is_valid(at));
    let Some(at) = failed else {
        return Ok(values);
    };
    let (url, line) = place(at);
    Err(line_error(url, line, "a value is not of its column's type")
        .with("column", field.name())
        .with("type", crate::work::sql_type::name_of(field.data_type()))
        .with("value", excerpt(texts.value(at)))
        .hint("mend the value, or say `VARCHAR` for this column in `[source] types`"))
}

/// The beginning of a value, on one line.
pub(super) fn excerpt(text: &str) -> String {
    let clean = |c: char| if c.is_control() { ' ' } else { c };
    let mut short: String = text.chars().take(QUOTED).map(clean).collect();
    if text.chars().nth(QUOTED).is_some() {
        short.push('…');
    }
    short
}
