//! Which row groups a predicate can select from, by their statistics.
//!
//! A row group is left out only if its statistics prove that no row matches. Those of float columns
//! prove nothing: they leave NaN out, which is above every number in a comparison. A null count that
//! is missing is not taken for none.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, UInt64Array};
use arrow::datatypes::Schema;
use datafusion::common::pruning::PruningStatistics;
use datafusion::common::{Column, ScalarValue};
use datafusion::physical_optimizer::pruning::PruningPredicateBuilder;
use parquet::arrow::arrow_reader::ArrowReaderMetadata;
use parquet::arrow::arrow_reader::statistics::StatisticsConverter;

use crate::source::scan::Predicate;

/// For each row group of a file, whether it must be read.
pub(super) fn groups_to_read(predicate: &Predicate, footer: &ArrowReaderMetadata) -> Vec<bool> {
    let all = || vec![true; footer.metadata().num_row_groups()];
    let Ok(pruning) = PruningPredicateBuilder::new()
        .with_file_schema(Arc::clone(predicate.schema()))
        .try_build(Arc::clone(predicate.expression()))
    else {
        return all();
    };
    pruning.prune(&Groups(footer)).unwrap_or_else(|_| all())
}

/// The row groups of a file, as DataFusion asks for their statistics.
struct Groups<'f>(&'f ArrowReaderMetadata);

impl Groups<'_> {
    fn schema(&self) -> &Schema {
        self.0.schema()
    }

    fn converter(&self, column: &Column) -> Option<StatisticsConverter<'_>> {
        StatisticsConverter::try_new(&column.name, self.schema(), self.0.parquet_schema()).ok()
    }

    fn bounds(&self, column: &Column) -> Option<StatisticsConverter<'_>> {
        let field = self.schema().field_with_name(&column.name).ok()?;
        (!field.data_type().is_floating()).then(|| self.converter(column))?
    }
}

impl PruningStatistics for Groups<'_> {
    fn min_values(&self, column: &Column) -> Option<ArrayRef> {
        let groups = self.0.metadata().row_groups();
        self.bounds(column)?.row_group_mins(groups).ok()
    }

    fn max_values(&self, column: &Column) -> Option<ArrayRef> {
        let groups = self.0.metadata().row_groups();
        self.bounds(column)?.row_group_maxes(groups).ok()
    }

    fn num_containers(&self) -> usize {
        self.0.metadata().num_row_groups()
    }

    fn null_counts(&self, column: &Column) -> Option<ArrayRef> {
        let converter = self
            .converter(column)?
            .with_missing_null_counts_as_zero(false);
        let counts = converter
            .row_group_null_counts(self.0.metadata().row_groups())
            .ok()?;
        Some(Arc::new(counts))
    }

    fn row_counts(&self) -> Option<ArrayRef> {
        let groups = self.0.metadata().row_groups().iter();
        let counts = groups.map(|group| u64::try_from(group.num_rows()).ok());
        Some(Arc::new(counts.collect::<UInt64Array>()))
    }

    fn contained(&self, _: &Column, _: &HashSet<ScalarValue>) -> Option<BooleanArray> {
        None
    }
}
