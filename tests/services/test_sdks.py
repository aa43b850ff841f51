"""The vendors' own SDKs through the whole life of a batch, against the sandbox.

What the SDKs cannot read, or raise as another error than the vendor's, is a defect of the sandbox.
"""

import base64
import datetime
import io
import json
import math
import struct
import typing

import anthropic
import openai
import pydantic
import pytest

from world import MODELS, choice, floats, number, tail, vector, wait_for

CHOICES = ["billing", "bug", "how-to", "other"]
TEXTS = [f"ticket {n}\n\u00e4 \u4e2d \U0001f600 \"quoted\" \\" for n in range(25)]
SCHEMA = {
    "type": "object",
    "properties": {"label": {"type": "string", "enum": CHOICES}},
    "required": ["label"],
    "additionalProperties": False,
}


def claude(sandbox, key="sk-test"):
    return anthropic.Anthropic(
        base_url=sandbox.urls["anthropic"], api_key=key, max_retries=0, timeout=30
    )


def gpt(sandbox, key="sk-test"):
    return openai.OpenAI(base_url=sandbox.urls["openai"], api_key=key, max_retries=0, timeout=30)


def tokens(text):
    """Bytes by four, rounded up."""
    return math.ceil(len(text.encode()) / 4)


# Anthropic


def message(text, **more):
    return {
        "model": MODELS["anthropic"],
        "max_tokens": 100,
        "messages": [{"role": "user", "content": text}],
    } | more


def claude_requests(texts, **more):
    return [{"custom_id": f"row-{n}", "params": message(t, **more)} for n, t in enumerate(texts)]


def claude_ended(client, batch_id):
    def probe():
        batch = client.messages.batches.retrieve(batch_id)
        return batch if batch.processing_status == "ended" else None

    return wait_for("the batch", probe)


def test_anthropic_batch(make_sandbox):
    sandbox = make_sandbox("--batch-time", "300ms..500ms", seed=11)
    client = claude(sandbox)
    batches = client.messages.batches
    requests = claude_requests(TEXTS)
    structured = {"output_config": {"format": {"type": "json_schema", "schema": SCHEMA}}}
    requests += [
        {"custom_id": "choice", "params": message("pick one", **structured)},
        {"custom_id": "short", "params": message("be brief", max_tokens=2)},
        {"custom_id": "wrong", "params": message("x", model="claude-x-nonexistent")},
        {"custom_id": "parts", "params": message([{"type": "text", "text": t} for t in ("a", "b")])},
    ]
    made = batches.create(requests=requests)
    assert made.type == "message_batch" and made.id.startswith("msgbatch_")
    assert made.processing_status == "in_progress"
    assert made.request_counts.processing == len(requests)
    assert made.results_url is None and made.ended_at is None
    assert (made.expires_at - made.created_at).total_seconds() == 24 * 3600
    # The SDK itself does not ask before there is a `results_url`.
    with pytest.raises(anthropic.NotFoundError):
        client.get(f"/v1/messages/batches/{made.id}/results", cast_to=object)

    ended = claude_ended(client, made.id)
    assert ended.results_url.startswith(sandbox.urls["anthropic"])
    assert ended.ended_at is not None and ended.created_at == made.created_at
    counts = ended.request_counts
    assert (counts.succeeded, counts.errored, counts.processing) == (len(requests) - 1, 1, 0)
    assert (counts.canceled, counts.expired) == (0, 0)

    lines = list(batches.results(made.id))
    found = {line.custom_id: line.result for line in lines}
    assert len(lines) == len(found) == len(requests)
    assert [line.custom_id for line in lines] != [r["custom_id"] for r in requests], "in order"
    for n, text in enumerate(TEXTS):
        result = found[f"row-{n}"]
        assert result.type == "succeeded"
        answer = result.message
        assert answer.type == "message" and answer.role == "assistant"
        assert answer.model == MODELS["anthropic"] and answer.stop_reason == "end_turn"
        assert answer.content[0].text.endswith(tail(text, seed=11))
        assert answer.usage.input_tokens == tokens(text)
        assert answer.usage.output_tokens == tokens(answer.content[0].text)
    picked = json.loads(found["choice"].message.content[0].text)
    assert picked == {"label": choice("pick one", CHOICES, seed=11)}
    assert found["short"].message.stop_reason == "max_tokens"
    assert found["short"].message.usage.output_tokens == 2
    assert found["parts"].message.content[0].text.endswith(tail("ab", seed=11))
    assert found["wrong"].type == "errored"
    assert found["wrong"].error.type == "error"
    assert found["wrong"].error.error.type == "not_found_error"

    assert batches.delete(made.id).type == "message_batch_deleted"
    with pytest.raises(anthropic.NotFoundError):
        batches.retrieve(made.id)
    assert sandbox.bill()["requests_billed"] == len(requests) - 1


