"""Outputs of tables that pandas wrote, opened by pandas: every row has its own label, and every column."""

import datetime as dt
import decimal
import json

import pandas as pd
import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet as pq
import pytest

from world import Job, tail

NEW = ["label", "label_status", "label_error"]
DAYS = pd.to_datetime(["2024-01-01", "2024-01-02"])


def numbers(*labels):
    return pd.DataFrame([["x", 1], ["y", 2]], columns=list(labels))


def sales():
    return pd.DataFrame({"k": ["a", "a", "b"], "m": [1, 2, 1], "v": [1, 2, 3]})


TABLES = {
    "whole": numbers(0, 1),
    "real": numbers(1.5, 2.5),
    "true": numbers(True, False),
    "decimal": numbers(decimal.Decimal(1), decimal.Decimal(2)),
    "moment": numbers(*DAYS),
    "zoned": numbers(*DAYS.tz_localize("Europe/Berlin")),
    "two levels": pd.DataFrame([["x", 1], ["y", 2]], columns=pd.MultiIndex.from_tuples([("a", "t"), ("a", "u")])),
    "grouped": sales().groupby("k").agg({"v": ["mean", "max"]}),
    "grouped, flat": sales().groupby("k").agg({"v": ["mean", "max"]}).reset_index(),
    "pivoted": sales().pivot_table(index="k", columns="m", values="v"),
    "pivoted, two levels": sales().pivot_table(index="k", columns="m", values=["v"]),
}


def labels_of(table):
    """A table's labels, as those of new columns let them be."""
    columns = table.columns
    if columns.nlevels > 1:
        return [tuple(map(str, label)) for label in columns]
    return [str(label) for label in columns]


@pytest.mark.parametrize("layout", ["mirror", "single", "keyed"])
@pytest.mark.parametrize("name", TABLES)
def test_labels_of_columns(tmp_path, sandbox, name, layout):
    table = TABLES[name]
    table.to_parquet(tmp_path / "in.parquet")
    schema = pq.read_schema(tmp_path / "in.parquet")
    # Floats make no key.
    key = next((field.name for field in schema if not pa.types.is_floating(field.type)), None)
    fields = [key or schema.names[0]]
    prompt = f"Label this: {{{{ row[{json.dumps(fields[0])}] }}}}"
    Job(tmp_path, sandbox, "openai", source={"key": [key]}, prompt={"user": prompt},
        output={"layout": None if layout == "mirror" else layout}).run()
    out = pd.read_parquet(tmp_path / "out.parquet")
    new = [(column, *[""] * (table.columns.nlevels - 1)) for column in NEW]
    new = new if table.columns.nlevels > 1 else NEW
    old = labels_of(table) if layout != "keyed" else [label for label in labels_of(table) if str(label) == fields[0]]
    assert list(out.columns) == old + new
    # An index that is a column is there if that is.
    kept = layout != "keyed" or table.index.name in [None, *fields]
    index = table.index if kept else pd.RangeIndex(len(table))
    assert out.index.equals(index) and out.index.name == index.name
    if layout != "keyed":
        assert out.iloc[:, : len(old)].set_axis(table.columns, axis=1).equals(table)
    values = pq.read_table(tmp_path / "in.parquet")[fields[0]].to_pylist()
    answers = out[new[0]].tolist()
    assert all(answer.endswith(tail(f"Label this: {value}")) for answer, value in zip(answers, values, strict=True))


def letters(start):
    return pd.DataFrame({"id": list("abcd")}, index=pd.RangeIndex(start, start + 8, 2, name="nr"))


@pytest.mark.parametrize("kind", ["parquet", "feather"])
def test_a_query_has_labels_of_its_own(tmp_path, sandbox, kind):
    name = f"in.{kind}"
    getattr(letters(100), f"to_{kind}")(tmp_path / name) if kind == "parquet" else pa.feather.write_feather(
        pa.Table.from_pandas(letters(100)), tmp_path / "in.arrow")
    name = name if kind == "parquet" else "in.arrow"
    (tmp_path / "q.sql").write_text("SELECT id FROM x ORDER BY id DESC")
    Job(tmp_path, sandbox, "openai", source={"table": None, "query": "q.sql", "tables": {"x": name}},
        prompt={"user": "Label this: {{ id }}"}).run()
    out = pd.read_parquet(tmp_path / "out.parquet")
    assert out["id"].tolist() == list("dcba") and out.index.equals(pd.RangeIndex(4))


