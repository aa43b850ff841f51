"""What is written, read back by pyarrow and DuckDB."""

import csv
import datetime as dt
import decimal
import json

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from world import MODELS, VENDORS, Job, choice, columnist, tail

ROWS = 230
NEW = ["label", "label_status", "label_error"]
CHOICES = ["billing", "bug", "how-to", "other"]


def body(n):
    return None if n % 29 == 3 else f"ticket {n % 150}: \u00fc \u4e2d \U0001f600 \"q\" \\ \t|\n{{{{ id }}}}"


def check_answers(rows, prompt="Label this: {}", text="body"):
    """Every row has the answer to its own prompt."""
    for row in rows:
        if row[text] is None:
            assert (row["label"], row["label_status"]) == (None, "skipped")
        else:
            assert row["label_status"] == "succeeded" and row["label_error"] is None
            assert row["label"].endswith(tail(prompt.format(row[text])))


def rich():
    """A table of many types, with nulls in all that may have them, and metadata."""
    day = dt.date(2026, 1, 1)
    moment = dt.datetime(2026, 1, 1, 12, 30, 15, 123456, tzinfo=dt.UTC)

    def column(make, kind, every=7):
        return pa.array([None if n % every == 1 else make(n) for n in range(ROWS)], kind)

    pair = pa.struct([("a", pa.int32()), ("b", pa.list_(pa.string()))])
    words = pa.dictionary(pa.int32(), pa.string())
    columns = {
        "id": pa.array([n * 3 - 100 for n in range(ROWS)], pa.int64()),
        "body": pa.array([body(n) for n in range(ROWS)], pa.string()),
        "flag": column(lambda n: n % 2 == 0, pa.bool_()),
        "small": column(lambda n: n % 100 - 50, pa.int8()),
        "unsigned": column(lambda n: n * 10**15, pa.uint64()),
        "half": column(lambda n: n / 4, pa.float32()),
        "real": column(lambda n: n / 7, pa.float64()),
        "price": column(lambda n: decimal.Decimal(n) / 100, pa.decimal128(20, 4)),
        "vast": column(lambda n: decimal.Decimal(n) * 10**30, pa.decimal256(50, 2)),
        "day": column(lambda n: day + dt.timedelta(n), pa.date32()),
        "moment": column(lambda n: moment + dt.timedelta(hours=n), pa.timestamp("us", "Europe/Berlin")),
        "naive": column(lambda n: dt.datetime(2026, 1, 1) + dt.timedelta(n), pa.timestamp("ms")),
        "clock": column(lambda n: dt.time(n % 24, n % 60), pa.time64("us")),
        "span": column(lambda n: dt.timedelta(seconds=n), pa.duration("us")),
        "blob": column(lambda n: bytes([n % 256, 255, 0]), pa.binary()),
        "fixed": column(lambda n: n.to_bytes(16, "big"), pa.binary(16)),
        "long": column(lambda n: f"long {n}", pa.large_string()),
        "view": column(lambda n: f"a text that is not inlined {n}", pa.string_view()),
        "word": column(lambda n: CHOICES[n % 4], pa.string()).cast(words),
        "list": column(lambda n: [None if n % 3 else f"x{n}"] * (n % 4), pa.list_(pa.string())),
        "vector": column(lambda n: [n / 2, n / 3, None], pa.list_(pa.float32(), 3)),
        "pair": column(lambda n: {"a": n, "b": [f"{n}"] * (n % 3)}, pair),
        "pairs": column(lambda n: [{"a": None, "b": None}, {"a": n, "b": []}], pa.list_(pair)),
        "map": column(lambda n: [(f"k{n}", n), ("z", None)], pa.map_(pa.string(), pa.int64())),
        "nothing": pa.nulls(ROWS, pa.string()),
        "A column, with a name": column(lambda n: n, pa.int16()),
    }
    fields = [
        pa.field(name, values.type, nullable=name != "id", metadata={"unit": f"of {name}"})
        for name, values in columns.items()
    ]
    schema = pa.schema(fields, metadata={"owner": "team \u00e4", "empty": ""})
    return pa.table(list(columns.values()), schema=schema)


