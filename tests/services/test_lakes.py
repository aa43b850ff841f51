"""Source, output and ledger on S3 (moto) and on Azure (Azurite)."""

import io
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from world import DEADLINE, VENDORS, Job, tail, wait_for


def table(ids):
    ids = list(ids)
    bodies = [None if n % 17 == 5 else f"ticket {n % 60}\n\U0001f600" for n in ids]
    return pa.table({"id": pa.array(ids, pa.int64()), "body": pa.array(bodies, pa.string())})


def parquet(table, group=25):
    sink = io.BytesIO()
    pq.write_table(table, sink, row_group_size=group)
    return sink.getvalue()


def fetch(lake, bucket, key):
    return pq.ParquetFile(io.BytesIO(lake.read(bucket, key)))


def check(file, source):
    """The old columns are the source's, and every row has the answer to its own prompt."""
    out = file.read()
    assert out.select(source.column_names).equals(source)
    rows = out.select(["body", "label", "label_status"]).to_pylist()
    for row in rows:
        if row["body"] is None:
            assert (row["label"], row["label_status"]) == (None, "skipped")
        else:
            assert row["label_status"] == "succeeded"
            assert row["label"].endswith(tail(f"Label this: {row['body']}"))


def distinct(*tables):
    return len({body for t in tables for body in t["body"].to_pylist() if body is not None})


def make_job(tmp_path, lake, sandbox, vendor, bucket, source, output, **more):
    return Job(
        tmp_path,
        sandbox,
        vendor,
        env=lake.env,
        source={"table": f"{lake.scheme}://{bucket}/{source}"},
        output={"path": f"{lake.scheme}://{bucket}/{output}"},
        ledger={"path": f"{lake.scheme}://{bucket}/_columnist/triage/"},
        model={"max_requests_per_batch": 40},
        **more,
    )


@pytest.mark.parametrize("vendor", VENDORS)
def test_a_file_to_a_file(tmp_path, lake, make_sandbox, vendor):
    sandbox = make_sandbox("--batch-time", "50ms..150ms")
    bucket = lake.bucket()
    source = table(range(100))
    lake.put(bucket, "in.parquet", parquet(source))
    job = make_job(tmp_path, lake, sandbox, vendor, bucket, "in.parquet", "out.parquet")
    report = job.run()
    assert report["published"] and not report["unchanged"]
    assert report["output"] == f"{lake.scheme}://{bucket}/out.parquet"
    file = fetch(lake, bucket, "out.parquet")
    check(file, source)
    assert [file.metadata.row_group(n).num_rows for n in range(4)] == [25] * 4

    bill, objects = sandbox.bill(), lake.list(bucket)
    assert bill["requests_billed"] == bill["distinct_billed"] == distinct(source)
    again = job.run()
    assert again["unchanged"] and again["published"]
    assert sandbox.bill() == bill
    assert lake.list(bucket)["out.parquet"] == objects["out.parquet"]
    job("run", "--skip-code", code=99)
    # Nothing of it is on this machine.
    assert [path.name for path in tmp_path.iterdir()] == ["triage.toml"]


@pytest.mark.parametrize("vendor", VENDORS)
def test_a_hive_folder_to_a_folder(tmp_path, lake, make_sandbox, vendor):
    sandbox = make_sandbox("--batch-time", "50ms..150ms")
    bucket = lake.bucket()
    sources = {
        "dt=2026-01-01/part-0.parquet": table(range(0, 40)),
        "dt=2026-01-01/part-1.parquet": table(range(40, 75)),
        "dt=2026-01-02/part-0.parquet": table(range(75, 130)),
    }
    for name, part in sources.items():
        lake.put(bucket, f"in/{name}", parquet(part))
    lake.put(bucket, "in/_SUCCESS", b"")
    job = make_job(tmp_path, lake, sandbox, vendor, bucket, "in/", "out/")
    report = job.run()
    assert report["rows"] == 130
    for name, part in sources.items():
        check(fetch(lake, bucket, f"out/{name}"), part)
    data = {f"out/{name}" for name in sources}
    first = lake.list(bucket, "out/")
    assert set(first) == data | {"out/_SUCCESS"}
    bill = sandbox.bill()
    assert bill["requests_billed"] == bill["distinct_billed"] == distinct(*sources.values())

    assert job.run()["unchanged"]
    assert sandbox.bill() == bill and lake.list(bucket, "out/") == first

    # Another partition: its new requests alone are billed, and it appears beside the others.
    name, part = "dt=2026-01-03/part-0.parquet", table(range(1000, 1030))
    part = part.set_column(1, "body", pa.array([f"new {n}" for n in range(30)]))
    lake.put(bucket, f"in/{name}", parquet(part))
    job.run()
    sources[name] = part
    for name, part in sources.items():
        check(fetch(lake, bucket, f"out/{name}"), part)
    assert set(lake.list(bucket, "out/")) == {f"out/{name}" for name in sources} | {"out/_SUCCESS"}
    assert sandbox.bill()["requests_billed"] == bill["requests_billed"] + 30


