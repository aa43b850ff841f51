//! A template's text, cut at its tags: enough of its syntax to say which columns it names, on which
//! line, and whether it is nothing but text and plain prints. The engine itself shows no tree.
//!
//! Where this cannot tell, it says so, and the caller takes all columns and the engine: cutting
//! wrongly may cost time, never a wrong prompt.

use std::ops::Range;

use minijinja::syntax::SyntaxConfig;

/// The template's own trailing newline is kept.
pub(super) fn byte_for_byte() -> SyntaxConfig {
    let mut builder = SyntaxConfig::builder();
    builder.keep_trailing_newline(true);
    builder.build().expect("the usual delimiters are valid")
}

/// A piece of a template.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Piece<'s> {
    /// `{% .. %}`.
    Block(Tag<'s>),
    /// `{{ .. }}`.
    Print(Tag<'s>),
    /// What stands between tags.
    Text(&'s str),
}

/// The inside of a tag.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Tag<'s> {
    /// The line on which it begins, from 1.
    pub(super) line: usize,
    /// All of it, as it was written.
    pub(super) text: &'s str,
    /// Its words and signs.
    pub(super) tokens: Vec<Token<'s>>,
}

/// A word or a sign within a tag.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Token<'s> {
    /// A sign, such as `==` or `.`.
    Sign(&'s str),
    /// A string, as it stands between its quotes.
    Text(&'s str),
    /// A name, a keyword or a number.
    Word(&'s str),
}

/// A template, cut into pieces.
#[derive(Clone, Debug)]
pub(super) struct Pieces<'s> {
    /// In order. Comments are left out.
    pub(super) pieces: Vec<Piece<'s>>,
    /// Whether the text between tags is printed exactly as it stands: no `{{-`, no `raw`.
    pub(super) is_literal: bool,
}

/// Cuts a template that the engine has accepted.
pub(super) fn cut(source: &str) -> Pieces<'_> {
    let mut cut = Pieces {
        pieces: Vec::new(),
        is_literal: true,
    };
    let mut at = 0;
    while let Some(open) = next_tag(source, at) {
        cut.text(&source[at..open]);
        at = cut.tag(source, open);
    }
    cut.text(&source[at..]);
    cut
}

impl<'s> Pieces<'s> {
    fn text(&mut self, text: &'s str) {
        if !text.is_empty() {
            self.pieces.push(Piece::Text(text));
        }
    }

    /// Reads the tag at `open`; returns where it ends.
    fn tag(&mut self, source: &'s str, open: usize) -> usize {
        let kind = source.as_bytes()[open + 1];
        if kind == b'#' {
            let end = source[open..]
                .find("#}")
                .map_or(source.len(), |end| open + end + 2);
            self.note_trimming(&source[open + 2..end.saturating_sub(2).max(open + 2)]);
            return end;
        }
        let (inner, end) = inside(source, open);
        self.note_trimming(inner);
        let line = 1 + source[..open].matches('\n').count();
        let tag = Tag {
            line,
            text: inner,
            tokens: tokens(inner),
        };
        if kind == b'{' {
            self.pieces.push(Piece::Print(tag));
            return end;
        }
        if tag.tokens == [Token::Word("raw")] {
            self.is_literal = false;
            return end_of_raw(source, end);
        }
        self.pieces.push(Piece::Block(tag));
        end
    }

    fn note_trimming(&mut self, inner: &str) {
        self.is_literal &= !(inner.starts_with(['-', '+']) || inner.ends_with(['-', '+']));
    }

    /// Every tag.
    pub(super) fn tags(&self) -> impl Iterator<Item = &Tag<'s>> {
        self.pieces.iter().filter_map(|piece| match piece {
            Piece::Block(tag) | Piece::Print(tag) => Some(tag),
            Piece::Text(_) => None,
        })
    }
}

fn next_tag(source: &str, from: usize) -> Option<usize> {
    source[from..]
        .match_indices('{')
        .map(|(at, _)| from + at)
        .find(|at| matches!(source.as_bytes().get(at + 1), Some(b'{' | b'%' | b'#')))
}

/// What stands between the signs of the tag at `open`, and where the tag ends. Its closing sign
/// counts neither within a string nor within braces of its own.
fn inside(source: &str, open: usize) -> (&str, usize) {
    let bytes = source.as_bytes();
    let close: &[u8] = if bytes[open + 1] == b'{' {
        b"}}"
    } else {
        b"%}"
    };
    let start = open + 2;
    let mut at = start;
    let mut depth = 0usize;
    while at < bytes.len() {
        match bytes[at] {
            _ if depth == 0 && bytes[at..].starts_with(close) => {
                return (&source[start..at], at + 2);
            }
            b'"' | b'\'' => at = end_of_string(bytes, at),
            b'{' => depth += 1,
            b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        at += 1;
    }
    (&source[start..], source.len())
}

/// The place of the closing quote of the string that opens at `at`.
fn end_of_string(bytes: &[u8], at: usize) -> usize {
    let quote = bytes[at];
    let mut end = at + 1;
    while end < bytes.len() && bytes[end] != quote {
        end += if bytes[end] == b'\\' { 2 } else { 1 };
    }
    end.min(bytes.len())
}

fn end_of_raw(source: &str, from: usize) -> usize {
    let mut at = from;
    while let Some(open) = source[at..].find("{%").map(|found| at + found) {
        let (inner, end) = inside(source, open);
        if tokens(inner) == [Token::Word("endraw")] {
            return end;
        }
        at = open + 2;
    }
    source.len()
}

/// The words and signs of a tag; the marks of whitespace control at its ends are none.
fn tokens(inner: &str) -> Vec<Token<'_>> {
    let inner = inner.strip_prefix(['-', '+']).unwrap_or(inner);
    let inner = inner.strip_suffix(['-', '+']).unwrap_or(inner);
    spans(inner).map(|(_, token)| token).collect()
}