def write_rich(path, table, **more):
    pq.write_table(
        table,
        path,
        row_group_size=64,
        compression={name: "zstd" if n % 2 else "snappy" for n, name in enumerate(leaves(table))},
        data_page_size=512,
        write_page_index=True,
        sorting_columns=[pq.SortingColumn(0)],
        **more,
    )


def leaves(table):
    """The names of a table's Parquet columns."""
    sink = pa.BufferOutputStream()
    pq.write_table(table.slice(0, 1), sink)
    schema = pq.ParquetFile(pa.BufferReader(sink.getvalue())).schema
    return [schema.column(n).path for n in range(len(schema))]


def chunk_facts(chunk):
    """What readers use of a column chunk, but its place in the file."""
    statistics = chunk.statistics and chunk.statistics.to_dict()
    if statistics:
        # An empty text is one thing, whatever its object.
        statistics = {key: repr(value) for key, value in statistics.items()}
    return {
        "path": chunk.path_in_schema,
        "type": chunk.physical_type,
        "values": chunk.num_values,
        "compression": chunk.compression,
        "encodings": sorted(chunk.encodings),
        "sizes": (chunk.total_compressed_size, chunk.total_uncompressed_size),
        "statistics": statistics,
        "indexes": (chunk.has_offset_index, chunk.has_column_index),
        # Of an empty chunk: a test of its own.
        "dictionary": chunk.has_dictionary_page and chunk.num_values > 0,
    }


def check_old_columns(source, out):
    """Row groups, chunks, statistics, order and metadata of the old columns are the source's."""
    before, after = pq.ParquetFile(source), pq.ParquetFile(out)
    old, new = before.metadata, after.metadata
    assert new.num_rows == old.num_rows and new.num_row_groups == old.num_row_groups
    for group in range(old.num_row_groups):
        a, b = old.row_group(group), new.row_group(group)
        assert b.num_rows == a.num_rows
        assert b.sorting_columns == a.sorting_columns
        for n in range(a.num_columns):
            assert chunk_facts(b.column(n)) == chunk_facts(a.column(n))
        for n in range(a.num_columns, b.num_columns):
            assert b.column(n).path_in_schema in NEW and b.column(n).statistics is not None
    kept = {k: v for k, v in (old.metadata or {}).items() if k != b"ARROW:schema"}
    assert kept.items() <= new.metadata.items()
    table, read = before.read(), after.read()
    assert read.column_names == table.column_names + NEW
    assert read.select(table.column_names).replace_schema_metadata(None).equals(
        table.replace_schema_metadata(None), check_metadata=True
    )
    return read


def duck(sql, *values):
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        result = connection.execute(sql, values)
        names = [column[0] for column in result.description]
        return [dict(zip(names, row, strict=True)) for row in result.fetchall()]


@pytest.mark.parametrize("vendor", VENDORS)
def test_many_types(tmp_path, sandbox, vendor):
    source, out = tmp_path / "in.parquet", tmp_path / "out.parquet"
    write_rich(source, rich())
    report = Job(tmp_path, sandbox, vendor).run()
    table = check_old_columns(source, out)
    check_answers(table.select(["body", *NEW]).to_pylist())
    skipped = sum(body(n) is None for n in range(ROWS))
    assert report["status"] == {"succeeded": ROWS - skipped, "skipped": skipped}
    about = table.field("label").metadata
    assert table.field("label").type == pa.string()
    assert MODELS[vendor] in about[b"columnist.model"].decode()
    assert about[b"columnist.job"] == b"triage" and about[b"columnist.prompt"]

    # Moments as numbers: as objects they would need another package.
    every = "* REPLACE (epoch_us(moment) AS moment)"
    old = duck(f"SELECT {every} FROM read_parquet(?)", str(source))
    new = duck(f"SELECT {every} FROM read_parquet(?)", str(out))
    check_answers(new)
    assert [{k: v for k, v in row.items() if k not in NEW} for row in new] == old
    # Filters on old columns go through the statistics and indexes that were copied.
    for sql in ("id BETWEEN 50 AND 99", "day > DATE '2026-06-01'", "long = 'long 100'"):
        found = duck(f"SELECT id, body, label FROM read_parquet(?) WHERE {sql}", str(out))
        expect = duck(f"SELECT id, body FROM read_parquet(?) WHERE {sql}", str(source))
        assert found and [(r["id"], r["body"]) for r in found] == [(r["id"], r["body"]) for r in expect]


