//! What Jinja2 offers and the engine lacks; and, for templates that read decimals, the filters and
//! tests that know numbers.

use minijinja::value::{Kwargs, Rest, ValueOrKwargs};
use minijinja::{Environment, Error, ErrorKind, Value, filters};
use minijinja_contrib::filters as contrib;
use minijinja_contrib::globals::{cycler, joiner};
use minijinja_contrib::pycompat::unknown_method_callback;

use super::decimal::{absolute, as_float, is_decimal, leveled, rounded, truncated};
use super::operators::{apply, plain_engine, test_by_engine};

/// Adds what Jinja2 has for every type of value.
pub(super) fn add_to(engine: &mut Environment<'static>) {
    engine.add_filter("center", center);
    engine.add_filter("filesizeformat", contrib::filesizeformat);
    engine.add_filter("forceescape", filters::escape);
    engine.add_filter("striptags", contrib::striptags);
    engine.add_filter("truncate", truncate);
    engine.add_filter("wordcount", contrib::wordcount);
    engine.add_filter("wordwrap", wordwrap);
    engine.add_test("callable", |_: &Value| false);
    engine.add_function("cycler", cycler);
    engine.add_function("joiner", joiner);
    engine.set_unknown_method_callback(unknown_method_callback);
}

/// Jinja2's filters that no prompt can use, and why.
pub(super) fn refused(filter: &str) -> Option<&'static str> {
    match filter {
        "random" => Some("a prompt must come out the same each time; write `first` or `[0]`"),
        "urlize" | "xmlattr" => Some("it makes HTML; write what the prompt should say"),
        _ => None,
    }
}

/// As Python does it, down to the side on which an odd space goes.
fn center(text: &str, width: Option<usize>) -> String {
    let width = width.unwrap_or(80);
    let spaces = width.saturating_sub(text.chars().count());
    let left = spaces / 2 + (spaces & width & 1);
    format!("{:left$}{text}{:right$}", "", "", right = spaces - left)
}

/// `truncate(length=255, killwords=False, end='...', leeway=5)`, by characters. The end counts.
fn truncate(text: &str, args: Rest<ValueOrKwargs>) -> Result<String, Error> {
    let named = named(["length", "killwords", "end", "leeway"], args)?;
    let length = named.get::<Option<usize>>("length")?.unwrap_or(255);
    let killwords = named.get::<Option<bool>>("killwords")?.unwrap_or(false);
    let end = named.get::<Option<&str>>("end")?.unwrap_or("...");
    let leeway = named.get::<Option<usize>>("leeway")?.unwrap_or(5);
    named.assert_all_used()?;
    let kept = length.checked_sub(end.chars().count()).ok_or_else(|| {
        let words = format!("`truncate` to {length} characters leaves no room for its end");
        Error::new(ErrorKind::InvalidOperation, words)
    })?;
    if text.chars().nth(length.saturating_add(leeway)).is_none() {
        return Ok(text.to_owned());
    }
    let cut = text
        .char_indices()
        .nth(kept)
        .map_or(text.len(), |(at, _)| at);
    let head = &text[..cut];
    let head = match head.rfind(' ') {
        Some(space) if !killwords => &head[..space],
        _ => head,
    };
    Ok(format!("{head}{end}"))
}

/// `wordwrap(width=79, break_long_words=True, wrapstring='\n', break_on_hyphens=True)`.
fn wordwrap(text: &Value, args: Rest<ValueOrKwargs>) -> Result<Value, Error> {
    let names = [
        "width",
        "break_long_words",
        "wrapstring",
        "break_on_hyphens",
    ];
    contrib::wordwrap(text, named(names, args)?)
}

