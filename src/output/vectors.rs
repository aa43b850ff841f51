//! A column of vectors while it is filled.

use std::sync::Arc;

use arrow::array::{ArrayRef, FixedSizeListArray, Float16Array, Float32Array, NullBufferBuilder};
use arrow::datatypes::{ArrowPrimitiveType, DataType, Field, FieldRef, Float16Type};

use crate::base::{Error, ErrorKind, Result, ResultExt};
use crate::work::Precision;
use crate::work::answer::floats;

type Half = <Float16Type as ArrowPrimitiveType>::Native;

/// Vectors of one length, some of which are null.
#[derive(Debug)]
pub(super) struct VectorColumn {
    dimensions: u32,
    values: Values,
    valid: NullBufferBuilder,
}

#[derive(Debug)]
enum Values {
    Single(Vec<f32>),
    Half(Vec<Half>),
}

impl VectorColumn {
    /// A column of vectors of so many numbers.
    pub(super) fn new(dimensions: u32, precision: Precision) -> Self {
        VectorColumn {
            dimensions,
            values: match precision {
                Precision::Single => Values::Single(Vec::new()),
                Precision::Half => Values::Half(Vec::new()),
            },
            valid: NullBufferBuilder::new(0),
        }
    }

    /// Its type.
    pub(super) fn data_type(dimensions: u32, precision: Precision) -> DataType {
        let size = i32::try_from(dimensions).unwrap_or(i32::MAX);
        DataType::FixedSizeList(item(precision), size)
    }

    /// Adds a vector: 32-bit floats, little-endian.
    ///
    /// # Errors
    /// `Data` if it has another length, or a number that does not fit.
    pub(super) fn push(&mut self, vector: &[u8]) -> Result<()> {
        if vector.len() != 4 * self.dimensions as usize {
            return Err(Error::data("a vector in the ledger has another length")
                .with("bytes", vector.len())
                .with("dimensions", self.dimensions));
        }
        match &mut self.values {
            Values::Single(values) => values.extend(floats(vector)),
            Values::Half(values) => {
                let start = values.len();
                values.extend(floats(vector).map(Half::from_f32));
                if !values[start..].iter().all(|number| number.is_finite()) {
                    return Err(too_large());
                }
            }
        }
        self.valid.append_non_null();
        Ok(())
    }

    /// Adds a row without a vector.
    #[expect(
        clippy::unnecessary_wraps,
        reason = "it is one of two ways to add a row"
    )]
    pub(super) fn push_null(&mut self) -> Result<()> {
        let more = self.dimensions as usize;
        match &mut self.values {
            Values::Single(values) => values.resize(values.len() + more, 0.0),
            Values::Half(values) => values.resize(values.len() + more, Half::ZERO),
        }
        self.valid.append_null();
        Ok(())
    }

    /// Bytes so far.
    pub(super) fn bytes(&self) -> usize {
        match &self.values {
            Values::Single(values) => size_of_val(&values[..]),
            Values::Half(values) => size_of_val(&values[..]),
        }
    }

    /// The column so far; the next one begins with as much room.
    ///
    /// # Errors
    /// `Internal` if it is none.
    pub(super) fn finish(&mut self) -> Result<ArrayRef> {
        let (precision, values): (_, ArrayRef) = match &mut self.values {
            Values::Single(values) => {
                let next = Vec::with_capacity(values.len());
                let values = Float32Array::from(std::mem::replace(values, next));
                (Precision::Single, Arc::new(values))
            }
            Values::Half(values) => {
                let next = Vec::with_capacity(values.len());
                let values = Float16Array::from(std::mem::replace(values, next));
                (Precision::Half, Arc::new(values))
            }
        };
        let size = i32::try_from(self.dimensions).unwrap_or(i32::MAX);
        let valid = self.valid.finish();
        let column = FixedSizeListArray::try_new(item(precision), size, values, valid);
        let column = column.or_err(ErrorKind::Internal, "vectors make no column")?;
        Ok(Arc::new(column))
    }
}

/// What a vector is made of.
fn item(precision: Precision) -> FieldRef {
    let number = match precision {
        Precision::Single => DataType::Float32,
        Precision::Half => DataType::Float16,
    };
    Arc::new(Field::new_list_field(number, false))
}

fn too_large() -> Error {
    Error::invalid("a vector has a number that 16 bits do not hold").hint(
        "set `[answer] precision = \"single\"` and run again: nothing is asked, or paid, again",
    )
}

#[cfg(test)]
mod tests {
    use arrow::array::{Array, AsArray};
    use arrow::datatypes::Float32Type;

    use super::*;

    fn bytes(numbers: &[f32]) -> Vec<u8> {
        numbers
            .iter()
            .flat_map(|number| number.to_le_bytes())
            .collect()
    }

    #[test]
    fn vectors_and_nulls_come_out_in_their_order() {
        let mut column = VectorColumn::new(2, Precision::Single);
        column.push(&bytes(&[0.5, -1.0])).expect("two numbers");
        column.push_null().expect("a null");
        column
            .push(&bytes(&[3.0, f32::MIN_POSITIVE]))
            .expect("two numbers");
        assert_eq!(column.bytes(), 24);
        let array = column.finish().expect("a column");
        let list = array.as_fixed_size_list();
        assert_eq!(
            list.data_type(),
            &VectorColumn::data_type(2, Precision::Single)
        );
        assert_eq!((list.len(), list.is_null(1)), (3, true));
        let last = list.value(2);
        assert_eq!(
            last.as_primitive::<Float32Type>().values(),
            &[3.0, f32::MIN_POSITIVE]
        );
        assert_eq!(column.finish().expect("a column").len(), 0);
    }

    #[test]
    fn half_the_precision_is_the_nearest_and_what_does_not_fit_is_refused() {
        let mut column = VectorColumn::new(2, Precision::Half);
        column.push(&bytes(&[0.1, -65504.0])).expect("they fit");
        let array = column.finish().expect("a column");
        assert_eq!(
            array.data_type(),
            &VectorColumn::data_type(2, Precision::Half)
        );
        let first = array.as_fixed_size_list().value(0);
        let first = first.as_primitive::<Float16Type>();
        assert_eq!(first.value(0), Half::from_f32(0.099_975_586));
        let error = column
            .push(&bytes(&[0.0, 70_000.0]))
            .expect_err("it does not fit");
        assert!(
            error
                .hint_text()
                .is_some_and(|hint| hint.contains("single"))
        );
    }

    #[test]
    fn a_vector_of_another_length_is_refused() {
        let mut column = VectorColumn::new(2, Precision::Single);
        for numbers in [&[][..], &[1.0], &[1.0; 3]] {
            assert!(column.push(&bytes(numbers)).is_err());
        }
    }
}
