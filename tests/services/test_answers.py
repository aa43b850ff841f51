"""Answers with types: what Pydantic prints, what other readers find in the output, and what a server may say wrong."""

import datetime as dt
import decimal
import enum
import json
import re
import tomllib
import uuid
from pathlib import Path
from typing import Annotated, Literal, Optional, Union

import duckdb
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pydantic import BaseModel, ConfigDict, Field

from echo import Echo
from world import VENDORS, Job

CASES = tomllib.loads((Path(__file__).parents[2] / "fixtures/schemas.toml").read_text("utf-8"))["case"]


# The models whose schemas stand in fixtures/schemas.toml.


class Label(str, enum.Enum):
    billing = "billing"
    bug = "bug"


class Ticket(BaseModel):
    label: Label
    urgency: int = Field(ge=1, le=5, description="From 1 to 5")
    due: Optional[dt.date] = None


class Line(BaseModel):
    sku: str
    qty: int


class Invoice(BaseModel):
    number: str
    total: decimal.Decimal
    paid: bool
    at: dt.datetime
    lines: list[Line]


class Node(BaseModel):
    name: str
    kids: list["Node"]


class Cat(BaseModel):
    kind: Literal["cat"]
    lives: int


class Dog(BaseModel):
    kind: Literal["dog"]
    tricks: list[str]


class Owner(BaseModel):
    pet: Union[Cat, Dog] = Field(discriminator="kind")


class Counts(BaseModel):
    words: dict[str, int]


class Person(BaseModel):
    model_config = ConfigDict(extra="forbid")
    id: uuid.UUID
    height: float = Field(gt=0)
    birthday: dt.date
    wakes: dt.time
    favourite: Label = Label.bug


class Point(BaseModel):
    at: tuple[float, float]


class Either(BaseModel):
    value: int | str | None


class Tags(BaseModel):
    tags: set[Literal["a", "b", "c"]] = Field(min_length=1, max_length=2)


class Address(BaseModel):
    street: Annotated[str, Field(max_length=80)]
    country: Annotated[str, Field(pattern="^[A-Z]{2}$")]


class Order(BaseModel):
    ship_to: Address
    bill_to: Address | None
    notes: list[str] | None = None


MODELS = [Ticket, Invoice, Node, Owner, Counts, Person, Point, Either, Tags, Order]


def case_of(model):
    return next(case for case in CASES if case.get("pydantic") == model.__name__)


def write(folder, bodies):
    bodies = list(bodies)
    table = pa.table({"id": pa.array(range(len(bodies)), pa.int64()), "body": bodies})
    pq.write_table(table, folder / "in.parquet")


def test_the_table_has_what_pydantic_prints():
    assert sorted(m.__name__ for m in MODELS) == sorted(c["pydantic"] for c in CASES if "pydantic" in c)
    for model in MODELS:
        # To the order of the properties: a model answers in it.
        assert json.dumps(model.model_json_schema()) == json.dumps(json.loads(case_of(model)["schema"]))


@pytest.mark.parametrize("vendor", VENDORS)
@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.__name__)
def test_pydantic_reads_what_its_schema_asked_for(tmp_path, sandbox, vendor, model):
    write(tmp_path, (f"ticket {n}" for n in range(6)))
    case = case_of(model)
    (tmp_path / "answer.schema.json").write_text(json.dumps(model.model_json_schema()))
    answer = {"type": "json", "schema_file": "answer.schema.json"}
    job = Job(tmp_path, sandbox, vendor, answer=answer, budget={"max_failed": "100%"})
    job.change(model={"max_output_tokens": 4000})
    if model is Invoice:
        # Its schema lets a decimal be any text, and the sandbox says such.
        job.change(answer={"types": {"total": "DECIMAL(20,4)"}})
    refused = case.get("refused") or case.get(f"{vendor}_refused")
    if refused:
        before = sandbox.bill()["requests_billed"]
        for command in ("check", "plan", "run"):
            said = job(command, code=2).err
            assert refused in said and "hint:" in said, said
        assert sandbox.bill()["requests_billed"] == before
        # In the prompt every schema can be said.
        job.change(model={"structured_output": "prompt"})
    job.run()
    rows = pq.read_table(tmp_path / "out.parquet").to_pylist(maps_as_pydicts="strict")
    json_text = re.compile(r"\b(\w+): json")
    texts = json_text.findall(case["arrow"])
    for row in rows:
        may_be_invalid = case.get("loose") or refused or model is Invoice
        assert row["label_status"] == "succeeded" or may_be_invalid, row
        if row["label_status"] != "succeeded":
            assert row["label"] is None and row["label_error"], row
            continue
        texts_of = texts if model is not Invoice else []
        value = {n: json.loads(v) if n in texts_of and v is not None else v for n, v in row["label"].items()}
        if model is Node:
            value["kids"] = list(map(json.loads, value["kids"]))
        # What was left out is null in a column, and has its default in the model.
        value = {name: v for name, v in value.items() if v is not None or name in ("bill_to", "value")}
        model.model_validate(value)


