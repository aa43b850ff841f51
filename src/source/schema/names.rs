//! Columns by their names.

use arrow::datatypes::Schema;

use crate::base::{Error, ErrorKind, Result, ResultExt, nearest};

/// The place of the column `name`, or an error that says which was meant.
pub(crate) fn find_column(schema: &Schema, name: &str) -> Result<usize> {
    schema
        .index_of(name)
        .or_err(ErrorKind::Invalid, "the source has no such column")
        .map_err(|error| {
            let names = schema.fields().iter().map(|field| field.name().as_str());
            let error = error.with("column", name);
            match nearest(name, names.clone()) {
                Some(near) => error.hint(format!("did you mean `{near}`?")),
                None => error.hint(format!("it has {}", names.collect::<Vec<_>>().join(", "))),
            }
        })
}

/// A column that cannot be told from another cannot be named.
pub(crate) fn check_names(schema: &Schema) -> Result<()> {
    let mut names: Vec<&str> = schema
        .fields()
        .iter()
        .map(|field| field.name().as_str())
        .collect();
    names.sort_unstable();
    match names.windows(2).find(|pair| pair[0] == pair[1]) {
        None => Ok(()),
        Some(pair) => Err(
            Error::invalid("two columns of the source have the same name")
                .with("column", pair[0])
                .hint("give one of them another name, in a query with `AS`"),
        ),
    }
}
