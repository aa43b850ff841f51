//! One table of files whose columns differ.
//!
//! Columns are matched by name. One that a file lacks is null there; one of another type is read as the
//! type that holds both without loss (`common_type`). What cannot be told for sure is refused, by file and
//! column: types that have no such type, names that differ in case alone, a file that has no column
//! of the others.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};

use crate::base::pandas::{PANDAS_KEY, without_range};
use crate::base::{Error, Result};

use super::common_type::common_type;

/// What came of merging.
#[derive(Debug)]
pub(crate) struct MergedSchema {
    /// The columns of all files: those of the first in its order, then what others add.
    pub(crate) schema: Schema,
    /// For each file, where it has the table's columns.
    pub(crate) mappings: Vec<ColumnMap>,
    /// What a person should know of it.
    pub(crate) notes: Vec<String>,
}

/// For each column of a table, its place in a file; none, if the file lacks it.
pub(crate) type ColumnMap = Arc<[Option<usize>]>;

/// The columns of `files`, each with its name. There is at least one.
pub(crate) fn merge(files: &[(&str, &SchemaRef)]) -> Result<MergedSchema> {
    // The first file of each kind, and the kind of each file.
    let mut kinds: Vec<(&str, &SchemaRef)> = Vec::new();
    let mut kind_of = Vec::with_capacity(files.len());
    for (name, schema) in files {
        let same = |(_, kind): &(&str, &SchemaRef)| kind.fields() == schema.fields();
        kind_of.push(kinds.iter().position(same).unwrap_or_else(|| {
            kinds.push((name, schema));
            kinds.len() - 1
        }));
    }
    let mut columns = Columns::default();
    for kind in &kinds {
        columns.take(*kind, kinds[0].0)?;
    }
    let notes = columns.notes();
    let metadata = notes_of(files);
    let fields: Vec<Field> = columns.list.into_iter().map(Column::finished).collect();
    let schema = Schema::new_with_metadata(fields, metadata);
    let mappings: Vec<ColumnMap> = kinds
        .iter()
        .map(|kind| mapping_of(&schema, kind.1))
        .collect();
    let mappings = kind_of.iter().map(|kind| Arc::clone(&mappings[*kind]));
    Ok(MergedSchema {
        mappings: mappings.collect(),
        schema,
        notes,
    })
}

/// What the first file notes of itself; not what would be wrong of the rows of others.
fn notes_of(files: &[(&str, &SchemaRef)]) -> HashMap<String, String> {
    let mut notes = files[0].1.metadata().clone();
    if files.len() > 1
        && let Some(of_pandas) = notes.remove(PANDAS_KEY)
    {
        let rest = without_range(&of_pandas);
        notes.extend(rest.map(|rest| (PANDAS_KEY.to_owned(), rest.into_owned())));
    }
    notes
}

fn mapping_of(table: &Schema, file: &Schema) -> ColumnMap {
    let named = |(at, field): (usize, &FieldRef)| (field.name().clone(), at);
    let by_name: HashMap<String, usize> = file.fields().iter().enumerate().map(named).collect();
    let fields = table.fields().iter();
    fields
        .map(|field| by_name.get(field.name()).copied())
        .collect()
}

/// A column of the table, so far.
struct Column {
    field: Field,
    /// The file that gave it the type that it has.
    typed_by: String,
    /// The file that has it first, and the type that it has there.
    first: (String, DataType),
    /// A file that lacks it.
    missing_in: Option<String>,
}

impl Column {
    fn is_wider(&self) -> bool {
        *self.field.data_type() != self.first.1
    }

    /// A column that some files lack may be null. An extension says how the values of a type are meant,
    /// and not those of a wider one.
    fn finished(self) -> Field {
        let (wider, missing) = (self.is_wider(), self.missing_in.is_some());
        let nullable = self.field.is_nullable() || missing;
        let mut field = self.field.with_nullable(nullable);
        if wider {
            let metadata = field.metadata_mut();
            metadata.retain(|key, _| !key.starts_with("ARROW:extension"));
        }
        field
    }

    fn widen(&mut self, file: &str, field: &Field) -> Result<()> {
        let nullable = self.field.is_nullable() || field.is_nullable();
        self.field.set_nullable(nullable);
        let (here, there) = (self.field.data_type(), field.data_type());
        let Some(common) = common_type(here, there) else {
            return Err(
                Error::invalid("the files of the table have different columns")
                    .with("column", field.name())
                    .with("file", file)
                    .with("has", there)
                    .with("first_file", &self.typed_by)
                    .with("first_has", here)
                    .hint(UNION),
            );
        };
        if common != *here {
            self.field.set_data_type(common);
            file.clone_into(&mut self.typed_by);
        }
        Ok(())
    }
}

