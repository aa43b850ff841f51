"""Real kills and pauses, with the ledger on S3: whoever is killed, stopped or late pays nothing twice.

The moments are drawn from a seed, which is printed and can be given back: COLUMNIST_KILL_SEED.
"""

import io
import json
import os
import random
import re
import signal
import subprocess
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from world import BINARY, DEADLINE, KEYS, VENDORS, Job, environment, stop, tail, wait_for

SEED = int(os.environ.get("COLUMNIST_KILL_SEED", "7"))

# Kills that each vendor's job survives.
KILLS = 25
KILLS_A_NIGHT = 8
ROWS = 40

# A killed holder's lease has to be waited out: this, and a margin for what a store's clock leaves out.
LEASE = "3s"
LEASE_WAIT = 3 + 2 + 0.15

FACTS = ["plan_started", "chunk_stored", "promised", "accepted", "landed", "publish_started"]


class Work:
    """A job on S3, and the processes that work on it."""

    def __init__(self, folder, s3, sandbox, vendor):
        self.s3, self.sandbox, self.bucket = s3, sandbox, s3.bucket()
        self.folder, self.bodies, self.commits = folder, [], {}
        folder.mkdir(exist_ok=True)
        self.job = Job(
            folder,
            sandbox,
            vendor,
            env=s3.env,
            source={"table": f"s3://{self.bucket}/in.parquet"},
            output={"path": f"s3://{self.bucket}/out.parquet"},
            ledger={
                "path": f"s3://{self.bucket}/_columnist/triage/",
                "lease": LEASE,
                "settle": "1s",
            },
            model={"max_requests_per_batch": 8},
        )

    def grow(self, rows):
        n = len(self.bodies)
        self.bodies += [f"ticket {m // 2 if m % 8 == 7 else m}" for m in range(n, n + rows)]
        sink = io.BytesIO()
        ids = pa.array(range(len(self.bodies)), pa.int64())
        pq.write_table(pa.table({"id": ids, "body": self.bodies}), sink)
        self.s3.put(self.bucket, "in.parquet", sink.getvalue())

    def start(self, command="run"):
        said = (self.folder / f"said-{time.monotonic_ns()}.txt").open("w+b")
        process = subprocess.Popen(
            [BINARY, command, self.job.path, "--quiet"],
            cwd=self.folder,
            env=environment(**KEYS, **self.s3.env),
            stdout=said,
            stderr=said,
            stdin=subprocess.DEVNULL,
        )
        process.said = lambda: (said.seek(0), said.read().decode())[1]
        return process

    def log(self):
        names = self.s3.list(self.bucket, "_columnist/triage/log/")
        return sorted(name for name in names if "checkpoint" not in name)

    def facts(self, since=0):
        """The names of the ledger's facts, from a commit on."""
        facts = []
        for name in self.log()[since:]:
            # A commit is written once.
            if name not in self.commits:
                lines = map(json.loads, self.s3.read(self.bucket, name).splitlines())
                self.commits[name] = [line["action"] for line in lines if "action" in line]
            facts += self.commits[name]
        return facts

    def wait_for(self, fact, process, since):
        """Waits until the fact is in the ledger; false if the process ends before."""
        is_there = lambda: fact in self.facts(since) or process.poll() is not None
        return wait_for(fact, is_there, deadline=30, pause=0.01) and process.poll() is None

    def check(self):
        """Every row has the answer to its own prompt, and each distinct prompt was paid once."""
        out = pq.read_table(io.BytesIO(self.s3.read(self.bucket, "out.parquet"))).to_pydict()
        assert out["body"] == self.bodies
        prompts = [f"Label this: {body}" for body in self.bodies]
        for prompt, label, status in zip(prompts, out["label"], out["label_status"], strict=True):
            assert status == "succeeded" and label.endswith(tail(prompt))
        bill = self.sandbox.bill()
        assert bill["requests_accepted"] == bill["requests_billed"] == len(set(prompts)), bill
        assert bill["billed_more_than_once"] == 0, bill
        return bill


