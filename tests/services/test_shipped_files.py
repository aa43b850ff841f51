"""Files that Python packages ship, as people have them: each comes through right, or is refused by name.

The end of the run lists them, file by file. A file that is neither fails its test.
"""

import csv
import datetime as dt
import decimal
import gzip
import importlib.util
import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from test_old_columns import in_duckdb, in_polars, in_pyarrow, readable
from world import columnist

ROWS_MAX = 5000
NEW = ["label", "label_status", "label_error"]

# What is no table for us, by how its name ends, with words of the error that says so.
REFUSED = {
    ".orc": "not a Parquet file",
    # Its values would be wrong: Arrow's reader does not know how it was packed.
    "v0.17.0.version.2-compression.lz4.feather": "an Arrow file of version 0.17 is packed in a way that did not stay",
    ".jsn.gz": "packed like this cannot be read",
    # These begin with lines that begin with `#`.
    **dict.fromkeys(
        [f"umath-validation-set-{of}.csv" for of in ("cos", "exp", "log", "sin")],
        "a row has not as many values as the header has names",
    ),
}


def shipped(package, pattern):
    folder = Path(importlib.util.find_spec(package).origin).parent
    found = sorted(folder.glob(pattern))
    assert found, f"{package} ships no {pattern} any more"
    return found


def is_refused(path):
    return path.name.endswith(tuple(REFUSED))


PARQUET = shipped("pyarrow", "tests/data/parquet/*.parquet")
CSV = [
    *shipped("great_tables", "data/*.csv"),
    *shipped("palmerpenguins", "data/*.csv"),
    *shipped("vega_datasets", "_data/*.csv"),
    *shipped("numpy", "random/tests/data/*.csv"),
    *shipped("numpy", "_core/tests/data/*.csv"),
]
ARRAYS = [
    *shipped("vega_datasets", "_data/*.json"),
    *shipped("cfnlint", "data/schemas/patches/extensions/all/*/smithy.json"),
    *shipped("jsonschema", "benchmarks/issue232/issue.json"),
]
LINES = shipped("pyarrow", "tests/data/orc/*.jsn.gz")
OTHERS = [*shipped("pyarrow", "tests/data/orc/*.orc"), *LINES, *filter(is_refused, CSV),
          *shipped("pyarrow", "tests/data/feather/*.feather")]


def name_of(path):
    return path.name if path.name != "smithy.json" else f"{path.parent.name}/{path.name}"


def command(command, tmp_path, source, column, code=0):
    name = column.replace("\\", "\\\\").replace("'", "\\'")
    return columnist(command, "--table", source, "--prompt", f"Say: {{{{ row['{name}'] | default('-') }}}}", "--column", "label",
                     "--limit", "5", "--model", "sandbox/any", "--output", "out.parquet", cwd=tmp_path, code=code)


@pytest.fixture
def right(request, record_property):
    """Says of the file, once the test has passed, that it came through right."""
    record_property("shipped", ("right", name_of(request.node.callspec.params["path"])))


@pytest.mark.parametrize("path", OTHERS, ids=name_of)
def test_a_file_that_is_refused_by_name(tmp_path, record_property, path):
    words = next(words for ending, words in REFUSED.items() if path.name.endswith(ending))
    for what in ("check", "plan", "run"):
        refused = command(what, tmp_path, path, "a", code=2)
        assert words in refused.err and path.name in refused.err and "\nhint: " in refused.err, refused
    assert not (tmp_path / "out.parquet").exists()
    record_property("shipped", ("refused by name", f"{path.name}: {words}"))


@pytest.mark.parametrize("path", PARQUET, ids=name_of)
@pytest.mark.usefixtures("right")
def test_a_parquet_file(tmp_path, path):
    columns = pq.read_schema(path).names
    command("run", tmp_path, path, columns[0])
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


@pytest.mark.parametrize("path", [path for path in CSV if not is_refused(path)], ids=name_of)
@pytest.mark.usefixtures("right")
def test_a_csv_file(tmp_path, path):
    with path.open(encoding="utf-8", newline="") as file:
        rows = [row for _, row in zip(range(ROWS_MAX + 1), csv.reader(file), strict=False) if row]
    header = rows.pop(0)
    source = tmp_path / path.name
    lines = path.read_bytes().splitlines(keepends=True)
    source.write_bytes(b"".join(lines[: len(rows) + 1]) if len(lines) > ROWS_MAX else path.read_bytes())
    command("run", tmp_path, source, header[0])
    check_cells(header, rows, pq.read_table(tmp_path / "out.parquet"))


def equal(value, found):
    """Whether a value of the output is what a value of JSON says; a member that is left out is null."""
    if value is None:
        return found is None or (isinstance(found, dict) and all(equal(None, part) for part in found.values()))
    if isinstance(value, dict) and isinstance(found, dict):
        return set(value) <= set(found) and all(equal(value.get(name), part) for name, part in found.items())
    if isinstance(value, list) and isinstance(found, list):
        return len(value) == len(found) and all(map(equal, value, found))
    if isinstance(found, str) and not isinstance(value, str):
        return json.loads(found) == value
    return found == value or same(value if isinstance(value, str) else json.dumps(value), found)


def check_records(found, made):
    columns = list(dict.fromkeys(key for record in found for key in record))
    assert set(made.column_names) == {*columns, *NEW} and made.num_rows == len(found)
    for number, (record, row) in enumerate(zip(found, made.to_pylist(), strict=True)):
        for name in columns:
            value = record.get(name)
            assert equal(value, row[name]), f"record {number}, {name}: {value!r} became {row[name]!r}"


@pytest.mark.parametrize("path", ARRAYS, ids=name_of)
@pytest.mark.usefixtures("right")
def test_a_list_of_records(tmp_path, path):
    """As it is shipped, and with a record a line."""
    found = json.loads(path.read_text(encoding="utf-8"))
    lines = tmp_path / f"{path.stem}.ndjson"
    lines.write_text("".join(json.dumps(record) + "\n" for record in found), encoding="utf-8")
    for source in (path, lines):
        folder = tmp_path / source.suffix[1:]
        folder.mkdir()
        command("run", folder, source, next(iter(found[0])))
        check_records(found, pq.read_table(folder / "out.parquet"))


@pytest.mark.parametrize("path", [path for path in LINES if "empty" not in path.name], ids=name_of)
@pytest.mark.usefixtures("right")
def test_records_a_line(tmp_path, path):
    """What its packer calls otherwise, under the name by which it is known."""
    with gzip.open(path, "rt", encoding="utf-8") as file:
        lines = [line for _, line in zip(range(ROWS_MAX), file, strict=False)]
    source = tmp_path / path.name.replace(".jsn.gz", ".ndjson.gz")
    with gzip.open(source, "wt", encoding="utf-8") as file:
        file.writelines(lines)
    found = [json.loads(line) for line in lines]
    command("run", tmp_path, source, next(iter(found[0])))
    check_records(found, pq.read_table(tmp_path / "out.parquet"))