RULES = "rule" * 5000
"""Of five thousand tokens, as the sandbox counts them."""


def test_anthropic_cache(make_sandbox):
    sandbox = make_sandbox("--batch-time", "300ms..500ms")
    client = claude(sandbox)
    mark = {"type": "ephemeral", "ttl": "1h"}
    system = [{"type": "text", "text": RULES, "cache_control": mark}]

    def usage(texts):
        made = client.messages.batches.create(requests=claude_requests(texts, system=system))
        claude_ended(client, made.id)
        results = client.messages.batches.results(made.id)
        return [line.result.message.usage for line in results]

    for written in usage(TEXTS[:3]):
        assert written.cache_creation_input_tokens == 5000 and written.cache_read_input_tokens == 0
        assert written.cache_creation.ephemeral_1h_input_tokens == 5000
        assert written.cache_creation.ephemeral_5m_input_tokens == 0
        assert 0 < written.input_tokens < 20
    for read in usage(TEXTS[3:6]):
        assert (read.cache_read_input_tokens, read.cache_creation_input_tokens) == (5000, 0)
    bill = sandbox.bill()
    assert (bill["cache_write_tokens"], bill["cache_read_tokens"]) == (15000, 15000)


def test_anthropic_pages(sandbox):
    client = claude(sandbox, "sk-pages")
    made = [
        client.messages.batches.create(requests=claude_requests([f"page {n}"])).id for n in range(5)
    ]
    newest_first = made[::-1]
    assert [batch.id for batch in client.messages.batches.list(limit=2)] == newest_first
    page = client.messages.batches.list(limit=2)
    assert page.has_more and page.first_id == newest_first[0] and page.last_id == newest_first[1]
    assert [b.id for b in client.messages.batches.list(after_id=newest_first[3]).data] == made[:1]
    before = client.messages.batches.list(before_id=newest_first[2], limit=2)
    assert [batch.id for batch in before.data] == newest_first[:2]
    assert not list(claude(sandbox, "sk-somebody-else").messages.batches.list())


def test_anthropic_cancel(make_sandbox):
    sandbox = make_sandbox("--batch-time", "30s..40s")
    client = claude(sandbox)
    made = client.messages.batches.create(requests=claude_requests(TEXTS))
    with pytest.raises(anthropic.BadRequestError):
        client.messages.batches.delete(made.id)
    canceled = client.messages.batches.cancel(made.id)
    assert canceled.processing_status == "canceling" and canceled.cancel_initiated_at is not None
    ended = claude_ended(client, made.id)
    assert ended.request_counts.canceled > 0
    results = list(client.messages.batches.results(made.id))
    kinds = [line.result.type for line in results]
    assert len(results) == len(TEXTS)
    assert kinds.count("canceled") == ended.request_counts.canceled
    assert kinds.count("succeeded") == ended.request_counts.succeeded
    with pytest.raises(anthropic.BadRequestError):
        client.messages.batches.cancel(made.id)


def anthropic_mistakes(client):
    create = client.messages.batches.create
    good = claude_requests(["a"])
    yield anthropic.BadRequestError, "invalid_request_error", lambda: create(requests=[])
    yield anthropic.BadRequestError, "invalid_request_error", lambda: create(requests=good * 2)
    bad_id = [good[0] | {"custom_id": "not allowed!"}]
    yield anthropic.BadRequestError, "invalid_request_error", lambda: create(requests=bad_id)
    nothing = "msgbatch_nothing"
    yield anthropic.NotFoundError, "not_found_error", lambda: client.messages.batches.retrieve(nothing)
    yield anthropic.NotFoundError, "not_found_error", lambda: client.messages.batches.results(nothing)
    hot = {"extra_body": {"temperature": 3}}
    yield anthropic.BadRequestError, "invalid_request_error", lambda: client.messages.create(
        **message("a"), **hot
    )
    unknown = message("a", model="claude-x-nonexistent")
    yield anthropic.NotFoundError, "not_found_error", lambda: client.messages.create(**unknown)


