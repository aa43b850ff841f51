//! What is not a Parquet table: a query over named tables, or files of another format.
//!
//! It runs in DataFusion, in one partition, so that its rows come in the order of the files or of
//! its `ORDER BY`. `$name` stands for a bound value, never for text of the query.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::buffer::BooleanBuffer;
use arrow::datatypes::SchemaRef;
use datafusion::common::{DataFusionError, ScalarValue, TableReference};
use datafusion::execution::context::SQLOptions;
use datafusion::logical_expr::{Expr, LogicalPlan};
use datafusion::prelude::{DataFrame, SessionContext};
use futures::stream::{self, BoxStream, StreamExt, TryStreamExt};

use crate::base::{Error, ErrorKind, Result, ResultExt, Stores, nearest};
use crate::work::Pin;

use super::context::{BATCH_ROWS, from_datafusion};
use super::kept::{kept_schema, kept_values};
use super::listing::{self, Listing};
use super::pieces::pieces;
use super::predicate::value_of;
use super::provider::{Provided, provide, rows_at_once};
use super::scan::{Resolved, as_index, cut, keep};
use super::slice::{RowNumbers, Slice, Slices};
use super::text::{OptionsCheck, TextNotes, TextOptions};

/// A plan that can be run, again and again.
pub(super) struct Query {
    context: SessionContext,
    plan: LogicalPlan,
    /// What it returns, in types that a snapshot can keep.
    pub(super) schema: SchemaRef,
    /// What pins the files that it reads.
    pub(super) inputs: Vec<Pin>,
    /// What a person should know of the tables.
    pub(super) notes: Vec<String>,
    /// The columns of its tables of text, with the types that they got.
    pub(super) text: Vec<TextNotes>,
}

impl fmt::Debug for Query {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Query")
            .field("plan", &self.plan)
            .finish_non_exhaustive()
    }
}

impl Query {
    /// Plans `sql` over the tables that it names.
    pub(super) async fn open(
        context: SessionContext,
        stores: &Stores,
        sql: &str,
        tables: &BTreeMap<String, String>,
        vars: &BTreeMap<String, String>,
        options: &TextOptions,
    ) -> Result<Query> {
        let (mut inputs, mut all_notes) = (Vec::new(), Vec::new());
        let mut used = OptionsCheck::default();
        for (number, (name, address)) in tables.iter().enumerate() {
            let listing = listing::list(stores, address)
                .await
                .map_err(|e| e.with("name", name))?;
            inputs.extend(listing.pins());
            let provided = provide(&context, listing, number, options)
                .await
                .map_err(|e| e.with("name", name))?;
            let Provided { table, text, notes } = provided;
            if let Some(text) = &text {
                used.add(name, text.columns());
            }
            all_notes.extend(notes.iter().map(|note| format!("{name}: {note}")));
            context
                .register_table(TableReference::bare(name.clone()), table)
                .map_err(|error| {
                    from_datafusion(error, "cannot name the table").with("name", name)
                })?;
        }
        let plan = context
            .state()
            .create_logical_plan(sql)
            .await
            .map_err(|error| explain(error, tables))?;
        only_reads(&plan)?;
        let plan = bind(plan, vars)?;
        let text = used.check(options)?;
        Query::of(context, plan, (inputs, all_notes), text)
    }

    /// Reads files of another format than Parquet as they are.
    pub(super) async fn files(
        context: SessionContext,
        listing: Listing,
        options: &TextOptions,
    ) -> Result<Query> {
        let inputs = listing.pins();
        let mut used = OptionsCheck::default();
        let Provided { table, text, notes } = provide(&context, listing, 0, options).await?;
        if let Some(text) = &text {
            used.add("", text.columns());
        }
        let text = used.check(options)?;
        let plan = context
            .read_table(table)
            .map_err(|error| from_datafusion(error, "cannot read the table"))?
            .into_unoptimized_plan();
        Query::of(context, plan, (inputs, notes), text)
    }

