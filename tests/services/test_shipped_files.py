"""Files that Python packages ship, as people have them: each comes through right."""

import csv
import datetime as dt
import decimal
import importlib.util
import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from test_old_columns import in_duckdb, in_polars, in_pyarrow, readable
from world import columnist

ROWS_MAX = 5000
NEW = ["label", "label_status", "label_error"]


def shipped(package, pattern):
    folder = Path(importlib.util.find_spec(package).origin).parent
    found = sorted(folder.glob(pattern))
    assert found, f"{package} ships no {pattern} any more"
    return found


PARQUET = shipped("pyarrow", "tests/data/parquet/*.parquet")
CSV = [
    *shipped("great_tables", "data/*.csv"),
    *shipped("palmerpenguins", "data/*.csv"),
    *shipped("vega_datasets", "_data/*.csv"),
    *shipped("numpy", "random/tests/data/pcg64-*.csv"),
]
ARRAYS = shipped("vega_datasets", "_data/*.json")


def name_of(path):
    return path.name


def run(tmp_path, source, column, code=0):
    name = column.replace("\\", "\\\\").replace("'", "\\'")
    return columnist("run", "--table", source, "--prompt", f"Say: {{{{ row['{name}'] | default('-') }}}}", "--column", "label",
                     "--limit", "5", "--model", "sandbox/any", "--output", "out.parquet", cwd=tmp_path, code=code)


@pytest.mark.parametrize("path", PARQUET, ids=name_of)
def test_a_parquet_file(tmp_path, path):
    columns = pq.read_schema(path).names
    run(tmp_path, path, columns[0])
    for read in (in_duckdb, in_polars, in_pyarrow):
        told = readable(read, path, columns)
        assert told and read(tmp_path / "out.parquet", told) == read(path, told)


def same(text, value):
    """Whether a value of the output says what stood in the text."""
    if value is None:
        return text == ""
    if isinstance(value, str):
        return text == value
    if isinstance(value, bool):
        return text.lower() == str(value).lower()
    if isinstance(value, int):
        return text.strip() == str(value)
    if isinstance(value, float):
        return float(text) == value
    if isinstance(value, decimal.Decimal):
        return decimal.Decimal(text) == value
    if isinstance(value, dt.datetime):
        said = dt.datetime.fromisoformat(text.strip())
        return said.replace(tzinfo=said.tzinfo or value.tzinfo) == value
    if isinstance(value, (dt.date, dt.time)):
        return text.strip() == value.isoformat()
    return False


def check_cells(header, rows, table):
    assert table.column_names == [*header, *NEW]
    assert table.num_rows == len(rows)
    for at, name in enumerate(header):
        for number, (row, value) in enumerate(zip(rows, table[name].to_pylist(), strict=True)):
            assert same(row[at], value), f"row {number} of {name}: {row[at]!r} became {value!r}"


@pytest.mark.parametrize("path", CSV, ids=name_of)
def test_a_csv_file(tmp_path, path):
    with path.open(encoding="utf-8", newline="") as file:
        rows = [row for _, row in zip(range(ROWS_MAX + 1), csv.reader(file), strict=False) if row]
    header = rows.pop(0)
    source = tmp_path / path.name
    lines = path.read_bytes().splitlines(keepends=True)
    source.write_bytes(b"".join(lines[: len(rows) + 1]) if len(lines) > ROWS_MAX else path.read_bytes())
    run(tmp_path, source, header[0])
    check_cells(header, rows, pq.read_table(tmp_path / "out.parquet"))


def records(path):
    """The records of an array file, if it is one of flat ones."""
    found = json.loads(path.read_text(encoding="utf-8"))
    is_flat = isinstance(found, list) and found and all(isinstance(record, dict) for record in found)
    if not is_flat or any(isinstance(value, (dict, list)) for record in found for value in record.values()):
        return None
    return found[:ROWS_MAX]


FLAT = [path for path in ARRAYS if records(path)]


@pytest.mark.parametrize("path", FLAT, ids=name_of)
def test_records_a_line(tmp_path, path):
    """The arrays of JSON that are shipped, as NDJSON."""
    found = records(path)
    source = tmp_path / f"{path.stem}.ndjson"
    source.write_text("".join(json.dumps(record) + "\n" for record in found), encoding="utf-8")
    columns = list(dict.fromkeys(key for record in found for key in record))
    run(tmp_path, source, columns[0])
    table = pq.read_table(tmp_path / "out.parquet")
    assert set(table.column_names) == {*columns, *NEW} and table.num_rows == len(found)
    for number, (record, row) in enumerate(zip(found, table.to_pylist(), strict=True)):
        for name in columns:
            value = record.get(name)
            text = value if isinstance(value, str) else json.dumps(value)
            is_right = row[name] is None if value is None else row[name] == value or same(text, row[name])
            assert is_right, f"record {number}, {name}: {value!r} became {row[name]!r}"
