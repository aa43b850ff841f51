//! What an output file looks like: which of the source's columns are copied, which are encoded, and
//! what its footer says.

use std::sync::Arc;

use arrow::datatypes::{Schema, SchemaRef};
use parquet::arrow::ArrowSchemaConverter;
use parquet::file::metadata::{FileMetaData, KeyValue};
use parquet::schema::types::{SchemaDescPtr, SchemaDescriptor, Type, TypePtr};

use crate::base::{Error, Result};
use crate::output::error::from_parquet;
use crate::output::read::source::Source;
use crate::output::write::schema::{
    check_names, generated_fields, joined, key_values, source_schema,
};
use crate::output::write::types::{writable, writable_schema};
use crate::output::{Layout, SourceFile};

/// The shape of one output file.
#[derive(Debug)]
pub(in crate::output) struct Shape {
    /// All its columns.
    pub(in crate::output) schema: SchemaDescPtr,
    /// The columns that are encoded: the generated ones, then the answers.
    pub(in crate::output) encoded: SchemaRef,
    /// How many of those are generated.
    pub(in crate::output) generated_count: usize,
    /// The Parquet types of those.
    pub(in crate::output) encoded_root: TypePtr,
    /// The key-values of its footer.
    pub(in crate::output) key_values: Vec<KeyValue>,
    /// The types of the columns that are copied, which every source file must have.
    copied: Vec<TypePtr>,
}

/// Which columns of one source file are copied.
#[derive(Debug)]
pub(in crate::output) struct Selection {
    /// Top-level columns, in the output's order.
    roots: Vec<usize>,
    /// Their leaves, in the output's order.
    pub(in crate::output) leaves: Vec<usize>,
}

impl Shape {
    /// The shape of a file of `rows` rows that begins with `first`.
    pub(in crate::output) fn new(
        first: &Source,
        layout: &Layout,
        sources: &[SourceFile],
        (answers, rows): (&Schema, u64),
        identity: &[(String, String)],
    ) -> Result<Shape> {
        let generated = generated_fields(layout, sources);
        let generated_count = generated.len();
        let fields = generated.into_iter().map(Arc::new);
        let fields = fields.chain(answers.fields().iter().cloned());
        let encoded = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
        let selection = Selection::of(first, layout, &names(&encoded)[..generated_count])?;
        let file = first.metadata().file_metadata();
        let readable = writable_schema(file);
        let readable = readable
            .map_err(|error| from_parquet(error, "cannot take the schema over", first.name()))?;
        let old = source_schema(file, &readable, first.name())?;
        let schema = joined(&old, &selection.roots, &encoded, rows);
        let kept = names(&schema).into_iter().take(selection.roots.len());
        check_names(kept.chain(path_names(layout, sources)), names(&encoded))?;
        let encoded_root = parquet_root(&encoded)?;
        let copied = selection.types(file);
        Ok(Shape {
            schema: Arc::new(output_schema(file, &copied, &encoded_root)?),
            key_values: key_values(file, (&schema, rows), identity),
            encoded,
            generated_count,
            encoded_root,
            copied,
        })
    }

    /// Which columns of `source` are copied; an error if they are not what the first file has.
    pub(in crate::output) fn select(&self, source: &Source, layout: &Layout) -> Result<Selection> {
        let selection = Selection::of(
            source,
            layout,
            &names(&self.encoded)[..self.generated_count],
        )?;
        let types = selection.types(source.metadata().file_metadata());
        let odd = self.copied.iter().zip(&types).find(|(a, b)| a != b);
        if odd.is_none() && types.len() == self.copied.len() {
            return Ok(selection);
        }
        let column = odd.map_or_else(String::new, |(expected, _)| expected.name().to_owned());
        Err(
            Error::invalid("the files of the table differ in their columns")
                .with("path", source.name())
                .with("column", column)
                .hint("`layout = \"mirror\"` keeps each file as it is"),
        )
    }
}

impl Selection {
    fn of(source: &Source, layout: &Layout, generated: &[&str]) -> Result<Selection> {
        let schema = source.metadata().file_metadata().schema_descr();
        let fields = schema.root_schema().get_fields();
        let roots = match layout {
            Layout::Mirror | Layout::Single => (0..fields.len()).collect(),
            Layout::Keyed { key } => key
                .iter()
                .filter(|column| !generated.contains(&column.as_str()))
                .map(|column| key_root(fields, column, source.name()))
                .collect::<Result<Vec<_>>>()?,
        };
        let leaves_of = |root: &usize| {
            let root = *root;
            (0..schema.num_columns()).filter(move |leaf| schema.get_column_root_idx(*leaf) == root)
        };
        let leaves = match layout {
            Layout::Mirror | Layout::Single => (0..schema.num_columns()).collect(),
            Layout::Keyed { .. } => roots.iter().flat_map(leaves_of).collect(),
        };
        Ok(Selection { roots, leaves })
    }

    fn types(&self, file: &FileMetaData) -> Vec<TypePtr> {
        let fields = file.schema().get_fields();
        self.roots
            .iter()
            .map(|root| Arc::clone(&fields[*root]))
            .collect()
    }
}

fn key_root(fields: &[TypePtr], column: &str, name: &str) -> Result<usize> {
    fields
        .iter()
        .position(|field| field.name() == column)
        .ok_or_else(|| {
            Error::invalid("a source file lacks a column of the key")
                .with("path", name)
                .with("column", column)
        })
}

fn names(schema: &Schema) -> Vec<&str> {
    let fields = schema.fields().iter();
    fields.map(|field| field.name().as_str()).collect()
}

/// The names of columns that readers take from the files' paths.
fn path_names<'a>(layout: &Layout, sources: &'a [SourceFile]) -> impl Iterator<Item = &'a str> {
    let sources = if *layout == Layout::Mirror {
        sources
    } else {
        &[]
    };
    let partitions = sources
        .first()
        .into_iter()
        .flat_map(|file| &file.partitions);
    partitions.map(|(name, _)| name.as_str())
}

fn parquet_root(schema: &Schema) -> Result<TypePtr> {
    let converted = ArrowSchemaConverter::new().convert(schema);
    match converted {
        Ok(descriptor) => Ok(descriptor.root_schema_ptr()),
        Err(error) => Err(Error::invalid("Parquet cannot hold the answer's type")
            .with("schema", schema)
            .because(error)),
    }
}

fn output_schema(file: &FileMetaData, copied: &[TypePtr], new: &Type) -> Result<SchemaDescriptor> {
    let copied = copied.iter().map(writable).collect::<Result<Vec<_>, _>>();
    let root = copied
        .and_then(|copied| {
            let fields = copied.into_iter().chain(new.get_fields().iter().cloned());
            Type::group_type_builder(file.schema().name())
                .with_fields(fields.collect())
                .build()
        })
        .map_err(|error| from_parquet(error, "cannot join the schemas", file.schema().name()))?;
    Ok(SchemaDescriptor::new(Arc::new(root)))
}