@pytest.mark.parametrize(
    "options",
    [
        {"version": "1.0", "store_schema": False, "data_page_version": "2.0"},
        {"use_dictionary": False, "write_statistics": False, "compression": "gzip"},
        {"use_dictionary": ["body"], "compression": "none"},
        {"compression": "lz4"},
        {"compression": "brotli"},
    ],
)
def test_other_writers_settings(tmp_path, sandbox, options):
    source = tmp_path / "in.parquet"
    names = ["id", "body", "price", "day", "list", "pair", "word"]
    pq.write_table(rich().select(names), source, row_group_size=100, **options)
    Job(tmp_path, sandbox, "openai").run()
    table = check_old_columns(source, tmp_path / "out.parquet")
    check_answers(table.to_pylist())
    check_answers(duck("SELECT * FROM read_parquet(?)", str(tmp_path / "out.parquet")))


def test_a_file_of_duckdb(tmp_path, sandbox):
    source = tmp_path / "in.parquet"
    duck(
        f"COPY (SELECT i AS id, 'text ' || i AS body, i::DECIMAL(9,2) AS price, "
        f"'k' || (i % 3) AS word, {{'a': i, 'b': [i, NULL]}} AS pair, uuid() AS u, i::HUGEINT AS h "
        f"FROM range(5000) t(i)) TO '{source}' (FORMAT parquet, ROW_GROUP_SIZE 2048)"
    )
    Job(tmp_path, sandbox, "openai").run()
    check_answers(check_old_columns(source, tmp_path / "out.parquet").to_pylist())
    before = duck("SELECT * FROM read_parquet(?)", str(source))
    after = duck("SELECT * EXCLUDE (label, label_status, label_error) FROM read_parquet(?)", str(tmp_path / "out.parquet"))
    assert after == before and len(before) == 5000


def hive(folder):
    """Four files in three partitions, and their rows in the order of the files' paths."""
    table, rows = rich().select(["id", "body", "price", "pair"]), []
    parts = [("dt=2026-01-01/a", 0, 60), ("dt=2026-01-01/b", 60, 61), ("dt=2026-01-02/a", 61, 61),
             ("dt=2026-01-10/a", 61, ROWS)]
    for name, start, end in parts:
        path = folder / f"{name}.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        part = table.slice(start, end - start)
        pq.write_table(part, path, row_group_size=50)
        rows += [row | {"dt": name[3:13]} for row in part.to_pylist()]
    return rows


def test_a_hive_folder_is_mirrored(tmp_path, sandbox):
    rows = hive(tmp_path / "in")
    job = Job(tmp_path, sandbox, "anthropic", source={"table": "in/", "key": ["dt", "id"]},
              prompt={"user": "On {{ dt }}: {{ body }}"}, output={"path": "out/"})
    job.run()
    files = {path.relative_to(tmp_path / "out") for path in (tmp_path / "out").rglob("*") if path.is_file()}
    names = {path.relative_to(tmp_path / "in") for path in (tmp_path / "in").rglob("*.parquet")}
    assert {str(path) for path in files} == {str(path) for path in names}
    for name in names:
        table = check_old_columns(tmp_path / "in" / name, tmp_path / "out" / name)
        check_answers(table.to_pylist(), f"On {str(name)[3:13]}: {{}}")
    read = duck("SELECT * FROM read_parquet(?, hive_partitioning = true, hive_types_autocast = false) "
                "ORDER BY id", str(tmp_path / "out/**/*.parquet"))
    assert [{k: v for k, v in row.items() if k not in NEW} for row in read] == rows
    assert pq.read_table(tmp_path / "out").num_rows == ROWS


