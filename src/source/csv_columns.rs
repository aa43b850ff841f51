//! The columns of CSV files, found in one reading from the first byte on.
//!
//! DataFusion cuts the bytes at line ends first, and its cutter loses count of the quotes in all pieces
//! but the first: a table whose texts have line breaks could not be opened once it was larger than two
//! pieces.

use std::sync::Arc;

use arrow::csv::reader::Format;
use arrow::datatypes::Schema;
use datafusion::common::{DataFusionError, Result};
use object_store::{ObjectMeta, ObjectStore, ObjectStoreExt};

use super::format::INFERRED_RECORDS;
use super::pull::Pull;

/// The columns of `files`, which have a header line each, by the first records in them.
pub(super) async fn csv_columns(
    store: &Arc<dyn ObjectStore>,
    files: &[ObjectMeta],
) -> Result<Schema> {
    let mut left = INFERRED_RECORDS;
    let mut found = Vec::new();
    for file in files {
        let got = store.get(&file.location).await?;
        let (bytes, failure) = Pull::new(got.into_stream());
        let columns = tokio::task::spawn_blocking(move || {
            let format = Format::default().with_header(true);
            format.infer_schema(bytes, Some(left))
        });
        let columns = columns
            .await
            .map_err(|e| DataFusionError::External(e.into()))?;
        let (schema, records) = columns.map_err(|error| match failure.take() {
            Some(store) => DataFusionError::from(store),
            None => DataFusionError::from(error).context(format!("in {}", file.location)),
        })?;
        found.push(schema);
        left = left.saturating_sub(records);
        if left == 0 {
            break;
        }
    }
    Ok(Schema::try_merge(found)?)
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::DataType;
    use object_store::memory::InMemory;
    use object_store::path::Path;

    use super::*;

    #[tokio::test]
    async fn line_breaks_in_quotes_are_no_ends_wherever_they_stand() {
        let path = Path::from("t.csv");
        // Several pieces of a local file's stream; a quote that a backslash does not escape.
        let row = |n: u32| format!("{n},{},\"a \"\"b\"\"\nline {n}\\\",\n", n % 2);
        let rows: Vec<String> = (0..3_000).map(row).collect();
        let text = format!("id,share,body,none\n{}3000,0.5,last,\n", rows.concat());
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join("t.csv"), &text).expect("written");
        let local = object_store::local::LocalFileSystem::new_with_prefix(folder.path());
        let memory = InMemory::new();
        memory.put(&path, text.into()).await.expect("stored");
        let stores: [Arc<dyn ObjectStore>; 2] =
            [Arc::new(local.expect("a store")), Arc::new(memory)];
        for store in stores {
            let meta = store.head(&path).await.expect("there");
            let schema = csv_columns(&store, &[meta]).await.expect("columns");
            let found: Vec<_> = schema
                .fields()
                .iter()
                .map(|field| (field.name().as_str(), field.data_type()))
                .collect();
            let wanted = [
                ("id", &DataType::Int64),
                ("share", &DataType::Float64),
                ("body", &DataType::Utf8),
                ("none", &DataType::Null),
            ];
            assert_eq!(found, wanted, "{store}");
        }
    }
}
