"""Pictures and documents: tables as pandas, polars, DuckDB and PyArrow write them, through the whole road, and
bodies and answers as the vendors' own SDKs have them."""

import base64
import http.server
import json
import re
import struct
import threading
import urllib.error
import urllib.request
import zlib

import anthropic
import duckdb
import openai
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pydantic
import pytest
from anthropic.types.messages import batch_create_params
from openai.types.chat import completion_create_params

from test_sdks import chat, claude, claude_ended, gpt, gpt_ended, jsonl, lines_of, message, start
from world import VENDORS, Job, tail


def chunk(name, data):
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png(n):
    """A picture of 8 by 8 pixels, all of one grey."""
    head = struct.pack(">IIBBBBB", 8, 8, 8, 0, 0, 0, 0)
    rows = zlib.compress((b"\0" + bytes([n]) * 8) * 8, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


# Each the smallest picture of its kind: one pixel.
GIF = base64.b64decode("R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7")
WEBP = base64.b64decode("UklGRiIAAABXRUJQVlA4IBYAAAAwAQCdASoBAAEADsD+JaQAA3AAAAAA")
JPEG = base64.b64decode(
    "/9j/4AAQSkZJRgABAQEASABIAAD/2wBDAP" + "/" * 86 + "wgALCAABAAEBAREA/8QAFBABAAAAAAAAAAAAAAAAAAAAAP/aAAgBAQABPxA="
)
PICTURES = [png(1), JPEG, GIF, WEBP, png(2), png(1)]
TYPES = ["png", "jpeg", "gif", "webp", "png", "png"]


def pdf():
    """A document of one empty page, as the standard has it."""
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 99 99] >>",
    ]
    out, places = b"%PDF-1.4\n", []
    for n, text in enumerate(objects, 1):
        places.append(len(out))
        out += b"%d 0 obj\n%s\nendobj\n" % (n, text)
    table = len(out)
    out += b"xref\n0 4\n0000000000 65535 f \n" + b"".join(b"%010d 00000 n \n" % at for at in places)
    return out + b"trailer\n<< /Size 4 /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n" % table


PDF = pdf()


def text_of(data):
    return base64.b64encode(data).decode()


def drawn(text, *attached):
    """What the sandbox draws from: the text, and each attachment as it was sent after a newline."""
    return "\n".join([text, *(text_of(data) for data in attached)])


IDS = list(range(len(PICTURES)))


def by_pandas(path):
    pd.DataFrame({"id": IDS, "photo": PICTURES}).to_parquet(path)


def by_polars(path):
    pl.DataFrame({"id": IDS, "photo": PICTURES}).write_parquet(path)


def by_duckdb(path):
    table_of_pictures = pa.table({"id": IDS, "photo": PICTURES})
    duckdb.connect().execute(f"COPY (SELECT * FROM table_of_pictures) TO '{path}' (FORMAT parquet)")
    assert table_of_pictures.num_rows == len(IDS)


def by_pyarrow(kind):
    def write(path):
        photo = pa.array(PICTURES, kind)
        pq.write_table(pa.table({"id": IDS, "photo": photo}), path)

    return write


def by_dictionary(path):
    photo = pa.array(PICTURES, pa.binary()).dictionary_encode()
    pq.write_table(pa.table({"id": IDS, "photo": photo}), path)


def by_images(path):
    """As Hugging Face's `datasets` writes pictures."""
    photo = [{"bytes": data, "path": f"{n}.png"} for n, data in enumerate(PICTURES)]
    pq.write_table(pa.table({"id": IDS, "photo": photo}), path)


WRITERS = {
    "pandas": by_pandas,
    "polars": by_polars,
    "duckdb": by_duckdb,
    "binary": by_pyarrow(pa.binary()),
    "large_binary": by_pyarrow(pa.large_binary()),
    "binary_view": by_pyarrow(pa.binary_view()),
    "dictionary": by_dictionary,
    "datasets": by_images,
}


def answers(path):
    return pq.read_table(path, columns=["id", "label"]).sort_by("id").column("label").to_pylist()


def job_of(folder, sandbox, vendor, **prompt):
    prompt = {"system": None, "user": "What is on {{ photo }}, {{ id }}?", "images": ["photo"]} | prompt
    return Job(folder, sandbox, vendor, prompt=prompt)


