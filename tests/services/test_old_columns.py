"""Tables by three writers, in every type, codec and version, come back as they were in three readers.

The files of one writer have one schema and lie in one folder, so that one run takes them all. What a
reader makes of an old column in the output must be what it makes of it in the source.
"""

import base64
import datetime as dt
import decimal
import itertools
import os
import random
import uuid

import duckdb
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pyarrow.parquet.encryption as pe
import pytest

from world import columnist

SEED = int(os.environ.get("COLUMNIST_TABLE_SEED", "7"))
ROWS = 80
NEW = ["label", "label_status", "label_error"]
WORDS = ["INDIA", "VIETNAM", "", "PERU", "a longer text, with a comma", "\u4e2d\u6587 \U0001f600"]
DAY = dt.date(2026, 1, 1)
MOMENT = dt.datetime(2026, 1, 1, 12, 30, 15, 123456)

PLAIN = {
    "bool": (pa.bool_(), lambda r: r.random() < 0.5),
    "int8": (pa.int8(), lambda r: r.randrange(-128, 128)),
    "int16": (pa.int16(), lambda r: r.randrange(-(2**15), 2**15)),
    "int32": (pa.int32(), lambda r: r.randrange(-(2**31), 2**31)),
    "int64": (pa.int64(), lambda r: r.choice([r.randrange(10), r.randrange(-(2**63), 2**63)])),
    "uint8": (pa.uint8(), lambda r: r.randrange(2**8)),
    "uint16": (pa.uint16(), lambda r: r.randrange(2**16)),
    "uint32": (pa.uint32(), lambda r: r.randrange(2**32)),
    "uint64": (pa.uint64(), lambda r: r.randrange(2**64)),
    "float32": (pa.float32(), lambda r: r.randrange(-1000, 1000) / 8),
    "float64": (pa.float64(), lambda r: r.choice([0.0, -0.0, float("inf"), r.random()])),
    "decimal9": (pa.decimal128(9, 2), lambda r: decimal.Decimal(r.randrange(10**9)) / 100),
    "decimal38": (pa.decimal128(38, 18), lambda r: decimal.Decimal(r.randrange(10**37)).scaleb(-18)),
    "date": (pa.date32(), lambda r: DAY + dt.timedelta(r.randrange(9000))),
    "time": (pa.time64("us"), lambda r: dt.time(r.randrange(24), r.randrange(60), 1, r.randrange(10**6))),
    "at_ms": (pa.timestamp("ms"), lambda r: MOMENT.replace(microsecond=1000 * r.randrange(1000))),
    "at_us": (pa.timestamp("us"), lambda r: MOMENT + dt.timedelta(microseconds=r.randrange(10**12))),
    "at_zone": (pa.timestamp("us", "Europe/Berlin"),
                lambda r: MOMENT.replace(tzinfo=dt.UTC) + dt.timedelta(hours=r.randrange(10**4))),
    "text": (pa.string(), lambda r: r.choice(WORDS)),
    "many": (pa.string(), lambda r: f"{r.random()}" * r.randrange(1, 4)),
    "blob": (pa.binary(), lambda r: r.randbytes(r.randrange(6))),
    "fixed": (pa.binary(16), lambda r: r.randbytes(16)),
    "word": (pa.dictionary(pa.int32(), pa.string()), lambda r: r.choice(WORDS)),
}

# What pyarrow alone writes.
RARE = {
    "decimal76": (pa.decimal256(60, 5), lambda r: decimal.Decimal(r.randrange(10**40)) / 1000),
    "half": (pa.float16(), lambda r: r.randrange(100) / 4),
    "span": (pa.duration("us"), lambda r: dt.timedelta(seconds=r.randrange(10**6))),
    "large": (pa.large_string(), lambda r: r.choice(WORDS)),
    "view": (pa.string_view(), lambda r: r.choice(WORDS) * 3),
    "uuid": (pa.uuid(), lambda r: uuid.UUID(int=r.randrange(2**128))),
    "map": (pa.map_(pa.string(), pa.int64()), lambda r: [(f"k{n}", r.choice([None, n])) for n in range(r.randrange(3))]),
    "vector": (pa.list_(pa.float32(), 3), lambda r: [r.randrange(9) / 2, None, 1.0]),
}


