//! Type names as SQL writes them, with `T[]` and `STRUCT(name T, ...)` as `DuckDB` does.

use super::value_type::{Kind, ValueType};
use crate::work::sql_type;

/// How deep types may lie within each other.
const DEPTH_MAX: usize = 32;

/// The type that `name` names. What lies within lists, structs and maps may be null, as in SQL, but
/// for the names of a map; the type itself is not.
///
/// # Errors
/// What is wrong with the name, in a sentence.
pub(super) fn parse(name: &str) -> Result<ValueType, String> {
    let mut rest = name.trim();
    let value = one(&mut rest, DEPTH_MAX)?;
    match rest.trim() {
        "" => Ok(value),
        left => Err(format!("`{left}` stands after the type")),
    }
}

fn one(rest: &mut &str, depth: usize) -> Result<ValueType, String> {
    let Some(depth) = depth.checked_sub(1) else {
        return Err("types lie too deep within each other".into());
    };
    let mut value = ValueType::of(single(rest, depth)?);
    loop {
        *rest = rest.trim_start();
        let Some(after) = rest.strip_prefix('[') else {
            return Ok(value);
        };
        let Some(after) = after.trim_start().strip_prefix(']') else {
            return Err("a list is written `T[]`, without a length".into());
        };
        *rest = after;
        value = ValueType::of(Kind::List(Box::new(value.or_null())));
    }
}

fn single(rest: &mut &str, depth: usize) -> Result<Kind, String> {
    let word = word(rest);
    let upper = word.to_ascii_uppercase();
    let opened = rest.trim_start().strip_prefix('(');
    match (upper.as_str(), opened) {
        ("STRUCT" | "ROW", Some(inside)) => {
            *rest = inside;
            fields(rest, depth).map(Kind::Struct)
        }
        ("MAP", Some(inside)) => {
            *rest = inside;
            map(rest, depth)
        }
        ("JSON", None) => Ok(Kind::Json),
        ("TIME", None) => Ok(Kind::Time),
        ("DECIMAL" | "NUMERIC", None) => Ok(DECIMAL),
        ("UTINYINT", None) => Ok(Kind::Unsigned(8)),
        ("USMALLINT", None) => Ok(Kind::Unsigned(16)),
        ("UINTEGER", None) => Ok(Kind::Unsigned(32)),
        ("UBIGINT", None) => Ok(Kind::Unsigned(64)),
        ("", _) => Err("a type is missing".into()),
        _ => plain(word, rest),
    }
}

/// A type that has no type within, such as `DECIMAL(12, 2)` or `TIMESTAMP WITH TIME ZONE`.
fn plain(word: &str, rest: &mut &str) -> Result<Kind, String> {
    let mut name = word.to_owned();
    while let Some(next) = following_word(rest, &name) {
        name = format!("{name} {next}");
    }
    if let Some(inside) = rest.trim_start().strip_prefix('(') {
        let Some((arguments, after)) = inside.split_once(')') else {
            return Err(format!("`{name}(` is not closed"));
        };
        name = format!("{name}({arguments})");
        *rest = after;
    }
    let data_type = sql_type::parse(&name);
    let kind = data_type.as_ref().and_then(ValueType::of_arrow);
    match kind.ok_or_else(|| no_type(&name))? {
        Kind::Integer(bits) if is_unsigned(rest) => Ok(Kind::Unsigned(bits)),
        kind => Ok(kind),
    }
}

/// What is told who named a type that is none.
fn no_type(name: &str) -> String {
    let upper = name.to_ascii_uppercase();
    let is_decimal = upper.starts_with("DECIMAL(") || upper.starts_with("NUMERIC(");
    let limits = if is_decimal {
        ": a decimal has from 1 to 38 digits, and at most all of them after the point"
    } else {
        ""
    };
    format!("there is no type `{name}`{limits}")
}

/// What a decimal is that says nothing of its digits, as in `DataFusion`.
const DECIMAL: Kind = Kind::Decimal(38, 10);

