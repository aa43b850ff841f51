//! The record batches of one Arrow file, one at a time.

use std::io::{self, Read};

use arrow::array::RecordBatch;
use arrow::error::ArrowError;
use arrow::ipc::Block;
use arrow::ipc::reader::{FileDecoder, StreamReader};
use parquet::file::reader::ChunkReader;

use crate::base::{Error, Location, Result};
use crate::work::Pin;

use super::file::IpcBytes;

/// The batches, in the order of the file, with some of its columns.
pub(super) struct Batches {
    file: IpcBytes,
    kind: Kind,
}

enum Kind {
    File {
        decoder: FileDecoder,
        blocks: std::vec::IntoIter<Block>,
    },
    Stream(Box<StreamReader<Box<dyn Read>>>),
}

impl Batches {
    /// Opens a file, of which `columns` are wanted, in ascending order. To be called where blocking is
    /// allowed, as is everything here.
    pub(super) fn open(location: &Location, pin: &Pin, columns: Vec<usize>) -> Result<Batches> {
        let file = IpcBytes::open(location, pin)?;
        if file.is_stream()? {
            let bytes = file.bytes.get_read(0).map_err(|error| file.away(error))?;
            let reader = StreamReader::try_new(bytes, Some(columns));
            let reader = Box::new(reader.map_err(|error| said(&file, error))?);
            let kind = Kind::Stream(reader);
            return Ok(Batches { file, kind });
        }
        let footer = file.footer()?;
        let mut decoder = FileDecoder::new(footer.schema, footer.version).with_projection(columns);
        for block in &footer.dictionaries {
            let held = file.block(block)?;
            let read = decoder.read_dictionary(block, &held);
            read.map_err(|error| said(&file, error))?;
        }
        let blocks = footer.batches.into_iter();
        let kind = Kind::File { decoder, blocks };
        Ok(Batches { file, kind })
    }

    fn read(&mut self) -> Result<Option<RecordBatch>> {
        let read = match &mut self.kind {
            Kind::File { decoder, blocks } => match blocks.next() {
                None => Ok(None),
                Some(block) => decoder.read_record_batch(&block, &self.file.block(&block)?),
            },
            Kind::Stream(reader) => reader.next().transpose(),
        };
        read.map_err(|error| said(&self.file, error))
    }
}

impl Iterator for Batches {
    type Item = Result<RecordBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        self.read().transpose()
    }
}

/// What Arrow says: a store that is away is not the file's fault.
fn said(file: &IpcBytes, error: ArrowError) -> Error {
    match error {
        ArrowError::IoError(_, cause) if cause.kind() != io::ErrorKind::UnexpectedEof => {
            file.away(cause)
        }
        error => file.damaged(error),
    }
}
