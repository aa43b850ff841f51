"""Nothing is billed twice: by the sandbox's own books."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from world import VENDORS, Job, tail


def write(path, bodies):
    table = pa.table({"id": pa.array(list(bodies), pa.int64()), "body": list(bodies.values())})
    pq.write_table(table, path, row_group_size=40)


def check(path, bodies, prompt="Label this: {}"):
    """Every row has the answer to its own prompt, in the order of the source."""
    out = pq.read_table(path).to_pydict()
    assert out["id"] == list(bodies)
    assert out["body"] == list(bodies.values())
    for label, status, body in zip(out["label"], out["label_status"], out["body"], strict=True):
        assert status == "succeeded"
        assert label.endswith(tail(prompt.format(body)))


@pytest.mark.parametrize("vendor", VENDORS)
def test_only_new_requests_are_billed(tmp_path, make_sandbox, vendor):
    sandbox = make_sandbox("--batch-time", "50ms..150ms")
    job = Job(tmp_path, sandbox, vendor, model={"max_requests_per_batch": 30})
    asked = set()

    def step(bodies, prompt="Label this: {}"):
        """Runs the job over `bodies`; the bill grows by what was never asked before."""
        before = sandbox.bill()["requests_billed"]
        report = job.run()
        check(tmp_path / "out.parquet", bodies, prompt)
        fresh = {prompt.format(body) for body in bodies.values()} - asked
        asked.update(fresh)
        bill = sandbox.bill()
        assert bill["requests_billed"] - before == len(fresh)
        assert bill["requests_accepted"] == bill["distinct_billed"] == len(asked)
        assert bill["accepted_more_than_once"] == bill["billed_more_than_once"] == 0
        assert report["status"] == {"succeeded": len(bodies)}
        assert report["unchanged"] or report["requests"] == len(fresh)
        return report

    # A hundred rows; every fourth asks what another one asks.
    bodies = {n: f"ticket {n if n % 4 else n % 8}" for n in range(100)}
    write(tmp_path / "in.parquet", bodies)
    assert not step(bodies)["unchanged"]
    modified = (tmp_path / "out.parquet").stat().st_mtime_ns
    again = step(bodies)
    assert again["unchanged"] and again["published"]
    assert (tmp_path / "out.parquet").stat().st_mtime_ns == modified, "nothing new, nothing written"

    bodies |= {n: f"ticket {n}" for n in range(100, 117)}
    write(tmp_path / "in.parquet", bodies)
    step(bodies)

    bodies |= {3: "changed\n\u00e9\U0001f600", 50: "ticket 51", 110: "changed too"}
    write(tmp_path / "in.parquet", bodies)
    step(bodies)

    # Fewer rows, in another order: nothing to pay, and no row gets another row's answer.
    bodies = dict(reversed(list(bodies.items())[10:]))
    write(tmp_path / "in.parquet", bodies)
    step(bodies)

    # Another prompt makes every request a new one; the old prompt's answers are still there.
    job.change(prompt={"user": "Sort this: {{ body }}"})
    step(bodies, "Sort this: {}")
    job.change(prompt={"user": "Label this: {{ body }}"})
    step(bodies)


@pytest.mark.parametrize("vendor", VENDORS)
def test_submit_and_collect_bill_once(tmp_path, make_sandbox, vendor):
    sandbox = make_sandbox("--batch-time", "300ms..600ms")
    bodies = {n: f"ticket {n}" for n in range(50)}
    write(tmp_path / "in.parquet", bodies)
    job = Job(tmp_path, sandbox, vendor, model={"max_requests_per_batch": 20})
    submitted = job("submit").report
    assert not submitted["published"] and len(submitted["batches"]) >= 3
    job("submit")
    job("collect", "--wait")
    check(tmp_path / "out.parquet", bodies)
    job.run()
    bill = sandbox.bill()
    assert bill["requests_accepted"] == bill["distinct_accepted"] == bill["requests_billed"] == 50


@pytest.mark.parametrize("vendor", VENDORS)
def test_rows_that_failed_are_sent_again_and_the_others_are_not(tmp_path, make_sandbox, vendor):
    faults = "errored=0.1,missing=0.1,duplicate=0.1,stranger=0.05,garbage=0.05,429=0.05"
    sandbox = make_sandbox("--instant", "--faults", faults)
    bodies = {n: f"ticket {n}" for n in range(200)}
    write(tmp_path / "in.parquet", bodies)
    # A few rows may fail as often as a row is tried.
    job = Job(
        tmp_path,
        sandbox,
        vendor,
        model={"max_requests_per_batch": 70},
        budget={"max_failed": 20},
    )
    report = job.run()
    out = pq.read_table(tmp_path / "out.parquet").to_pydict()
    succeeded = 0
    for n, body in bodies.items():
        label, status, error = (out[name][n] for name in ("label", "label_status", "label_error"))
        if status == "succeeded":
            succeeded += 1
            assert label.endswith(tail(f"Label this: {body}")) and error is None
        else:
            assert status in ("failed", "missing") and label is None and error
    assert succeeded >= 180
    assert report["status"]["succeeded"] == succeeded
    assert sum(report["status"].values()) == 200
    bill = sandbox.bill()
    assert bill["requests_accepted"] > 220, "hardly a request was sent again"
    assert bill["requests_billed"] == bill["distinct_billed"] == succeeded
    assert bill["billed_more_than_once"] == 0
