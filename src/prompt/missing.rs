//! A null cell, as a template sees it.
//!
//! A null is false, `is none`, and gives way to `default`. Whoever asks for its text, by printing it,
//! joining it or passing it through a filter, gets none, and the row is marked: its prompt would
//! not say what the template meant, so it is skipped. So the rule holds however deep in an expression
//! the null is used, and nothing is skipped for a null that the template tested first.

use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use minijinja::Value;
use minijinja::value::{Object, ObjectRepr};

/// No column.
const NOBODY: usize = usize::MAX;

/// What happened to the nulls and the decimals of the row that is being rendered.
#[derive(Debug)]
pub(super) struct Notes {
    printed: AtomicUsize,
    touched: AtomicUsize,
    decimals: Mutex<Vec<(f64, String)>>,
}

impl Default for Notes {
    fn default() -> Self {
        Notes {
            printed: AtomicUsize::new(NOBODY),
            touched: AtomicUsize::new(NOBODY),
            decimals: Mutex::default(),
        }
    }
}

impl Notes {
    /// Begins a row.
    pub(super) fn clear(&self) {
        self.printed.store(NOBODY, Ordering::Relaxed);
        self.touched.store(NOBODY, Ordering::Relaxed);
        self.decimals().clear();
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

    /// Remembers how a decimal that was handed out as a number is written exactly.
    pub(super) fn decimal(&self, number: f64, exact: String) {
        self.decimals().push((number, exact));
    }

    /// How `number` is written, if it is a decimal of this row.
    pub(super) fn exact(&self, number: f64) -> Option<String> {
        self.decimals()
            .iter()
            .find(|(known, _)| known.to_bits() == number.to_bits())
            .map(|(_, exact)| exact.clone())
    }

    fn decimals(&self) -> std::sync::MutexGuard<'_, Vec<(f64, String)>> {
        self.decimals.lock().unwrap_or_else(PoisonError::into_inner)
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
