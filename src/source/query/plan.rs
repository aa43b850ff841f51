//! A query over named tables, or files of another format than Parquet, planned.
//!
//! It runs in DataFusion, in one partition, so that its rows come in the order of the files or of
//! its `ORDER BY`. `$name` stands for a bound value, never for text of the query.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::Arc;

use arrow::datatypes::{Schema, SchemaRef};
use datafusion::common::{DataFusionError, ScalarValue, TableReference};
use datafusion::execution::context::SQLOptions;
use datafusion::logical_expr::LogicalPlan;
use datafusion::prelude::SessionContext;

use crate::base::pandas::PANDAS_KEY;
use crate::base::{Error, Result, Stores, nearest};
use crate::source::error::from_datafusion;
use crate::source::files::{Listing, list};
use crate::source::scan::parameter_value;
use crate::source::schema::parquet_schema;
use crate::source::text::{OptionsCheck, TextNotes, TextOptions};
use crate::work::Pin;

use super::tables::{ProvidedTable, provide};

/// A plan that can be run, again and again.
pub(crate) struct Query {
    pub(super) context: SessionContext,
    pub(super) plan: LogicalPlan,
    /// What it returns, in types that a snapshot can keep.
    pub(crate) schema: SchemaRef,
    /// What pins the files that it reads.
    pub(crate) inputs: Vec<Pin>,
    /// What a person should know of the tables.
    pub(crate) notes: Vec<String>,
    /// The columns of its tables of text, with the types that they got.
    pub(crate) text: Vec<TextNotes>,
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
    pub(crate) async fn open(
        context: SessionContext,
        stores: &Stores,
        sql: &str,
        tables: &BTreeMap<String, String>,
        vars: &BTreeMap<String, String>,
        options: &TextOptions,
    ) -> Result<Query> {
        let (mut inputs, mut all_notes) = (Vec::new(), Vec::new());
        let mut used = OptionsCheck::default();
        for (name, address) in tables {
            let listing = list(stores, address)
                .await
                .map_err(|e| e.with("name", name))?;
            inputs.extend(listing.pins());
            let provided = provide(listing, options)
                .await
                .map_err(|e| e.with("name", name))?;
            let ProvidedTable { table, text, notes } = provided;
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
        let query = Query::of(context, plan, (inputs, all_notes), text)?;
        // The labels of a table's rows and columns are not those of what is asked of it.
        let mut schema = Schema::clone(&query.schema);
        schema.metadata.remove(PANDAS_KEY);
        Ok(Query {
            schema: Arc::new(schema),
            ..query
        })
    }

    /// Reads files of another format than Parquet as they are.
    pub(crate) async fn files(
        context: SessionContext,
        listing: Listing,
        options: &TextOptions,
    ) -> Result<Query> {
        let inputs = listing.pins();
        let mut used = OptionsCheck::default();
        let ProvidedTable { table, text, notes } = provide(listing, options).await?;
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
        let schema = Arc::new(parquet_schema(plan.schema().as_arrow())?);
        Ok(Query {
            context,
            plan,
            schema,
            inputs,
            notes,
            text,
        })
    }
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
            let value = parameter_value(&id, wanted.as_ref(), vars)?;
            Ok((id.trim_start_matches('$').to_owned(), value))
        })
        .collect::<Result<HashMap<String, ScalarValue>>>()?;
    plan.with_param_values(values).map_err(wrong)
}
