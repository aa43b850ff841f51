//! `check`: validates, and renders the first rows.

use std::fmt::Write as _;

use super::context::{CommandContext, print};
use crate::base::{Exit, Result};
use crate::engine::{self, Checked};

/// `check`: validates, and renders the first rows.
pub(in crate::cli) async fn check(context: &CommandContext, rows: u64) -> Result<Exit> {
    let checked = engine::check(context.setup("check"), context.provider()?, rows).await?;
    print(&check_words(&checked))
}

fn check_words(checked: &Checked) -> String {
    let mut text = String::new();
    if let Some(rows) = checked.rows {
        let _ = writeln!(text, "rows     {rows}");
    }
    let columns = checked
        .columns
        .iter()
        .map(|(name, kind)| format!("{name} {kind}"));
    let _ = writeln!(text, "columns  {}", columns.collect::<Vec<_>>().join(", "));
    for table in &checked.text {
        let name = match &*table.table {
            "" => String::new(),
            name => format!("{name}: "),
        };
        let _ = writeln!(text, "types    {name}{}", table.columns.join("; "));
    }
    let added = checked.added.iter();
    let added = added.map(|(name, kind)| format!("{name} {kind}"));
    let _ = writeln!(text, "answer   {}", added.collect::<Vec<_>>().join(", "));
    if !checked.beside.is_empty() {
        let beside = checked.beside.iter();
        let beside = beside.map(|(name, kind)| format!("{name} {kind}"));
        let _ = writeln!(text, "beside   {}", beside.collect::<Vec<_>>().join(", "));
    }
    if let Some(schema) = &checked.schema {
        let _ = writeln!(text, "schema   {schema}");
    }
    let _ = writeln!(text, "sent     {}", checked.sent.join(", "));
    for note in &checked.notes {
        let _ = writeln!(text, "note     {note}");
    }
    for row in &checked.first {
        let _ = match &row.prompt {
            Ok(prompt) if row.more > 0 => writeln!(
                text,
                "\n--- row {}\n{prompt}\n... and {} characters more",
                row.row, row.more
            ),
            Ok(prompt) => writeln!(text, "\n--- row {}\n{prompt}", row.row),
            Err(why) => writeln!(text, "\n--- row {}: {why}", row.row),
        };
        for attached in &row.attached {
            let _ = writeln!(text, "{attached}");
        }
    }
    text
}