#[derive(Default)]
struct Columns {
    list: Vec<Column>,
    by_name: HashMap<String, usize>,
    /// The names in small letters, each with the name.
    by_letters: HashMap<String, String>,
}

impl Columns {
    /// Takes the columns of a file.
    fn take(&mut self, (file, schema): (&str, &SchemaRef), first_file: &str) -> Result<()> {
        let known = self.list.len();
        let mut seen = vec![false; known];
        for field in schema.fields() {
            match self.by_name.get(field.name()).copied() {
                Some(at) if at < known && !seen[at] => {
                    seen[at] = true;
                    self.list[at].widen(file, field)?;
                }
                Some(_) => return Err(twice(file, field.name())),
                None => self.add(file, first_file, field, known)?,
            }
        }
        if known > 0 && !seen.contains(&true) {
            return Err(Error::invalid("a file has no column of the others")
                .with("file", file)
                .with("first_file", first_file)
                .hint(
                    "choose the files of one table with a glob, such as `folder/orders-*.parquet`",
                ));
        }
        for (column, _) in self.list.iter_mut().zip(seen).filter(|(_, seen)| !seen) {
            column.missing_in.get_or_insert_with(|| file.to_owned());
        }
        Ok(())
    }

    fn add(&mut self, file: &str, first_file: &str, field: &Field, known: usize) -> Result<()> {
        let letters = field.name().to_lowercase();
        // Engines that do not tell case apart would take the two for one column.
        if let Some(other) = self.by_letters.get(&letters).filter(|_| known > 0) {
            return Err(Error::invalid("the files spell a column in different ways")
                .with("file", file)
                .with("column", field.name())
                .with("first_file", first_file)
                .with("first_has", other)
                .hint(UNION));
        }
        self.by_letters.insert(letters, field.name().clone());
        self.by_name.insert(field.name().clone(), self.list.len());
        self.list.push(Column {
            field: field.clone(),
            typed_by: file.to_owned(),
            first: (file.to_owned(), field.data_type().clone()),
            missing_in: (known > 0).then(|| first_file.to_owned()),
        });
        Ok(())
    }

    fn notes(&self) -> Vec<String> {
        let lacking = self.list.iter().filter_map(|column| {
            let lacks = column.missing_in.as_ref()?;
            Some(format!("`{}` (missing in {lacks})", column.field.name()))
        });
        let wider = self.list.iter().filter(|column| column.is_wider());
        let wider = wider.map(|column| {
            let (name, now) = (column.field.name(), column.field.data_type());
            let (file, then) = &column.first;
            format!(
                "`{name}` as {now} ({then} in {file}, other in {})",
                column.typed_by
            )
        });
        [
            ("not every file has these columns, which are null where they are missing", listed(&lacking.collect::<Vec<_>>())),
            ("the files have these columns in different types, and they are read as one that holds all", listed(&wider.collect::<Vec<_>>())),
        ]
        .into_iter()
        .filter_map(|(what, list)| Some(format!("{what}: {}", list?)))
        .collect()
    }
}

/// Columns that are named in a note.
const NAMED_MAX: usize = 5;

/// The first of `names`, and how many more there are; nothing, if there is none.
fn listed(names: &[String]) -> Option<String> {
    let more = names.len().saturating_sub(NAMED_MAX);
    let shown = names[..names.len() - more].join(", ");
    match (names.is_empty(), more) {
        (true, _) => None,
        (_, 0) => Some(shown),
        _ => Some(format!("{shown} and {more} more")),
    }
}

fn twice(file: &str, name: &str) -> Error {
    Error::invalid("two columns of the source have the same name")
        .with("column", name)
        .with("file", file)
        .hint("write the file anew, with another name for one of them")
}

/// A way that works: a test runs the query as it stands here.
const UNION: &str = "read the files of each kind under a name of their own and put them together in a query: \
    `tables = { old = \"data/old-*.parquet\", new = \"data/new-*.parquet\" }`, and \
    `SELECT id, CAST(n AS VARCHAR) AS n FROM old UNION ALL SELECT id, n FROM new`";
