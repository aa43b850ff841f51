"""`meta = "full"`, read back by pyarrow, DuckDB and Polars: types, and what it all cost to the last digit."""

import datetime as dt
import decimal

import duckdb
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from world import VENDORS, Job

# Dollars for a token of input and of output, in a batch: claude-haiku-4-5 and gpt-6-luna.
RATES = {
    "anthropic": (decimal.Decimal("0.0000005"), decimal.Decimal("0.0000025")),
    "openai": (decimal.Decimal("0.00000005"), decimal.Decimal("0.00000025")),
}

TYPES = {
    "label_status": pa.string(),
    "label_error": pa.string(),
    "label_key": pa.string(),
    "label_model": pa.string(),
    "label_finish": pa.string(),
    "label_input_tokens": pa.int64(),
    "label_cached_tokens": pa.int64(),
    "label_cache_write_tokens": pa.int64(),
    "label_output_tokens": pa.int64(),
    "label_reasoning_tokens": pa.int64(),
    "label_cost_usd": pa.decimal128(38, 12),
    "label_batch": pa.string(),
    "label_attempts": pa.int32(),
    "label_answered_at": pa.timestamp("us", "UTC"),
    "label_raw": pa.string(),
}


@pytest.mark.parametrize("layout", ["mirror", "single", "keyed"])
@pytest.mark.parametrize("vendor", VENDORS)
def test_every_reader_sees_the_same(tmp_path, make_sandbox, vendor, layout):
    sandbox = make_sandbox("--batch-time", "50ms..150ms")
    bodies = [None if n == 7 else f"ticket {n % 90}" for n in range(100)]
    table = pa.table({"id": pa.array(range(100), pa.int64()), "body": bodies})
    pq.write_table(table, tmp_path / "in.parquet", row_group_size=40)
    job = Job(
        tmp_path,
        sandbox,
        vendor,
        model={"service": vendor, "max_requests_per_batch": 30},
        answer={"meta": "full"},
        output={"layout": layout},
    )
    before = dt.datetime.now(dt.UTC) - dt.timedelta(minutes=1)
    report = job.run()
    out = tmp_path / "out.parquet"

    arrow = pq.read_table(out)
    new = {field.name: field.type for field in arrow.schema if field.name.startswith("label_")}
    assert new == TYPES
    rows = arrow.to_pylist()
    bill = sandbox.bill()
    per_input, per_output = RATES[vendor]
    owed = bill["input_cost_thousandths"] * per_input / 1000 + bill["output_tokens"] * per_output
    assert sum(row["label_cost_usd"] or 0 for row in rows) == owed
    assert abs(decimal.Decimal(str(report["cost_usd"])) - owed) < decimal.Decimal("0.00001")
    for row in rows:
        if row["id"] == 7:
            assert all(row[name] is None for name in TYPES if name not in ("label_status", "label_error"))
            continue
        assert row["label_raw"] == row["label"] and len(row["label_key"]) == 48
        assert before < row["label_answered_at"] < dt.datetime.now(dt.UTC) + dt.timedelta(minutes=1)
        # Row 97 asks what row 7 would, which asks nothing.
        is_repeat = row["id"] >= 90 and row["id"] != 97
        assert (row["label_cost_usd"] == 0) == is_repeat

    with duckdb.connect() as db:
        said = db.sql(
            f"SELECT sum(label_cost_usd), count(DISTINCT label_key), typeof(any_value(label_cost_usd)),"
            f" typeof(any_value(label_answered_at)) FROM '{out}'"
        ).fetchall()
    assert said == [(owed, 90, "DECIMAL(38,12)", "TIMESTAMP WITH TIME ZONE")]

    frame = pl.read_parquet(out)
    assert frame["label_cost_usd"].sum() == owed
    assert frame.schema["label_cost_usd"] == pl.Decimal(38, 12)
    assert frame.schema["label_answered_at"] == pl.Datetime("us", "UTC")
    assert frame["label_attempts"].to_list().count(1) == 99
