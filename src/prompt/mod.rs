//! Prompts: a template, compiled once, and a text for each row.
//!
//! Templates are Jinja, as data engineers know it from dbt and Airflow. A column is named by its
//! name (`{{ body }}`), or through `row` where the name is no identifier (`{{ row['my.column'] }}`);
//! `vars` holds the values given by `--var`. The text of a row is data: it is never read as a
//! template, and nothing is escaped or trimmed.
//!
//! # Nulls
//! A null column is *undefined* to the template. It can be tested (`{% if body %}`, `body is none`,
//! `body is defined`) and given a default (`body | default('-')`); a row in which it would be
//! printed, looped over or passed to a filter is skipped, for half a prompt is not worth paying for.
//!
//! # How a value is printed
//!
//! | Arrow type | printed as | in tests and filters |
//! |---|---|---|
//! | integers, floats, booleans | `7`, `0.5`, `True`, as Jinja does | numbers, booleans |
//! | text of any layout | itself, byte for byte | text |
//! | binary | itself if it is valid UTF-8; else the row fails | text |
//! | decimals | exactly, with their scale: `12.50` | text |
//! | dates, times, timestamps, durations, intervals | ISO 8601 | text |
//! | lists | `["a", "b"]`; or with `join`, loops, `tojson` | sequences |
//! | structs, maps | `{"a": 1}`; or `column.field`, `tojson` | mappings |
//! | dictionaries, run-end encoded | as their values | as their values |

mod fast;
mod render;
mod template;
#[cfg(test)]
mod tests;
mod value;

pub use render::{Prompts, Rendered};
pub use template::{Template, compile_system};