    fn of(
        context: SessionContext,
        plan: LogicalPlan,
        (inputs, notes): (Vec<Pin>, Vec<String>),
        text: Vec<TextNotes>,
    ) -> Result<Query> {
        let schema = Arc::new(kept_schema(plan.schema().as_arrow())?);
        Ok(Query {
            context,
            plan,
            schema,
            inputs,
            notes,
            text,
        })
    }

    /// Runs the plan for some columns.
    async fn run(&self, columns: &[usize]) -> Result<BoxStream<'static, Result<RecordBatch>>> {
        let wrong = |error| from_datafusion(error, "the query failed");
        let plan = LogicalPlanProjection {
            plan: &self.plan,
            columns,
        }
        .build()
        .map_err(wrong)?;
        let mut state = self.context.state();
        // What is read of the tables is known once the plan is optimised.
        let rows = rows_at_once(&state.optimize(&plan).map_err(wrong)?, BATCH_ROWS);
        *state.config_mut() = state.config().clone().with_batch_size(rows);
        let frame = DataFrame::new(state, plan);
        let schema = Arc::new(
            self.schema
                .project(columns)
                .or_err(ErrorKind::Internal, "no such column")?,
        );
        let batches = frame.execute_stream().await.map_err(wrong)?;
        Ok(batches
            .map_err(|error| from_datafusion(error, "the query failed"))
            .map_ok(|batch| stream::iter(pieces(&batch)).map(Ok))
            .try_flatten()
            .and_then(move |batch| futures::future::ready(as_schema(&batch, &schema)))
            .boxed())
    }

    /// Runs the plan, numbers its rows as they come, and keeps those that are wanted.
    pub(super) async fn scan(&self, scan: Resolved) -> Result<Slices> {
        let wanted = scan.columns.len();
        let mut columns = scan.columns.clone();
        if let Some(filter) = &scan.filter {
            columns.extend(filter.columns());
        }
        let batches = self.run(&columns).await?;
        let numbered = Numbered {
            scan,
            wanted,
            next: 0,
            remaining: 0,
        };
        Ok(stream::try_unfold(
            (batches, numbered.begun()),
            |(mut batches, mut numbered)| async {
                while numbered.remaining > 0 {
                    let Some(batch) = batches.try_next().await? else {
                        break;
                    };
                    let slice = numbered.take(&batch)?;
                    if !slice.rows.is_empty() {
                        return Ok(Some((slice, (batches, numbered))));
                    }
                }
                Ok(None)
            },
        )
        .boxed())
    }
}

/// `plan` narrowed to some of its columns, by place: names may repeat across relations.
struct LogicalPlanProjection<'p> {
    plan: &'p LogicalPlan,
    columns: &'p [usize],
}

impl LogicalPlanProjection<'_> {
    fn build(&self) -> datafusion::common::Result<LogicalPlan> {
        let schema = self.plan.schema();
        let mut seen = Vec::new();
        let columns: Vec<Expr> = self
            .columns
            .iter()
            .map(|&at| {
                let column = Expr::Column(schema.columns()[at].clone());
                seen.push(at);
                match seen.iter().filter(|earlier| **earlier == at).count() {
                    1 => column,
                    // A projection may not hold one name twice.
                    again => column.alias(format!("{} ({again})", schema.field(at).name())),
                }
            })
            .collect();
        datafusion::logical_expr::LogicalPlanBuilder::from(self.plan.clone())
            .project(columns)?
            .build()
    }
}

/// Rows of a stream, counted.
struct Numbered {
    scan: Resolved,
    wanted: usize,
    next: u64,
    remaining: u64,
}

impl Numbered {
    fn begun(mut self) -> Self {
        self.remaining = self.scan.limit.unwrap_or(u64::MAX);
        self
    }

    fn take(&mut self, batch: &RecordBatch) -> Result<Slice> {
        let start = self.next;
        self.next += batch.num_rows() as u64;
        let skipped = as_index(self.scan.from.saturating_sub(start)).min(batch.num_rows());
        let batch = batch.slice(skipped, batch.num_rows() - skipped);
        let start = start + skipped as u64;
        let slice = self.select(start, &batch)?;
        let slice = cut(slice, self.remaining);
        self.remaining -= slice.rows.len() as u64;
        Ok(slice)
    }