# Round trips: what a model says, and what each reader finds.

FIELDS = {
    "label": {"choices": {"billing": "about invoices", "bug": "it fails"}},
    "urgency": "SMALLINT",
    "total": {"type": "DECIMAL(12,2)", "nullable": True},
    "ratio": "DOUBLE",
    "done": "BOOLEAN",
    "due": {"type": "DATE", "nullable": True},
    "at": "TIMESTAMP WITH TIME ZONE",
    "opens": "TIME",
    "tags": {"choices": ["x", "y", "z"], "multiple": True, "max": 2},
    "lines": {"type": "STRUCT(sku VARCHAR, qty INT)[]"},
    "more": "STRUCT(note VARCHAR, inner STRUCT(deep BIGINT[]))",
}
SAID = [
    {
        "label": "Billing",
        "urgency": -3,
        "total": "1234567890.10",
        "ratio": 0.1,
        "done": True,
        "due": "2024-02-29",
        "at": "2026-11-30T23:59:59.123456+02:00",
        "opens": "09:30:00",
        "tags": ["Z", "x"],
        "lines": [{"sku": "a \U0001f600", "qty": 2147483647}, {"sku": None, "qty": None}, None],
        "more": {"note": 'quoted "\\\n\u2028', "inner": {"deep": [9223372036854775807, None, -9223372036854775808]}},
    },
    {
        "label": "bug",
        "urgency": 32767,
        "total": None,
        "ratio": -1.7976931348623157e308,
        "done": False,
        "due": None,
        "at": "1969-12-31T00:00:00Z",
        "opens": "23:59:59.999999",
        "tags": [],
        "lines": [],
        "more": {"note": None, "inner": None},
    },
]
KEPT = [
    {
        **SAID[0],
        "label": "billing",
        "total": decimal.Decimal("1234567890.10"),
        "due": dt.date(2024, 2, 29),
        "at": dt.datetime(2026, 11, 30, 21, 59, 59, 123456, tzinfo=dt.UTC),
        "opens": dt.time(9, 30),
        "tags": ["z", "x"],
    },
    {
        **SAID[1],
        "at": dt.datetime(1969, 12, 31, tzinfo=dt.UTC),
        "opens": dt.time(23, 59, 59, 999999),
    },
]


@pytest.fixture
def echo():
    echo = Echo()
    yield echo
    echo.stop()


def said_to(tmp_path, echo, said, vendor="openai", **answer):
    """A job whose model says each of `said`."""
    write(tmp_path, said)
    job = Job(tmp_path, echo, vendor, budget={"max_failed": "100%"}, prompt={"user": "{{ body }}"})
    return job.change(answer={"type": None} | answer)


