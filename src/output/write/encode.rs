//! The new columns' chunks of one row group, and where a chunk's pages lie once it has moved.

use std::io::{self, Write};
use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::datatypes::{DataType, SchemaRef};
use parquet::arrow::arrow_writer::{
    ArrowColumnChunk, ArrowColumnWriter, ArrowRowGroupWriterFactory, compute_leaves,
};
use parquet::basic::{Compression, Encoding, Type, ZstdLevel};
use parquet::errors::Result as ParquetResult;
use parquet::file::metadata::{ColumnChunkMetaData, RowGroupMetaData};
use parquet::file::page_index::column_index::ColumnIndexMetaData;
use parquet::file::page_index::offset_index::OffsetIndexMetaData;
use parquet::file::properties::{
    EnabledStatistics, WriterProperties, WriterPropertiesBuilder, WriterPropertiesPtr,
};
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::types::{ColumnDescPtr, SchemaDescriptor, TypePtr};

use crate::output::read::chunks::dictionary_offset;
use crate::output::write::shape::Shape;
use crate::output::write::sink::Sink;
use crate::output::write::spill::Spill;

/// A column chunk that lies in the output, and its page indexes.
#[derive(Debug)]
pub(in crate::output) struct Placed {
    /// Its metadata, with places in the output.
    pub(in crate::output) chunk: ColumnChunkMetaData,
    /// What its pages hold.
    pub(in crate::output) column_index: ColumnIndexMetaData,
    /// Where its pages lie; none where the source did not say.
    pub(in crate::output) offset_index: Option<OffsetIndexMetaData>,
}

/// Encodes the new columns.
#[derive(Debug)]
pub(in crate::output) struct Encoder {
    schema: SchemaRef,
    root: TypePtr,
    properties: WriterPropertiesPtr,
    factory: ArrowRowGroupWriterFactory,
}

/// The new columns of one row group while it is filled.
#[derive(Debug)]
pub(in crate::output) struct Group {
    schema: SchemaRef,
    writers: Vec<ArrowColumnWriter>,
}

/// A dictionary pays for words that repeat (a status, a choice) and stays small for them; a column
/// of long texts gives its dictionary up at this size, before it has cost anything.
const DICTIONARY_BYTES_MAX: usize = 64 << 10;

/// The length of the magic with which a file begins.
const MAGIC_BYTES: i64 = 4;

impl Encoder {
    /// An encoder of the columns that `shape` does not copy.
    pub(in crate::output) fn new(shape: &Shape, spill: Spill) -> ParquetResult<Encoder> {
        let root = Arc::clone(&shape.encoded_root);
        let properties = WriterProperties::builder()
            .set_compression(Compression::ZSTD(ZstdLevel::try_new(1)?))
            .set_dictionary_page_size_limit(DICTIONARY_BYTES_MAX);
        let properties = Arc::new(of_vectors(properties, shape).build());
        let nowhere =
            SerializedFileWriter::new(io::sink(), Arc::clone(&root), Arc::clone(&properties))?;
        let schema = Arc::clone(&shape.encoded);
        let factory = ArrowRowGroupWriterFactory::new(&nowhere, Arc::clone(&schema))
            .with_page_store_factory(Arc::new(spill));
        Ok(Encoder {
            schema,
            root,
            properties,
            factory,
        })
    }

    /// A new row group.
    pub(in crate::output) fn group(&self) -> ParquetResult<Group> {
        Ok(Group {
            schema: Arc::clone(&self.schema),
            writers: self.factory.create_column_writers(0)?,
        })
    }

