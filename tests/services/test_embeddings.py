"""Embeddings: what the vendor's SDK reads of the sandbox's, and what other readers find in the column."""

import base64
import json
import re
import struct

import duckdb
import numpy as np
import openai
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from world import Job, floats, vector, wait_for

MODEL = "text-embedding-3-small"
DIMENSIONS = 8
TEXTS = [f"ticket {n}\n\u00e4 \u4e2d \U0001f600 \"quoted\"" for n in range(40)]


def client_of(sandbox):
    return openai.OpenAI(base_url=sandbox.urls["openai"], api_key="sk-test", max_retries=0, timeout=30)


def expected(text):
    """The vector of a text by the sandbox's rule, in floats of 32 bits."""
    return floats(vector(text, DIMENSIONS))


def unpacked(text):
    """A vector in base64: floats of 32 bits, the least byte first."""
    data = base64.b64decode(text, validate=True)
    return list(struct.unpack(f"<{len(data) // 4}f", data))


# What the SDK reads.


@pytest.mark.parametrize("encoding", [None, "float", "base64"])
def test_the_sdk_parses_an_answer(sandbox, encoding):
    more = {} if encoding is None else {"encoding_format": encoding}
    answer = client_of(sandbox).embeddings.create(model=MODEL, input=TEXTS, dimensions=DIMENSIONS, **more)
    assert answer.object == "list" and answer.model == MODEL
    assert answer.usage.prompt_tokens == answer.usage.total_tokens > len(TEXTS)
    found = {one.index: one.embedding for one in answer.data}
    assert sorted(found) == list(range(len(TEXTS)))
    for n, text in enumerate(TEXTS):
        # Unasked the SDK takes base64 and unpacks it itself; asked for, it is left as it is.
        own = unpacked(found[n]) if encoding == "base64" else found[n]
        assert floats(own) == expected(text)


@pytest.mark.parametrize("encoding", ["float", "base64"])
def test_the_sdk_parses_the_lines_of_a_batch_with_many_texts_in_each(sandbox, encoding):
    client = client_of(sandbox)
    lines = [TEXTS[:25], TEXTS[25:39], TEXTS[39:]]
    body = {"model": MODEL, "dimensions": DIMENSIONS, "encoding_format": encoding}
    requests = [
        {"custom_id": f"e{n}", "method": "POST", "url": "/v1/embeddings", "body": body | {"input": texts}}
        for n, texts in enumerate(lines)
    ]
    content = "".join(json.dumps(request) + "\n" for request in requests).encode()
    file = client.files.create(file=("requests.jsonl", content), purpose="batch")
    made = client.batches.create(input_file_id=file.id, endpoint="/v1/embeddings", completion_window="24h")

    def probe():
        batch = client.batches.retrieve(made.id)
        return batch if batch.status == "completed" else None

    ended = wait_for("the batch", probe)
    assert (ended.request_counts.total, ended.request_counts.completed) == (3, 3)
    text = client.files.content(ended.output_file_id).text
    found = {line["custom_id"]: line for line in map(json.loads, text.splitlines())}
    orders = []
    for n, texts in enumerate(lines):
        response = found[f"e{n}"]["response"]
        assert found[f"e{n}"]["error"] is None and response["status_code"] == 200
        if encoding == "base64":
            # The SDK's type is one of numbers, and it leaves the unpacking of a batch to its caller.
            for one in response["body"]["data"]:
                one["embedding"] = unpacked(one["embedding"])
        answer = openai.types.CreateEmbeddingResponse.model_validate(response["body"])
        orders.append([one.index for one in answer.data])
        for one in answer.data:
            assert floats(one.embedding) == expected(texts[one.index])
    assert [sorted(order) for order in orders] == [list(range(len(texts))) for texts in lines]
    assert orders[0] != sorted(orders[0]), "nobody promises the order"


# What other readers find.


ROWS = [*TEXTS, "far too long " * 40, " ", None]
"""Those that are answered, one that fails, and two that ask nothing."""

WANTED = [*map(expected, TEXTS), None, None, None]