def test_a_nested_extraction_is_the_same_to_every_reader(tmp_path, echo):
    job = said_to(tmp_path, echo, map(json.dumps, SAID), fields=FIELDS)
    job.run()
    file = tmp_path / "out.parquet"
    assert pq.read_table(file)["label"].to_pylist() == KEPT
    assert pl.read_parquet(file)["label"].to_list() == KEPT
    # By Arrow, for its own way to Python wants another package for moments.
    found = duckdb.sql(f"SELECT label FROM '{file}' ORDER BY id").to_arrow_table()
    assert found["label"].to_pylist() == KEPT
    found = duckdb.sql(f"SELECT sum(l.qty) FROM (SELECT unnest(label.lines) AS l FROM '{file}')").fetchall()
    assert found == [(2147483647,)]
    kinds = duckdb.sql(f"SELECT typeof(label) FROM '{file}' LIMIT 1").fetchall()
    assert kinds == [
        (
            'STRUCT("label" VARCHAR, urgency SMALLINT, total DECIMAL(12,2), ratio DOUBLE, done BOOLEAN, due DATE, '
            '"at" TIMESTAMP WITH TIME ZONE, opens TIME, tags VARCHAR[], lines STRUCT(sku VARCHAR, qty INTEGER)[], '
            "more STRUCT(note VARCHAR, \"inner\" STRUCT(deep BIGINT[])))",
        )
    ]
    # DataFusion, and what a template makes of it.
    again = Job(tmp_path, echo, "openai", name="again", output={"path": "again.parquet"})
    query = "SELECT id, label.urgency AS urgency, label.lines[1]['sku'] AS sku, label FROM t WHERE label.done"
    again.change(
        source={"table": None, "query": query, "tables": {"t": "out.parquet"}},
        prompt={"user": "{{ urgency }} {{ sku }} {{ label.due }} {{ label.total }} {{ label.more.inner.deep[2] }}"},
        answer={"column": "said"},
    )
    (tmp_path / "q.sql").write_text(query)
    again.change(source={"query": "q.sql"})
    again.run()
    (row,) = pq.read_table(tmp_path / "again.parquet").to_pylist()
    assert row["said"] == "-3 a \U0001f600 2024-02-29 1234567890.10 -9223372036854775808"
    assert row["label"] == KEPT[0]


def test_flattened_fields_are_columns_to_every_reader(tmp_path, echo):
    job = said_to(tmp_path, echo, map(json.dumps, SAID), fields=FIELDS, flatten=True)
    job.run()
    file = tmp_path / "out.parquet"
    for name in FIELDS:
        kept = [row[name] for row in KEPT]
        assert pq.read_table(file)[f"label_{name}"].to_pylist() == kept
        assert pl.read_parquet(file)[f"label_{name}"].to_list() == kept
        found = duckdb.sql(f"SELECT label_{name} AS l FROM '{file}' ORDER BY id").to_arrow_table()
        assert found["l"].to_pylist() == kept


def test_maps_and_free_forms_go_by_the_prompt(tmp_path, echo):
    said = [{"m": {"a": 1, "\u00e9": None}, "j": {"x": [1, "y"]}}, {"m": {}, "j": None}]
    fields = {"m": "MAP(VARCHAR, INT)", "j": {"type": "JSON", "nullable": True}}
    around = (f"Sure:\n```json\n{json.dumps(one)}\n```\n" for one in said)
    job = said_to(tmp_path, echo, around, fields=fields)
    refused = job("check", code=2)
    assert "names are not known before" in refused.err
    job.change(model={"structured_output": "prompt"})
    job.run()
    for request in echo.requests:
        assert "response_format" not in request["body"]
        system = request["body"]["messages"][0]
        assert system["role"] == "system" and system["content"].startswith("You label.\n\nAnswer with one JSON")
        assert '"additionalProperties":{"type":["integer","null"]}' in system["content"]
    file = tmp_path / "out.parquet"
    rows = pq.read_table(file)["label"].to_pylist(maps_as_pydicts="strict")
    assert [row["m"] for row in rows] == [one["m"] for one in said]
    assert [row["j"] and json.loads(row["j"]) for row in rows] == [one["j"] for one in said]
    found = duckdb.sql(f"SELECT label.m FROM '{file}' ORDER BY id").fetchall()
    assert [m for (m,) in found] == [one["m"] for one in said]
    found = duckdb.sql(f"SELECT label.j->>'$.x[1]' FROM '{file}' ORDER BY id").fetchall()
    assert found == [("y",), (None,)]


# What a server may say wrong.


def of(name, value):
    """An answer of one field."""
    return json.dumps({name: value})


