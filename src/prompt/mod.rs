//! The prompt: a template and a row make the text that is sent.
//!
//! Templates are minijinja's (Jinja2 as dbt and Airflow users know it), compiled once, strict about
//! names, and printed byte for byte: no escaping, no trimming, the trailing newline kept. A template
//! sees the columns by their names, `row` (so that `{{ row['my.column'] }}` reads a column whose name
//! is no identifier) and `vars`. What is in a row is data: it is never read as a template.
//!
//! # Nulls
//! A row in which the template asks for the text of a null is skipped. A test (`{% if body %}`,
//! `is none`), `default`, and `or` see the null without asking for its text, so they decide. A null in
//! `<` or `>` skips the row as well, unless the template tests that column with `is` or a filter. A
//! blank prompt is skipped; an empty string within other text is sent.
//!
//! # What each type is
//!
//! | Arrow | in tests and filters | printed |
//! |---|---|---|
//! | strings of any layout | string | as it is |
//! | integers | number | digits |
//! | floats | number | shortest exact form, `1.0`, `NaN`, `inf` |
//! | decimals | number | exactly, with all digits of the scale: `12.50` |
//! | booleans | true or false | `True`, `False` |
//! | dates, times, timestamps | string | ISO 8601; with the offset of the zone, if there is one |
//! | durations, intervals | string | ISO 8601 durations; Arrow's words for intervals |
//! | binary | string, if it is UTF-8; else the row fails | as it is |
//! | lists | sequence | JSON |
//! | structs, maps | mapping | JSON, fields in their order |
//! | dictionaries, runs, views | as their values | as their values |
//!
//! Within `~` and filters a decimal is a number, and loses trailing zeros; print it by itself to have
//! it exact.

mod cell;
mod engine;
mod missing;
mod print;
mod render;
mod syntax;
mod template;
#[cfg(test)]
mod tests;

pub use render::{Prompt, Prompts, SkipReason};
pub use template::{Template, render_system};