/// Arguments by place and by name, all by name.
fn named<const N: usize>(
    names: [&'static str; N],
    args: Rest<ValueOrKwargs>,
) -> Result<Kwargs, Error> {
    let mut args = args.into_values();
    let given = args.pop_if(|last| last.is_kwargs());
    if args.len() > N {
        return Err(Error::from(ErrorKind::TooManyArguments));
    }
    let mut pairs: Vec<(&str, Value)> = names.into_iter().zip(args).collect();
    let given = given.map(Kwargs::try_from).transpose()?;
    if let Some(given) = &given {
        for name in given.args() {
            pairs.push((name, given.get(name)?));
        }
    }
    Ok(pairs.into_iter().collect())
}

/// Adds the filters and tests that know decimals, in the place of the engine's own.
pub(super) fn add_decimals_to(engine: &mut Environment<'static>) {
    for name in ["abs", "float", "int", "round"] {
        engine.add_filter(name, move |value: &Value, args: Rest<ValueOrKwargs>| {
            of_number(name, value, args)
        });
    }
    for name in ["max", "min", "sort", "unique"] {
        engine.add_filter(name, move |values: &Value, args: Rest<ValueOrKwargs>| {
            let mut values = values.try_iter()?.collect::<Vec<Value>>();
            if values.iter().any(is_decimal) {
                values = values.into_iter().map(leveled).collect();
            }
            by_engine(name, Value::from(values), args.into_values())
        });
    }
    engine.add_filter("sum", sum);
    engine.add_filter("format", format);
    for name in ["number", "float"] {
        engine.add_test(name, move |value: &Value| {
            Ok::<_, Error>(is_decimal(value) || test_by_engine(name, value, &[])?)
        });
    }
    for name in ["odd", "even"] {
        engine.add_test(name, move |value: &Value| test_by_engine(name, value, &[]));
    }
    engine.add_test("divisibleby", |value: &Value, by: Value| {
        test_by_engine("divisibleby", value, &[by])
    });
}

fn of_number(name: &'static str, value: &Value, args: Rest<ValueOrKwargs>) -> Result<Value, Error> {
    if !is_decimal(value) {
        return by_engine(name, value.clone(), args.into_values());
    }
    let number = match name {
        "abs" => absolute(value),
        "float" => Some(as_float(value)),
        "int" => truncated(value),
        _ => {
            let named = named(["precision", "method"], args)?;
            let digits = named.get::<Option<i32>>("precision")?.unwrap_or(0);
            let method = named.get::<Option<&str>>("method")?.unwrap_or("common");
            named.assert_all_used()?;
            rounded(value, digits, method)
        }
    };
    number.ok_or_else(|| {
        let words = format!("`{name}` cannot be applied to a decimal like this");
        Error::new(ErrorKind::InvalidOperation, words)
    })
}

fn sum(values: &Value, args: Rest<ValueOrKwargs>) -> Result<Value, Error> {
    let named = named(["attribute", "start"], args)?;
    let attribute = named.get::<Option<&str>>("attribute")?;
    let start = named.get::<Option<Value>>("start")?;
    named.assert_all_used()?;
    let mut sum = start.unwrap_or_else(|| Value::from(0));
    for value in values.try_iter()? {
        let value = match attribute {
            Some(attribute) => value.get_attr(attribute)?,
            None => value,
        };
        sum = apply("+", &sum, &value)?;
    }
    Ok(sum)
}

/// `format`: `%s` writes a decimal's own digits, what asks for a number gets the nearest float.
fn format(text: &str, args: Rest<ValueOrKwargs>) -> Result<Value, Error> {
    let mut args = args.into_values();
    for (arg, wanted) in args.iter_mut().zip(conversions(text)) {
        if is_decimal(arg) {
            *arg = match wanted {
                's' | 'r' | 'a' => Value::from(arg.to_string()),
                'e' | 'E' | 'f' | 'F' | 'g' | 'G' => as_float(arg),
                _ => truncated(arg).unwrap_or_else(|| as_float(arg)),
            };
        }
    }
    by_engine("format", Value::from(text), args)
}

/// The letters that end the conversions of a format, in their order.
fn conversions(format: &str) -> impl Iterator<Item = char> {
    let mut rest = format.chars();
    std::iter::from_fn(move || {
        loop {
            rest.find(|letter| *letter == '%')?;
            match rest.find(|letter| letter.is_ascii_alphabetic() || *letter == '%')? {
                '%' => {}
                letter => return Some(letter),
            }
        }
    })
}

/// What the engine's own filter makes of it.
fn by_engine(name: &str, value: Value, args: Vec<Value>) -> Result<Value, Error> {
    let args: Vec<Value> = std::iter::once(value).chain(args).collect();
    plain_engine().empty_state().apply_filter(name, &args)
}
