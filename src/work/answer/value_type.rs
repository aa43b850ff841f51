//! What a value in an answer is: the one type from which the schema that is asked for, the check of what
//! comes back and the column of the output all follow.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Fields, TimeUnit};

use crate::work::sql_type;

/// The type of one value.
#[derive(Clone, Debug, PartialEq)]
pub struct ValueType {
    /// What it is.
    pub kind: Kind,
    /// Whether it may be null.
    pub nullable: bool,
}

/// What a value is.
#[derive(Clone, Debug, PartialEq)]
pub enum Kind {
    /// Text; one of these words where there are any, compared without case.
    Text(Option<Vec<String>>),
    /// True or false.
    Boolean,
    /// A whole number of so many bits: 8, 16, 32 or 64.
    Integer(u8),
    /// A whole number without a sign, of so many bits.
    Unsigned(u8),
    /// A floating-point number of 32 or 64 bits.
    Float(u8),
    /// A number of so many digits, of which so many stand after the point. Kept exactly.
    Decimal(u8, i8),
    /// A day.
    Date,
    /// A moment; in UTC where it has a zone.
    Timestamp {
        /// Whether it has one.
        zoned: bool,
    },
    /// A time of the day.
    Time,
    /// Any number of values of one type.
    List(Box<ValueType>),
    /// Named values, in order.
    Struct(Vec<(String, ValueType)>),
    /// Values of one type under names that are not known before.
    Map(Box<ValueType>),
    /// Any JSON, kept as its text: unions of several types, free forms, and what contains itself.
    Json,
}

/// The key of Arrow's and Parquet's own name for the extension type of JSON text.
const EXTENSION: &str = "ARROW:extension:name";

impl ValueType {
    /// A value of this kind that is never null.
    #[must_use]
    pub fn of(kind: Kind) -> Self {
        ValueType {
            kind,
            nullable: false,
        }
    }

    /// The same, which may be null.
    #[must_use]
    pub fn or_null(self) -> Self {
        ValueType {
            nullable: true,
            ..self
        }
    }

    /// Whether it has fields.
    #[must_use]
    pub fn is_struct(&self) -> bool {
        matches!(self.kind, Kind::Struct(_))
    }

    /// Arrow's field for a value of this type. The answer's own column is nullable besides, for a row may
    /// have no answer.
    #[must_use]
    pub fn field(&self, name: &str) -> Field {
        let field = Field::new(name, self.data_type(), self.nullable);
        match self.kind {
            Kind::Json => field.with_metadata(HashMap::from([(
                EXTENSION.to_owned(),
                "arrow.json".to_owned(),
            )])),
            _ => field,
        }
    }

    /// Arrow's type for it.
    #[must_use]
    pub fn data_type(&self) -> DataType {
        match &self.kind {
            Kind::Text(_) | Kind::Json => DataType::Utf8,
            Kind::Boolean => DataType::Boolean,
            Kind::Integer(8) => DataType::Int8,
            Kind::Integer(16) => DataType::Int16,
            Kind::Integer(32) => DataType::Int32,
            Kind::Integer(_) => DataType::Int64,
            Kind::Unsigned(8) => DataType::UInt8,
            Kind::Unsigned(16) => DataType::UInt16,
            Kind::Unsigned(32) => DataType::UInt32,
            Kind::Unsigned(_) => DataType::UInt64,
            Kind::Float(32) => DataType::Float32,
            Kind::Float(_) => DataType::Float64,
            Kind::Decimal(digits, scale) => DataType::Decimal128(*digits, *scale),
            Kind::Date => DataType::Date32,
            Kind::Timestamp { zoned } => {
                DataType::Timestamp(TimeUnit::Microsecond, zoned.then(|| "UTC".into()))
            }
            Kind::Time => DataType::Time64(TimeUnit::Microsecond),
            Kind::List(item) => DataType::List(Arc::new(item.field("item"))),
            Kind::Struct(fields) => DataType::Struct(
                fields
                    .iter()
                    .map(|(name, value)| value.field(name))
                    .collect::<Fields>(),
            ),
            Kind::Map(value) => {
                let entries = vec![
                    Field::new("key", DataType::Utf8, false),
                    value.field("value"),
                ];
                let entries = DataType::Struct(entries.into());
                DataType::Map(Arc::new(Field::new("entries", entries, false)), false)
            }
        }
    }

    /// What a value of `data_type` is; `None` where no answer has such a type.
    #[must_use]
    pub fn of_arrow(data_type: &DataType) -> Option<Kind> {
        Some(match data_type {
            DataType::Utf8 => Kind::Text(None),
            DataType::Boolean => Kind::Boolean,
            DataType::Int8 => Kind::Integer(8),
            DataType::Int16 => Kind::Integer(16),
            DataType::Int32 => Kind::Integer(32),
            DataType::Int64 => Kind::Integer(64),
            DataType::Float32 => Kind::Float(32),
            DataType::Float64 => Kind::Float(64),
            DataType::Decimal128(digits, scale) => Kind::Decimal(*digits, *scale),
            DataType::Date32 => Kind::Date,
            DataType::Time64(_) => Kind::Time,
            DataType::Timestamp(_, zone) => Kind::Timestamp {
                zoned: zone.is_some(),
            },
            _ => return None,
        })
    }
}

/// As SQL writes it. Within others, what is never null says so.
impl fmt::Display for ValueType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            Kind::Json => f.write_str("JSON"),
            Kind::Time => f.write_str("TIME"),
            Kind::Unsigned(bits) => {
                let signed = ValueType::of(Kind::Integer(*bits));
                write!(f, "{signed} UNSIGNED")
            }
            Kind::List(item) => write!(f, "{item}[]"),
            Kind::Struct(fields) => {
                f.write_str("STRUCT(")?;
                for (at, (name, value)) in fields.iter().enumerate() {
                    let comma = if at > 0 { ", " } else { "" };
                    let never = if value.nullable { "" } else { " NOT NULL" };
                    write!(f, "{comma}{} {value}{never}", quoted(name))?;
                }
                f.write_str(")")
            }
            Kind::Map(value) => write!(f, "MAP(VARCHAR, {value})"),
            _ => f.write_str(&sql_type::name_of(&self.data_type())),
        }
    }
}

/// A field's name, in quotes where it is no plain word.
fn quoted(name: &str) -> Cow<'_, str> {
    let is_plain = |c: char| c.is_alphanumeric() || c == '_';
    if name.chars().all(is_plain) && !name.is_empty() {
        name.into()
    } else {
        format!("\"{}\"", name.replace('"', "\"\"")).into()
    }
}
