//! The names that SQL has for the types of a column.

use arrow::datatypes::{DataType, TimeUnit};

/// The type that `name` names, if it names one that can be read from text.
#[must_use]
pub fn parse(name: &str) -> Option<DataType> {
    let name = name.trim().to_ascii_uppercase();
    let (word, arguments) = match name.split_once('(') {
        Some((word, rest)) => (word.trim(), Some(rest.trim_end().strip_suffix(')')?)),
        None => (&*name, None),
    };
    let word = word.split_whitespace().collect::<Vec<_>>().join(" ");
    match (&*word, arguments) {
        ("DECIMAL" | "NUMERIC", Some(arguments)) => decimal(arguments),
        // The length of a text says nothing of its type.
        ("VARCHAR" | "CHAR", Some(length)) => {
            length.trim().parse::<u32>().ok().map(|_| DataType::Utf8)
        }
        (_, Some(_)) => None,
        (word, None) => plain(word),
    }
}

fn plain(word: &str) -> Option<DataType> {
    let moment =
        |zone: Option<&str>| DataType::Timestamp(TimeUnit::Microsecond, zone.map(Into::into));
    Some(match word {
        "VARCHAR" | "CHAR" | "TEXT" | "STRING" => DataType::Utf8,
        "BOOLEAN" | "BOOL" => DataType::Boolean,
        "TINYINT" => DataType::Int8,
        "SMALLINT" => DataType::Int16,
        "INT" | "INTEGER" => DataType::Int32,
        "BIGINT" => DataType::Int64,
        "REAL" | "FLOAT" => DataType::Float32,
        "DOUBLE" | "DOUBLE PRECISION" => DataType::Float64,
        "DATE" => DataType::Date32,
        "TIMESTAMP" | "TIMESTAMP WITHOUT TIME ZONE" => moment(None),
        "TIMESTAMP WITH TIME ZONE" | "TIMESTAMPTZ" => moment(Some("UTC")),
        _ => return None,
    })
}

fn decimal(arguments: &str) -> Option<DataType> {
    let (digits, scale) = arguments.split_once(',').unwrap_or((arguments, "0"));
    let digits: u8 = digits.trim().parse().ok()?;
    let scale: u8 = scale.trim().parse().ok()?;
    let fits = (1..=38).contains(&digits) && scale <= digits;
    fits.then(|| DataType::Decimal128(digits, scale.cast_signed()))
}

/// What SQL calls a type; Arrow's own name, where SQL has none.
#[must_use]
pub fn name_of(data_type: &DataType) -> String {
    match data_type {
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => "VARCHAR".into(),
        DataType::Boolean => "BOOLEAN".into(),
        DataType::Int8 => "TINYINT".into(),
        DataType::Int16 => "SMALLINT".into(),
        DataType::Int32 => "INTEGER".into(),
        DataType::Int64 => "BIGINT".into(),
        DataType::Float32 => "REAL".into(),
        DataType::Float64 => "DOUBLE".into(),
        DataType::Date32 => "DATE".into(),
        DataType::Timestamp(_, None) => "TIMESTAMP".into(),
        DataType::Timestamp(_, Some(_)) => "TIMESTAMP WITH TIME ZONE".into(),
        DataType::Decimal128(digits, scale) => format!("DECIMAL({digits}, {scale})"),
        DataType::List(item) => format!("{}[]", name_of(item.data_type())),
        DataType::Struct(fields) => {
            let fields = fields.iter();
            let fields = fields.map(|f| format!("{} {}", f.name(), name_of(f.data_type())));
            format!("STRUCT({})", fields.collect::<Vec<_>>().join(", "))
        }
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_read_as_its_type_and_back() {
        for name in [
            "VARCHAR",
            "BOOLEAN",
            "TINYINT",
            "SMALLINT",
            "INTEGER",
            "BIGINT",
            "REAL",
            "DOUBLE",
            "DATE",
            "TIMESTAMP",
            "TIMESTAMP WITH TIME ZONE",
            "DECIMAL(12, 2)",
        ] {
            assert_eq!(parse(name).as_ref().map(name_of).as_deref(), Some(name));
        }
        assert_eq!(parse(" decimal ( 9 ) "), Some(DataType::Decimal128(9, 0)));
        assert_eq!(parse("varchar(10)"), Some(DataType::Utf8));
        assert_eq!(parse("double  precision"), Some(DataType::Float64));
    }

    #[test]
    fn what_is_no_type_is_none() {
        for name in [
            "",
            "STR",
            "VARCHAR(",
            "VARCHAR(x)",
            "INT(4)",
            "DECIMAL(39, 2)",
            "DECIMAL(2, 3)",
            "DECIMAL(0)",
            "DECIMAL(a)",
            "INT[]",
            "TIMESTAMP(3)",
        ] {
            assert_eq!(parse(name), None, "{name}");
        }
    }
}
