//! The row map: `plans/<plan>/rows.parquet`, one row for each of the source's rows, in its order.
//!
//! | column | type | what |
//! |---|---|---|
//! | `status` | word | `pending`: the answer is that of a request; else what the row is already |
//! | `plan` | `UInt32`, null unless pending | the plan whose request it is; an earlier one was asked before |
//! | `ordinal` | `UInt64`, null unless pending | the request's number within that plan |
//! | `row_id` | `UInt64`, null without a key | a hash of the row's key |
//! | `error` | `Utf8`, null | why a row is skipped or failed |
//! | the key columns | as in the source, null | the row's key, under the names that its columns have in the source |
//!
//! A row that `where` does not choose is never read, and has no key here. A key column that is called
//! like a column of the row map has `key_` before its name.

use std::fs::File;
use std::path::Path;
use std::sync::{Arc, LazyLock};

use arrow::array::{
    Array, ArrayRef, AsArray, RecordBatch, StringArray, StringBuilder, UInt32Array, UInt32Builder,
    UInt64Array, UInt64Builder,
};
use arrow::datatypes::{DataType, Field, FieldRef, Schema, UInt32Type, UInt64Type};
use arrow::util::display::array_value_to_string;
use parquet::arrow::arrow_reader::ParquetRecordBatchReader;

use super::bulk::{self, BulkWriter};
use super::row_keys::{KeyColumns, Keys};
use crate::base::{Error, ErrorKind, Result, ResultExt};
use crate::work::RowStatus;

/// The columns that every row map has.
static FIELDS: LazyLock<[Field; 5]> = LazyLock::new(|| {
    [
        bulk::status_field("status"),
        Field::new("plan", DataType::UInt32, true),
        Field::new("ordinal", DataType::UInt64, true),
        Field::new("row_id", DataType::UInt64, true),
        Field::new("error", DataType::Utf8, true),
    ]
});
/// Their names.
const OWN: [&str; 5] = ["status", "plan", "ordinal", "row_id", "error"];

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
    keys: Keys,
}

/// The key of a row that was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RowKey {
    /// Its hash.
    pub hash: u64,
    /// Where it stands in the slice that the row came with.
    pub place: u32,
}

impl std::fmt::Debug for RowMapWriter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RowMapWriter").finish_non_exhaustive()
    }
}

impl RowMapWriter {
    /// A new file at the local `path`, for rows with these key columns.
    ///
    /// # Errors
    /// `Unavailable` if it cannot be written.
    pub fn create(path: &Path, keys: &[(String, DataType)]) -> Result<Self> {
        let keys = KeyColumns::named(keys, &OWN);
        let fields = FIELDS.iter().cloned().map(Arc::new);
        let fields: Vec<FieldRef> = fields.chain(keys.fields().iter().cloned()).collect();
        // No two keys are the same.
        let mut plain = vec!["ordinal", "row_id"];
        plain.extend(keys.fields().iter().map(|field| field.name().as_str()));
        let schema = Arc::new(Schema::new(fields));
        Ok(RowMapWriter {
            writer: BulkWriter::create(path, schema, bulk::properties(&plain, &[]))?,
            keys: Keys::new(keys.clone()),
            statuses: Vec::new(),
            plans: UInt32Builder::new(),
            ordinals: UInt64Builder::new(),
            row_ids: UInt64Builder::new(),
            errors: StringBuilder::new(),
        })
    }

    /// The rows to come are of a slice with these values of the key columns.
    ///
    /// # Errors
    /// `Internal` if they are other columns than those that the map was made for.
    pub fn begin(&mut self, keys: &[ArrayRef]) -> Result<()> {
        self.keys.begin(keys)
    }

