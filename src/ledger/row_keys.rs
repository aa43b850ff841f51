//! The key columns of a row map: the values of the source's key, beside what a plan made of each row.
//!
//! Rows come one by one, and their keys lie in slices as they were read. So it is only noted where in
//! its slice a row's key stands; the values are taken together, column by column.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, UInt32Array, UInt32Builder, new_empty_array, new_null_array};
use arrow::compute::{can_cast_types, cast, concat, take};
use arrow::datatypes::{DataType, Field, FieldRef, TimeUnit};

use crate::base::{Error, ErrorKind, Result, ResultExt};

/// The key columns of a source.
#[derive(Clone, Debug, Default)]
pub(super) struct KeyColumns {
    fields: Vec<FieldRef>,
}

impl KeyColumns {
    /// For key columns with these names and types, beside columns that are called `own`. A key column
    /// that is called like one of those has `key_` before its name.
    pub(super) fn named(columns: &[(String, DataType)], own: &[&str]) -> KeyColumns {
        let mut names: Vec<String> = own.iter().map(|name| name.to_lowercase()).collect();
        let field = |(name, kind): &(String, DataType)| {
            let mut name = name.clone();
            while names.contains(&name.to_lowercase()) {
                name = format!("key_{name}");
            }
            names.push(name.to_lowercase());
            Arc::new(Field::new(name, stored(kind), true))
        };
        KeyColumns {
            fields: columns.iter().map(field).collect(),
        }
    }

    /// The columns as they are stored.
    pub(super) fn fields(&self) -> &[FieldRef] {
        &self.fields
    }
}

/// The type in which key values of `kind` are stored: itself, where Parquet has it and reads cheaply.
fn stored(kind: &DataType) -> DataType {
    match kind {
        DataType::Utf8 | DataType::LargeUtf8 => DataType::Utf8View,
        DataType::Binary | DataType::LargeBinary => DataType::BinaryView,
        // Parquet has no seconds.
        DataType::Timestamp(TimeUnit::Second, zone) => {
            DataType::Timestamp(TimeUnit::Millisecond, zone.clone())
        }
        DataType::Time32(TimeUnit::Second) => DataType::Time32(TimeUnit::Millisecond),
        DataType::Dictionary(_, value) => stored(value),
        kind if kind.is_primitive() || matches!(kind, DataType::FixedSizeBinary(_)) => kind.clone(),
        DataType::Boolean | DataType::Utf8View | DataType::BinaryView => kind.clone(),
        kind if can_cast_types(kind, &DataType::Utf8View) => DataType::Utf8View,
        kind => kind.clone(),
    }
}

/// Collects the keys of the rows that were pushed and not written yet.
#[derive(Debug, Default)]
pub(super) struct Keys {
    columns: KeyColumns,
    /// The keys of the slice that rows come from, column by column.
    slice: Vec<ArrayRef>,
    /// Where in it the key of each row stands.
    places: UInt32Builder,
    /// What was taken of earlier slices, column by column.
    pieces: Vec<Vec<ArrayRef>>,
}

impl Keys {
    pub(super) fn new(columns: KeyColumns) -> Keys {
        let none = |field: &FieldRef| new_empty_array(field.data_type());
        Keys {
            slice: columns.fields.iter().map(none).collect(),
            places: UInt32Builder::new(),
            pieces: vec![Vec::new(); columns.fields.len()],
            columns,
        }
    }

    /// The rows to come are those of `slice`, which has a column for each of the key.
    pub(super) fn begin(&mut self, slice: &[ArrayRef]) -> Result<()> {
        self.cut()?;
        let fits = |(array, field): (&ArrayRef, &FieldRef)| {
            if array.data_type() == field.data_type() {
                return Ok(Arc::clone(array));
            }
            cast(array, field.data_type())
                .or_err(ErrorKind::Internal, "a key cannot be stored")
                .map_err(|error| error.with("column", field.name()))
        };
        if slice.len() != self.columns.fields.len() {
            return Err(Error::internal("a key has other columns than the row map"));
        }
        self.slice = slice
            .iter()
            .zip(&self.columns.fields)
            .map(fits)
            .collect::<Result<_>>()?;
        Ok(())
    }

    /// Takes the next row, whose key stands at `place` of the slice; nothing, if it was not read.
    pub(super) fn push(&mut self, place: Option<u32>) {
        if !self.slice.is_empty() {
            self.places.append_option(place);
        }
    }

    /// The keys of all rows since the last call.
    pub(super) fn finish(&mut self) -> Result<Vec<ArrayRef>> {
        self.cut()?;
        let whole = |(pieces, field): (&mut Vec<ArrayRef>, &FieldRef)| {
            let pieces = std::mem::take(pieces);
            let parts: Vec<&dyn Array> = pieces.iter().map(AsRef::as_ref).collect();
            match &*parts {
                [] => Ok(new_empty_array(field.data_type())),
                [_] => Ok(Arc::clone(&pieces[0])),
                parts => concat(parts).or_err(ErrorKind::Internal, "keys cannot be put together"),
            }
        };
        let pieces = self.pieces.iter_mut().zip(&self.columns.fields);
        pieces.map(whole).collect()
    }

    /// Takes the keys of the rows since the last cut out of their slice.
    fn cut(&mut self) -> Result<()> {
        let places = self.places.finish();
        if places.is_empty() {
            return Ok(());
        }
        for (pieces, array) in self.pieces.iter_mut().zip(&self.slice) {
            pieces.push(pick(array, &places)?);
        }
        Ok(())
    }
}

/// The values of `array` at `places`: a part of it where they follow each other, as they mostly do.
fn pick(array: &ArrayRef, places: &UInt32Array) -> Result<ArrayRef> {
    let len = places.len();
    if places.null_count() == len {
        return Ok(new_null_array(array.data_type(), len));
    }
    let values = places.values();
    let is_run = values.windows(2).all(|two| two[0] + 1 == two[1]);
    if places.null_count() == 0 && is_run {
        return Ok(array.slice(values[0] as usize, len));
    }
    take(array, places, None).or_err(
        ErrorKind::Internal,
        "keys cannot be taken out of their slice",
    )
}
