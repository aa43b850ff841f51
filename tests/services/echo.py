"""A server that speaks OpenAI's and Anthropic's batches and answers each prompt with the prompt itself.

So a test says in a row what the model says. It shares no code with Columnist or its sandbox.
"""

import http.server
import json
import re
import threading
import time


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        server = self.server
        if self.path == "/v1/files":
            boundary = re.search(r"boundary=(\S+)", self.headers["Content-Type"])[1].strip('"')
            parts = body.split(f"--{boundary}".encode())
            part = next(part for part in parts if b"filename=" in part)
            name = re.search(rb'filename="([^"]*)"', part)[1].decode()
            content = part.split(b"\r\n\r\n", 1)[1].removesuffix(b"\r\n")
            file = f"file-{len(server.files)}"
            server.files[file] = (name, content)
            self.say(self.file(file))
        elif self.path == "/v1/batches":
            batch = f"batch_{len(server.batches)}"
            asked = json.loads(body)
            output = f"file-{len(server.files)}"
            lines = server.files[asked["input_file_id"]][1].splitlines()
            answers = [self.answer(json.loads(line)) for line in lines if line]
            server.files[output] = ("output.jsonl", b"".join(answers))
            server.batches[batch] = {
                "id": batch,
                "object": "batch",
                "endpoint": "/v1/chat/completions",
                "status": "completed",
                "input_file_id": asked["input_file_id"],
                "output_file_id": output,
                "error_file_id": None,
                "created_at": int(time.time()),
                "metadata": asked.get("metadata"),
                "request_counts": {"total": len(answers), "completed": len(answers), "failed": 0},
            }
            self.say(server.batches[batch])
        elif self.path == "/v1/messages/count_tokens":
            self.say({"input_tokens": 1})
        elif self.path == "/v1/messages/batches":
            self.say(self.make_messages(json.loads(body)["requests"]))
        else:
            self.send_error(404)

    def do_GET(self):
        path = self.path.split("?")[0].removeprefix("/v1/")
        parts = path.split("/")
        if parts[:2] == ["messages", "batches"]:
            self.get_messages(parts[2:])
        elif parts[0] == "batches" and len(parts) == 2:
            self.say(self.server.batches[parts[1]])
        elif parts[0] == "files" and parts[2:] == ["content"]:
            self.say_bytes(self.server.files[parts[1]][1])
        elif parts == ["batches"]:
            self.say({"object": "list", "data": list(self.server.batches.values())[::-1], "has_more": False})
        elif parts == ["files"]:
            files = [self.file(file) for file in list(self.server.files)[::-1]]
            self.say({"object": "list", "data": files, "has_more": False})
        else:
            self.send_error(404)

    def make_messages(self, requests):
        """A batch of Anthropic's, which ends at once."""
        batch = f"msgbatch_{len(self.server.messages)}"
        lines = b"".join(map(self.message, requests))
        counts = {"processing": 0, "succeeded": len(requests), "errored": 0, "canceled": 0, "expired": 0}
        made, ended, expires = (time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + s)) for s in (0, 0, 86400))
        view = {
            "id": batch,
            "type": "message_batch",
            "processing_status": "ended",
            "request_counts": counts,
            "created_at": made,
            "ended_at": ended,
            "expires_at": expires,
            "cancel_initiated_at": None,
            "archived_at": None,
            "results_url": f"{self.server.origin}/v1/messages/batches/{batch}/results",
        }
        self.server.messages[batch] = (view, lines)
        return view

    def get_messages(self, parts):
        match parts:
            case [batch, "results"]:
                self.say_bytes(self.server.messages[batch][1])
            case [batch]:
                self.say(self.server.messages[batch][0])
            case _:
                views = [view for view, _ in self.server.messages.values()][::-1]
                self.say({"data": views, "has_more": False, "first_id": None, "last_id": None})

    def message(self, request):
        self.server.requests.append(request)
        said = request["params"]["messages"][-1]["content"]
        if isinstance(said, list):
            said = "".join(part["text"] for part in said)
        message = {
            "id": "msg_1",
            "type": "message",
            "role": "assistant",
            "model": request["params"]["model"],
            "content": [{"type": "text", "text": said}],
            "stop_reason": "end_turn",
            "stop_sequence": None,
            "usage": {"input_tokens": 1, "output_tokens": 1},
        }
        line = {"custom_id": request["custom_id"], "result": {"type": "succeeded", "message": message}}
        return json.dumps(line).encode() + b"\n"

    def do_DELETE(self):
        file = self.path.rsplit("/", 1)[1]
        self.say({"id": file, "object": "file", "deleted": True})

    def file(self, file):
        name, content = self.server.files[file]
        size = len(content)
        return {"id": file, "object": "file", "bytes": size, "filename": name, "purpose": "batch", "created_at": int(time.time())}

    def answer(self, request):
        self.server.requests.append(request)
        said = request["body"]["messages"][-1]["content"]
        message = {"role": "assistant", "content": "@", "refusal": None}
        body = {
            "id": "chatcmpl-1",
            "object": "chat.completion",
            "model": request["body"]["model"],
            "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
            "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2},
        }
        line = {"id": "r", "custom_id": request["custom_id"], "response": {"status_code": 200, "request_id": "q", "body": body}, "error": None}
        # A test may have put in what no Python text can hold as JSON.
        said = json.dumps(said).replace(self.server.lone, "\\ud800")
        return json.dumps(line).replace('"@"', said).encode() + b"\n"

    def say(self, value):
        self.say_bytes(json.dumps(value).encode(), "application/json")

    def say_bytes(self, data, kind="application/octet-stream"):
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_):
        pass


class Echo:
    """The server, in a thread of this process."""

    # Stands for half of a surrogate pair, as a raw escape in the line itself.
    LONE = "<lone>"

    def __init__(self):
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.files, self.server.batches, self.server.requests = {}, {}, []
        self.server.messages = {}
        self.server.lone = self.LONE
        self.server.origin = f"http://127.0.0.1:{self.server.server_port}"
        self.urls = {"openai": f"{self.server.origin}/v1", "anthropic": self.server.origin}
        self.thread = threading.Thread(target=self.server.serve_forever, daemon=True)
        self.thread.start()

    @property
    def requests(self):
        return self.server.requests

    def stop(self):
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()