@pytest.mark.parametrize("vendor", VENDORS)
def test_submit_and_collect_are_processes_of_their_own(tmp_path, lake, make_sandbox, vendor):
    sandbox = make_sandbox("--batch-time", "4s..5s")
    bucket = lake.bucket()
    source = table(range(100))
    lake.put(bucket, "in.parquet", parquet(source))
    job = make_job(tmp_path, lake, sandbox, vendor, bucket, "in.parquet", "out.parquet")
    submitted = job("submit").report
    assert not submitted["published"] and submitted["open_batches"] == len(submitted["batches"]) == 2
    pending = job("collect", code=75).report
    assert not pending["published"] and pending["open_batches"]
    assert "out.parquet" not in lake.list(bucket)

    def collected():
        try:
            return job("collect").report
        except AssertionError as pending:
            assert ": exit 75" in str(pending), pending
            return None

    report = wait_for("the batches", collected, DEADLINE)
    assert report["published"] and report["batches"] == submitted["batches"]
    check(fetch(lake, bucket, "out.parquet"), source)
    bill = sandbox.bill()
    assert bill["requests_accepted"] == bill["requests_billed"] == distinct(source)
    assert job("collect").report["published"]
    assert sandbox.bill() == bill


def test_the_output_of_somebody_else_stays(tmp_path, lake, sandbox):
    bucket = lake.bucket()
    lake.put(bucket, "in.parquet", parquet(table(range(10))))
    lake.put(bucket, "out.parquet", parquet(table(range(3))))
    job = make_job(tmp_path, lake, sandbox, "openai", bucket, "in.parquet", "out.parquet")
    before, bill = lake.list(bucket)["out.parquet"], sandbox.bill()
    assert "overwrite" in job("run", code=2).err
    assert lake.list(bucket)["out.parquet"] == before and sandbox.bill() == bill
    job.change(output={"overwrite": True})
    job.run()
    check(fetch(lake, bucket, "out.parquet"), table(range(10)))


def test_a_single_file_in_a_folder(tmp_path, lake, sandbox):
    """A slash at the end of an address says "a folder"."""
    bucket = lake.bucket()
    source = table(range(10))
    lake.put(bucket, "in.parquet", parquet(source))
    job = make_job(tmp_path, lake, sandbox, "openai", bucket, "in.parquet", "out/")
    job.change(output={"layout": "single"})
    job.run()
    outputs = {key for key in lake.list(bucket) if key.startswith("out")}
    assert outputs == {"out/part-00000.parquet", "out/_SUCCESS"}
    check(fetch(lake, bucket, "out/part-00000.parquet"), source)


def test_no_key_is_written_anywhere(tmp_path, lake, sandbox):
    bucket = lake.bucket()
    lake.put(bucket, "in/a.parquet", parquet(table(range(10))))
    done = make_job(tmp_path, lake, sandbox, "openai", bucket, "in/", "out/")("run")
    secrets = [b"sk-test", b"testtest"]
    texts = [done.out.encode(), done.err.encode()]
    texts += [lake.read(bucket, key) for key in lake.list(bucket)]
    assert len(texts) > 5
    assert not [text for text in texts for secret in secrets if secret in text]
    marker = json.loads(lake.read(bucket, "out/_SUCCESS"))
    assert [file["path"] for file in marker["files"]] == ["a.parquet"]