/// Whether the name of a type goes on with `UNSIGNED`, which `rest` then goes on after.
fn is_unsigned(rest: &mut &str) -> bool {
    let mut ahead = *rest;
    let is_unsigned = word(&mut ahead).eq_ignore_ascii_case("UNSIGNED");
    if is_unsigned {
        *rest = ahead;
    }
    is_unsigned
}

/// The next word, if the name of a type goes on with it after `name`.
fn following_word<'a>(rest: &mut &'a str, name: &str) -> Option<&'a str> {
    let mut ahead = *rest;
    let next = word(&mut ahead);
    let goes_on = match name.to_ascii_uppercase().as_str() {
        "DOUBLE" => next.eq_ignore_ascii_case("PRECISION"),
        "TIMESTAMP" => ["WITH", "WITHOUT"]
            .iter()
            .any(|word| next.eq_ignore_ascii_case(word)),
        "TIMESTAMP WITH" | "TIMESTAMP WITHOUT" => next.eq_ignore_ascii_case("TIME"),
        "TIMESTAMP WITH TIME" | "TIMESTAMP WITHOUT TIME" => next.eq_ignore_ascii_case("ZONE"),
        _ => false,
    };
    if goes_on {
        *rest = ahead;
    }
    goes_on.then_some(next)
}

fn fields(rest: &mut &str, depth: usize) -> Result<Vec<(String, ValueType)>, String> {
    let mut fields: Vec<(String, ValueType)> = Vec::new();
    loop {
        let name = field_name(rest)?;
        let value = one(rest, depth)?.or_null();
        if fields
            .iter()
            .any(|(there, _)| there.to_lowercase() == name.to_lowercase())
        {
            return Err(format!("the field `{name}` stands twice"));
        }
        fields.push((name, value));
        *rest = rest.trim_start();
        if let Some(after) = rest.strip_prefix(',') {
            *rest = after;
        } else if let Some(after) = rest.strip_prefix(')') {
            *rest = after;
            return Ok(fields);
        } else {
            return Err("a struct is written `STRUCT(name TYPE, ...)`".into());
        }
    }
}

/// A field's name: a word, or anything in double quotes, in which two quotes stand for one.
fn field_name(rest: &mut &str) -> Result<String, String> {
    *rest = rest.trim_start();
    let name = match rest.strip_prefix('"') {
        None => word(rest).to_owned(),
        Some(quoted) => {
            let (mut name, mut after) = (String::new(), quoted);
            loop {
                let Some((part, left)) = after.split_once('"') else {
                    return Err("a quoted name is not closed".into());
                };
                name.push_str(part);
                let Some(left) = left.strip_prefix('"') else {
                    *rest = left;
                    break name;
                };
                name.push('"');
                after = left;
            }
        }
    };
    if name.is_empty() {
        return Err("a struct is written `STRUCT(name TYPE, ...)`".into());
    }
    Ok(name)
}

fn map(rest: &mut &str, depth: usize) -> Result<Kind, String> {
    let wrong =
        || "a map is written `MAP(VARCHAR, TYPE)`, for the names in JSON are text".to_owned();
    let key = one(rest, depth)?;
    if key.kind != Kind::Text(None) {
        return Err(wrong());
    }
    *rest = rest.trim_start().strip_prefix(',').ok_or_else(wrong)?;
    let value = one(rest, depth)?.or_null();
    *rest = rest.trim_start().strip_prefix(')').ok_or_else(wrong)?;
    Ok(Kind::Map(Box::new(value)))
}