def nested(kinds):
    """Lists, structs, and each in each, over some of the plain kinds."""
    made = {}
    for name in ("int64", "text", "decimal38", "bool"):
        kind, make = kinds[name]

        def maybe(r, make=make):
            return None if r.random() < 0.2 else make(r)

        pair = pa.struct([("a", kind), ("b", pa.list_(pa.int32()))])

        def struct(r, maybe=maybe):
            return {"a": maybe(r), "b": r.choice([None, [], [1, None, 2]])}

        made[f"list_{name}"] = pa.list_(kind), lambda r, maybe=maybe: [maybe(r) for _ in range(r.randrange(4))]
        made[f"struct_{name}"] = pair, struct
        made[f"deep_{name}"] = pa.list_(pair), lambda r, struct=struct: [struct(r) for _ in range(r.randrange(3))]
        made[f"lists_{name}"] = (pa.list_(pa.list_(kind)),
                                 lambda r, maybe=maybe: [[maybe(r)] * r.randrange(3) for _ in range(r.randrange(3))])
    return made


def make_table(seed, kinds):
    """Every kind as a column without nulls, one with some, and one of nothing else."""
    r = random.Random(f"{SEED} {seed}")
    columns, fields = {"id": pa.array(range(ROWS))}, [pa.field("id", pa.int64(), nullable=False)]
    for name, (kind, make) in kinds.items():
        odds = {"": 0, "_some": r.choice([0.05, 0.5, 0.95]), "_none": 1}
        for ending, share in odds.items():
            values = [None if r.random() < share else make(r) for _ in range(ROWS)]
            array = pa.array(values, kind.value_type if pa.types.is_dictionary(kind) else kind)
            columns[name + ending] = array.cast(kind)
            fields.append(pa.field(name + ending, kind, nullable=share > 0))
    columns["prompt"] = pa.array([f"row {n} of {seed}" for n in range(ROWS)])
    fields.append(pa.field("prompt", pa.string()))
    return pa.table(list(columns.values()), schema=pa.schema(fields))


def by_pyarrow(folder):
    """Codecs, versions and page indexes, each with each; sizes and encodings in turn."""
    codecs = ["none", "snappy", "gzip", "zstd", "lz4", "brotli"]
    cases = itertools.product(codecs, ["1.0", "2.0"], [False, True])
    kinds = PLAIN | RARE | nested(PLAIN)
    for number, (codec, page, index) in enumerate(cases):
        pq.write_table(
            make_table(f"pyarrow {number}", kinds),
            folder / f"{number:02}-{codec}-{page}-{index}.parquet",
            compression=codec,
            data_page_version=page,
            write_page_index=index,
            version="2.6",
            row_group_size=[1000, 50, 17][number % 3],
            data_page_size=[1 << 20, 64, 400][(number + index) % 3],
            use_dictionary=[True, False, ["text", "int64_some"]][number % 3],
            write_statistics=number % 4 != 3,
            write_page_checksum=number % 2 == 0,
            store_schema=True,
        )


def by_polars(folder):
    codecs = ["uncompressed", "snappy", "gzip", "zstd", "lz4", "brotli"]
    kinds = {name: kind for name, kind in PLAIN.items() if name not in ("fixed",)} | nested(PLAIN)
    for number, codec in enumerate(codecs):
        frame = pl.from_arrow(make_table(f"polars {number}", kinds))
        size = [None, 50, 17][number % 3]
        path = folder / f"{number:02}-{codec}.parquet"
        frame.write_parquet(path, compression=codec, row_group_size=size, statistics=number % 2 == 0,
                            data_page_size=[None, 200][number % 2])


def by_duckdb(folder):
    codecs = ["uncompressed", "snappy", "gzip", "zstd", "lz4", "brotli"]
    kinds = {name: kind for name, kind in PLAIN.items() if name not in ("fixed",)} | nested(PLAIN)
    for number, (codec, version) in enumerate(itertools.product(codecs, ["V1", "V2"])):
        table = make_table(f"duckdb {number}", kinds)
        with duckdb.connect() as duck:
            duck.register("made", table)
            path = folder / f"{number:02}-{codec}-{version}.parquet"
            duck.sql(f"COPY (SELECT * FROM made) TO '{path}' (FORMAT parquet, COMPRESSION {codec}, "
                     f"PARQUET_VERSION {version}, ROW_GROUP_SIZE {[4096, 2048][number % 2]})")


def in_duckdb(path, columns):
    quoted = (name.replace('"', '""') for name in columns)
    names = ", ".join(f'"{name}"::VARCHAR' for name in quoted)
    with duckdb.connect() as duck:
        duck.sql("SET TimeZone = 'UTC'")
        return repr(duck.sql(f"SELECT {names} FROM read_parquet('{path}')").fetchall())


def in_polars(path, columns):
    frame = pl.read_parquet(path, columns=columns)
    return repr(frame.schema), repr(frame.rows())


