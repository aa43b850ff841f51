//! minijinja, set up for prompts: strict, unescaped, byte for byte, and bounded.

use std::sync::Arc;

use minijinja::filters::default;
use minijinja::value::{Kwargs, Rest};
use minijinja::{AutoEscape, Environment, Error, Output, State, UndefinedBehavior, Value};

use super::missing::{Notes, is_null};
use super::print::{json, print};
use super::syntax::byte_for_byte;
use super::{filters, operators};

/// How many steps a row's prompt may take: a loop over a loop must not hold up the job.
const FUEL: u64 = 5_000_000;

/// An engine that notes what it does with nulls in `notes`.
pub(super) fn engine(notes: &Arc<Notes>) -> Environment<'static> {
    let mut engine = Environment::new();
    engine.set_undefined_behavior(UndefinedBehavior::Strict);
    engine.set_syntax(byte_for_byte());
    engine.set_auto_escape_callback(|_| AutoEscape::None);
    engine.set_fuel(Some(FUEL));
    let printing = Arc::clone(notes);
    engine.set_formatter(
        move |out: &mut Output<'_>, _: &mut State<'_, '_>, value: &Value| {
            print(value, &printing, out)
        },
    );
    engine.add_test("none", |value: &Value| is_null(value));
    engine.add_filter("default", or_default);
    engine.add_filter("d", or_default);
    engine.add_filter(
        "tojson",
        |value: &Value, indent: Option<Value>, args: Kwargs| to_json(value, indent, &args),
    );
    filters::add_to(&mut engine);
    engine
}

/// The same engine, whose operators, filters and tests know decimals.
pub(super) fn with_decimals(engine: &Environment<'static>) -> Environment<'static> {
    let mut engine = engine.clone();
    operators::add_to(&mut engine);
    filters::add_decimals_to(&mut engine);
    engine
}

/// `default`, for what is undefined and for what is null.
fn or_default(state: &State<'_, '_>, value: &Value, args: Rest<Value>) -> Result<Value, Error> {
    if is_null(value) {
        return default(state, &Value::UNDEFINED, args);
    }
    default(state, value, args)
}

/// `tojson`, without the engine's own escapes for HTML.
fn to_json(value: &Value, indent: Option<Value>, args: &Kwargs) -> Result<String, Error> {
    let indent = match indent {
        Some(indent) => Some(indent),
        None => args.get::<Option<Value>>("indent")?,
    };
    args.assert_all_used()?;
    let indent = match indent {
        None => None,
        Some(indent) => match bool::try_from(indent.clone()) {
            Ok(wanted) => wanted.then_some(2),
            Err(_) => Some(usize::try_from(indent)?),
        },
    };
    if is_null(value) && !value.is_none() {
        // A null column is not printed, as JSON no more than as text.
        let _ = value.to_string();
    }
    let mut text = String::new();
    json(value, indent, 0, &mut text)?;
    Ok(text)
}
