//! Logical types that a later version of Parquet has and this program cannot write, and statistics
//! that would be taken for more than they are.

use std::sync::Arc;

use parquet::basic::{ColumnOrder, EdgeInterpolationAlgorithm, LogicalType};
use parquet::errors::Result as ParquetResult;
use parquet::file::metadata::FileMetaData;
use parquet::schema::types::{ColumnDescPtr, SchemaDescriptor, Type, TypePtr};

/// The columns, by path, whose logical types cannot be written: their copies have the physical type
/// alone, which is what readers make of a logical type that they do not know.
pub(in crate::output) fn unknown_types(root: &Type) -> Vec<String> {
    fn look(parent: &str, kind: &Type, found: &mut Vec<String>) {
        let path = match parent {
            "" => kind.name().to_owned(),
            parent => format!("{parent}.{}", kind.name()),
        };
        if is_unknown(kind) {
            found.push(path.clone());
        }
        if kind.is_group() {
            kind.get_fields()
                .iter()
                .for_each(|field| look(&path, field, found));
        }
    }
    let mut found = Vec::new();
    root.get_fields()
        .iter()
        .for_each(|field| look("", field, &mut found));
    found
}

/// `kind` with the logical types that can be written.
pub(in crate::output) fn writable(kind: &TypePtr) -> ParquetResult<TypePtr> {
    let info = kind.get_basic_info();
    let repetition = info.has_repetition().then(|| info.repetition());
    let id = info.has_id().then(|| info.id());
    let logical = info
        .logical_type_ref()
        .filter(|_| !is_unknown(kind))
        .cloned();
    let name = kind.name();
    match kind.as_ref() {
        Type::PrimitiveType {
            physical_type,
            type_length,
            scale,
            precision,
            ..
        } if is_unknown(kind) => {
            let mut builder = Type::primitive_type_builder(name, *physical_type)
                .with_converted_type(info.converted_type())
                .with_length(*type_length)
                .with_precision(*precision)
                .with_scale(*scale)
                .with_id(id);
            if let Some(repetition) = repetition {
                builder = builder.with_repetition(repetition);
            }
            Ok(Arc::new(builder.build()?))
        }
        Type::PrimitiveType { .. } => Ok(Arc::clone(kind)),
        Type::GroupType { fields, .. } => {
            let written = fields
                .iter()
                .map(writable)
                .collect::<ParquetResult<Vec<_>>>()?;
            let same = written.iter().zip(fields).all(|(a, b)| Arc::ptr_eq(a, b));
            if same && !is_unknown(kind) {
                return Ok(Arc::clone(kind));
            }
            let mut builder = Type::group_type_builder(name)
                .with_converted_type(info.converted_type())
                .with_logical_type(logical)
                .with_fields(written)
                .with_id(id);
            if let Some(repetition) = repetition {
                builder = builder.with_repetition(repetition);
            }
            Ok(Arc::new(builder.build()?))
        }
    }
}

/// The schema of a file with the logical types that can be written.
pub(in crate::output) fn writable_schema(file: &FileMetaData) -> ParquetResult<SchemaDescriptor> {
    let root = file.schema_descr().root_schema_ptr();
    writable(&root).map(SchemaDescriptor::new)
}

fn is_unknown(kind: &Type) -> bool {
    match kind.get_basic_info().logical_type_ref() {
        Some(LogicalType::_Unknown { .. }) => true,
        Some(LogicalType::Geography(kind)) => {
            matches!(
                kind.algorithm(),
                Some(EdgeInterpolationAlgorithm::_Unknown(_))
            )
        }
        _ => false,
    }
}

/// Whose statistics of one source may come along. An output's footer says of all columns that their
/// least and greatest values are those of the type's own order; where the source says otherwise, or
/// has a type that gives no order, readers would skip rows by what is not true.
#[derive(Clone, Debug, Default)]
pub(in crate::output) struct Trust {
    distrusted: Vec<bool>,
}

impl Trust {
    /// Of the file whose footer this is; `among_others` says whether the output has other files' row
    /// groups as well, and so no longer the name of this one's writer.
    pub(in crate::output) fn of(file: &FileMetaData, among_others: bool) -> Trust {
        let orders = file.column_orders();
        let by_writer = among_others && is_judged_by_name(file.created_by());
        let columns = file.schema_descr().columns().iter().enumerate();
        let distrusted = |(leaf, column): (usize, &ColumnDescPtr)| {
            let order = orders.and_then(|orders| orders.get(leaf));
            by_writer
                || matches!(order, Some(ColumnOrder::UNKNOWN))
                || is_unknown(column.self_type())
        };
        Trust {
            distrusted: columns.map(distrusted).collect(),
        }
    }

    /// Whether those of column `leaf` may.
    pub(in crate::output) fn statistics_of(&self, leaf: usize) -> bool {
        !self
            .distrusted
            .get(leaf)
            .is_some_and(|distrusted| *distrusted)
    }
}

/// Whether readers pass by the statistics of this writer, by its name: those of `parquet-mr` before
/// 1.8.0 (PARQUET-251) and of `parquet-cpp` before 1.3.0 are wrong for some types, and of a writer
/// without a name nobody knows.
fn is_judged_by_name(creator: Option<&str>) -> bool {
    let Some(creator) = creator else {
        return true;
    };
    let Some((name, version)) = creator.split_once(" version ") else {
        return true;
    };
    let digits = |part: &str| {
        part.chars()
            .take_while(char::is_ascii_digit)
            .collect::<String>()
    };
    let mut numbers = version
        .split('.')
        .map(|part| digits(part).parse().unwrap_or(0));
    let version: (u32, u32) = (
        numbers.next().unwrap_or_default(),
        numbers.next().unwrap_or_default(),
    );
    match name {
        "parquet-mr" => version < (1, 8),
        "parquet-cpp" => version < (1, 3),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statistics_are_judged_by_their_writers_name() {
        for (creator, expect) in [
            (None, true),
            (Some("something"), true),
            (Some("parquet-mr version 1.6.0 (build 6aa)"), true),
            (Some("parquet-mr version 1.8.0"), false),
            (Some("parquet-mr version 1.15.2 (build 332)"), false),
            (Some("parquet-cpp version 1.2.1-SNAPSHOT"), true),
            (Some("parquet-cpp-arrow version 26.0.1"), false),
            (Some("DuckDB version v2.0.0 (build 1)"), false),
        ] {
            assert_eq!(is_judged_by_name(creator), expect, "{creator:?}");
        }
    }
}
