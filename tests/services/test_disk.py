"""A disk that is full, and one that is read-only: said with what to do, and nothing lost or paid twice.

Each has a file system of its own in a mount namespace, which goes with its process. That takes root on
Linux; without, these tests are skipped and say so.
"""

import subprocess

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import world
from world import VENDORS, Job, tail

ROWS = 60


class Disk:
    """A small file system at `path`, as a process in its namespace sees it."""

    def __init__(self, path, mount):
        path.mkdir()
        self.path = path
        script = f"{mount} && echo ready && exec sleep 600"
        self.holder = subprocess.Popen(
            ["unshare", "--mount", "--propagation", "private", "sh", "-c", script],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        if self.holder.stdout.readline() != "ready\n":
            pytest.skip(f"no mount namespace here, nothing was tried: {self.holder.stderr.read()}")

    def within(self):
        """What to put before a command, for it to see the disk."""
        return ["nsenter", "--mount", f"--target={self.holder.pid}", "--"]

    def seen(self, name=""):
        """A path on the disk, as it is seen from outside."""
        return f"/proc/{self.holder.pid}/root{self.path / name}"

    def fill(self):
        """Leaves no block free."""
        with open(self.seen("filler"), "wb", buffering=0) as filler:
            try:
                while True:
                    filler.write(b"\0" * 4096)
            except OSError:
                pass

    def free(self):
        subprocess.run(["rm", self.seen("filler")], check=True)


@pytest.fixture
def make_disk(tmp_path):
    made = []

    def make(mount):
        made.append(Disk(tmp_path / "disk", mount.format(disk=tmp_path / "disk")))
        return made[-1]

    yield make
    for disk in made:
        world.stop(disk.holder)


@pytest.fixture
def small(make_disk):
    return make_disk("mount -t tmpfs -o size=4m columnist-test {disk}")


def make_job(tmp_path, sandbox, vendor, disk):
    table = pa.table({"id": range(ROWS), "body": [f"ticket {n} " * 40 for n in range(ROWS)]})
    pq.write_table(table, tmp_path / "in.parquet")
    job = Job(
        tmp_path,
        sandbox,
        vendor,
        ledger={"path": str(disk.path / "ledger")},
        output={"path": str(disk.path / "out.parquet")},
        model={"max_requests_per_batch": 20},
    )
    job.prefix = disk.within()
    return job


def check(job, disk, sandbox):
    """All is there, and every request was billed once."""
    report = job.run()
    assert report["published"] and report["status"] == {"succeeded": ROWS}
    for row in pq.read_table(disk.seen("out.parquet")).to_pylist():
        assert row["label"].endswith(tail(f"Label this: {row['body']}"))
    bill = sandbox.bill()
    assert bill["requests_accepted"] == bill["requests_billed"] == bill["distinct_billed"] == ROWS


def refused(done):
    assert "the disk is full" in done.err or "No space left" in done.err, done
    assert "hint: " in done.err and "free some space" in done.err, done
    assert done.report["exit_code"] == done.code, done
    assert done.report["error"]["kind"] == "unavailable", done


@pytest.mark.parametrize("vendor", VENDORS)
def test_a_disk_that_is_full_before_anything_is_sent(tmp_path, make_sandbox, small, vendor):
    sandbox = make_sandbox("--instant")
    job = make_job(tmp_path, sandbox, vendor, small)
    small.fill()
    refused(job("run", code=1))
    assert sandbox.bill()["requests_accepted"] == 0
    small.free()
    check(job, small, sandbox)


@pytest.mark.parametrize("vendor", VENDORS)
def test_a_disk_that_is_full_when_the_answers_come(tmp_path, make_sandbox, small, vendor):
    sandbox = make_sandbox("--batch-time", "1s..2s")
    job = make_job(tmp_path, sandbox, vendor, small)
    assert job("submit").report["open_batches"]
    small.fill()
    for command in ["collect", "run", "submit"]:
        refused(job(command, code=1))
    # Whoever only looks needs no space.
    assert '"open_batches":' in job("status", "--json").out
    small.free()
    check(job, small, sandbox)


def test_a_run_goes_on_once_there_is_space(tmp_path, make_sandbox, small):
    """The ledger has space, the output has none: the run tries again, and need not be started again."""
    sandbox = make_sandbox("--instant")
    job = make_job(tmp_path, sandbox, "openai", small)
    job.change(ledger={"path": "_columnist/triage"})
    small.fill()
    said = tmp_path / "said"
    with said.open("w") as stderr:
        run = subprocess.Popen(
            [*small.within(), world.BINARY, "run", job.path],
            cwd=tmp_path,
            env=world.environment(**world.KEYS),
            stdout=subprocess.PIPE,
            stderr=stderr,
        )
    try:
        world.wait_for("a second try", lambda: "trying again" in said.read_text())
        assert "the disk is full" in said.read_text()
        small.free()
        assert run.wait(world.DEADLINE) == 0, said.read_text()
    finally:
        world.stop(run)
    check(job, small, sandbox)


def test_a_read_only_ledger_and_output(tmp_path, make_sandbox, make_disk):
    """Nothing is sent; and a ledger that is there can still be looked at."""
    sandbox = make_sandbox("--instant")
    disk = make_disk("mount -t tmpfs -o size=4m columnist-test {disk}")
    job = make_job(tmp_path, sandbox, "anthropic", disk)
    job.run()
    bill = sandbox.bill()
    remount = ["mount", "-o", "remount,ro", str(disk.path)]
    subprocess.run([*disk.within(), *remount], check=True)
    for command in ["run", "submit", "collect"]:
        done = job(command, code=7)
        assert str(disk.path) in done.err and "hint: " in done.err and "writable" in done.err
        assert done.report["error"]["kind"] == "refused", done
    assert '"published":true' in job("status", "--json").out
    assert tail(f"Label this: {'ticket 3 ' * 40}") in job("show", "--key", "3").out
    # A ledger elsewhere, and an output there.
    elsewhere = {"path": str(disk.path / "elsewhere.parquet")}
    job.change(ledger={"path": "_columnist/elsewhere"}, output=elsewhere)
    done = job("run", code=7)
    assert str(disk.path) in done.err and "hint: " in done.err
    assert sandbox.bill() == bill