def test_a_hive_folder_becomes_a_single_file(tmp_path, sandbox):
    rows = hive(tmp_path / "in")
    Job(tmp_path, sandbox, "openai", source={"table": "in/"}, output={"layout": "single"}).run()
    out = pq.read_table(tmp_path / "out.parquet").to_pylist()
    assert [{k: v for k, v in row.items() if k not in NEW} for row in out] == rows
    check_answers(out)
    assert duck("SELECT dt, count(*) AS n FROM read_parquet(?) GROUP BY dt ORDER BY dt", str(tmp_path / "out.parquet")) == [
        {"dt": "2026-01-01", "n": 61}, {"dt": "2026-01-10", "n": ROWS - 61}]


@pytest.mark.parametrize("key", [["id"], ["part", "n"], []])
def test_delta_has_the_key_and_the_new_columns(tmp_path, sandbox, key):
    table = rich().append_column("part", pa.array([f"p{n % 7}" for n in range(ROWS)]))
    table = table.append_column("n", pa.array([n // 7 for n in range(ROWS)], pa.int32()))
    write_rich(tmp_path / "in.parquet", table)
    job = Job(tmp_path, sandbox, "openai", source={"key": key or None}, output={"layout": "keyed"})
    job.run()
    source = pq.read_table(tmp_path / "in.parquet")
    out = pq.read_table(tmp_path / "out.parquet")
    assert out.column_names == (key or ["row"]) + NEW
    if key:
        assert out.select(key).equals(source.select(key))
    else:
        assert out["row"].to_pylist() == list(range(ROWS))
    check_answers([row | {"body": body(n)} for n, row in enumerate(out.to_pylist())])


def test_choices_where_and_limit(tmp_path, sandbox):
    write_rich(tmp_path / "in.parquet", rich())
    job = Job(tmp_path, sandbox, "anthropic", source={"where": "flag AND price > 0.10", "limit": 40},
              answer={"type": "choice", "choices": CHOICES}, prompt={"user": "{{ word }}/{{ price }}/{{ body }}"})
    report = job.run()
    rows = check_old_columns(tmp_path / "in.parquet", tmp_path / "out.parquet").to_pylist()
    chosen = [n for n, row in enumerate(rows) if row["flag"] and (row["price"] or 0) > decimal.Decimal("0.10")]
    chosen = chosen[:40]
    answered = 0
    for n, row in enumerate(rows):
        if n not in chosen or row["body"] is None or row["word"] is None:
            assert (row["label"], row["label_status"]) == (None, "skipped")
            continue
        answered += 1
        assert row["label_status"] == "succeeded"
        assert row["label"] == choice(f"{row['word']}/{row['price']}/{row['body']}", CHOICES)
    assert report["status"] == {"succeeded": answered, "skipped": ROWS - answered} and answered > 20


def texts():
    return [{"id": n, "body": None if n % 29 == 3 else f"line {n}, \"quoted\"\n\u00e4 \U0001f600", "n": n / 4} for n in range(ROWS)]


def test_a_csv_source(tmp_path, sandbox):
    rows = [row for row in texts() if row["body"] is not None]
    with (tmp_path / "in.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, ["id", "body", "n"])
        writer.writeheader()
        writer.writerows({**row, "body": row["body"].replace("\n", " ")} for row in rows)
    Job(tmp_path, sandbox, "openai", source={"table": "in.csv"}).run()
    check_texts(tmp_path / "out.parquet", [{**row, "body": row["body"].replace("\n", " ")} for row in rows])


def test_an_ndjson_source(tmp_path, sandbox):
    with (tmp_path / "in.ndjson").open("w", encoding="utf-8") as file:
        file.writelines(json.dumps(row) + "\n" for row in texts())
    Job(tmp_path, sandbox, "anthropic", source={"table": "in.ndjson"}).run()
    check_texts(tmp_path / "out.parquet", texts())


def test_an_ndjson_source_keeps_the_order_of_its_columns(tmp_path, sandbox):
    """They stand in the order in which they appear, as every reader has them."""
    (tmp_path / "in.ndjson").write_text('{"id": 1, "body": "x", "n": 1}\n{"id": 2, "a": 1, "body": "y"}\n')
    Job(tmp_path, sandbox, "anthropic", source={"table": "in.ndjson"}).run()
    assert pq.read_table(tmp_path / "out.parquet").column_names == ["id", "body", "n", "a", *NEW]


def check_texts(path, rows):
    out = pq.read_table(path)
    assert sorted(out.column_names[:3]) == ["body", "id", "n"] and out.column_names[3:] == NEW
    assert out.schema.field("id").type == pa.int64() and out.schema.field("n").type == pa.float64()
    assert out.select(["id", "body", "n"]).to_pylist() == rows
    check_answers(out.to_pylist())
    check_answers(duck("SELECT * FROM read_parquet(?)", str(path)))


def test_a_query_with_a_variable(tmp_path, sandbox):
    table = rich().select(["id", "body", "word", "price"])
    pq.write_table(table, tmp_path / "in.parquet", row_group_size=64)
    pq.write_table(pa.table({"word": CHOICES, "team": ["a", "b", "c", "d"]}), tmp_path / "teams.parquet")
    sql = ("SELECT t.id, t.body, teams.team, t.price * 2 AS twice FROM tickets t "
           "JOIN teams ON teams.word = t.word WHERE teams.team <> $team ORDER BY t.id DESC")
    (tmp_path / "tickets.sql").write_text(sql)
    tables = {"tickets": "in.parquet", "teams": "teams.parquet"}
    job = Job(tmp_path, sandbox, "openai", source={"table": None, "query": "tickets.sql", "tables": tables},
              prompt={"user": "{{ vars.team }} {{ team }}: {{ body }}"})
    team = "b' OR 'x' = 'x"
    for team in (team, "b"):
        job.change(output={"path": f"out-{len(team)}.parquet"})
        job.run("--var", f"team={team}")
        teams = dict(zip(CHOICES, "abcd", strict=True))
        expect = [
            {"id": row["id"], "body": row["body"], "team": teams[row["word"]]}
            for row in reversed(table.to_pylist())
            if row["word"] is not None and teams[row["word"]] != team
        ]
        out = pq.read_table(tmp_path / f"out-{len(team)}.parquet")
        assert out.column_names == ["id", "body", "team", "twice", *NEW]
        rows = out.to_pylist()
        assert [{k: row[k] for k in ("id", "body", "team")} for row in rows] == expect
        prices = {row["id"]: row["price"] for row in table.to_pylist()}
        assert all(row["twice"] == (None if prices[row["id"]] is None else prices[row["id"]] * 2) for row in rows)
        for row in rows:
            check_answers([row], f"{team} {row['team']}: {{}}")


def test_flags_alone_on_the_built_in_sandbox(tmp_path):
    pq.write_table(rich().select(["id", "body"]), tmp_path / "in.parquet", row_group_size=64)
    done = columnist("run", "--table", "in.parquet", "--key", "id", "--prompt", "Label this: {{ body }}",
                     "--column", "label", "--model", "sandbox/any", "--output", "out.parquet", cwd=tmp_path)
    assert done.report["published"] and done.report["job"] == "out"
    check_answers(check_old_columns(tmp_path / "in.parquet", tmp_path / "out.parquet").to_pylist())


def test_an_empty_table(tmp_path, sandbox):
    write_rich(tmp_path / "in.parquet", rich().slice(0, 0))
    report = Job(tmp_path, sandbox, "openai").run()
    assert report["rows"] == 0 and report["published"]
    assert check_old_columns(tmp_path / "in.parquet", tmp_path / "out.parquet").num_rows == 0


def test_an_empty_chunk_keeps_its_dictionary_page(tmp_path, sandbox):
    """What is no data page is not called one."""
    pq.write_table(rich().select(["id", "body"]).slice(0, 0), tmp_path / "in.parquet")
    Job(tmp_path, sandbox, "openai").run()

    def offset(name):
        return pq.read_metadata(tmp_path / name).row_group(0).column(0).dictionary_page_offset

    assert offset("in.parquet") == offset("out.parquet") == 4
