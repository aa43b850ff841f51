//! An expression that spells the name of a column: `{{ a-b }}` beside a column `a-b`, which the engine reads
//! as a minus b, `{{ 2024 }}`, a number, or `{{ sum(x) }}`, a call.

use std::ops::Range;

use crate::base::{Error, Result};

use super::expression::{column_expression, is_constant};
use super::syntax::{Piece, Pieces, Tag, Token, spans};

/// Refuses a template in which an expression may mean a column as well.
///
/// # Errors
/// `Invalid`, with the line, and what to write for either.
pub(super) fn check_expressions(pieces: &Pieces<'_>, name: &str, columns: &[&str]) -> Result<()> {
    let mut odd: Vec<&str> = columns.to_vec();
    odd.retain(|column| !is_word(column));
    // Of `a-b` and `a-b-c` the longer one was meant, where both fit.
    odd.sort_by_key(|column| std::cmp::Reverse(column.len()));
    for piece in &pieces.pieces {
        let (tag, is_print) = match piece {
            Piece::Print(tag) => (tag, true),
            Piece::Block(tag) => (tag, false),
            Piece::Text(_) => continue,
        };
        let found = odd.iter().find(|column| {
            is_spelled(tag, column) || (is_print && printed(tag).is_some_and(|it| it == **column))
        });
        if let Some(column) = found {
            return Err(ambiguous(column)
                .with("template", name)
                .with("line", tag.line)
                .with("column", column));
        }
    }
    Ok(())
}

/// Whether a name is read as one word of its own.
fn is_word(name: &str) -> bool {
    let mut parts = spans(name);
    match (parts.next(), parts.next()) {
        (Some((span, Token::Word(word))), None) => {
            span.len() == name.len()
                && !word.starts_with(|c: char| c.is_ascii_digit())
                && !is_constant(word)
        }
        _ => false,
    }
}

/// Whether words and signs of the tag, written as they are, are the column's name.
fn is_spelled(tag: &Tag<'_>, column: &str) -> bool {
    if !spans(column).any(|(_, token)| matches!(token, Token::Sign(_))) {
        return false;
    }
    let parts: Vec<(Range<usize>, Token<'_>)> = spans(tag.text).collect();
    (0..parts.len()).any(|first| {
        let (span, token) = &parts[first];
        let before = first.checked_sub(1).map(|before| parts[before].1);
        let is_member = matches!(before, Some(Token::Sign("." | "|")));
        let end = span.start + column.len();
        let later = &parts[first + 1..];
        matches!(token, Token::Word(_))
            && !is_member
            && tag.text[span.start..].starts_with(column)
            && later.iter().any(|(span, _)| span.end == end)
    })
}

/// What a tag prints, without its filters.
fn printed<'s>(tag: &Tag<'s>) -> Option<&'s str> {
    let text = tag.text;
    let text = text.strip_prefix(['-', '+']).unwrap_or(text);
    let text = text.strip_suffix(['-', '+']).unwrap_or(text);
    let bar = spans(text).find(|(_, token)| *token == Token::Sign("|"));
    let text = text[..bar.map_or(text.len(), |(span, _)| span.start)].trim();
    (!text.is_empty()).then_some(text)
}

fn ambiguous(column: &str) -> Error {
    let expression = match spans(column).next() {
        Some((span, Token::Word(word))) => format!("({word}){}", &column[span.end..]),
        _ => format!("({column})"),
    };
    Error::invalid("an expression of the template is the name of a column as well").hint(format!(
        "for the column write `{}`, for the expression `{expression}`",
        column_expression(column)
    ))
}
