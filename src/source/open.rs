//! A source, opened: what it is, what it holds, and how to read it.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use futures::TryStreamExt;

use crate::base::{Error, Location, Result, Stores};
use crate::source::files::{FileFormat, Listing, list};
use crate::source::parquet::{ParquetTable, SourceFile, scan_table};
use crate::source::query::{Query, scan_query, session_context};
use crate::source::scan::{Predicate, ResolvedScan, Sample, Sampler, Scan, Slices};
use crate::source::schema::{check_names, find_column};
use crate::source::snapshot;
use crate::source::text::{OptionsCheck, TextNotes, TextOptions};
use crate::work::Pin;

/// What to read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// A query over named tables.
    Query {
        /// The SQL text.
        sql: String,
        /// What each name in it reads: absolute paths or URLs.
        tables: BTreeMap<String, String>,
        /// The values that `$name` stands for.
        vars: BTreeMap<String, String>,
        /// Options for those of them that are text.
        text: TextOptions,
    },
    /// A file, folder or glob, as an absolute path or a URL.
    Table {
        /// The address.
        address: String,
        /// Options for it, if it is text.
        text: TextOptions,
    },
}

impl Input {
    /// A table without options.
    #[must_use]
    pub fn table(address: impl Into<String>) -> Input {
        Input::Table {
            address: address.into(),
            text: TextOptions::default(),
        }
    }
}

/// A source whose schema is known, and whose rows can be read as often as needed.
#[derive(Clone, Debug)]
pub struct Source {
    kind: Kind,
    schema: SchemaRef,
}

#[derive(Clone, Debug)]
enum Kind {
    Table(Arc<ParquetTable>),
    Query(Arc<Query>),
}

impl Source {
    /// Opens `input`: finds its files and reads their footers, or plans its query. No rows are read.
    /// Sorts that do not fit into memory are spilled beneath `scratch`.
    ///
    /// # Errors
    /// `Invalid` if the input is not there, cannot be read as what it is, or is not understood;
    /// `Refused` or `Unavailable` if a store does not answer.
    pub async fn open(input: &Input, stores: &Arc<Stores>, scratch: &Path) -> Result<Source> {
        match input {
            Input::Table { address, text } => {
                let listing = list(stores, address).await?;
                Source::of_listing(listing, text, scratch).await
            }
            Input::Query {
                sql,
                tables,
                vars,
                text,
            } => {
                let context = session_context(scratch)?;
                let query = Query::open(context, stores, sql, tables, vars, text).await?;
                Source::of_query(query)
            }
        }
    }

    async fn of_listing(listing: Listing, text: &TextOptions, scratch: &Path) -> Result<Source> {
        if listing.format == FileFormat::Parquet {
            OptionsCheck::default().check(text)?;
            let table = ParquetTable::open(listing).await?;
            let schema = Arc::clone(&table.schema);
            check_names(&schema)?;
            return Ok(Source {
                kind: Kind::Table(Arc::new(table)),
                schema,
            });
        }
        Source::of_query(Query::files(session_context(scratch)?, listing, text).await?)
    }

    fn of_query(query: Query) -> Result<Source> {
        let schema = Arc::clone(&query.schema);
        check_names(&schema)?;
        Ok(Source {
            kind: Kind::Query(Arc::new(query)),
            schema,
        })
    }

    /// The columns, as a user sees them: the files' own, then the Hive partitions' (strings).
    #[must_use]
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// Whether it is Parquet files as they are; anything else needs a [`Source::snapshot`] to be
    /// pinned.
    #[must_use]
    pub fn is_table(&self) -> bool {
        matches!(self.kind, Kind::Table(_))
    }

    /// The Parquet files, in the order of their rows; none unless [`Source::is_table`].
    #[must_use]
    pub fn files(&self) -> &[SourceFile] {
        match &self.kind {
            Kind::Table(table) => &table.files,
            Kind::Query(_) => &[],
        }
    }

    /// The tables of text that are read, and the columns that were found in them.
    #[must_use]
    pub fn text_notes(&self) -> &[TextNotes] {
        match &self.kind {
            Kind::Table(_) => &[],
            Kind::Query(query) => &query.text,
        }
    }

    /// What pins the files that are read: the table's own, or those behind the query's names.
    #[must_use]
    pub fn pins(&self) -> Vec<Pin> {
        match &self.kind {
            Kind::Table(table) => table.files.iter().map(|file| file.pin.clone()).collect(),
            Kind::Query(query) => query.inputs.clone(),
        }
    }

