"""What the tests share: processes, job files, and the documented rule of the sandbox's answers.

It shares no code with Columnist. What an answer must be is computed here from the prompt.
"""

import hashlib
import json
import math
import os
import queue
import re
import struct
import subprocess
import threading
import time
import urllib.request
from pathlib import Path

BINARY = os.environ.get("COLUMNIST_BIN", "")
VENDORS = ["anthropic", "openai"]
MODELS = {"anthropic": "claude-haiku-4-5", "openai": "gpt-6-luna"}
KEYS = {"ANTHROPIC_API_KEY": "sk-test", "OPENAI_API_KEY": "sk-test"}

# How long anything may take before a test gives up on it.
DEADLINE = 60.0


def number(text, seed=0):
    """The number that the sandbox draws for a prompt."""
    digest = hashlib.sha256(f"{seed}\n{text}".encode()).digest()
    return int.from_bytes(digest[:8], "big")


def tail(text, seed=0):
    """How a plain answer to a prompt ends."""
    return f" #{number(text, seed):016x}"


def choice(text, choices, seed=0):
    """The choice that answers a prompt."""
    return choices[number(text, seed) % len(choices)]


def mix(x):
    """SplitMix64."""
    mask = (1 << 64) - 1
    x = (x + 0x9E3779B97F4A7C15) & mask
    x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & mask
    x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & mask
    return x ^ (x >> 31)


def vector(text, dimensions, seed=0):
    """The unit vector that answers a text: SplitMix64 of its number, in -1..1, made of length 1."""
    first = number(text, seed)
    draws = [mix((first + n) % (1 << 64)) >> 32 for n in range(dimensions)]
    parts = [2 * draw / (1 << 32) - 1 for draw in draws]
    length = math.sqrt(sum(part * part for part in parts))
    return [part / length for part in parts]


def floats(values):
    """Values as floats of 32 bits hold them."""
    form = f"<{len(values)}f"
    return list(struct.unpack(form, struct.pack(form, *values)))


def wait_for(what, probe, deadline=DEADLINE, pause=0.05):
    """Calls `probe` until it returns something true, and returns that."""
    end = time.monotonic() + deadline
    while time.monotonic() < end:
        if found := probe():
            return found
        time.sleep(pause)
    raise TimeoutError(f"{what}: not within {deadline} s")


def stop(process):
    """Stops a process that a test started."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(10)


class Sandbox:
    """A `columnist sandbox` process."""

    def __init__(self, *args, seed=0):
        command = [BINARY, "sandbox", "--port", "0", "--seed", str(seed), *args]
        self.seed = seed
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, env=environment(), text=True
        )
        self.urls = {}
        lines = queue.Queue()
        threading.Thread(target=self._read, args=(lines,), daemon=True).start()
        try:
            end = time.monotonic() + DEADLINE
            while not set(VENDORS) <= set(self.urls):
                line = lines.get(timeout=max(0.0, end - time.monotonic()))
                assert line is not None, f"the sandbox ended: {self.process.wait()}"
                dialect, url = line.split()
                self.urls[dialect] = url
        except BaseException:
            self.stop()
            raise

    def _read(self, lines):
        for line in self.process.stdout:
            lines.put(line)
        lines.put(None)

    @property
    def origin(self):
        return re.match(r"https?://[^/]+", self.urls["openai"])[0]

    def get(self, path):
        with urllib.request.urlopen(self.origin + path, timeout=DEADLINE) as answer:
            return json.load(answer)

    def bill(self):
        return self.get("/__sandbox/bill")

    def stop(self):
        stop(self.process)


def environment(**more):
    """The environment of our processes: nothing of the user's keys, proxies and settings."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "TMPDIR") if name in os.environ}
    return kept | {"RUST_BACKTRACE": "1"} | more


class Done:
    """What a command came to."""

    def __init__(self, process):
        self.code = process.returncode
        self.out = process.stdout
        self.err = process.stderr

    @property
    def report(self):
        """The last line of standard output."""
        return json.loads(self.out.splitlines()[-1])

    def __repr__(self):
        return f"exit {self.code}\n--- stdout\n{self.out}\n--- stderr\n{self.err}"


def columnist(*args, cwd, env=None, code=0, prefix=()):
    """Carries out a command, perhaps by another one, and checks how it ends."""
    process = subprocess.run(
        [*prefix, BINARY, *map(str, args)],
        cwd=cwd,
        env=environment(**KEYS, **(env or {})),
        capture_output=True,
        text=True,
        timeout=DEADLINE * 2,
        stdin=subprocess.DEVNULL,
    )
    done = Done(process)
    assert done.code == code, f"{' '.join(map(str, args))}: {done}"
    return done


def toml(value):
    """A value as TOML, on one line."""
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{json.dumps(k)} = {toml(v)}" for k, v in value.items()) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(map(toml, value)) + "]"
    return json.dumps(value, ensure_ascii=False)


class Job:
    """A job file whose parts can be changed between runs."""

    def __init__(self, folder, sandbox, vendor, *, env=None, name="triage", **sections):
        self.folder = Path(folder)
        self.path = self.folder / f"{name}.toml"
        self.env = env or {}
        self.prefix = ()
        self.sections = {
            "source": {"table": "in.parquet", "key": ["id"]},
            "prompt": {"system": "You label.", "user": "Label this: {{ body }}"},
            "answer": {"column": "label", "type": "text"},
            "model": {
                "use": f"{vendor}/{MODELS[vendor]}",
                "base_url": sandbox.urls[vendor],
                "poll_min": "50ms",
                "poll_max": "200ms",
            },
            "output": {"path": "out.parquet"},
        }
        self.name = name
        self.change(**sections)

    def change(self, **sections):
        """Changes keys of sections, and writes the file. A key that becomes None goes."""
        for section, keys in sections.items():
            merged = self.sections.setdefault(section, {}) | keys
            self.sections[section] = {k: v for k, v in merged.items() if v is not None}
        lines = [f"name = {toml(self.name)}"]
        for section, keys in self.sections.items():
            lines.append(f"\n[{section}]")
            lines += [f"{key} = {toml(value)}" for key, value in keys.items()]
        self.path.write_text("\n".join(lines) + "\n", encoding="utf-8")
        return self

    def __call__(self, command, *args, code=0):
        where = {"cwd": self.folder, "env": self.env, "prefix": self.prefix}
        return columnist(command, self.path, *args, code=code, **where)

    def run(self, *args, code=0):
        return self("run", *args, code=code).report