def test_anthropic_errors(sandbox):
    client = claude(sandbox)
    for kind, name, call in anthropic_mistakes(client):
        with pytest.raises(kind) as caught:
            call()
        assert caught.value.body["type"] == "error"
        assert caught.value.body["error"]["type"] == name
        assert caught.value.body["error"]["message"]
        assert caught.value.request_id
    with pytest.raises(anthropic.AuthenticationError):
        claude(sandbox, "sk-invalid").messages.batches.list()


@pytest.mark.parametrize(
    ("fault", "anthropic_error", "openai_error"),
    [
        ("429=1", anthropic.RateLimitError, openai.RateLimitError),
        ("5xx=1", anthropic.InternalServerError, openai.InternalServerError),
        ("lost_answer=1", anthropic.APIConnectionError, openai.APIConnectionError),
    ],
)
def test_faults_are_the_sdks_own(make_sandbox, fault, anthropic_error, openai_error):
    sandbox = make_sandbox("--faults", fault)
    with pytest.raises(anthropic_error):
        claude(sandbox).messages.batches.create(requests=claude_requests(["a"]))
    with pytest.raises(openai_error):
        gpt(sandbox).files.create(file=("a.jsonl", b"{}"), purpose="batch")


def test_anthropic_online(sandbox):
    client = claude(sandbox)
    answer = client.messages.create(**message("hello", system="Be kind."))
    assert answer.content[0].text.endswith(tail("hello"))
    assert answer.stop_reason == "end_turn" and answer._request_id
    assert answer.usage.input_tokens == tokens("helloBe kind.")
    counted = client.messages.count_tokens(
        model=MODELS["anthropic"], messages=[{"role": "user", "content": "hello, world"}]
    )
    assert counted.input_tokens == tokens("hello, world")
    raw = client.messages.with_raw_response.create(**message("hello"))
    assert int(raw.headers["anthropic-ratelimit-requests-remaining"]) > 0
    models = {model.id for model in client.models.list()}
    assert MODELS["anthropic"] in models
    assert client.models.retrieve(MODELS["anthropic"]).type == "model"
    with pytest.raises(anthropic.NotFoundError):
        client.models.retrieve("claude-x-nonexistent")


# OpenAI


def chat(text, **more):
    return {
        "model": MODELS["openai"],
        "max_completion_tokens": 100,
        "messages": [{"role": "system", "content": "S"}, {"role": "user", "content": text}],
    } | more


def jsonl(bodies, url="/v1/chat/completions"):
    lines = [
        {"custom_id": name, "method": "POST", "url": url, "body": body}
        for name, body in bodies.items()
    ]
    return "\n".join(json.dumps(line) for line in lines).encode()


def upload(client, content, name="requests.jsonl"):
    return client.files.create(file=(name, io.BytesIO(content)), purpose="batch")


def start(client, content, endpoint="/v1/chat/completions", **more):
    file = upload(client, content)
    return client.batches.create(
        input_file_id=file.id, endpoint=endpoint, completion_window="24h", **more
    )


FINAL = ("completed", "failed", "expired", "cancelled")


def gpt_ended(client, batch_id):
    def probe():
        batch = client.batches.retrieve(batch_id)
        return batch if batch.status in FINAL else None

    return wait_for("the batch", probe)


def lines_of(client, file_id):
    lines = client.files.content(file_id).text.splitlines()
    return [json.loads(line) for line in lines]