@pytest.fixture
def make_work(tmp_path, s3, make_sandbox):
    def make(vendor, batch_time="500ms..1500ms"):
        return Work(tmp_path / vendor, s3, make_sandbox("--batch-time", batch_time), vendor)

    return make


def run_until_done(work, chance, kills):
    """Runs the job until it is done, and kills it up to `kills` times. Counts the kills by the last
    fact that the killed process left."""
    counted = Counter()
    while True:
        since = len(work.log())
        process = work.start()
        try:
            if counted.total() < kills and is_time(work, process, since, chance):
                process.kill()
                process.wait()
                facts = work.facts(max(0, len(work.log()) - 1))
                counted[facts[-1] if facts else "nothing"] += 1
                continue
            assert process.wait(DEADLINE) == 0, process.said()
            return counted
        finally:
            stop(process)


def is_time(work, process, since, chance):
    """Waits for the next moment to kill; false if the process ends before."""
    if chance.random() < 0.4:
        try:
            process.wait(chance.uniform(0, LEASE_WAIT + 2.5))
            return False
        except subprocess.TimeoutExpired:
            return True
    fact, after = chance.choice(FACTS), chance.uniform(0, 0.05)
    try:
        if not work.wait_for(fact, process, since):
            return False
    except TimeoutError:
        return True
    time.sleep(after)
    return process.poll() is None


def survive(work, seed):
    chance, kills, nights = random.Random(seed), Counter(), 0
    while kills.total() < KILLS:
        nights += 1
        work.grow(ROWS)
        kills += run_until_done(work, chance, KILLS_A_NIGHT)
        bill = work.check()
    return f"{kills.total()} kills in {nights} nights, after {dict(kills)}; {bill}"


def test_killed_processes_pay_nothing_twice(make_work):
    print(f"COLUMNIST_KILL_SEED={SEED}")
    works = [make_work(vendor) for vendor in VENDORS]
    with ThreadPoolExecutor() as pool:
        for vendor, came in zip(VENDORS, pool.map(survive, works, [SEED, SEED + 1])):
            print(vendor, came)


@pytest.mark.parametrize("fact", ["promised", "accepted", "landed"])
@pytest.mark.parametrize("vendor", VENDORS)
def test_a_holder_that_was_paused_is_fenced(make_work, vendor, fact):
    work = make_work(vendor, "2s..8s")
    work.grow(ROWS)
    paused = work.start()
    try:
        assert work.wait_for(fact, paused, 0), paused.said()
        paused.send_signal(signal.SIGSTOP)
        assert "published" not in work.facts(), "it was stopped in the middle"
        other = work.start()
        try:
            assert other.wait(DEADLINE) == 0, other.said()
        finally:
            stop(other)
        bill, objects = work.check(), work.s3.list(work.bucket)
        paused.send_signal(signal.SIGCONT)
        assert paused.wait(DEADLINE) == 75, paused.said()
        assert work.check() == bill
        changed = {
            name
            for name, tag in work.s3.list(work.bucket).items()
            if objects.get(name) != tag and not is_of_a_lease(name)
        }
        assert not changed, "it wrote nothing more"
    finally:
        paused.send_signal(signal.SIGCONT)
        stop(paused)


def is_of_a_lease(name):
    return "/lease/" in name


@pytest.mark.parametrize("command", ["submit", "run"])
@pytest.mark.parametrize("vendor", VENDORS)
def test_of_two_at_once_one_works(make_work, vendor, command):
    work = make_work(vendor, "9s..10s")
    # However busy the machine is, the winner renews it in time, and more than once.
    work.job.change(ledger={"lease": "20s"})
    work.grow(ROWS)
    both = [work.start(command), work.start(command)]
    try:
        codes = [process.wait(DEADLINE) for process in both]
    finally:
        for process in both:
            stop(process)
    said = [process.said() for process in both]
    assert sorted(codes) == [0, 75], said
    loser, winner = both[codes.index(75)], both[codes.index(0)]
    assert f"process {winner.pid} on" in loser.said(), loser.said()
    assert re.search(command, loser.said())
    again = work.start()
    assert again.wait(DEADLINE) == 0, again.said()
    work.check()