def test_an_index_that_a_query_leaves_out(tmp_path, sandbox):
    table = pd.DataFrame({"id": list("abcd"), "n": pd.array([1, None, 3, 4], "Int64")}, index=list("wxyz"))
    table.to_parquet(tmp_path / "in.parquet")
    for number, (sql, columns) in enumerate([
        ("SELECT id FROM x ORDER BY id DESC", ["id"]),
        ("SELECT id, n * 0.5 AS n, __index_level_0__ FROM x ORDER BY id", ["id", "n", "__index_level_0__"]),
    ]):
        (tmp_path / "q.sql").write_text(sql)
        Job(tmp_path, sandbox, "openai", name=f"j{number}", prompt={"user": "Label this: {{ id }}"},
            source={"table": None, "query": "q.sql", "tables": {"x": "in.parquet"}},
            output={"path": f"{number}.parquet"}).run()
        out = pd.read_parquet(tmp_path / f"{number}.parquet")
        assert list(out.columns) == columns + NEW and out.index.equals(pd.RangeIndex(4))


@pytest.mark.parametrize("kind", ["parquet", "arrow"])
@pytest.mark.parametrize("layout", ["mirror", "single", "keyed"])
def test_files_of_a_folder(tmp_path, sandbox, layout, kind):
    (tmp_path / "in").mkdir()
    tables = {"a": letters(100), "b": letters(0), "c": letters(7).assign(id=list("wxyz"))[:3]}
    for name, table in tables.items():
        path = tmp_path / f"in/{name}.{kind}"
        pa.feather.write_feather(pa.Table.from_pandas(table), path) if kind == "arrow" else table.to_parquet(path)
    folder = layout == "mirror" and kind == "parquet"
    Job(tmp_path, sandbox, "openai", source={"table": "in/", "key": None}, prompt={"user": "Label this: {{ id }}"},
        output={"layout": layout, "path": "out/" if folder else "out.parquet"}).run()
    if folder:
        for name, table in tables.items():
            out = pd.read_parquet(tmp_path / f"out/{name}.parquet")
            assert out[["id"]].equals(table) and out.index.equals(table.index) and out.index.name == "nr"
        return
    out = pd.read_parquet(tmp_path / "out.parquet")
    assert out.index.equals(pd.RangeIndex(11)) and out.index.name is None
    if layout != "keyed":
        assert out["id"].tolist() == [*"abcd", *"abcd", *"wxy"]


@pytest.mark.parametrize("kind", ["parquet", "arrow"])
@pytest.mark.parametrize("more", [{}, {"where": "id > 'b'"}, {"limit": 2}, {"sample": 2}])
def test_the_same_rows_keep_their_labels(tmp_path, sandbox, kind, more):
    path = tmp_path / f"in.{kind}"
    pa.feather.write_feather(pa.Table.from_pandas(letters(100)), path) if kind == "arrow" else letters(100).to_parquet(path)
    for layout in (None, "single", "keyed"):
        Job(tmp_path, sandbox, "openai", name=layout or "mirror", source={"table": f"in.{kind}", "key": ["id"], **more},
            prompt={"user": "Label this: {{ id }}"}, output={"layout": layout, "path": f"{layout}.parquet"}).run()
        out = pd.read_parquet(tmp_path / f"{layout}.parquet")
        assert out[["id"]].equals(letters(100)) and out.index.name == "nr"


def test_types_of_pandas_stay(tmp_path, sandbox):
    moment = dt.datetime(2024, 1, 1, tzinfo=dt.UTC)
    table = pd.DataFrame({
        "id": list("abc"), "n": pd.array([1, None, 3], "Int64"), "kind": pd.Categorical(["p", "q", "p"]),
        "at": pd.array([moment] * 3),
    }).set_index(["id", "kind"])
    table.to_parquet(tmp_path / "in.parquet")
    Job(tmp_path, sandbox, "openai", prompt={"user": "Label this: {{ id }}"}).run()
    out = pd.read_parquet(tmp_path / "out.parquet")
    assert out.drop(columns=NEW).equals(pd.read_parquet(tmp_path / "in.parquet"))
    assert out["n"].dtype == "Int64" and out.index.names == ["id", "kind"]
