"""What stands beside an output is in nobody's way: every reader's own way to name a table finds the
table's rows and nothing else."""

import os

import duckdb
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest

from world import columnist

NIGHTS = ["2026-08-01", "2026-08-02"]
ONE = ["--prompt", "{{ body }}", "--column", "label", "--model", "sandbox/any"]


def table(start, rows=10):
    return pa.table({"id": range(start, start + rows), "body": [f"ticket {n}" for n in range(start, start + rows)]})


def by_duckdb(place):
    return sorted(row[0] for row in duckdb.sql(f"SELECT id FROM read_parquet('{place}')").fetchall())


def by_polars(place):
    return sorted(pl.scan_parquet(place).collect()["id"].to_list())


def by_pyarrow(place):
    return sorted(ds.dataset(place, format="parquet", partitioning="hive").to_table()["id"].to_pylist())


def by_pandas(place):
    return sorted(pd.read_parquet(place)["id"])


def by_sparks_rules(place):
    """Spark and Hive skip what begins with `_` or `.`, take every other file for data, and every folder
    on the way to one for a partition."""
    found = []
    for folder, folders, files in os.walk(place):
        folders[:] = [name for name in folders if not name.startswith(("_", "."))]
        assert all("=" in name for name in folders), folders
        for name in files:
            if not name.startswith(("_", ".")):
                found += pq.ParquetFile(os.path.join(folder, name)).read()["id"].to_pylist()
    return sorted(found)


def check(root, rows, *, deep):
    """`root` holds the ids from 0 on."""
    expect = list(range(rows))
    for read in (by_duckdb, by_polars):
        assert read(f"{root}/{'**/' if deep else ''}*.parquet") == expect, read
    for read in (by_pyarrow, by_pandas, by_sparks_rules):
        assert read(str(root)) == expect, read
    # Polars takes all that is in a folder; where the output is a file, its folder is no table.
    if deep:
        assert by_polars(f"{root}/") == expect


def test_a_table_that_gets_a_partition_each_night(tmp_path):
    for night, day in enumerate(NIGHTS):
        pq.write_table(table(10 * night), tmp_path / "in.parquet")
        job = tmp_path / "triage.toml"
        job.write_text('name = "triage"\n[source]\ntable = "in.parquet"\n[prompt]\nuser = "{{ body }}"\n'
                       '[answer]\ncolumn = "label"\n[model]\nuse = "sandbox/any"\n'
                       '[output]\npath = "lake/triaged/dt={{ vars.ds }}/"\nlayout = "single"\n')
        report = columnist("run", job, "--var", f"ds={day}", cwd=tmp_path).report
        assert report["ledger"].endswith("/lake/_columnist/triage")
        check(tmp_path / "lake/triaged", 10 * (night + 1), deep=True)
        again = columnist("run", job, "--var", f"ds={day}", cwd=tmp_path).report
        assert again["unchanged"]
    found = {path.relative_to(tmp_path / "lake/triaged") for path in (tmp_path / "lake/triaged").rglob("*.parquet")}
    assert {str(path) for path in found} == {f"dt={day}/part-00000.parquet" for day in NIGHTS}
    days = duckdb.sql(f"SELECT DISTINCT dt::VARCHAR FROM read_parquet('{tmp_path}/lake/triaged/**/*.parquet') ORDER BY 1")
    assert [row[0] for row in days.fetchall()] == NIGHTS


@pytest.mark.parametrize("layout", ["mirror", "single", "keyed"])
def test_a_folder(tmp_path, layout):
    for number in range(2):
        path = tmp_path / f"in/part-{number}.parquet"
        path.parent.mkdir(exist_ok=True)
        pq.write_table(table(10 * number), path)
    args = ["run", "--table", "in/", "--key", "id", *ONE, "--output", "out/", "--set", f"output.layout={layout}"]
    columnist(*args, cwd=tmp_path)
    check(tmp_path / "out", 20, deep=True)
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == ({"part-0.parquet", "part-1.parquet"} if layout == "mirror" else {"part-00000.parquet"})
    assert columnist(*args, cwd=tmp_path).report["unchanged"]
    # Another model is another answer: the folder is known as ours, and replaced.
    columnist(*args, "--set", "prompt.system=Say more.", cwd=tmp_path)
    check(tmp_path / "out", 20, deep=True)


@pytest.mark.parametrize("layout", ["mirror", "single", "keyed"])
def test_partitions(tmp_path, layout):
    for number, day in enumerate(NIGHTS):
        path = tmp_path / f"in/dt={day}/a.parquet"
        path.parent.mkdir(parents=True)
        pq.write_table(table(10 * number), path)
    columnist("run", "--table", "in/", "--key", "id", *ONE, "--output", "out/", "--set", f"output.layout={layout}",
              cwd=tmp_path)
    check(tmp_path / "out", 20, deep=True)


@pytest.mark.parametrize(("output", "deep"), [("out/", True), ("new/out.parquet", False)])
def test_a_query(tmp_path, output, deep):
    pq.write_table(table(0), tmp_path / "in.parquet")
    (tmp_path / "some.sql").write_text("SELECT id, body FROM t WHERE id < 7")
    args = ["run", "--query", "some.sql", "--tables", "t=in.parquet", "--key", "id", *ONE,
            "--output", output]
    columnist(*args, cwd=tmp_path)
    check(tmp_path / output if deep else (tmp_path / output).parent, 7, deep=deep)
    assert columnist(*args, cwd=tmp_path).report["unchanged"]


@pytest.mark.parametrize("layout", ["mirror", "keyed"])
def test_a_file(tmp_path, layout):
    pq.write_table(table(0), tmp_path / "in.parquet")
    columnist("run", "--table", "in.parquet", "--key", "id", *ONE, "--output", "new/sub/out.parquet", "--set",
              f"output.layout={layout}", cwd=tmp_path)
    check(tmp_path / "new/sub", 10, deep=False)


def test_folders_are_as_open_as_the_umask_says(tmp_path):
    pq.write_table(table(0), tmp_path / "in.parquet")
    (tmp_path / "by-umask").mkdir()
    expect = (tmp_path / "by-umask").stat().st_mode
    columnist("run", "--table", "in.parquet", *ONE, "--output", "new/sub/out.parquet", cwd=tmp_path)
    for folder in ("new", "new/sub", "new/sub/_columnist"):
        assert (tmp_path / folder).stat().st_mode == expect, folder
    private = [path for path in (tmp_path / "new/sub/_columnist/out").rglob("*") if path.is_file()]
    assert private and all(path.stat().st_mode & 0o077 == 0 for path in private)
    assert (tmp_path / "new/sub/_columnist/out").stat().st_mode & 0o077 == 0