    /// Takes the next row.
    ///
    /// # Errors
    /// `Unavailable` if the file cannot be written.
    pub fn push(&mut self, row: &RowPlan<'_>, key: Option<RowKey>) -> Result<()> {
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
        self.row_ids.append_option(key.map(|key| key.hash));
        self.keys.push(key.map(|key| key.place));
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
        let mut columns: Vec<ArrayRef> = vec![
            bulk::status_column(&mut self.statuses),
            Arc::new(self.plans.finish()),
            Arc::new(self.ordinals.finish()),
            Arc::new(self.row_ids.finish()),
            Arc::new(self.errors.finish()),
        ];
        columns.extend(self.keys.finish()?);
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
        Ok(RowMapReader(bulk::read(file, &OWN)?))
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

/// The values of the key columns of row `row` of a row map, by name; none, if it was made before they
/// were kept, or if the row was not read.
///
/// # Errors
/// `Data` if it is not such a file.
pub fn read_keys(file: File, row: u64) -> Result<Vec<(String, Option<String>)>> {
    let mut before = 0;
    let mut reader = bulk::read(file, &[])?;
    while let Some(batch) = bulk::next(&mut reader) {
        let batch = batch?;
        let rows = batch.num_rows() as u64;
        if row < before + rows {
            let at = usize::try_from(row - before).unwrap_or_default();
            return values(&batch, at);
        }
        before += rows;
    }
    Ok(Vec::new())
}

/// The values of the key columns at `at`.
fn values(batch: &RecordBatch, at: usize) -> Result<Vec<(String, Option<String>)>> {
    let schema = batch.schema();
    let columns = schema.fields().iter().zip(batch.columns()).skip(OWN.len());
    let value = |(field, array): (&FieldRef, &ArrayRef)| {
        let text = || {
            array_value_to_string(array, at)
                .or_err(ErrorKind::Data, "a key of the row map cannot be read")
        };
        let value = array.is_valid(at).then(text).transpose()?;
        Ok((field.name().clone(), value))
    };
    columns.map(value).collect()
}

#[cfg(test)]
mod tests {
    use arrow::array::{Int64Array, TimestampSecondArray};
    use arrow::datatypes::TimeUnit;

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
        let mut writer = RowMapWriter::create(&path, &[]).expect("a file");
        for n in 0..3001 {
            let key = RowKey { hash: n, place: 0 };
            writer
                .push(&row(n), (n % 5 == 0).then_some(key))
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

    /// Rows in slices of `len`, of which every third row is not chosen and so not read; the key of row
    /// `n` is `n` and its name.
    fn write_with_keys(path: &Path, rows: u64, len: u64) {
        let columns = [
            ("id".to_owned(), DataType::Int64),
            ("Status".to_owned(), DataType::Utf8),
            ("at".to_owned(), DataType::Timestamp(TimeUnit::Second, None)),
        ];
        let mut writer = RowMapWriter::create(path, &columns).expect("a file");
        let chosen: Vec<u64> = (0..rows).filter(|n| n % 3 != 1).collect();
        let mut next = 0;
        for slice in chosen.chunks(usize::try_from(len).expect("small")) {
            let number = |n: &u64| i64::try_from(*n).expect("small");
            let ids: Int64Array = slice.iter().map(|n| Some(number(n))).collect();
            let names: StringArray = slice.iter().map(|n| Some(format!("row {n}"))).collect();
            let at: TimestampSecondArray = slice.iter().map(|n| Some(number(n))).collect();
            let keys: [ArrayRef; 3] = [Arc::new(ids), Arc::new(names), Arc::new(at)];
            writer.begin(&keys).expect("a slice");
            for (place, n) in (0..).zip(slice) {
                while next < *n {
                    writer.push(&RowPlan::Skipped(None), None).expect("written");
                    next += 1;
                }
                let key = RowKey { hash: *n, place };
                writer.push(&RowPlan::Deferred, Some(key)).expect("written");
                next += 1;
            }
        }
        while next < rows {
            writer.push(&RowPlan::Skipped(None), None).expect("written");
            next += 1;
        }
        assert_eq!(writer.finish().expect("finished"), rows);
    }

    #[test]
    fn keys_stand_beside_their_rows() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("rows.parquet");
        let open = || File::open(&path).expect("there");
        for (rows, len) in [(1, 1), (2, 5), (3001, 512), (3001, 7), (5000, 4000)] {
            write_with_keys(&path, rows, len);
            let seen: usize = RowMapReader::open(open())
                .expect("Parquet")
                .map(|slice| slice.expect("readable").len())
                .sum();
            assert_eq!(seen as u64, rows);
            for row in (0..rows).step_by(97).chain([rows - 1]) {
                let keys = read_keys(open(), row).expect("keys");
                let names: Vec<_> = keys.iter().map(|(name, _)| name.as_str()).collect();
                assert_eq!(names, ["id", "key_Status", "at"]);
                let values: Vec<_> = keys.iter().map(|(_, value)| value.as_deref()).collect();
                let (id, name) = (row.to_string(), format!("row {row}"));
                let chosen = row % 3 != 1;
                assert_eq!(values[0], chosen.then_some(&*id), "{rows} {len} {row}");
                assert_eq!(values[1], chosen.then_some(&*name), "{rows} {len} {row}");
                assert_eq!(values[2].is_some(), chosen);
            }
            assert!(read_keys(open(), rows).expect("none").is_empty());
        }
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