@pytest.fixture(scope="module")
def outputs(sandbox, tmp_path_factory):
    """A job that embeds, and its output, once for each precision."""
    jobs = {}
    for precision in ("single", "half"):
        folder = tmp_path_factory.mktemp(precision)
        table = {"id": pa.array(range(len(ROWS)), pa.int64()), "body": pa.array(ROWS, pa.string())}
        pq.write_table(pa.table(table), folder / "in.parquet", row_group_size=16)
        answer = {"column": "embedding", "type": "embedding", "dimensions": DIMENSIONS, "precision": precision}
        job = Job(folder, sandbox, "openai", answer=answer, budget={"max_failed": 1})
        job.change(prompt={"system": None, "user": "{{ body }}"}, model={"use": f"openai/{MODEL}", "max_input_tokens": 50})
        assert job.run()["status"] == {"succeeded": len(TEXTS), "failed": 1, "skipped": 2}
        jobs[precision] = job
    return jobs


def wanted(precision):
    """The vectors as a column of this precision holds them."""
    if precision == "single":
        return WANTED
    return [own and np.array(own, np.float32).astype(np.float16).astype(np.float32).tolist() for own in WANTED]


@pytest.fixture(params=["single", "half"])
def precision(request):
    return request.param


def test_pyarrow_reads_lists_of_one_length(outputs, precision):
    table = pq.read_table(outputs[precision].folder / "out.parquet")
    number = pa.float32() if precision == "single" else pa.float16()
    kind = table.schema.field("embedding").type
    assert pa.types.is_fixed_size_list(kind)
    assert (kind.list_size, kind.value_type) == (DIMENSIONS, number)
    assert table["embedding"].to_pylist() == wanted(precision)
    statuses = ["succeeded"] * len(TEXTS) + ["failed", "skipped", "skipped"]
    assert table["embedding_status"].to_pylist() == statuses
    assert "too long" in table["embedding_error"][len(TEXTS)].as_py()


def test_polars_reads_arrays(outputs, precision):
    column = pl.read_parquet(outputs[precision].folder / "out.parquet")["embedding"]
    assert isinstance(column.dtype, pl.Array) and column.dtype.shape == (DIMENSIONS,)
    assert column.cast(pl.Array(pl.Float32, DIMENSIONS)).to_list() == wanted(precision)


def test_duckdb_reads_lists_and_compares_them(outputs, precision):
    file = outputs[precision].folder / "out.parquet"
    found = duckdb.sql(f"SELECT embedding::FLOAT[] FROM '{file}' ORDER BY id").fetchall()
    assert [own for (own,) in found] == wanted(precision)
    # As the manual shows it.
    near = duckdb.sql(
        f"SELECT id, array_cosine_similarity(embedding::FLOAT[{DIMENSIONS}], "
        f"(SELECT embedding::FLOAT[{DIMENSIONS}] FROM '{file}' WHERE id = 7)) AS likeness "
        f"FROM '{file}' WHERE embedding IS NOT NULL ORDER BY likeness DESC"
    ).fetchall()
    vectors = np.array(wanted(precision)[: len(TEXTS)], np.float64)
    lengths = np.linalg.norm(vectors, axis=1)
    likeness = vectors @ vectors[7] / (lengths * lengths[7])
    assert near[0][0] == 7 and len(near) == len(TEXTS)
    assert [one for _, one in near] == pytest.approx(sorted(likeness, reverse=True), abs=1e-6)
    assert {row: one for row, one in near} == pytest.approx(dict(enumerate(likeness)), abs=1e-6)


def test_datafusion_reads_them(outputs, precision):
    """By a job of its own, whose source is a query over the column."""
    job = outputs[precision]
    sql = "SELECT id, array_to_string(embedding, ' ') AS numbers FROM t WHERE embedding IS NOT NULL ORDER BY id"
    (job.folder / "near.sql").write_text(sql)
    read = Job(job.folder, sandbox=type("Urls", (), {"urls": {"openai": "http://127.0.0.1:9/v1"}}), vendor="openai", name="read")
    read.change(
        source={"table": None, "query": "near.sql", "tables": {"t": "out.parquet"}},
        prompt={"user": "{{ numbers }}"},
        output={"path": "read.parquet"},
    )
    said = read("check", "--rows", len(TEXTS)).out
    rows = re.findall(r"--- row \d+\n([^\n]+)", said)
    found = [[float(number) for number in row.split()] for row in rows]
    assert [floats(own) for own in found] == wanted(precision)[: len(TEXTS)]