@pytest.mark.parametrize("writer", WRITERS)
def test_each_picture_of_a_column_is_asked_about(tmp_path, sandbox, writer):
    WRITERS[writer](tmp_path / "in.parquet")
    for vendor in VENDORS:
        job = job_of(tmp_path, sandbox, vendor).change(output={"path": f"{vendor}.parquet"})
        job.change(ledger={"path": f"ledger-{vendor}"})
        checked = job("check", "--rows", "6").out
        for kind in set(TYPES):
            assert f"image/{kind}" in checked
        assert job.run()["status"]["succeeded"] == len(PICTURES)
        for n, (answer, data) in enumerate(zip(answers(tmp_path / f"{vendor}.parquet"), PICTURES)):
            assert answer.endswith(tail(drawn(f"What is on , {n}?", data)))


def test_pictures_of_one_length_and_lists_of_them(tmp_path, sandbox):
    same = [png(n) for n in range(4)]
    assert len({len(data) for data in same}) == 1
    fixed = pa.array(same, pa.binary(len(same[0])))
    lists = pa.array([same[:2], [], [None, same[3]], same], pa.list_(pa.binary()))
    pairs = pa.array([same[:2]] * 4, pa.list_(pa.binary(), 2))
    coded = pa.ListArray.from_arrays([0, 1, 2, 3, 4], pa.array(same).dictionary_encode())
    columns = {"id": range(4), "photo": fixed, "lists": lists, "pairs": pairs, "coded": coded}
    pq.write_table(pa.table({name: pa.array(values) for name, values in columns.items()}), tmp_path / "in.parquet")
    job = job_of(tmp_path, sandbox, "anthropic", images=["photo", "lists", "pairs", "coded"])
    assert job.run()["status"]["succeeded"] == 4
    own = [same[:2], [], [same[3]], same]
    for n, answer in enumerate(answers(tmp_path / "out.parquet")):
        before = own[n] + same[:2] + [same[n]]
        # What is named nowhere stands before the text; the sandbox reads texts first, and then what is attached.
        assert answer.endswith(tail(drawn(f"What is on , {n}?", *before, same[n])))


class Recorder(http.server.BaseHTTPRequestHandler):
    """Hands everything on to a sandbox, and keeps what was posted."""

    protocol_version = "HTTP/1.1"

    def hand_on(self):
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(length) if length else None
        if self.command == "POST":
            self.server.posted.append((self.path, self.headers, body))
        kept = {name: value for name, value in self.headers.items() if name.lower() not in ("host", "connection")}
        request = urllib.request.Request(self.server.origin + self.path, body, kept, method=self.command)
        try:
            answer = urllib.request.urlopen(request, timeout=30)
        except urllib.error.HTTPError as error:
            answer = error
        said = answer.read()
        self.send_response(answer.status)
        for name in ("content-type", "request-id", "x-request-id"):
            if value := answer.headers.get(name):
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(said)))
        self.end_headers()
        self.wfile.write(said)

    do_GET = do_POST = do_DELETE = hand_on

    def log_message(self, *_):
        pass


@pytest.fixture
def recorder(sandbox):
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Recorder)
    server.origin, server.posted = sandbox.origin, []
    own = f"http://127.0.0.1:{server.server_port}"
    server.urls = {vendor: url.replace(sandbox.origin, own) for vendor, url in sandbox.urls.items()}
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()


def with_documents(folder, recorder, vendor):
    columns = {"id": [0, 1], "photo": [png(7), JPEG], "paper": [PDF, PDF]}
    columns["link"] = ["https://example.org/a.png", "https://example.org/b.png"]
    pq.write_table(pa.table(columns), folder / "in.parquet")
    job = job_of(folder, recorder, vendor, images=["photo", "link"], documents=["paper"])
    return job.change(prompt={"user": "Is {{ photo }} in {{ paper }} or at {{ link }}, {{ id }}?"})


def whole(value):
    """A value that was checked, to its last part: what is iterable is checked when it is iterated."""
    if isinstance(value, dict):
        return {key: whole(part) for key, part in value.items()}
    if isinstance(value, (str, bytes, int, float, type(None))):
        return value
    return [whole(part) for part in value]


def check_type(kind, value, at):
    """That `value` is of the SDK's type `kind`, and would not be if its part `at` were of another one."""
    adapter = pydantic.TypeAdapter(kind)
    assert whole(adapter.validate_python(value)) == value
    wrong = json.loads(json.dumps(value))
    at(wrong)["type"] = "picture"
    with pytest.raises(pydantic.ValidationError):
        whole(adapter.validate_python(wrong))