/// The word at the start of `rest`, which goes on after it.
fn word<'a>(rest: &mut &'a str) -> &'a str {
    let text = rest.trim_start();
    let end = text
        .find(|c: char| !(c.is_alphanumeric() || c == '_'))
        .unwrap_or(text.len());
    let (word, after) = text.split_at(end);
    *rest = after;
    word
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(item: Kind) -> Kind {
        Kind::List(Box::new(ValueType::of(item).or_null()))
    }

    fn fields<const N: usize>(fields: [(&str, Kind); N]) -> Kind {
        let field = |(name, kind): (&str, Kind)| (name.to_owned(), ValueType::of(kind).or_null());
        Kind::Struct(fields.map(field).into())
    }

    #[test]
    fn names_are_read_as_their_types() {
        let text = || Kind::Text(None);
        for (name, kind) in [
            ("varchar", text()),
            ("SMALLINT", Kind::Integer(16)),
            (" decimal ( 12 , 2 ) ", Kind::Decimal(12, 2)),
            ("double precision", Kind::Float(64)),
            ("TIMESTAMP with time zone", Kind::Timestamp { zoned: true }),
            ("TIMESTAMP", Kind::Timestamp { zoned: false }),
            ("int unsigned", Kind::Unsigned(32)),
            ("BIGINT  UNSIGNED", Kind::Unsigned(64)),
            ("UTINYINT", Kind::Unsigned(8)),
            ("DECIMAL", Kind::Decimal(38, 10)),
            ("numeric", Kind::Decimal(38, 10)),
            ("SMALLINT UNSIGNED[]", list(Kind::Unsigned(16))),
            ("TIME", Kind::Time),
            ("JSON", Kind::Json),
            ("VARCHAR[]", list(text())),
            ("INT [ ] []", list(list(Kind::Integer(32)))),
            ("DECIMAL(4,1)[]", list(Kind::Decimal(4, 1))),
            (
                "STRUCT(sku VARCHAR, qty INT)[]",
                list(fields([("sku", text()), ("qty", Kind::Integer(32))])),
            ),
            (
                "struct(\"a \"\"b\"\"\" DATE, at TIMESTAMP WITH TIME ZONE, x STRUCT(y BOOLEAN[]))",
                fields([
                    ("a \"b\"", Kind::Date),
                    ("at", Kind::Timestamp { zoned: true }),
                    ("x", fields([("y", list(Kind::Boolean))])),
                ]),
            ),
            (
                "MAP(VARCHAR, DOUBLE)",
                Kind::Map(Box::new(ValueType::of(Kind::Float(64)).or_null())),
            ),
        ] {
            assert_eq!(parse(name), Ok(ValueType::of(kind)), "{name}");
        }
    }

    #[test]
    fn what_is_no_type_is_said() {
        for (name, why) in [
            ("", "a type is missing"),
            ("STRING(", "`STRING(` is not closed"),
            ("STRNG", "there is no type `STRNG`"),
            ("INT(4)", "there is no type `INT(4)`"),
            (
                "decimal(39,2)",
                "there is no type `decimal(39,2)`: a decimal has from 1 to 38 digits, and at most all of them after the point",
            ),
            (
                "DECIMAL(2,5)[]",
                "there is no type `DECIMAL(2,5)`: a decimal has from 1 to 38 digits, and at most all of them after the point",
            ),
            ("INT[3]", "a list is written `T[]`, without a length"),
            ("INT x", "`x` stands after the type"),
            ("DATE UNSIGNED", "`UNSIGNED` stands after the type"),
            (
                "STRUCT(a INT",
                "a struct is written `STRUCT(name TYPE, ...)`",
            ),
            ("STRUCT()", "a struct is written `STRUCT(name TYPE, ...)`"),
            ("STRUCT(a INT, A INT)", "the field `A` stands twice"),
            ("STRUCT(\"a INT)", "a quoted name is not closed"),
            (
                "MAP(INT, INT)",
                "a map is written `MAP(VARCHAR, TYPE)`, for the names in JSON are text",
            ),
        ] {
            assert_eq!(parse(name), Err(why.to_owned()), "{name}");
        }
        let deep = "STRUCT(a ".repeat(100);
        assert!(parse(&deep).is_err());
    }
}
