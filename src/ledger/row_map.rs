//! The row map: `plans/<plan>/rows.parquet`, one row for each of the source's rows, in its order.
//!
//! | column | type | what |
//! |---|---|---|
//! | `status` | word | `pending`: the answer is that of a request; else what the row is already |
//! | `plan` | `UInt32`, null unless pending | the plan whose request it is; an earlier one was asked before |
//! | `ordinal` | `UInt64`, null unless pending | the request's number within that plan |
//! | `row_id` | `UInt64`, null without a key | a hash of the row's key |
//! | `error` | `Utf8`, null | why a row is skipped or failed |

use std::fs::File;
use std::path::Path;
use std::sync::{Arc, LazyLock};

use arrow::array::{
    Array, ArrayRef, AsArray, StringArray, StringBuilder, UInt32Array, UInt32Builder, UInt64Array,
    UInt64Builder,
};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, UInt32Type, UInt64Type};
use parquet::arrow::arrow_reader::ParquetRecordBatchReader;

use super::bulk::{self, BulkWriter};
use crate::base::{Error, Result};
use crate::work::RowStatus;

static SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| {
    Arc::new(Schema::new(vec![
        bulk::status_field("status"),
        Field::new("plan", DataType::UInt32, true),
        Field::new("ordinal", DataType::UInt64, true),
        Field::new("row_id", DataType::UInt64, true),
        Field::new("error", DataType::Utf8, true),
    ]))
});

/// A request, wherever it was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// The plan.
    pub plan: u32,
    /// The request's number within it.
    pub ordinal: u64,
}

/// Bits of a packed place that hold the ordinal.
const ORDINAL_BITS: u32 = 40;

impl Place {
    /// The place as one number that sorts as places do: 24 bits of plan, 40 of ordinal.
    #[must_use]
    pub fn pack(self) -> u64 {
        u64::from(self.plan) << ORDINAL_BITS | self.ordinal
    }

    /// The place in such a number.
    #[must_use]
    pub fn unpack(packed: u64) -> Place {
        let plan = u32::try_from(packed >> ORDINAL_BITS).unwrap_or(u32::MAX);
        Place {
            plan,
            ordinal: packed & ((1 << ORDINAL_BITS) - 1),
        }
    }
}

/// What a plan made of a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RowPlan<'a> {
    /// Its answer is that of a request.
    Asks(Place),
    /// There is no prompt for it, perhaps with a reason.
    Skipped(Option<&'a str>),
    /// Its request cannot be sent.
    Failed(&'a str),
    /// Its request is new, and is not to be sent now.
    Deferred,
}

/// Writes a row map.
pub struct RowMapWriter {
    writer: BulkWriter,
    statuses: Vec<u8>,
    plans: UInt32Builder,
    ordinals: UInt64Builder,
    row_ids: UInt64Builder,
    errors: StringBuilder,
}

impl std::fmt::Debug for RowMapWriter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RowMapWriter").finish_non_exhaustive()
    }
}

impl RowMapWriter {
    /// A new file at the local `path`.
    ///
    /// # Errors
    /// `Unavailable` if it cannot be written.
    pub fn create(path: &Path) -> Result<Self> {
        Ok(RowMapWriter {
            writer: BulkWriter::create(path, Arc::clone(&SCHEMA), &["ordinal", "row_id"], &[])?,
            statuses: Vec::new(),
            plans: UInt32Builder::new(),
            ordinals: UInt64Builder::new(),
            row_ids: UInt64Builder::new(),
            errors: StringBuilder::new(),
        })
    }

    /// Takes the next row.
    ///
    /// # Errors
    /// `Unavailable` if the file cannot be written.
    pub fn push(&mut self, row: &RowPlan<'_>, row_id: Option<u64>) -> Result<()> {
        let (status, place, error) = match row {
            RowPlan::Asks(place) => (RowStatus::Pending, Some(*place), None),
            RowPlan::Skipped(why) => (RowStatus::Skipped, None, *why),
            RowPlan::Failed(why) => (RowStatus::Failed, None, Some(*why)),
            RowPlan::Deferred => (RowStatus::Deferred, None, None),
        };
        self.statuses.push(status.code());
        self.plans.append_option(place.map(|place| place.plan));
        self.ordinals
            .append_option(place.map(|place| place.ordinal));
        self.row_ids.append_option(row_id);
        self.errors.append_option(error);
        if bulk::is_full(self.statuses.len()) {
            self.flush()
        } else {
            Ok(())
        }
    }

    /// Ends the file; the number of its rows.
    ///
    /// # Errors
    /// `Unavailable` if the file cannot be written.
    pub fn finish(mut self) -> Result<u64> {
        self.flush()?;
        self.writer.finish()
    }

