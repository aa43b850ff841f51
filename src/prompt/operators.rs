//! A template whose operators know decimals.
//!
//! The engine has no way to teach its operators a type of number, so its instructions are exchanged:
//! `a < b` becomes what `a|<(b)` would be, were `<` the name of a filter. Templates that read no
//! decimal are left as the engine compiles them.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use minijinja::machinery::{CompiledTemplate, Instruction, Instructions, TemplateConfig};
use minijinja::value::ValueKind;
use minijinja::{AutoEscape, Environment, Error, ErrorKind, UndefinedBehavior, Value, context};

use super::decimal::{as_engine_number, as_float, calculated, compared, is_decimal, negated};
use super::syntax::byte_for_byte;

/// The operators, each the name of a filter that only this module can write.
const BINARY: [&str; 14] = [
    "+", "-", "*", "/", "//", "%", "**", "==", "!=", "<", "<=", ">", ">=", "in",
];

/// The name of the filter for a minus that stands alone.
const MINUS: &str = "minus";

/// Not one of the filters that the engine keeps at hand while it runs a template.
const NOT_KEPT: u8 = u8::MAX;

/// Compiles `text` with operators that know decimals.
///
/// # Errors
/// If it is no template, or has a chain of comparisons, which is one instruction of several results.
pub(super) fn compile<'s>(name: &'s str, text: &'s str) -> Result<CompiledTemplate<'s>, Error> {
    let config = TemplateConfig {
        syntax_config: byte_for_byte(),
        default_auto_escape: Arc::new(|_| AutoEscape::None),
    };
    let mut compiled = CompiledTemplate::new(name, text, &config)?;
    exchange(&mut compiled.instructions)?;
    for block in compiled.blocks.values_mut() {
        exchange(block)?;
    }
    Ok(compiled)
}

fn exchange(instructions: &mut Instructions<'_>) -> Result<(), Error> {
    let mut at = 0;
    while let Some(instruction) = instructions.get_mut(at) {
        if matches!(instruction, Instruction::CompareAndPreserve(_)) {
            return Err(Error::new(
                ErrorKind::InvalidOperation,
                "decimals cannot be compared in a chain; write `a < b and b < c` for `a < b < c`",
            ));
        }
        if matches!(instruction, Instruction::Neg) {
            *instruction = Instruction::ApplyFilter(MINUS, Some(1), NOT_KEPT);
        } else if let Some(sign) = sign_of(instruction) {
            *instruction = Instruction::ApplyFilter(sign, Some(2), NOT_KEPT);
        }
        at += 1;
    }
    Ok(())
}

fn sign_of(instruction: &Instruction<'_>) -> Option<&'static str> {
    Some(match instruction {
        Instruction::Add => "+",
        Instruction::Sub => "-",
        Instruction::Mul => "*",
        Instruction::Div => "/",
        Instruction::IntDiv => "//",
        Instruction::Rem => "%",
        Instruction::Pow => "**",
        Instruction::Eq => "==",
        Instruction::Ne => "!=",
        Instruction::Lt => "<",
        Instruction::Lte => "<=",
        Instruction::Gt => ">",
        Instruction::Gte => ">=",
        Instruction::In => "in",
        _ => return None,
    })
}

/// Adds the operators, as filters and as tests (`select('>', 5)`, `is lt(5)`), to `engine`.
pub(super) fn add_to(engine: &mut Environment<'static>) {
    for sign in BINARY {
        engine.add_filter(sign, move |left: &Value, right: &Value| {
            apply(sign, left, right)
        });
    }
    engine.add_filter(MINUS, |value: &Value| {
        match negated(value).filter(|_| is_decimal(value)) {
            Some(number) => Ok(number),
            None => evaluate("-left", value, &Value::from(())),
        }
    });
    for (names, sign) in [
        (&["eq", "equalto", "=="][..], "=="),
        (&["ne", "!="], "!="),
        (&["lt", "lessthan", "<"], "<"),
        (&["le", "<="], "<="),
        (&["gt", "greaterthan", ">"], ">"),
        (&["ge", ">="], ">="),
        (&["in"], "in"),
    ] {
        for name in names {
            engine.add_test(*name, move |left: &Value, right: &Value| {
                apply(sign, left, right).map(|holds| holds.is_true())
            });
        }
    }
}

/// What `left sign right` is.
pub(super) fn apply(sign: &'static str, left: &Value, right: &Value) -> Result<Value, Error> {
    if sign == "in" {
        return contains(left, right);
    }
    if !is_decimal(left) && !is_decimal(right) {
        return by_engine(sign, left, right);
    }
    if let Some(holds) = compared(left, right).and_then(|order| holds(sign, order)) {
        return Ok(Value::from(holds));
    }
    match calculated(sign, left, right) {
        Some(number) => Ok(number),
        None => by_engine(sign, &as_float(left), &as_float(right)),
    }
}

/// Whether a comparison holds; none where the sign is not one of a comparison.
fn holds(sign: &str, order: Ordering) -> Option<bool> {
    Some(match sign {
        "==" => order.is_eq(),
        "!=" => order.is_ne(),
        "<" => order.is_lt(),
        "<=" => order.is_le(),
        ">" => order.is_gt(),
        ">=" => order.is_ge(),
        _ => return None,
    })
}

fn contains(item: &Value, container: &Value) -> Result<Value, Error> {
    let is_number = matches!(item.kind(), ValueKind::Number) || is_decimal(item);
    if !is_number || !matches!(container.kind(), ValueKind::Seq | ValueKind::Iterable) {
        return by_engine("in", item, container);
    }
    for other in container.try_iter()? {
        if apply("==", item, &other)?.is_true() {
            return Ok(Value::from(true));
        }
    }
    Ok(Value::from(false))
}

/// What the engine itself makes of an operator.
fn by_engine(sign: &'static str, left: &Value, right: &Value) -> Result<Value, Error> {
    static TEXTS: OnceLock<BTreeMap<&'static str, String>> = OnceLock::new();
    let texts = TEXTS.get_or_init(|| {
        let text = |sign: &'static str| (sign, format!("left {sign} right"));
        BINARY.into_iter().map(text).collect()
    });
    evaluate(texts.get(sign).map_or("left", String::as_str), left, right)
}

fn evaluate(expression: &str, left: &Value, right: &Value) -> Result<Value, Error> {
    plain_engine()
        .compile_expression_owned(expression.to_owned())?
        .eval(context! { left, right })
}

/// What the engine itself makes of a test, of a decimal as the engine's own number.
pub(super) fn test_by_engine(test: &str, value: &Value, args: &[Value]) -> Result<bool, Error> {
    let args: Vec<Value> = std::iter::once(value)
        .chain(args)
        .map(as_engine_number)
        .collect();
    plain_engine().empty_state().perform_test(test, &args)
}

/// An engine as it comes, for whatever has no decimal in it.
pub(super) fn plain_engine() -> &'static Environment<'static> {
    static ENGINE: OnceLock<Environment<'static>> = OnceLock::new();
    ENGINE.get_or_init(|| {
        let mut engine = Environment::new();
        engine.set_undefined_behavior(UndefinedBehavior::Strict);
        engine
    })
}
