//! A null cell, as a template sees it.
//!
//! A null is false, `is none`, and gives way to `default`. Whoever asks for its text, by printing it,
//! joining it or passing it through a filter, gets none, and the row is marked: its prompt would
//! not say what the template meant, so it is skipped. So the rule holds however deep in an expression
//! the null is used, and nothing is skipped for a null that the template tested first.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use minijinja::Value;
use minijinja::value::{Object, ObjectRepr};

/// No column.
const NOBODY: usize = usize::MAX;

/// What happened to the nulls of the row that is being rendered.
#[derive(Debug)]
pub(super) struct Notes {
    printed: AtomicUsize,
    touched: AtomicUsize,
    marks: AtomicUsize,
}

impl Default for Notes {
    fn default() -> Self {
        Notes {
            printed: AtomicUsize::new(NOBODY),
            touched: AtomicUsize::new(NOBODY),
            marks: AtomicUsize::new(0),
        }
    }
}

impl Notes {
    /// Begins a row.
    pub(super) fn clear(&self) {
        self.printed.store(NOBODY, Ordering::Relaxed);
        self.touched.store(NOBODY, Ordering::Relaxed);
        self.marks.store(0, Ordering::Relaxed);
    }

    /// A mark for an attached column was written.
    pub(super) fn mark(&self) {
        self.marks.fetch_add(1, Ordering::Relaxed);
    }

    /// How many marks were written.
    pub(super) fn marks(&self) -> usize {
        self.marks.load(Ordering::Relaxed)
    }

    /// The text of the null of `column` was asked for.
    pub(super) fn print(&self, column: usize) {
        // The first one stays: it is what a person reads first.
        let (to, from) = (Ordering::Relaxed, Ordering::Relaxed);
        let _ = self.printed.compare_exchange(NOBODY, column, to, from);
    }

    /// The null of `column` was handed to the template.
    pub(super) fn touch(&self, column: usize) {
        self.touched.store(column, Ordering::Relaxed);
    }

    /// The first column whose null was printed.
    pub(super) fn printed(&self) -> Option<usize> {
        Some(self.printed.load(Ordering::Relaxed)).filter(|column| *column != NOBODY)
    }

    /// The column whose null was handed out last.
    pub(super) fn touched(&self) -> Option<usize> {
        Some(self.touched.load(Ordering::Relaxed)).filter(|column| *column != NOBODY)
    }
}

/// The null of a column.
#[derive(Debug)]
pub(super) struct Null {
    pub(super) column: usize,
    pub(super) notes: Arc<Notes>,
}

impl Object for Null {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Plain
    }

    /// What is in a null is null.
    fn get_value(self: &Arc<Self>, _: &Value) -> Option<Value> {
        Some(Value::from_dyn_object(Arc::clone(self)))
    }

    fn is_true(self: &Arc<Self>) -> bool {
        false
    }

    fn render(self: &Arc<Self>, _: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.notes.print(self.column);
        Ok(())
    }
}

/// Whether a value is a null cell, or `none`.
pub(super) fn is_null(value: &Value) -> bool {
    value.is_none() || value.downcast_object_ref::<Null>().is_some()
}