def test_openai_batch(make_sandbox):
    sandbox = make_sandbox("--batch-time", "300ms..500ms", seed=12)
    client = gpt(sandbox)
    schema = {"name": "answer", "strict": True, "schema": SCHEMA}
    bodies = {f"row-{n}": chat(text) for n, text in enumerate(TEXTS)} | {
        "choice": chat("pick one", response_format={"type": "json_schema", "json_schema": schema}),
        "short": chat("be brief", max_completion_tokens=2),
        "wrong": chat("x", foo=1),
    }
    content = jsonl(bodies)
    file = upload(client, content)
    assert file.object == "file" and file.purpose == "batch" and file.filename == "requests.jsonl"
    assert file.bytes == len(content)
    assert client.files.retrieve(file.id).id == file.id
    assert file.id in [f.id for f in client.files.list(purpose="batch")]

    made = client.batches.create(
        input_file_id=file.id,
        endpoint="/v1/chat/completions",
        completion_window="24h",
        metadata={"nonce": "abc"},
    )
    assert made.object == "batch" and made.status == "validating"
    assert made.metadata == {"nonce": "abc"} and made.input_file_id == file.id
    assert made.output_file_id is None
    assert [b.id for b in client.batches.list()] == [made.id]

    ended = gpt_ended(client, made.id)
    assert ended.status == "completed" and ended.errors is None
    counts = ended.request_counts
    assert (counts.total, counts.completed, counts.failed) == (len(bodies), len(bodies) - 1, 1)
    assert ended.created_at <= ended.in_progress_at <= ended.finalizing_at <= ended.completed_at

    lines = lines_of(client, ended.output_file_id)
    found = {line["custom_id"]: line for line in lines}
    assert len(lines) == len(found) == len(bodies) - 1
    assert [line["custom_id"] for line in lines] != [n for n in bodies if n != "wrong"], "in order"
    spent = 0
    for line in lines:
        assert line["error"] is None and line["response"]["status_code"] == 200
        body = openai.types.chat.ChatCompletion.model_validate(line["response"]["body"])
        assert body.model == MODELS["openai"] and body.object == "chat.completion"
        spent += body.usage.total_tokens
    assert ended.usage.total_tokens == spent
    for n, text in enumerate(TEXTS):
        answer = found[f"row-{n}"]["response"]["body"]
        assert answer["choices"][0]["message"]["content"].endswith(tail(text, seed=12))
        assert answer["choices"][0]["finish_reason"] == "stop"
        assert answer["usage"]["prompt_tokens"] == tokens("S" + text)
    picked = found["choice"]["response"]["body"]["choices"][0]["message"]["content"]
    assert json.loads(picked) == {"label": choice("pick one", CHOICES, seed=12)}
    assert found["short"]["response"]["body"]["choices"][0]["finish_reason"] == "length"

    (wrong,) = lines_of(client, ended.error_file_id)
    assert wrong["custom_id"] == "wrong" and wrong["response"]["status_code"] == 400
    assert wrong["response"]["body"]["error"]["type"] == "invalid_request_error"

    assert client.files.delete(file.id).deleted
    with pytest.raises(openai.NotFoundError):
        client.files.retrieve(file.id)
    assert client.files.delete(ended.output_file_id).deleted
    with pytest.raises(openai.NotFoundError):
        client.files.content(ended.output_file_id)


def test_openai_cache(make_sandbox):
    sandbox = make_sandbox("--batch-time", "300ms..500ms")
    client = gpt(sandbox)

    def usage(**more):
        def body(text):
            turns = [{"role": "system", "content": RULES}, {"role": "user", "content": text}]
            return chat(text, messages=turns, **more)

        bodies = {f"row-{n}": body(text) for n, text in enumerate(TEXTS[:3])}
        batch = gpt_ended(client, start(client, jsonl(bodies)).id)
        lines = lines_of(client, batch.output_file_id)
        answers = [line["response"]["body"] for line in lines]
        found = [openai.types.chat.ChatCompletion.model_validate(a).usage for a in answers]
        details = [one.prompt_tokens_details for one in found]
        assert sum(one.cached_tokens for one in details) == batch.usage.input_tokens_details.cached_tokens
        return [(one.cached_tokens, one.model_dump().get("cache_write_tokens")) for one in details]

    # 39 steps of 128 tokens.
    key = {"prompt_cache_key": "rules"}
    assert usage(**key) == [(0, 4992)] * 3
    assert usage(**key) == [(4992, 0)] * 3
    assert usage(prompt_cache_options={"mode": "explicit"}) == [(0, 0)] * 3


