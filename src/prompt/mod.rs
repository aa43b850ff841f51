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
//! | floats | number | the fewest digits that are the same number: `1.0`, `0.1`, `NaN`, `inf` |
//! | decimals | number, exact | all digits of the scale: `12.50` |
//! | booleans, `arrow.bool8` | true or false | `True`, `False` |
//! | dates, times, timestamps | string | ISO 8601; with the offset of the zone, if there is one |
//! | durations, intervals | string | ISO 8601 durations; Arrow's words for intervals |
//! | `arrow.uuid`, Parquet's UUID | string | `018f3c2b-7d4e-7a10-8041-424344454647` |
//! | binary | string, if it is UTF-8 without a zero byte; else the row fails | as it is |
//! | binary of one length, or of another extension type | string | hexadecimal digits |
//! | lists | sequence | JSON |
//! | structs, maps | mapping | JSON, fields in their order |
//! | dictionaries, runs, views, other extension types | as their values | as their values |
//!
//! A value is written in the same way wherever its text is asked for: by a print, `~`, a filter, in a
//! loop, and within a list, a struct or a map. Decimals are added, subtracted, multiplied and compared
//! exactly; `/`, `//`, `%` and `**` give floats.

mod ambiguous;
mod attachments;
mod cell;
mod decimal;
mod engine;
mod expression;
mod filters;
mod head;
#[cfg(test)]
mod jinja_tests;
mod missing;
mod operators;
mod print;
mod render;
mod syntax;
mod template;
#[cfg(test)]
mod tests;
mod text;
#[cfg(test)]
mod value_tests;

pub use attachments::ATTACHED_FIELDS;
pub use cell::plain;
pub use expression::column_expression;
pub use head::constant_head;
pub use render::{Prompt, Prompts, SkipReason};
pub use template::{Template, render_shared};
