"""What a prompt says of values by other programs, against what Python says of them.

The sandbox's answer to a prompt depends on its every byte: a run whose answers are those to the prompts that
are made here has sent these, and no others.
"""

import datetime as dt
import uuid
from zoneinfo import ZoneInfo

import duckdb
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.ipc as ipc
import pyarrow.parquet as pq
import pytest

from world import columnist, tail

SECONDS = [1_700_000_000, 1_720_000_000, 0, -1]
PARTS = {"s": 1, "ms": 1_000, "us": 1_000_000, "ns": 1_000_000_000}
ZONES = ["Europe/Berlin", "America/Sao_Paulo", "Asia/Kolkata", "+05:30", "-08:00", "UTC", None]


def zone(name):
    if name and name[0] in "+-":
        hours, minutes = map(int, name[1:].split(":"))
        offset = dt.timedelta(hours=hours, minutes=minutes)
        return dt.timezone(-offset if name[0] == "-" else offset)
    return ZoneInfo(name) if name else dt.UTC


def moment(nanos, name):
    """A moment as RFC 3339 has it, with as many groups of three digits as it needs."""
    seconds, rest = divmod(nanos, 10**9)
    there = (dt.datetime(1970, 1, 1, tzinfo=dt.UTC) + dt.timedelta(seconds=seconds)).astimezone(zone(name))
    digits = f"{rest:09}"
    while digits.endswith("000"):
        digits = digits[:-3]
    plain = there.strftime("%z")
    offset = {None: "", "UTC": "Z"}.get(name, f"{plain[:3]}:{plain[3:]}")
    return there.strftime("%Y-%m-%dT%H:%M:%S") + ("." + digits if digits else "") + offset


def write_parquet(table, path):
    pq.write_table(table, path, version="2.6")


def write_coarser(table, path):
    pq.write_table(table, path, coerce_timestamps="ms", allow_truncated_timestamps=True)


def write_int96(table, path):
    pq.write_table(table, path, use_deprecated_int96_timestamps=True)


def write_arrow(table, path):
    with ipc.new_file(path, table.schema) as writer:
        writer.write(table)


def write_stream(table, path):
    with ipc.new_stream(path, table.schema) as writer:
        writer.write(table)


def sent(folder, path, template, prompts, *more):
    """Runs, and checks that these prompts were sent."""
    columnist("run", "--table", path, "--key", "id", "--prompt", template, "--column", "label", "--model",
              "sandbox/x", "--output", folder / "out.parquet", "--ledger", folder / "ledger", *more, cwd=folder)
    out = pq.read_table(folder / "out.parquet")
    for prompt, label in zip(prompts, out["label"].to_pylist(), strict=True):
        assert label and label.endswith(tail(prompt)), prompt
    return out


WRITERS = {
    "parquet": (write_parquet, "in.parquet"),
    "coarser": (write_coarser, "in.parquet"),
    "int96": (write_int96, "in.parquet"),
    "arrow": (write_arrow, "in.arrow"),
    "stream": (write_stream, "in.arrows"),
}