/// The words and signs of a text, each with the bytes that it takes.
pub(super) fn spans(text: &str) -> impl Iterator<Item = (Range<usize>, Token<'_>)> {
    let mut at = 0;
    std::iter::from_fn(move || {
        at = text.len() - text[at..].trim_start().len();
        let (length, token) = first_token(&text[at..])?;
        let span = at..at + length;
        at = span.end;
        Some((span, token))
    })
}

/// The word or sign that a text begins with, and how many bytes it takes.
fn first_token(text: &str) -> Option<(usize, Token<'_>)> {
    let letter = text.chars().next()?;
    if letter == '"' || letter == '\'' {
        let end = end_of_string(text.as_bytes(), 0);
        return Some(((end + 1).min(text.len()), Token::Text(&text[1..end])));
    }
    if is_word(letter) {
        let end = text.find(|c| !is_word(c)).unwrap_or(text.len());
        return Some((end, Token::Word(&text[..end])));
    }
    let double = ["==", "!=", "<=", ">=", "//", "**"];
    let is_double = double.iter().any(|sign| text.starts_with(sign));
    let end = if is_double { 2 } else { letter.len_utf8() };
    Some((end, Token::Sign(&text[..end])))
}

fn is_word(letter: char) -> bool {
    letter.is_alphanumeric() || letter == '_'
}

/// What a template takes from a table of names (`row` or `vars`).
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Uses {
    /// The names, each with the line of its first use.
    pub(super) names: Vec<(String, usize)>,
    /// Whether the table is also used in a way that does not say which names.
    pub(super) is_dynamic: bool,
}

impl Pieces<'_> {
    /// How `table` is used: `table.name`, `table['name']`, or otherwise.
    pub(super) fn uses_of(&self, table: &str) -> Uses {
        let mut uses = Uses::default();
        for tag in self.tags() {
            for at in places_of(tag, table) {
                match member(&tag.tokens[at..]) {
                    Some((name, _)) => {
                        if !uses.names.iter().any(|(known, _)| known == name) {
                            uses.names.push((name.to_owned(), tag.line));
                        }
                    }
                    None => uses.is_dynamic = true,
                }
            }
        }
        uses
    }

    /// The line on which the variable `name` is first used; 1 if it cannot be told.
    pub(super) fn line_of(&self, name: &str) -> usize {
        self.tags()
            .find(|tag| places_of(tag, name).next().is_some())
            .map_or(1, |tag| tag.line)
    }
}

/// Where the variable `name` stands in a tag; not where it is an attribute of something else.
fn places_of<'t>(tag: &'t Tag<'_>, name: &str) -> impl Iterator<Item = usize> + 't {
    let name = name.to_owned();
    (0..tag.tokens.len()).filter(move |&at| {
        tag.tokens[at] == Token::Word(&name)
            && (at == 0 || !matches!(tag.tokens[at - 1], Token::Sign("." | "|")))
    })
}

/// The name in `table.name` or `table['name']`, with the number of tokens that it took.
pub(super) fn member<'s>(tokens: &[Token<'s>]) -> Option<(&'s str, usize)> {
    match tokens {
        [_, Token::Sign("."), Token::Word(name), ..] => Some((name, 3)),
        [_, Token::Sign("["), Token::Text(name), Token::Sign("]"), ..] if !name.contains('\\') => {
            Some((name, 4))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_end_where_the_engine_ends_them() {
        let source = "a {{ '}}' ~ {'k': {'v': 1}}['k'] }} b {# {{ no }} #}{% raw %}{{ no }}{% endraw %}\n{%- if x == 'it\\'s' %}c";
        let cut = cut(source);
        assert!(!cut.is_literal);
        let texts: Vec<_> = cut
            .pieces
            .iter()
            .filter_map(|piece| match piece {
                Piece::Text(text) => Some(*text),
                _ => None,
            })
            .collect();
        assert_eq!(texts, ["a ", " b ", "\n", "c"]);
        assert_eq!(cut.tags().map(|tag| tag.line).collect::<Vec<_>>(), [1, 2]);
    }

    #[test]
    fn members_are_told_from_dynamic_uses() {
        let of = |source| cut(source).uses_of("row");
        let names = |source| {
            of(source)
                .names
                .into_iter()
                .map(|(name, _)| name)
                .collect::<Vec<_>>()
        };
        assert_eq!(
            names("{{ row.a }}{{ row['my.b'] }}{{ x.row.c }}{{ row.a }}"),
            ["a", "my.b"]
        );
        assert!(!of("{{ row.a ~ row[\"b\"] }} row | row").is_dynamic);
        assert!(of("{{ row|tojson }}").is_dynamic);
        assert!(of("{{ row[name] }}").is_dynamic);
        assert!(of("{% for k in row %}{% endfor %}").is_dynamic);
    }
}