    /// Appends a row group's new columns to `sink`; `columns` are their descriptions in the output.
    pub(in crate::output) fn place(
        &self,
        group: Group,
        columns: &[ColumnDescPtr],
        sink: &mut Sink,
    ) -> ParquetResult<Vec<Placed>> {
        let shift = sink.written().cast_signed() - MAGIC_BYTES;
        let mut indexes = Vec::with_capacity(columns.len());
        let row_group = self.write(group, &mut indexes, Unmagic::new(sink))?;
        let placed = row_group.columns().iter().zip(columns).zip(indexes);
        placed
            .map(|((chunk, column), (column_index, offset_index))| {
                let chunk = moved(chunk, Arc::clone(column), shift, true)?;
                Ok(Placed {
                    offset_index: offset_index.map(|index| starting_at(index, &chunk)),
                    column_index,
                    chunk,
                })
            })
            .collect()
    }

    fn write(
        &self,
        group: Group,
        indexes: &mut Vec<(ColumnIndexMetaData, Option<OffsetIndexMetaData>)>,
        to: Unmagic<'_>,
    ) -> ParquetResult<Arc<RowGroupMetaData>> {
        let (root, properties) = (Arc::clone(&self.root), Arc::clone(&self.properties));
        let mut file = SerializedFileWriter::new(to, root, properties)?;
        let mut row_group = file.next_row_group()?;
        for chunk in group.close()? {
            let close = chunk.close();
            let column_index = close.column_index.clone();
            let column_index = column_index.unwrap_or(ColumnIndexMetaData::NONE);
            indexes.push((column_index, close.offset_index.clone()));
            chunk.append_to_row_group(&mut row_group)?;
        }
        let written = row_group.close()?;
        file.flush()?;
        Ok(written)
    }
}

/// Columns of vectors: no two of their numbers are the same, and nobody looks for their least. Split into
/// streams of their bytes, numbers of 32 bits get smaller by a sixth; those of 16 bits few readers know
/// that way, and they stay as they are.
fn of_vectors(properties: WriterPropertiesBuilder, shape: &Shape) -> WriterPropertiesBuilder {
    let is_vector = |name: &str| {
        let field = shape.encoded.field_with_name(name);
        field.is_ok_and(|field| matches!(field.data_type(), DataType::FixedSizeList(..)))
    };
    let leaves = SchemaDescriptor::new(Arc::clone(&shape.encoded_root));
    let name = |leaf: &ColumnDescPtr| leaf.path().parts().first().cloned().unwrap_or_default();
    let vectors = leaves
        .columns()
        .iter()
        .filter(|leaf| is_vector(&name(leaf)));
    vectors.fold(properties, |properties, leaf| {
        let path = leaf.path().clone();
        let properties = properties
            .set_column_dictionary_enabled(path.clone(), false)
            .set_column_statistics_enabled(path.clone(), EnabledStatistics::None);
        match leaf.physical_type() {
            Type::FLOAT => properties.set_column_encoding(path, Encoding::BYTE_STREAM_SPLIT),
            _ => properties
                .set_column_encoding(path.clone(), Encoding::PLAIN)
                .set_column_compression(path, Compression::UNCOMPRESSED),
        }
    })
}

impl Group {
    /// Appends rows.
    pub(in crate::output) fn write(&mut self, columns: &[ArrayRef]) -> ParquetResult<()> {
        let mut writers = self.writers.iter_mut();
        for (field, column) in self.schema.fields().iter().zip(columns) {
            for leaf in compute_leaves(field, column)? {
                if let Some(writer) = writers.next() {
                    writer.write(&leaf)?;
                }
            }
        }
        Ok(())
    }

    fn close(self) -> ParquetResult<Vec<ArrowColumnChunk>> {
        let writers = self.writers.into_iter();
        writers.map(ArrowColumnWriter::close).collect()
    }
}