@pytest.mark.parametrize("how", WRITERS)
def test_moments(tmp_path, how):
    write, name = WRITERS[how]
    columns, expected = {"id": pa.array(range(len(SECONDS)))}, [[] for _ in SECONDS]
    for number, unit in enumerate(PARTS):
        for place, named in enumerate(ZONES):
            values = [second * PARTS[unit] + min(7, PARTS[unit] - 1) for second in SECONDS]
            nanos = [value * (10**9 // PARTS[unit]) for value in values]
            if how == "coarser":
                nanos = [value // 10**6 * 10**6 if value >= 0 else -(-value // 10**6) * 10**6 for value in nanos]
            kind = pa.timestamp(unit, named)
            plain = pa.array(values, kind)
            columns[f"p{number}_{place}"] = plain
            if how != "int96":
                columns[f"l{number}_{place}"] = pa.array([[value] for value in values], pa.list_(kind))
                columns[f"s{number}_{place}"] = pa.StructArray.from_arrays([plain], names=["at"])
            for row, value in enumerate(nanos):
                text = moment(value, named)
                expected[row].append(text)
                if how != "int96":
                    expected[row] += [f'["{text}"]', text]
    table = pa.table(columns)
    prints = [f"{{{{ {name}.at }}}}" if name[0] == "s" else f"{{{{ {name} }}}}" for name in columns if name != "id"]
    write(table, tmp_path / name)
    out = sent(tmp_path, tmp_path / name, "\n".join(prints), ["\n".join(row) for row in expected])
    read = pq.read_table(tmp_path / name) if name.endswith("parquet") else table
    for column in read.column_names:
        kind = read.schema.field(column).type
        assert out[column].cast(kind).equals(read[column]), column


def test_moments_by_pandas_polars_and_duckdb(tmp_path):
    moments = [dt.datetime(2024, 3, 31, 0, 30, tzinfo=dt.UTC), dt.datetime(2024, 7, 1, 12, 0, 0, 250_000, tzinfo=dt.UTC)]
    nanos = [int(value.timestamp() * 1000) * 10**6 for value in moments]
    frame = pd.DataFrame({"id": [1, 2], "at": pd.to_datetime(moments).tz_convert("Europe/Berlin")})
    frame.to_parquet(tmp_path / "pandas.parquet")
    made = pl.DataFrame({"id": [1, 2], "at": moments}).with_columns(pl.col("at").dt.convert_time_zone("America/Sao_Paulo"))
    made.write_parquet(tmp_path / "polars.parquet")
    made.write_ipc(tmp_path / "polars.arrow")
    with duckdb.connect() as duck:
        duck.register("made", pa.table({"id": [1, 2], "at": pa.array(moments, pa.timestamp("us", "UTC"))}))
        duck.sql(f"COPY (SELECT * FROM made) TO '{tmp_path}/duckdb.parquet' (FORMAT parquet)")
    for name, named in [("pandas.parquet", "Europe/Berlin"), ("polars.parquet", "America/Sao_Paulo"),
                        ("polars.arrow", "America/Sao_Paulo"), ("duckdb.parquet", "UTC")]:
        folder = tmp_path / f"of {name}"
        folder.mkdir()
        sent(folder, tmp_path / name, "{{ at }}", [moment(value, named) for value in nanos])


def test_the_key_and_the_filter_take_a_moment_in_its_zone(tmp_path):
    kind = pa.timestamp("s", "Europe/Berlin")
    write_parquet(pa.table({"id": pa.array(SECONDS, kind), "n": range(4)}), tmp_path / "in.parquet")
    out = sent(tmp_path, tmp_path / "in.parquet", "{{ n }} {{ id }}",
               [f"{n} {moment(second * 10**9, 'Europe/Berlin')}" for n, second in enumerate(SECONDS)])
    assert out["id"].type == pa.timestamp("ms", "Europe/Berlin")
    where = "id >= '2023-11-14T23:13:20+01:00'"
    columnist("run", "--table", tmp_path / "in.parquet", "--key", "id", "--prompt", "{{ n }}", "--where", where,
              "--column", "label", "--model", "sandbox/x", "--output", tmp_path / "some.parquet",
              "--ledger", tmp_path / "other", cwd=tmp_path)
    some = pq.read_table(tmp_path / "some.parquet")["label_status"].to_pylist()
    assert some == ["succeeded", "succeeded", "skipped", "skipped"]
    job = tmp_path / "job.toml"
    job.write_text('name = "out"\n[source]\ntable = "in.parquet"\nkey = ["id"]\n[prompt]\nuser = "{{ n }} {{ id }}"\n'
                   '[answer]\ncolumn = "label"\n[model]\nuse = "sandbox/x"\n[output]\npath = "out.parquet"\n'
                   '[ledger]\npath = "ledger"\n')
    for text in ["2023-11-14T23:13:20+01:00", "2023-11-14T22:13:20Z"]:
        said = columnist("show", job, "--key", text, "--json", cwd=tmp_path)
        assert "0 2023-11-14T23:13:20+01:00" in said.out


def test_uuids_and_json_of_arrow_files(tmp_path):
    ids = [uuid.UUID(int=5), uuid.UUID(int=2**127 + 3)]
    raw = pa.array([value.bytes for value in ids], pa.binary(16))
    marked = pa.ExtensionArray.from_storage(pa.uuid(), raw)
    text = pa.array(['{"a": 1}', "[]"])
    table = pa.table({"id": [1, 2], "u": marked, "j": pa.ExtensionArray.from_storage(pa.json_(), text)})
    for name, write in [("in.arrow", write_arrow), ("in.arrows", write_stream)]:
        folder = tmp_path / f"of {name}"
        folder.mkdir()
        write(table, tmp_path / name)
        out = sent(folder, tmp_path / name, "{{ u }} {{ j }}", [f"{u} {j}" for u, j in zip(ids, text.to_pylist())])
        assert out["u"].to_pylist() == ids
        kinds = [str(column.logical_type) for column in pq.ParquetFile(folder / "out.parquet").schema]
        assert kinds[1:3] == ["UUID", "JSON"]
        with duckdb.connect() as duck:
            told = duck.sql(f"SELECT u::VARCHAR, typeof(u) FROM '{folder}/out.parquet'").fetchall()
        assert told == [(str(value), "UUID") for value in ids]


def test_a_folder_of_arrow_files_that_differ(tmp_path):
    (tmp_path / "in").mkdir()
    write_arrow(pa.table({"id": pa.array([1, 2], pa.int32()), "name": ["a", "b"]}), tmp_path / "in/a.arrow")
    write_stream(pa.table({"name": pa.array(["c"], pa.string_view()), "id": pa.array([2**40]), "x": [1.5]}),
                 tmp_path / "in/b.arrows")
    pl.DataFrame({"x": [2.5], "id": [4], "name": ["d"]}).write_ipc(tmp_path / "in/c.feather")
    out = sent(tmp_path, tmp_path / "in", "{{ id }} {{ name }} {{ x or '-' }}",
               ["1 a -", "2 b -", f"{2**40} c 1.5", "4 d 2.5"])
    assert out.select(["id", "name", "x"]).to_pydict() == {
        "id": [1, 2, 2**40, 4], "name": ["a", "b", "c", "d"], "x": [None, None, 1.5, 2.5]}