NUMBERS = {"fields": {"n": "BIGINT", "d": "DATE", "f": "DOUBLE", "t": "VARCHAR"}}
GOOD = '"d": "2026-02-28", "f": 1.5, "t": "x"'
WRONG = [
    (f'{{"n": 9223372036854775808, {GOOD}}}', "n: 9223372036854775808 does not fit into 64 bits"),
    (f'{{"n": 1e400, {GOOD}}}', "n: 1e400 does not fit into 64 bits"),
    (f'{{"n": 1.5, {GOOD}}}', "n: 1.5 is not whole"),
    (f'{{"n": 1, "n": 2, {GOOD}}}', "the name n stands twice"),
    ('{"n": 1, "d": "2026-02-30", "f": 1, "t": "x"}', 'd: "2026-02-30" is not a date such as 2026-02-28'),
    ('{"n": 1, "d": "2026-02-28", "f": 1e400, "t": "x"}', "f: 1e400 is out of range"),
    ('{"n": 1, "d": "2026-02-28", "f": NaN, "t": "x"}', "it is not JSON"),
    ('{"n": 1, "d": "2026-02-28", "f": 1, "t": "\\ud800"}', "t: it is text that no file can hold"),
    ('{"n": 1, "d": "2026-02-28", "f": 1, "t": "x"', "it is not JSON"),
    ('{"n": 1, "d": "2026-02-28", "f": 1}', "t: it is missing"),
    (f'{{"n": 1, {GOOD}, "more": 1}}', "more is not one of its fields"),
    (f'{{"n": null, {GOOD}}}', "n: it is null"),
    ("I cannot say.", "it is not JSON"),
    ("{" * 100_000, "it is not JSON"),
    (of("t", "x" * 10_000_000), "n: it is missing"),
]
RIGHT = [
    (f'{{"n": 9223372036854775807, {GOOD}}}', {"n": 2**63 - 1, "t": "x"}),
    ('{"n": 1, "d": "2026-02-28", "f": 1e300, "t": "a\\u0000b"}', {"t": "a\0b", "f": 1e300}),
    ('{"n": 1, "d": "2026-02-28", "f": 1, "t": "\\ud83d\\ude00"}', {"t": "\U0001f600"}),
    (json.dumps({"n": 1, "d": "2026-02-28", "f": 1, "t": "\u00e9" * 5_000_000}), {"t": "\u00e9" * 5_000_000}),
]


def test_what_breaks_its_type_is_invalid_with_the_place_and_the_rest_is_kept(tmp_path, echo):
    job = said_to(tmp_path, echo, [said for said, _ in WRONG + RIGHT], meta="full", **NUMBERS)
    report = job.run()
    assert len(echo.requests) == len(WRONG + RIGHT)
    assert report["status"] == {"succeeded": len(RIGHT), "invalid": len(WRONG)}
    rows = pq.read_table(tmp_path / "out.parquet").to_pylist()
    for row, (said, why) in zip(rows, WRONG):
        assert (row["label"], row["label_status"]) == (None, "invalid"), said[:200]
        assert row["label_error"].startswith(why) and len(row["label_error"]) < 500, row["label_error"][:500]
        # It was paid for, and is kept to the last byte.
        assert row["label_raw"] == said and row["label_output_tokens"] == 1, said[:200]
    for row, (said, kept) in zip(rows[len(WRONG) :], RIGHT):
        assert row["label_status"] == "succeeded", row["label_error"]
        assert {name: row["label"][name] for name in kept} == kept
    # Every answer is there to be looked at.
    shown = json.loads(job("show", "--key", "3", "--json").out)
    assert WRONG[3][0] in json.dumps(shown["attempts"][-1]).encode().decode("unicode_escape")


TEXTS = [
    "plain",
    "\u00e4\u4e2d\u05d0\u200f e\u0301 \U0001f468\u200d\U0001f469\u200d\U0001f467 \U0001f1e9\U0001f1ea \U00100000",
    "a nul \0, a tab \t, a bell \x07, \u2028, \ufeff, \x7f and \"quotes\" \\",
    "1 MB \U0001f600" + "\u65e5" * 350_000,
    "10 MB " + "x" * 10_000_000,
]