    fn select(&self, start: u64, batch: &RecordBatch) -> Result<Slice> {
        let project = |columns: Vec<usize>| {
            batch
                .project(&columns)
                .or_err(ErrorKind::Internal, "no such column")
        };
        let wanted = project((0..self.wanted).collect())?;
        let selected = match (&self.scan.filter, &self.scan.sample) {
            (None, None) => {
                let end = start + wanted.num_rows() as u64;
                return Ok(Slice {
                    rows: RowNumbers::Range(start..end),
                    batch: wanted,
                });
            }
            (None, Some(_)) => BooleanBuffer::new_set(wanted.num_rows()),
            (Some(filter), _) => {
                let tested = project((self.wanted..batch.num_columns()).collect())?;
                filter.select(&tested)?.values().clone()
            }
        };
        let selected = match &self.scan.sample {
            None => selected,
            Some(sample) => sample.among(&selected, start),
        };
        let rows = selected.set_indices().map(|at| start + at as u64).collect();
        Ok(Slice {
            rows: RowNumbers::List(rows),
            batch: keep(&wanted, selected)?,
        })
    }
}

/// The batch with the types and names of `schema`.
fn as_schema(batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch> {
    let columns = batch
        .columns()
        .iter()
        .zip(schema.fields())
        .map(|(column, field)| kept_values(column, field))
        .collect::<Result<Vec<_>>>()?;
    let options = arrow::array::RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    RecordBatch::try_new_with_options(Arc::clone(schema), columns, &options).or_err(
        ErrorKind::Invalid,
        "the query's rows do not have its own types",
    )
}

fn only_reads(plan: &LogicalPlan) -> Result<()> {
    SQLOptions::new()
        .with_allow_ddl(false)
        .with_allow_dml(false)
        .with_allow_statements(false)
        .verify_plan(plan)
        .map_err(|error| {
            from_datafusion(error, "the query does more than read")
                .hint("write one SELECT; what it reads is named in `tables`")
        })
}

/// DataFusion's words on a query that it does not understand, and the table that was meant.
fn explain(error: DataFusionError, tables: &BTreeMap<String, String>) -> Error {
    let text = error.strip_backtrace();
    let unknown = text
        .split_once("table '")
        .and_then(|(_, rest)| rest.split_once('\''))
        .filter(|(_, rest)| rest.trim_start().starts_with("not found"))
        .map(|(name, _)| name.rsplit('.').next().unwrap_or(name).to_owned());
    let error = from_datafusion(error, "cannot understand the query");
    let Some(name) = unknown else {
        return error.hint("correct the SQL; the line above says what is not understood");
    };
    let known: Vec<&str> = tables.keys().map(String::as_str).collect();
    let hint = match nearest(&name, known.iter().copied()) {
        Some(near) => format!("no table is called `{name}`; did you mean `{near}`?"),
        None if known.is_empty() => {
            format!("say where `{name}` is: tables = {{ {name} = \"...\" }}")
        }
        None => format!(
            "no table is called `{name}`; `tables` names {}",
            known.join(", ")
        ),
    };
    error.hint(hint)
}

fn bind(plan: LogicalPlan, vars: &BTreeMap<String, String>) -> Result<LogicalPlan> {
    let wrong = |error| from_datafusion(error, "cannot bind the variables");
    let mut types = plan.get_parameter_types().map_err(wrong)?;
    for name in plan.get_parameter_names().map_err(wrong)? {
        types.entry(name).or_insert(None);
    }
    if types.is_empty() {
        return Ok(plan);
    }
    let values = types
        .into_iter()
        .map(|(id, wanted)| {
            let value = value_of(&id, wanted.as_ref(), vars)?;
            Ok((id.trim_start_matches('$').to_owned(), value))
        })
        .collect::<Result<HashMap<String, ScalarValue>>>()?;
    plan.with_param_values(values).map_err(wrong)
}
