//! The key of a table: row ids, and whether they name each row once.

mod row_id;
mod unique;

pub use row_id::RowIds;
pub use unique::check_unique;
