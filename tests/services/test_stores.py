"""What the ledger asks of a store: of many writers one wins. A store that does not keep to it is refused.

The races themselves are tests/it/races.rs, the same that `cargo test` runs on local disk: this file only
gives them a store. tests/services/ceph does so with Ceph's gateway, by hand.
"""

import os
import subprocess

import pyarrow as pa
import pyarrow.parquet as pq
import world
from world import Job


def race(env, store):
    """Runs the races on an address."""
    done = subprocess.run(
        [os.environ["COLUMNIST_IT"], "races::", "--nocapture"],
        env=world.environment(**env, COLUMNIST_TEST_STORE=store),
        capture_output=True,
        text=True,
        timeout=world.DEADLINE * 3,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "3 passed" in done.stdout
    for kind in ["files", "commits", "processes"]:
        assert f"{kind} on {store}\n" in done.stdout, done.stdout


def test_on_s3_one_writer_wins(s3):
    race(s3.env, f"s3://{s3.bucket()}/ledger")


def test_on_azure_one_writer_wins(azure):
    race(azure.env, f"az://{azure.bucket()}/ledger")


def test_a_store_that_overwrites_is_refused_before_anything_is_sent(tmp_path, rclone, sandbox):
    bucket = rclone.bucket()
    pq.write_table(pa.table({"id": [1, 2], "body": ["a", "b"]}), tmp_path / "in.parquet")
    ledger = f"s3://{bucket}/_columnist/triage/"
    job = Job(tmp_path, sandbox, "openai", env=rclone.env, ledger={"path": ledger})
    bill = sandbox.bill()
    said = job("run", code=2).err
    assert "overwrites a file that it was asked only to create" in said
    assert bucket in said
    assert "hint: keep the ledger on local disk" in said and "`[ledger] path`" in said
    assert sandbox.bill() == bill
    assert not rclone.list(bucket) and not (tmp_path / "out.parquet").exists()
