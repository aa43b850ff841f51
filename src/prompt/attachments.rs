//! Columns that are no text: pictures and documents. A template says where they stand, and never sees what
//! is in them.
//!
//! Where a template prints such a column, a mark is written, which is taken out again and whose place is
//! remembered. A mark is made of characters that Unicode gives no meaning. What is in a row may look like
//! one all the same; so the marks that are found must be as many as were written.

use std::fmt;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, StructArray, new_null_array};
use arrow::buffer::{BooleanBuffer, NullBuffer};
use arrow::datatypes::DataType;
use arrow::error::ArrowError;
use minijinja::Value;
use minijinja::value::{Object, ObjectRepr};

use super::missing::{Notes, Null};
use super::syntax::{Piece, Token, cut};
use super::template::{Attached, Plain, Template};

/// How the field of a struct is called that holds the bytes of what is attached, and the one that says where they
/// are: as Hugging Face's `datasets` writes pictures.
pub const ATTACHED_FIELDS: [&str; 2] = ["bytes", "path"];

/// Around the number of a column, as a character of its own.
const OPEN: char = '\u{fdd0}';
const CLOSE: char = '\u{fdd1}';
/// The character that stands for column 0: the first of a private plane.
const FIRST: u32 = 0xf_0000;

impl Template {
    /// The same template, to which the columns `attached` are no text: each is attached where the template
    /// prints it, or before the text where it is printed nowhere.
    #[must_use]
    pub fn with_attachments<'c>(
        mut self,
        attached: impl IntoIterator<Item = &'c String>,
    ) -> Template {
        let pieces = cut(&self.text);
        let is_printed = |name: &str| {
            pieces.pieces.iter().any(|piece| match piece {
                Piece::Print(tag) => tag.tokens.iter().any(
                    |token| matches!(token, Token::Word(word) | Token::Text(word) if *word == name),
                ),
                _ => false,
            })
        };
        let mut all = Vec::new();
        for name in attached {
            let known = self.columns.iter().position(|column| column == name);
            all.push(Attached {
                column: known.unwrap_or(self.columns.len()),
                is_placed: known.is_some() && is_printed(name),
                is_named: known.is_some(),
            });
            if known.is_none() {
                self.nulls.push(Value::from_object(Null {
                    column: self.columns.len(),
                    notes: Arc::clone(&self.notes),
                }));
                self.columns.push(name.clone());
            }
        }
        for piece in self.plain.iter_mut().flatten() {
            if let Plain::Column(column) = piece
                && all.iter().any(|attached| attached.column == *column)
            {
                *piece = Plain::Attachment(*column);
            }
        }
        self.attached = all;
        self
    }
}

/// What stands for an attached column in a template.
#[derive(Debug)]
pub(super) struct Mark {
    pub(super) column: usize,
    pub(super) is_empty: bool,
    pub(super) notes: Arc<Notes>,
}

impl Object for Mark {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Plain
    }

    fn is_true(self: &Arc<Self>) -> bool {
        !self.is_empty
    }

    fn render(self: &Arc<Self>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.notes.mark();
        let number = u32::try_from(self.column).map_err(|_| fmt::Error)?;
        let number = char::from_u32(FIRST + number).ok_or(fmt::Error)?;
        write!(f, "{OPEN}{number}{CLOSE}")
    }
}

/// Takes the marks out of `text` from byte `start` on: for each its place, counted from `start`, and its
/// column.
pub(super) fn take_marks(text: &mut String, start: usize) -> Vec<(usize, usize)> {
    let mut marks = Vec::new();
    let mut kept = String::new();
    let mut rest = &text[start..];
    while let Some(at) = rest.find(OPEN) {
        let mut inner = rest[at + OPEN.len_utf8()..].chars();
        let column = inner.next().and_then(|c| u32::from(c).checked_sub(FIRST));
        let is_closed = inner.next() == Some(CLOSE);
        kept.push_str(&rest[..at]);
        if let Some(column) = column.filter(|_| is_closed) {
            marks.push((kept.len(), column as usize));
            rest = inner.as_str();
        } else {
            kept.push(OPEN);
            rest = &rest[at + OPEN.len_utf8()..];
        }
    }
    if !marks.is_empty() {
        kept.push_str(rest);
        text.truncate(start);
        text.push_str(&kept);
    }
    marks
}

/// An attached column whose cells are null where they hold nothing that could be attached: a struct may say of
/// each of its fields that it is null.
///
/// # Errors
/// Never, for arrays that are sound.
pub(super) fn with_nulls(array: ArrayRef) -> Result<ArrayRef, ArrowError> {
    if array.data_type() == &DataType::Null {
        return Ok(new_null_array(&DataType::Utf8, array.len()));
    }
    let Some(structs) = array.as_struct_opt() else {
        return Ok(array);
    };
    let mut held = BooleanBuffer::new_unset(structs.len());
    for name in ATTACHED_FIELDS {
        match structs.column_by_name(name).map(Array::logical_nulls) {
            Some(Some(nulls)) => held = &held | nulls.inner(),
            Some(None) => return Ok(array),
            None => {}
        }
    }
    let nulls = NullBuffer::union(structs.nulls(), Some(&NullBuffer::new(held)));
    let columns = structs.columns().to_vec();
    let structs = StructArray::try_new(structs.fields().clone(), columns, nulls)?;
    Ok(Arc::new(structs))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_taken_out_and_nothing_else() {
        let mark = |n: u32| {
            format!(
                "{OPEN}{}{CLOSE}",
                char::from_u32(FIRST + n).expect("a character")
            )
        };
        let mut text = format!("before{}a{}{OPEN}b{}", mark(0), mark(3), mark(1));
        let marks = take_marks(&mut text, "before".len());
        assert_eq!(text, format!("beforea{OPEN}b"));
        assert_eq!(marks, [(0, 0), (1, 3), (5, 1)]);
        let mut plain = format!("a{OPEN}");
        assert_eq!(take_marks(&mut plain, 0), []);
        assert_eq!(plain, format!("a{OPEN}"));
    }
}