def in_pyarrow(path, columns):
    table = pq.ParquetFile(path).read(columns=columns)
    return table.schema.remove_metadata().to_string(), repr(table.to_pylist())


READERS = {"duckdb": in_duckdb, "polars": in_polars, "pyarrow": in_pyarrow}


def readable(read, path, columns):
    """The columns that this reader can read of the source."""
    def is_read(column):
        try:
            read(path, [column])
        except Exception:
            return False
        return True

    try:
        read(path, columns)
    except Exception:
        return [column for column in columns if is_read(column)]
    return columns


def check_folder(source, output):
    """Every old column of every file, in every reader; and the new ones are there."""
    paths = sorted(path.relative_to(source) for path in source.rglob("*.parquet"))
    assert paths == sorted(path.relative_to(output) for path in output.rglob("*"))
    columns = pq.read_schema(source / paths[0]).names
    for name, read in READERS.items():
        for path in paths:
            told = readable(read, source / path, columns)
            assert len(told) > 0.8 * len(columns), f"{name} reads {told} alone of {path}"
            assert read(output / path, told) == read(source / path, told), f"{name}: {path}"
    for path in paths:
        new = pq.ParquetFile(output / path).read(columns=NEW)
        assert new.column_names == NEW and new.num_rows == ROWS
        # Whoever skips pages by an index finds the same row.
        for row in (0, 17, ROWS - 1):
            assert pq.read_table(output / path, filters=[("id", "==", row)], columns=["id", "prompt"]).num_rows == 1


def run_folder(tmp_path, source):
    columnist("run", "--table", f"{source.name}/", "--prompt", "{{ prompt }}", "--column", "label", "--limit", "3",
              "--model", "sandbox/any", "--output", "out/", cwd=tmp_path)


@pytest.mark.parametrize("write", [by_pyarrow, by_polars, by_duckdb], ids=lambda write: write.__name__)
def test_every_old_column_comes_back(tmp_path, write):
    source = tmp_path / "in"
    source.mkdir()
    write(source)
    run_folder(tmp_path, source)
    check_folder(source, tmp_path / "out")


def test_a_checksum_that_is_wrong_stays_as_wrong_as_it_was(tmp_path):
    """Pages are copied with what they say of themselves."""
    source = tmp_path / "in.parquet"
    pq.write_table(make_table("checksums", {"int64": PLAIN["int64"]}), source, write_page_checksum=True,
                   use_dictionary=False, compression="none")
    bytes_ = bytearray(source.read_bytes())
    last = pq.read_metadata(source).row_group(0).column(1)
    bytes_[last.data_page_offset + last.total_compressed_size - 1] ^= 1
    source.write_bytes(bytes_)
    columnist("run", "--table", "in.parquet", "--prompt", "{{ prompt }}", "--column", "label", "--limit", "3",
              "--model", "sandbox/any", "--output", "out.parquet", cwd=tmp_path)
    for name in ("in", "out"):
        with pytest.raises(OSError, match="CRC"):
            pq.read_table(tmp_path / f"{name}.parquet", columns=["int64"], page_checksum_verification=True)
    read = in_pyarrow(tmp_path / "out.parquet", ["int64"])
    assert read == in_pyarrow(source, ["int64"])


class Keys(pe.KmsClient):
    """Keys that are wrapped in nothing."""

    def wrap_key(self, key, _):
        return base64.b64encode(key)

    def unwrap_key(self, key, _):
        return base64.b64decode(key)


@pytest.mark.parametrize("plain_footer", [True, False])
def test_encrypted_columns_are_refused_by_name_before_anything_is_sent(tmp_path, plain_footer):
    table = make_table("secret", {"text": PLAIN["text"], "int64": PLAIN["int64"]})
    factory = pe.CryptoFactory(lambda _: Keys())
    config = pe.EncryptionConfiguration(footer_key="f", column_keys={"c": ["int64_some"]}, plaintext_footer=plain_footer)
    properties = factory.file_encryption_properties(pe.KmsConnectionConfig(), config)
    with pq.ParquetWriter(tmp_path / "in.parquet", table.schema, encryption_properties=properties) as writer:
        writer.write_table(table)
    args = ["--table", "in.parquet", "--prompt", "{{ prompt }}", "--column", "label", "--model", "sandbox/any",
            "--output", "out.parquet"]
    for command in ("check", "plan", "run"):
        error = columnist(command, *args, cwd=tmp_path, code=2).err
        assert "encrypted" in error
        assert not plain_footer or "int64_some" in error
    assert not (tmp_path / "out.parquet").exists()