/// The metadata of `chunk` when all its bytes move by `shift` and it is the output's `column`. Its
/// statistics come along where they are `trusted`.
pub(in crate::output) fn moved(
    chunk: &ColumnChunkMetaData,
    column: ColumnDescPtr,
    shift: i64,
    trusted: bool,
) -> ParquetResult<ColumnChunkMetaData> {
    let place = |offset: i64| if offset > 0 { offset + shift } else { offset };
    let mut builder = ColumnChunkMetaData::builder(column)
        .set_compression_codec(chunk.compression_codec())
        .set_encodings_mask(*chunk.encodings_mask())
        .set_num_values(chunk.num_values())
        .set_total_compressed_size(chunk.compressed_size())
        .set_total_uncompressed_size(chunk.uncompressed_size())
        .set_data_page_offset(place(chunk.data_page_offset()))
        .set_dictionary_page_offset(dictionary_offset(chunk).map(place))
        .set_index_page_offset(chunk.index_page_offset().map(place))
        .set_unencoded_byte_array_data_bytes(chunk.unencoded_byte_array_data_bytes())
        .set_repetition_level_histogram(chunk.repetition_level_histogram().cloned())
        .set_definition_level_histogram(chunk.definition_level_histogram().cloned());
    if let Some(statistics) = chunk.statistics().filter(|_| trusted) {
        builder = builder.set_statistics(statistics.clone());
    }
    if let Some(statistics) = chunk.geo_statistics() {
        builder = builder.set_geo_statistics(Box::new(statistics.clone()));
    }
    if let Some(pages) = chunk.page_encoding_stats() {
        builder = builder.set_page_encoding_stats(pages.clone());
    }
    builder.build()
}

/// `index` of a chunk whose bytes move by `shift`.
pub(in crate::output) fn shifted(
    mut index: OffsetIndexMetaData,
    shift: i64,
) -> OffsetIndexMetaData {
    for page in &mut index.page_locations {
        page.offset += shift;
    }
    index
}

/// `index` with its pages where `chunk` now lies. The library counted them from the first data page,
/// and puts the dictionary before it afterwards.
fn starting_at(index: OffsetIndexMetaData, chunk: &ColumnChunkMetaData) -> OffsetIndexMetaData {
    let first = index.page_locations.first().map(|page| page.offset);
    let shift = first.map_or(0, |first| chunk.data_page_offset() - first);
    shifted(index, shift)
}

/// A sink for the middle of a file: it leaves out the magic that the library writes first.
struct Unmagic<'s> {
    sink: &'s mut Sink,
    left_out: usize,
}

impl<'s> Unmagic<'s> {
    fn new(sink: &'s mut Sink) -> Self {
        let left_out = usize::try_from(MAGIC_BYTES).unwrap_or_default();
        Unmagic { sink, left_out }
    }
}

impl Write for Unmagic<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.left_out > 0 {
            let skipped = self.left_out.min(bytes.len());
            self.left_out -= skipped;
            return Ok(skipped);
        }
        self.sink.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.sink.flush()
    }
}

#[cfg(test)]
mod tests {
    use parquet::schema::types::{ColumnDescriptor, ColumnPath, Type};

    use super::*;

    fn check(dictionary: Option<i64>, data: i64, expect: (Option<i64>, i64)) {
        let kind = Type::primitive_type_builder("a", parquet::basic::Type::INT64);
        let kind = Arc::new(kind.build().unwrap());
        let column = Arc::new(ColumnDescriptor::new(kind, 0, 0, ColumnPath::from("a")));
        let chunk = ColumnChunkMetaData::builder(Arc::clone(&column))
            .set_dictionary_page_offset(dictionary)
            .set_data_page_offset(data)
            .build()
            .unwrap();
        let chunk = moved(&chunk, column, 100, true).unwrap();
        let got = (chunk.dictionary_page_offset(), chunk.data_page_offset());
        assert_eq!(got, expect, "{dictionary:?} {data}");
    }

    #[test]
    fn only_places_that_are_places_move() {
        check(None, 4, (None, 104));
        check(Some(4), 19, (Some(104), 119));
        check(Some(0), 4, (None, 104));
        check(Some(4), 0, (Some(104), 0));
    }
}
