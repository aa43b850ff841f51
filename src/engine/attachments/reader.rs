//! Attachments read again, in the order of their rows, when a body is made of them.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::ArrayRef;
use futures::StreamExt;
use futures::stream::BoxStream;

use crate::base::{Error, Result};
use crate::source::{Predicate, Scan, Slice, Source};
use crate::work::{Attachment, AttachmentSource};

use super::attacher::Attacher;
use super::cells::{items, plain};

/// What attachments are read again from.
#[derive(Clone, Debug)]
pub(crate) struct AttachmentReads {
    pub source: Arc<Source>,
    pub filter: Option<Predicate>,
    pub attacher: Arc<Attacher>,
}

impl AttachmentReads {
    /// A reader that has read nothing yet.
    pub(crate) fn reader(&self) -> AttachmentReader {
        AttachmentReader {
            reads: self.clone(),
            slices: None,
            slice: None,
        }
    }
}

/// Reads attachments, row after row.
pub(crate) struct AttachmentReader {
    reads: AttachmentReads,
    slices: Option<BoxStream<'static, Result<Slice>>>,
    slice: Option<Rows>,
}

/// Rows that were read: their positions, and the columns that are attached.
struct Rows {
    slice: Slice,
    arrays: HashMap<String, ArrayRef>,
}

impl AttachmentReader {
    /// Hands the bytes of each of `attachments`, of the row at position `row`, to `keep`, in order. Rows must
    /// ascend.
    ///
    /// # Errors
    /// `Invalid` if they are not what was planned; whatever keeps them from being read; what `keep` says.
    pub(crate) async fn read(
        &mut self,
        row: u64,
        attachments: &[Attachment],
        keep: &mut (dyn FnMut(&[u8]) -> Result<()> + Send),
    ) -> Result<()> {
        let is_cell =
            |attached: &Attachment| matches!(attached.source, AttachmentSource::Cell { .. });
        let at = if attachments.iter().any(is_cell) {
            Some(self.advance(row).await?)
        } else {
            None
        };
        for attached in attachments {
            let cell = match (&attached.source, at, &self.slice) {
                (AttachmentSource::Cell { column, item, .. }, Some(at), Some(rows)) => {
                    let array = rows.arrays.get(column);
                    array.and_then(|array| items(array, at).into_iter().nth(*item))
                }
                _ => None,
            };
            keep(&self.reads.attacher.read(&attached.source, cell).await?)?;
        }
        Ok(())
    }

    /// Reads on to the row at position `row`; its place among those that were read.
    async fn advance(&mut self, row: u64) -> Result<usize> {
        loop {
            if let Some(rows) = &self.slice
                && let Some(at) = rows.slice.rows.iter().position(|known| known == row)
            {
                return Ok(at);
            }
            self.slice = Some(self.next(row).await?);
        }
    }

    async fn next(&mut self, row: u64) -> Result<Rows> {
        let slices = match &mut self.slices {
            Some(slices) => slices,
            none => {
                let mut scan = Scan::of(self.reads.attacher.columns()).from(row).views();
                scan.filter.clone_from(&self.reads.filter);
                none.insert(self.reads.source.scan(scan).await?)
            }
        };
        let slice = slices.next().await;
        let gone =
            || Error::invalid("a row that is to be sent is not there any more").with("row", row);
        let slice = slice.ok_or_else(gone)??;
        let schema = slice.batch.schema_ref();
        let named = schema.fields().iter().zip(slice.batch.columns());
        let arrays = named.map(|(field, array)| Ok((field.name().clone(), plain(array)?)));
        let arrays = arrays.collect::<Result<HashMap<_, _>>>()?;
        Ok(Rows { slice, arrays })
    }
}