def test_openai_embeddings_batch(sandbox):
    client = gpt(sandbox)
    bodies = {
        f"e{n}": {"model": "text-embedding-3-small", "input": text, "dimensions": 16}
        for n, text in enumerate(TEXTS)
    }
    made = start(client, jsonl(bodies, "/v1/embeddings"), "/v1/embeddings")
    ended = gpt_ended(client, made.id)
    assert ended.status == "completed" and ended.error_file_id is None
    for line in lines_of(client, ended.output_file_id):
        body = line["response"]["body"]
        answer = openai.types.CreateEmbeddingResponse.model_validate(body)
        text = bodies[line["custom_id"]]["input"]
        assert answer.data[0].embedding == pytest.approx(vector(text, 16), abs=1e-6)


def test_openai_pages(sandbox):
    client = gpt(sandbox, "sk-pages")
    made = [start(client, jsonl({"a": chat(f"page {n}")})).id for n in range(5)]
    assert [batch.id for batch in client.batches.list(limit=2)] == made[::-1]
    page = client.batches.list(limit=2, after=made[3])
    assert [batch.id for batch in page.data] == [made[2], made[1]] and page.has_more
    files = [file.id for file in client.files.list(limit=3, purpose="batch")]
    assert len(files) == len(set(files)) == 5
    assert not list(gpt(sandbox, "sk-somebody-else").batches.list())


def test_openai_cancel(make_sandbox):
    client = gpt(make_sandbox("--batch-time", "30s..40s"))
    made = start(client, jsonl({f"row-{n}": chat(text) for n, text in enumerate(TEXTS)}))
    assert client.batches.cancel(made.id).status == "cancelling"
    ended = gpt_ended(client, made.id)
    assert ended.status == "cancelled" and ended.cancelled_at >= ended.cancelling_at
    lines = [
        line
        for file_id in (ended.output_file_id, ended.error_file_id)
        if file_id
        for line in lines_of(client, file_id)
    ]
    unreached = [line for line in lines if line["error"]]
    assert len(lines) == len(TEXTS) and unreached
    assert {line["error"]["code"] for line in unreached} == {"batch_cancelled"}
    with pytest.raises(openai.ConflictError):
        client.batches.cancel(made.id)


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"", "empty_file"),
        (b"not json", "invalid_json_line"),
        (jsonl({"a": chat("a")}, "/v1/embeddings"), "invalid_url"),
        (jsonl({"a": chat("a"), "b": chat("b", model="gpt-6-sol")}), "mismatched_model"),
        (jsonl({"a": chat("a")}) + b"\n" + jsonl({"a": chat("b")}), "duplicate_custom_id"),
        (jsonl({"a": chat("a", model="gpt-nonexistent")}), "model_not_found"),
    ],
)
def test_openai_failed_validation(sandbox, content, code):
    client = gpt(sandbox)
    ended = gpt_ended(client, start(client, content).id)
    assert ended.status == "failed" and ended.failed_at is not None
    assert code in [error.code for error in ended.errors.data]
    assert ended.output_file_id is None and ended.error_file_id is None


def openai_mistakes(client):
    make = {"endpoint": "/v1/chat/completions", "completion_window": "24h"}
    yield openai.BadRequestError, lambda: client.batches.create(input_file_id="file-no", **make)
    yield openai.BadRequestError, lambda: upload(client, b"{}", "requests.txt")
    yield openai.BadRequestError, lambda: client.files.create(file=("a.jsonl", b"{}"), purpose="no")
    file = upload(client, jsonl({"a": chat("a")}))
    wrong = {"input_file_id": file.id, "endpoint": "/v1/chat/completions", "completion_window": "1h"}
    yield openai.BadRequestError, lambda: client.batches.create(**wrong)
    yield openai.NotFoundError, lambda: client.batches.retrieve("batch_nothing")
    yield openai.NotFoundError, lambda: client.files.retrieve("file-nothing")
    yield openai.NotFoundError, lambda: client.files.content("file-nothing")
    unknown = chat("a", model="gpt-nonexistent")
    yield openai.NotFoundError, lambda: client.chat.completions.create(**unknown)
    yield openai.BadRequestError, lambda: client.chat.completions.create(**chat("a") | {"messages": []})


