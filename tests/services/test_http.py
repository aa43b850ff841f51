"""A table on a plain web server, which is read where it is."""

import email.utils
import functools
import http.server
import re
import threading

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
from world import Job, tail

ROWS = 40
HTTP = ("--storage-option", "allow_http=true")


class Handler(http.server.BaseHTTPRequestHandler):
    """GET and HEAD of the files of a server, in ranges where those are asked for."""

    protocol_version = "HTTP/1.1"

    def do_HEAD(self):
        self.answer(body=False)

    def do_GET(self):
        self.answer(body=True)

    def answer(self, body):
        server = self.server
        file = server.files.get(self.path)
        if file is None:
            self.send_response(404)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        data, modified = file
        asked = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
        self.server.asked.append((self.command, self.headers.get("Range")))
        part = data
        if asked and server.ranges:
            first, last = int(asked[1]), min(int(asked[2]), len(data) - 1)
            part = data[first : last + 1]
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {first}-{last}/{len(data)}")
        else:
            self.send_response(200)
        self.send_header("Last-Modified", email.utils.formatdate(modified, usegmt=True))
        self.send_header("Content-Length", str(len(part)))
        self.end_headers()
        if body:
            self.wfile.write(part)

    def log_message(self, *_):
        pass


@pytest.fixture
def web():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.files, server.asked, server.ranges = {}, [], True
    server.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    thread.join()


def put(web, path, write, ids, modified=1_700_000_000):
    bodies = [f"ticket {n}\n\U0001f600" for n in ids]
    table = pa.table({"id": pa.array(ids, pa.int64()), "body": bodies})
    sink = pa.BufferOutputStream()
    write(table, sink)
    web.files[path] = (sink.getvalue().to_pybytes(), modified)
    return table


def check(path, source):
    out = pq.read_table(path)
    assert out.select(["id", "body"]).equals(source.select(["id", "body"]))
    for row in out.to_pylist():
        assert row["label"].endswith(tail(f"Label this: {row['body']}")), row


def make_job(tmp_path, web, sandbox, file):
    return Job(tmp_path, sandbox, "openai", source={"table": web.url + file})


def test_plain_http_is_for_those_who_ask_for_it(tmp_path, web, sandbox):
    put(web, "/in.parquet", pq.write_table, range(3))
    done = make_job(tmp_path, web, sandbox, "/in.parquet")("run", code=2)
    assert "plain http" in done.err and "--storage-option allow_http=true" in done.err
    assert not web.asked


def test_a_file_on_a_web_server_is_read_in_parts_and_followed(tmp_path, web, make_sandbox):
    sandbox = make_sandbox("--instant")
    write = functools.partial(pq.write_table, row_group_size=10)
    source = put(web, "/lake/in.parquet", write, range(ROWS))
    job = make_job(tmp_path, web, sandbox, "/lake/in.parquet")
    assert job.run(*HTTP)["rows"] == ROWS
    check(tmp_path / "out.parquet", source)
    assert any(part for command, part in web.asked if command == "GET")
    assert job.run(*HTTP)["unchanged"]

    # The file is another: only what is new in it is sent.
    source = put(web, "/lake/in.parquet", write, range(5, ROWS + 5), modified=1_700_000_100)
    report = job.run(*HTTP)
    assert report["requests"] == 5 and report["answered_before_rows"] == ROWS - 5
    check(tmp_path / "out.parquet", source)
    assert sandbox.bill()["requests_billed"] == ROWS + 5


def test_a_csv_file_needs_no_ranges(tmp_path, web, make_sandbox):
    web.ranges = False
    source = put(web, "/in.csv", pyarrow.csv.write_csv, range(ROWS))
    job = make_job(tmp_path, web, make_sandbox("--instant"), "/in.csv")
    job.run(*HTTP)
    check(tmp_path / "out.parquet", source)


def test_what_a_web_server_cannot_do_is_said(tmp_path, web, sandbox):
    bill = sandbox.bill()
    done = make_job(tmp_path, web, sandbox, "/missing.parquet")("run", *HTTP, code=2)
    assert "no such file" in done.err and "/missing.parquet" in done.err
    # Parquet is read in parts, and this server sends the whole file each time.
    put(web, "/in.parquet", pq.write_table, range(ROWS))
    web.ranges = False
    done = make_job(tmp_path, web, sandbox, "/in.parquet")("run", *HTTP, code=2)
    assert "in parts" in done.err and "hint: " in done.err
    # Nothing can be listed there.
    done = make_job(tmp_path, web, sandbox, "/lake/")("run", *HTTP, code=2)
    assert "only a single file" in done.err
    assert sandbox.bill() == bill