    /// Whether its files have the same columns, so that they can be copied into one.
    #[must_use]
    pub fn is_uniform(&self) -> bool {
        match &self.kind {
            Kind::Table(table) => table.is_uniform,
            Kind::Query(_) => true,
        }
    }

    /// What a person should know of it before anything is paid: the files that are passed by, columns
    /// that not all files have, and those that are read as another type.
    #[must_use]
    pub fn notes(&self) -> &[String] {
        match &self.kind {
            Kind::Table(table) => &table.notes,
            Kind::Query(query) => &query.notes,
        }
    }

    /// Whether the address names one Parquet file, and not a folder or a glob of them.
    #[must_use]
    pub fn is_single_file(&self) -> bool {
        matches!(&self.kind, Kind::Table(table) if table.is_file)
    }

    /// The Hive partition columns that `file` brings to the table, with its values.
    #[must_use]
    pub fn partitions_of(&self, file: &SourceFile) -> Vec<(String, Option<String>)> {
        match &self.kind {
            Kind::Table(table) => table.partitions_of(file),
            Kind::Query(_) => Vec::new(),
        }
    }

    /// How many rows there are, where the footers say so.
    #[must_use]
    pub fn rows(&self) -> Option<u64> {
        match &self.kind {
            Kind::Table(table) => Some(table.rows()),
            Kind::Query(_) => None,
        }
    }

    /// Reads rows, in the order of the source, each with its position.
    ///
    /// A query runs anew with each scan; unless it says `ORDER BY` over unique columns, its
    /// positions hold for this scan alone.
    ///
    /// # Errors
    /// `Invalid` if a column does not exist or the query cannot run. The stream fails where the
    /// rows cannot be read; nothing comes after a failure.
    pub async fn scan(&self, scan: Scan) -> Result<Slices> {
        let resolved = ResolvedScan {
            columns: self.places(&scan.columns)?,
            filter: scan.filter,
            sample: scan.sample,
            batch_rows: scan.batch_rows,
            from: scan.from,
            limit: scan.limit,
            views: scan.views,
        };
        match &self.kind {
            Kind::Table(table) => Ok(scan_table(Arc::clone(table), resolved)),
            Kind::Query(query) => scan_query(query, resolved).await,
        }
    }

    /// Draws `rows` of those rows that `filter` selects. With a filter, the columns that it names are
    /// read; without one, a table of Parquet files is not read at all.
    ///
    /// # Errors
    /// As [`Source::scan`].
    pub async fn sample(
        &self,
        filter: Option<&Predicate>,
        (rows, seed): (u64, u64),
    ) -> Result<Sample> {
        let mut sampler = Sampler::new(rows, seed);
        if let (None, Some(count)) = (filter, self.rows()) {
            (0..count).for_each(|row| sampler.offer(row));
            return Ok(sampler.finish());
        }
        let mut scan = Scan::of::<String>([]);
        scan.filter = filter.cloned();
        let mut slices = self.scan(scan).await?;
        while let Some(slice) = slices.try_next().await? {
            slice.rows.iter().for_each(|row| sampler.offer(row));
            // Reading from disk never waits, and a cancellation must get its turn all the same.
            tokio::task::yield_now().await;
        }
        Ok(sampler.finish())
    }

    fn places(&self, columns: &[String]) -> Result<Vec<usize>> {
        columns
            .iter()
            .map(|name| find_column(&self.schema, name))
            .collect()
    }

    /// Writes all rows, in order, as Parquet files beneath `folder`, and opens those in the place of
    /// this source.
    ///
    /// # Errors
    /// As [`Source::scan`]; `Invalid` if a column's type has no place in Parquet, `Unavailable` if
    /// the folder cannot be written.
    pub async fn snapshot(
        &self,
        folder: &Location,
        stores: &Arc<Stores>,
        scratch: &Path,
    ) -> Result<Source> {
        let all = self
            .schema
            .fields()
            .iter()
            .map(|field| field.name().clone());
        let rows = self.scan(Scan::of(all)).await?;
        snapshot::write(rows, &self.schema, folder).await?;
        let address = match &folder.local {
            Some(local) => text_of(local)?,
            None => format!("{}/", folder.url.as_str().trim_end_matches('/')),
        };
        Source::open(&Input::table(address), stores, scratch).await
    }
}

fn text_of(local: &Path) -> Result<String> {
    local
        .to_str()
        .map(str::to_owned)
        .ok_or_else(|| Error::invalid("the path is not Unicode").with("path", local.display()))
}