def test_anthropics_sdk_would_send_the_same(tmp_path, sandbox, recorder):
    job = with_documents(tmp_path, recorder, "anthropic")
    job.run()
    bodies = [json.loads(body) for path, _, body in recorder.posted if path.endswith("/batches")]
    requests = [request for body in bodies for request in body["requests"]]
    assert len(requests) == 2
    for request in requests:
        # What its types know, and nothing more.
        check_type(batch_create_params.Request, request, lambda r: r["params"]["messages"][0]["content"][1])
        parts = request["params"]["messages"][0]["content"]
        kinds = [part["type"] for part in parts]
        assert kinds == ["text", "image", "text", "document", "text", "image", "text"]
        for part in parts:
            known = {"image": anthropic.types.ImageBlockParam, "document": anthropic.types.DocumentBlockParam}
            kind = known.get(part["type"], anthropic.types.TextBlockParam)
            assert set(part) <= set(kind.__annotations__)
    ours = answers(tmp_path / "out.parquet")
    client = claude(sandbox)
    made = client.messages.batches.create(requests=requests)
    claude_ended(client, made.id)
    theirs = {line.custom_id: line.result.message.content[0].text for line in client.messages.batches.results(made.id)}
    assert sorted(theirs.values()) == sorted(ours)


def test_openais_sdk_would_send_the_same(tmp_path, sandbox, recorder):
    job = with_documents(tmp_path, recorder, "openai")
    job.run()
    lines = []
    for path, headers, body in recorder.posted:
        if path.endswith("/files"):
            boundary = re.search(r"boundary=(\S+)", headers["Content-Type"])[1].strip('"')
            part = next(part for part in body.split(f"--{boundary}".encode()) if b"filename=" in part)
            lines += [json.loads(line) for line in part.split(b"\r\n\r\n", 1)[1].strip().splitlines()]
    assert len(lines) == 2
    kind = completion_create_params.CompletionCreateParamsNonStreaming
    for line in lines:
        check_type(kind, line["body"], lambda body: body["messages"][-1]["content"][1])
        parts = line["body"]["messages"][-1]["content"]
        kinds = [part["type"] for part in parts]
        assert kinds == ["text", "image_url", "text", "file", "text", "image_url", "text"]
    client = gpt(sandbox)
    ended = gpt_ended(client, start(client, jsonl({line["custom_id"]: line["body"] for line in lines})).id)
    parsed = [
        openai.types.chat.ChatCompletion.model_validate(line["response"]["body"])
        for line in lines_of(client, ended.output_file_id)
    ]
    theirs = [answer.choices[0].message.content for answer in parsed]
    assert sorted(theirs) == sorted(answers(tmp_path / "out.parquet"))


def test_the_sdks_send_pictures_of_their_own(sandbox):
    source = {"type": "base64", "media_type": "image/webp", "data": text_of(WEBP)}
    paper = {"type": "base64", "media_type": "application/pdf", "data": text_of(PDF)}
    parts = [
        {"type": "image", "source": source},
        {"type": "document", "source": paper},
        {"type": "text", "text": "What is this?"},
    ]
    answer = claude(sandbox).messages.create(**message(parts))
    assert answer.content[0].text.endswith(tail(drawn("What is this?", WEBP, PDF)))
    assert answer.usage.input_tokens > len("What is this?") // 4
    parts = [
        {"type": "image_url", "image_url": {"url": f"data:image/gif;base64,{text_of(GIF)}"}},
        {"type": "file", "file": {"filename": "a.pdf", "file_data": f"data:application/pdf;base64,{text_of(PDF)}"}},
        {"type": "text", "text": "What is this?"},
    ]
    answer = gpt(sandbox).chat.completions.create(**chat(parts))
    assert answer.choices[0].message.content.endswith(tail(drawn("What is this?", GIF, PDF)))
    assert answer.usage.prompt_tokens > len("What is this?") // 4
    # What the vendors refuse is their own error.
    wrong = {"type": "base64", "media_type": "image/png", "data": text_of(GIF)}
    with pytest.raises(anthropic.BadRequestError):
        claude(sandbox).messages.create(**message([{"type": "image", "source": wrong}]))
    url = f"data:image/png;base64,{text_of(GIF)}"
    with pytest.raises(openai.BadRequestError):
        gpt(sandbox).chat.completions.create(**chat([{"type": "image_url", "image_url": {"url": url}}]))