def test_openai_errors(sandbox):
    client = gpt(sandbox)
    for kind, call in openai_mistakes(client):
        with pytest.raises(kind) as caught:
            call()
        assert caught.value.type == "invalid_request_error"
        assert caught.value.body["message"] and caught.value.request_id
    with pytest.raises(openai.AuthenticationError) as caught:
        gpt(sandbox, "sk-invalid").batches.list()
    assert caught.value.code == "invalid_api_key"


def test_openai_online(sandbox):
    client = gpt(sandbox)
    answer = client.chat.completions.create(**chat("hello"))
    assert answer.choices[0].message.content.endswith(tail("hello"))
    assert answer.choices[0].finish_reason == "stop" and answer._request_id
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens
    # The SDK asks for base64 on its own, and decodes it.
    texts = ["one", "two"]
    model = "text-embedding-3-small"
    answer = client.embeddings.create(model=model, input=texts, dimensions=8)
    for text, item in zip(texts, answer.data, strict=True):
        assert item.embedding == pytest.approx(vector(text, 8), abs=1e-6)
    plain = client.embeddings.create(model=model, input=texts, dimensions=8, encoding_format="float")
    for one, other in zip(plain.data, answer.data, strict=True):
        assert floats(one.embedding) == other.embedding
    coded = client.embeddings.create(model=model, input="one", dimensions=8, encoding_format="base64")
    decoded = list(struct.unpack("<8f", base64.b64decode(coded.data[0].embedding)))
    assert decoded == answer.data[0].embedding
    assert len(client.embeddings.create(model=model, input="one").data[0].embedding) == 1536
    models = {model.id for model in client.models.list()}
    assert MODELS["openai"] in models
    assert client.models.retrieve(MODELS["openai"]).object == "model"
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("gpt-nonexistent")


# Structured answers, as the SDKs parse them into models


class Line(pydantic.BaseModel):
    sku: str
    qty: int


class Ticket(pydantic.BaseModel):
    label: typing.Literal["billing", "bug"]
    due: datetime.date
    total: float | None
    lines: list[Line]


def test_openai_parses_structured_answers(sandbox):
    client = gpt(sandbox)
    model, messages = MODELS["openai"], [{"role": "user", "content": "pick one"}]
    answer = client.chat.completions.parse(model=model, messages=messages, response_format=Ticket)
    ticket = answer.choices[0].message.parsed
    assert isinstance(ticket, Ticket) and ticket.label == choice("pick one", ["billing", "bug"])
    # A schema that the vendor does not take is refused as it refuses it.
    open_schema = {"type": "object", "properties": {"a": {"type": "string", "maxLength": 3}}, "required": ["a"]}
    for schema, word in [
        (open_schema, "additionalProperties"),
        (open_schema | {"additionalProperties": False}, "maxLength"),
        ({"type": "object", "properties": {"a": {"type": "string"}}, "additionalProperties": False}, "required"),
    ]:
        format = {"type": "json_schema", "json_schema": {"name": "x", "strict": True, "schema": schema}}
        with pytest.raises(openai.BadRequestError, match=word):
            client.chat.completions.create(model=model, messages=messages, response_format=format)


def test_anthropic_parses_structured_answers(sandbox):
    client = claude(sandbox)
    answer = client.messages.parse(**message("pick one"), output_format=Ticket)
    ticket = answer.parsed_output
    assert isinstance(ticket, Ticket) and ticket.label == choice("pick one", ["billing", "bug"])
    for schema, word in [
        ({"type": "object", "properties": {}}, "additionalProperties"),
        ({"type": "integer", "minimum": 1}, "minimum"),
        ({"type": "string", "format": "colour"}, "format"),
        ({"type": "array", "items": {"type": "string"}, "minItems": 2}, "minItems"),
    ]:
        format = {"type": "json_schema", "schema": schema}
        with pytest.raises(anthropic.BadRequestError, match=word):
            client.messages.create(**message("x", output_config={"format": format}))
