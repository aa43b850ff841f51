//! An SQL predicate over a table's rows: the job's `where`.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Array, BooleanArray, RecordBatch};
use arrow::compute::prep_null_mask_filter;
use arrow::datatypes::{DataType, SchemaRef};
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{DFSchema, ScalarValue};
use datafusion::logical_expr::Expr;
use datafusion::logical_expr::expr::Placeholder;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::prelude::SessionContext;

use crate::base::{Error, ErrorKind, Result, ResultExt};
use crate::source::error::from_datafusion;

/// A predicate, checked against a table and ready to be evaluated.
#[derive(Clone, Debug)]
pub struct Predicate {
    expression: Arc<dyn PhysicalExpr>,
    schema: SchemaRef,
    columns: Vec<usize>,
}

impl Predicate {
    /// Compiles `sql`, which may name the columns of `schema` and, as `$name`, the values in `vars`.
    ///
    /// # Errors
    /// `Invalid`, with DataFusion's words, if it is not a predicate over these columns.
    pub fn compile(sql: &str, schema: &SchemaRef, vars: &BTreeMap<String, String>) -> Result<Self> {
        let hint = "`where` is a SQL condition over the source's columns, such as \"lang = 'en'\"";
        Self::build(sql, schema, vars).map_err(|error| error.with("where", sql).hint(hint))
    }

    fn build(sql: &str, schema: &SchemaRef, vars: &BTreeMap<String, String>) -> Result<Self> {
        let wrong = |error| from_datafusion(error, "cannot understand the predicate");
        let whole = df_schema(schema)?;
        let expression = SessionContext::new()
            .parse_sql_expr(sql, &whole)
            .map_err(wrong)?;
        let (expression, _) = expression.infer_placeholder_types(&whole).map_err(wrong)?;
        Self::of_expression(bind(expression, vars)?, schema)
    }

    /// Compiles an expression over the columns of `schema`.
    pub(crate) fn of_expression(expression: Expr, schema: &SchemaRef) -> Result<Self> {
        let wrong = |error| from_datafusion(error, "cannot understand the predicate");
        let mut columns = expression
            .column_refs()
            .into_iter()
            .map(|column| schema.index_of(&column.name))
            .collect::<Result<Vec<_>, _>>()
            .or_err(ErrorKind::Invalid, "the predicate names an unknown column")?;
        columns.sort_unstable();
        let schema = schema.project(&columns);
        let schema = Arc::new(schema.or_err(ErrorKind::Internal, "no such column")?);
        let expression = SessionContext::new()
            .create_physical_expr(expression, &df_schema(&schema)?)
            .map_err(wrong)?;
        match expression.data_type(&schema).map_err(wrong)? {
            DataType::Boolean | DataType::Null => Ok(Predicate {
                expression,
                schema,
                columns,
            }),
            other => Err(Error::invalid("the predicate is not true or false")
                .with("type", other)
                .hint("write a comparison, such as `lang = 'en'`")),
        }
    }

    pub(crate) fn expression(&self) -> &Arc<dyn PhysicalExpr> {
        &self.expression
    }

    /// Its columns alone.
    pub(crate) fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// The columns it reads, as places in the table's schema, ascending.
    pub(crate) fn columns(&self) -> &[usize] {
        &self.columns
    }

    /// Which rows of `batch` (the predicate's columns alone, in order) it selects. Where it is null,
    /// the row is not selected, as in SQL.
    pub(crate) fn select(&self, batch: &RecordBatch) -> Result<BooleanArray> {
        let wrong = |error| from_datafusion(error, "cannot evaluate the predicate");
        let value = self.expression.evaluate(batch).map_err(wrong)?;
        let array = value.into_array(batch.num_rows()).map_err(wrong)?;
        match array.as_any().downcast_ref::<BooleanArray>() {
            Some(selected) if selected.null_count() == 0 => Ok(selected.clone()),
            Some(selected) => Ok(prep_null_mask_filter(selected)),
            // `where = "null"` selects nothing.
            None => Ok(BooleanArray::from(vec![false; batch.num_rows()])),
        }
    }
}

fn df_schema(schema: &SchemaRef) -> Result<DFSchema> {
    DFSchema::try_from(Arc::clone(schema))
        .map_err(|error| from_datafusion(error, "the table's columns cannot be queried"))
}

/// Puts the values of `vars` where `$name` stands.
fn bind(expression: Expr, vars: &BTreeMap<String, String>) -> Result<Expr> {
    let mut failed = None;
    let bound = expression.transform(|expression| {
        let Expr::Placeholder(Placeholder { id, field }) = &expression else {
            return Ok(Transformed::no(expression));
        };
        let wanted = field.as_ref().map(|field| field.data_type());
        match parameter_value(id, wanted, vars) {
            Ok(value) => Ok(Transformed::yes(Expr::Literal(value, None))),
            Err(error) => {
                failed = Some(error);
                Ok(Transformed::no(expression))
            }
        }
    });
    match failed {
        Some(error) => Err(error),
        None => bound
            .map(|bound| bound.data)
            .map_err(|error| from_datafusion(error, "cannot bind the variables")),
    }
}

/// The value of the parameter `id` (`$name`), as the type that its place in the SQL asks for.
pub(crate) fn parameter_value(
    id: &str,
    wanted: Option<&DataType>,
    vars: &BTreeMap<String, String>,
) -> Result<ScalarValue> {
    let name = id.trim_start_matches('$');
    let text = vars.get(name).ok_or_else(|| {
        Error::invalid("a variable of the SQL has no value")
            .with("variable", id)
            .hint(format!("give it with `--var {name}=...`"))
    })?;
    let value = ScalarValue::Utf8(Some(text.clone()));
    match wanted {
        None | Some(DataType::Utf8 | DataType::Null) => Ok(value),
        Some(wanted) => value
            .cast_to(wanted)
            .or_err(
                ErrorKind::Invalid,
                "a variable's value does not fit its place in the SQL",
            )
            .map_err(|error| {
                error
                    .with("variable", id)
                    .with("value", text)
                    .with("type", wanted)
            }),
    }
}