@pytest.mark.parametrize("vendor", VENDORS)
@pytest.mark.parametrize("answer", [{"type": "text"}, {"type": "json", "schema": {"type": "string"}}], ids=["text", "json"])
def test_a_text_comes_back_to_the_last_character_however_long(tmp_path, echo, vendor, answer):
    said = TEXTS if answer["type"] == "text" else [of("answer", text) for text in TEXTS]
    job = said_to(tmp_path, echo, said, vendor, meta="full", **answer)
    assert job.run()["status"] == {"succeeded": len(TEXTS)}
    assert len(echo.requests) == len(TEXTS)
    table = pq.read_table(tmp_path / "out.parquet")
    assert table["label"].to_pylist() == TEXTS
    assert job.run()["unchanged"]
    assert len(echo.requests) == len(TEXTS)


def test_what_anthropic_says_wrong_is_invalid_and_kept_as_well(tmp_path, echo):
    # The last of them is 30 MB as it is asked for, and so more than a request may have.
    right = RIGHT[:-1]
    job = said_to(tmp_path, echo, [said for said, _ in WRONG + right], "anthropic", meta="full", **NUMBERS)
    assert job.run()["status"] == {"succeeded": len(right), "invalid": len(WRONG)}
    rows = pq.read_table(tmp_path / "out.parquet").to_pylist()
    for row, (said, why) in zip(rows, WRONG):
        assert (row["label"], row["label_status"], row["label_raw"]) == (None, "invalid", said), said[:200]
        assert row["label_error"].startswith(why), row["label_error"][:500]
    for row, (said, kept) in zip(rows[len(WRONG) :], right):
        assert {name: row["label"][name] for name in kept} == kept


@pytest.mark.parametrize("vendor", VENDORS)
def test_choices_are_found_and_nothing_else_is_one(tmp_path, echo, vendor):
    said = [
        ('{"answer": "Bug"}', "bug"),
        ('{"answer": "\\ud83d\\ude00"}', "\U0001f600"),
        ('{"answer": "bug\\u0000"}', None),
        ('{"answer": "\\ud83d"}', None),
        ("bug" * 3_000_000, None),
    ]
    job = said_to(tmp_path, echo, [text for text, _ in said], vendor, choices=["bug", "\U0001f600"], meta="full")
    assert job.run()["status"] == {"succeeded": 2, "invalid": 3}
    rows = pq.read_table(tmp_path / "out.parquet").to_pylist()
    assert [row["label"] for row in rows] == [kept for _, kept in said]
    for row, (text, kept) in zip(rows, said):
        if kept is None:
            assert row["label_raw"] == text and 0 < len(row["label_error"]) < 500


def test_half_a_surrogate_pair_in_a_line_loses_no_row(tmp_path, echo):
    """What no text can hold becomes U+FFFD, as everywhere; the rest of the line is kept, and the other rows."""
    said = ["good", f"bad {Echo.LONE} end", "fine"]
    job = said_to(tmp_path, echo, said, type="text")
    job.run()
    rows = pq.read_table(tmp_path / "out.parquet").to_pylist()
    assert [row["label"] for row in rows] == ["good", "bad \ufffd end", "fine"]


SCHEMAS = [
    (b"no JSON", "`answer.schema_file` is not JSON"),
    (b"\xff\xfe\x00", "answer.schema_file"),
    (b"", "`answer.schema_file` is not JSON"),
    (b"[]", "the schema is no schema"),
    (b'"text"', "the schema is no schema"),
    (b"{}", "it may be anything"),
    (b'{"type": "strng"}', "a type that does not exist: `strng`"),
    (b'{"type": "object", "type": "array"}', "the key `type` stands twice"),
    (b'{"type": "object", "properties": {"a": {"$ref": "#/$defs/None"}}}', "which is not in the schema"),
    (b'{"type": "object", "properties": {"a": {"$ref": "other.json"}}}', "which is not in the schema"),
    (b'{"type": "string", "pattern": "("}', "the answer's schema cannot be used"),
    (b'{"type": "object", "properties": {"a": {}, "A": {}}}', "one name to most readers"),
    (b'{"a":' * 10_000, "`answer.schema_file` is not JSON"),
]


