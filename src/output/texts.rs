//! Columns of texts, built batch after batch.

use std::sync::Arc;

use arrow::array::{ArrayRef, StringBuilder};

/// The column so far. The next one starts with as much room as this one came to need.
pub(super) fn finish(builder: &mut StringBuilder) -> ArrayRef {
    let next =
        StringBuilder::with_capacity(builder.offsets_slice().len(), builder.values_slice().len());
    Arc::new(std::mem::replace(builder, next).finish())
}
