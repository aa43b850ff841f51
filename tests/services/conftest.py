"""Servers, started for the tests that ask for them, and stopped by their process."""

import itertools
import os
import re
import subprocess
import sys
from pathlib import Path

import boto3
import pytest

import world

# The SDKs and boto3 in this process: loopback only, and no settings of the user's.
for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
    del os.environ[name]
for name in [name for name in os.environ if name.startswith(("AWS_", "OPENAI_", "ANTHROPIC_"))]:
    del os.environ[name]


def pytest_configure():
    if not os.access(world.BINARY, os.X_OK):
        pytest.exit("COLUMNIST_BIN names no program; start these tests with tests/services/run", 2)


@pytest.fixture(scope="module")
def sandbox():
    """A sandbox whose batches take a moment."""
    sandbox = world.Sandbox("--batch-time", "50ms..150ms")
    yield sandbox
    sandbox.stop()


@pytest.fixture
def make_sandbox():
    """Makes sandboxes with arguments of one's own."""
    made = []

    def make(*args, **options):
        made.append(world.Sandbox(*args, **options))
        return made[-1]

    yield make
    for sandbox in made:
        sandbox.stop()


class S3:
    """A moto server."""

    def __init__(self, folder):
        self.log = folder / "moto.log"
        program = Path(sys.executable).with_name("moto_server")
        with self.log.open("wb") as log:
            # The port is of the server's own choice; it says which.
            self.process = subprocess.Popen(
                [program, "-H", "127.0.0.1", "-p", "0"],
                stdout=log,
                stderr=log,
                env=world.environment(PYTHONUNBUFFERED="1"),
            )
        try:
            self.url = world.wait_for("moto", self._url)
        except BaseException:
            world.stop(self.process)
            raise
        self.env = {
            "AWS_ENDPOINT_URL": self.url,
            "AWS_ALLOW_HTTP": "true",
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "testtest",
            "AWS_REGION": "us-east-1",
        }
        self.client = boto3.client(
            "s3",
            endpoint_url=self.url,
            aws_access_key_id="test",
            aws_secret_access_key="testtest",
            region_name="us-east-1",
        )
        self.buckets = itertools.count()

    def _url(self):
        assert self.process.poll() is None, self.log.read_text()
        found = re.search(r"Running on (http://127\.0\.0\.1:\d+)", self.log.read_text())
        return found and found[1]

    def bucket(self):
        """A new bucket."""
        name = f"lake-{next(self.buckets)}"
        self.client.create_bucket(Bucket=name)
        return name

    def put(self, bucket, key, body):
        self.client.put_object(Bucket=bucket, Key=key, Body=body)

    def read(self, bucket, key):
        return self.client.get_object(Bucket=bucket, Key=key)["Body"].read()

    def list(self, bucket, prefix=""):
        """Keys with their entity tags."""
        pages = self.client.get_paginator("list_objects_v2")
        found = pages.paginate(Bucket=bucket, Prefix=prefix)
        return {o["Key"]: o["ETag"] for page in found for o in page.get("Contents", [])}


@pytest.fixture(scope="session")
def s3(tmp_path_factory):
    server = S3(tmp_path_factory.mktemp("moto"))
    yield server
    world.stop(server.process)