@pytest.mark.parametrize("schema, why", SCHEMAS, ids=lambda value: str(value)[:30])
def test_a_schema_file_that_is_no_schema_is_refused_before_any_spend(tmp_path, echo, schema, why):
    (tmp_path / "s.json").write_bytes(schema)
    job = said_to(tmp_path, echo, ["x"], schema_file="s.json")
    for command in ("check", "plan", "run"):
        refused = job(command, code=2)
        assert why in refused.err, refused
    assert not echo.requests and not (tmp_path / "out.parquet").exists()


@pytest.mark.parametrize(
    "answer, why",
    [
        ({"fields": {"a": "STRNG"}}, "there is no type `STRNG`"),
        ({"fields": {"a": {"type": "STRUCT(b INT"}}}, "a struct is written"),
        ({"type": "strng"}, "`answer.type` cannot be"),
        ({"choices": ["a", "A"]}, "the choices `a` and `A` are the same"),
        ({"choices": {"a": "x"}, "multiple": True, "min": 2}, "`answer.min` is 2, and there are 1 choices"),
        ({"choices": []}, "`answer.choices` is empty"),
    ],
)
def test_a_type_that_does_not_exist_is_refused_before_any_spend(tmp_path, echo, answer, why):
    job = said_to(tmp_path, echo, ["x"], **answer)
    for command in ("check", "run"):
        refused = job(command, code=2)
        assert why in refused.err, refused
    assert not echo.requests


def test_a_text_is_bounded_and_trimmed(tmp_path, echo):
    said = ["short", "  padded \n", "far too long a text", "\u65e5\u672c\u8a9e\u65e5\u672c\u8a9e", " \n\u00a0"]
    job = said_to(tmp_path, echo, [f"{text}" for text in said], type="text", max_chars=6)
    # A blank prompt asks nothing.
    job.run()
    rows = pq.read_table(tmp_path / "out.parquet").to_pylist()
    assert [row["label"] for row in rows] == ["short", None, None, said[3], None]
    assert [row["label_status"] for row in rows] == ["succeeded", "invalid", "invalid", "succeeded", "skipped"]
    assert rows[2]["label_error"] == "it has 19 characters, more than 6"
    asked = len(echo.requests)
    job.change(answer={"max_chars": None, "trim": True})
    job.run()
    rows = pq.read_table(tmp_path / "out.parquet").to_pylist()
    assert [row["label"] for row in rows] == ["short", "padded", "far too long a text", said[3], None]
    asked = len(echo.requests)
    # Trimming is how the column is written, and asks nothing.
    job.change(answer={"trim": None})
    assert job.run()["requests"] is None or len(echo.requests) == asked
    rows = pq.read_table(tmp_path / "out.parquet").to_pylist()
    assert rows[1]["label"] == said[1] and len(echo.requests) == asked


def test_several_choices_are_a_list(tmp_path, echo):
    said = [
        ('{"answer": ["Bug", "billing"]}', ["bug", "billing"], None),
        ('{"answer": []}', None, "it has 0 choices, fewer than 1"),
        ('{"answer": ["bug", "BUG"]}', None, "the choice bug stands twice"),
        ('{"answer": ["bug", "crash"]}', ["bug", "rest"], None),
        ('{"answer": ["bug", "billing", "rest"]}', None, "it has 3 choices, more than 2"),
        ('{"answer": ["bug"], "answer": []}', None, "the name answer stands twice"),
    ]
    choices = {"bug": "it fails", "billing": "about invoices"}
    job = said_to(
        tmp_path, echo, [s for s, *_ in said], choices=choices, multiple=True, min=1, max=2, other="rest"
    )
    job.run()
    file = tmp_path / "out.parquet"
    rows = pq.read_table(file).to_pylist()
    assert [(row["label"], row["label_error"]) for row in rows] == [(kept, why) for _, kept, why in said]
    format = echo.requests[0]["body"]["response_format"]["json_schema"]
    item = format["schema"]["properties"]["answer"]
    assert item["items"]["enum"] == ["bug", "billing", "rest"]
    assert item["items"]["description"].splitlines()[:2] == ["bug: it fails", "billing: about invoices"]
    assert (item["minItems"], item["maxItems"]) == (1, 2)
    found = duckdb.sql(f"SELECT DISTINCT unnest(label) AS l FROM '{file}' ORDER BY l").fetchall()
    assert found == [("billing",), ("bug",), ("rest",)]