    fn flush(&mut self) -> Result<()> {
        let columns: Vec<ArrayRef> = vec![
            bulk::status_column(&mut self.statuses),
            Arc::new(self.plans.finish()),
            Arc::new(self.ordinals.finish()),
            Arc::new(self.row_ids.finish()),
            Arc::new(self.errors.finish()),
        ];
        self.writer.write(columns)
    }
}

/// Some rows of a row map, in order.
#[derive(Clone, Debug)]
pub struct RowMapSlice {
    statuses: Vec<RowStatus>,
    plans: UInt32Array,
    ordinals: UInt64Array,
    row_ids: UInt64Array,
    errors: StringArray,
}

impl RowMapSlice {
    /// How many.
    #[must_use]
    pub fn len(&self) -> usize {
        self.statuses.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.statuses.is_empty()
    }

    /// What the plan made of the row at `at`.
    ///
    /// # Errors
    /// `Data` if the map says what no plan says.
    pub fn row(&self, at: usize) -> Result<RowPlan<'_>> {
        let error = self.errors.is_valid(at).then(|| self.errors.value(at));
        match self.statuses[at] {
            RowStatus::Pending if self.plans.is_null(at) || self.ordinals.is_null(at) => {
                Err(Error::data("the row map has a row that asks nothing"))
            }
            RowStatus::Pending => Ok(RowPlan::Asks(Place {
                plan: self.plans.value(at),
                ordinal: self.ordinals.value(at),
            })),
            RowStatus::Skipped => Ok(RowPlan::Skipped(error)),
            RowStatus::Failed => Ok(RowPlan::Failed(error.unwrap_or_default())),
            RowStatus::Deferred => Ok(RowPlan::Deferred),
            other => {
                Err(Error::data("the row map has a status that no plan gives")
                    .with("status", other))
            }
        }
    }

    /// The hash of the key of the row at `at`.
    #[must_use]
    pub fn row_id(&self, at: usize) -> Option<u64> {
        self.row_ids.is_valid(at).then(|| self.row_ids.value(at))
    }
}

/// Reads a row map, some rows at a time.
pub struct RowMapReader(ParquetRecordBatchReader);

impl std::fmt::Debug for RowMapReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RowMapReader").finish_non_exhaustive()
    }
}

impl RowMapReader {
    /// Reads `file`.
    ///
    /// # Errors
    /// `Data` if it is not such a file.
    pub fn open(file: File) -> Result<Self> {
        Ok(RowMapReader(bulk::read(file, &[])?))
    }
}

impl Iterator for RowMapReader {
    type Item = Result<RowMapSlice>;

    fn next(&mut self) -> Option<Self::Item> {
        let batch = bulk::next(&mut self.0)?;
        Some(batch.and_then(|batch| {
            let wrong = || Error::data("a column of the row map has another type");
            let number = |name| {
                bulk::column(&batch, name)?
                    .as_primitive_opt::<UInt64Type>()
                    .cloned()
                    .ok_or_else(wrong)
            };
            let plans = bulk::column(&batch, "plan")?.as_primitive_opt::<UInt32Type>();
            let errors = bulk::column(&batch, "error")?.as_string_opt::<i32>();
            Ok(RowMapSlice {
                statuses: bulk::statuses(bulk::column(&batch, "status")?)?,
                plans: plans.cloned().ok_or_else(wrong)?,
                ordinals: number("ordinal")?,
                row_ids: number("row_id")?,
                errors: errors.cloned().ok_or_else(wrong)?,
            })
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_read_as_they_were_written() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("rows.parquet");
        let row = |n: u64| match n % 5 {
            0 => RowPlan::Asks(Place {
                plan: 3,
                ordinal: n,
            }),
            1 => RowPlan::Skipped(None),
            2 => RowPlan::Skipped(Some("blank")),
            3 => RowPlan::Deferred,
            _ => RowPlan::Failed("too large"),
        };
        let mut writer = RowMapWriter::create(&path).expect("a file");
        for n in 0..3001 {
            writer
                .push(&row(n), (n % 5 == 0).then_some(n))
                .expect("written");
        }
        assert_eq!(writer.finish().expect("finished"), 3001);
        let mut n = 0;
        for slice in RowMapReader::open(File::open(&path).expect("there")).expect("Parquet") {
            let slice = slice.expect("readable");
            for at in 0..slice.len() {
                assert_eq!(slice.row(at).expect("a plan"), row(n));
                assert_eq!(slice.row_id(at), (n % 5 == 0).then_some(n));
                n += 1;
            }
        }
        assert_eq!(n, 3001);
    }

    #[test]
    fn packed_places_sort_as_places() {
        let place = |plan, ordinal| Place { plan, ordinal };
        let places = [place(0, 0), place(0, 1 << 39), place(1, 0), place(7, 12)];
        assert!(places.windows(2).all(|two| two[0].pack() < two[1].pack()));
        assert!(
            places
                .iter()
                .all(|place| Place::unpack(place.pack()) == *place)
        );
    }
}
