"""Servers, started for the tests that ask for them, and stopped by their process."""

import base64
import itertools
import os
import re
import subprocess
import sys
from pathlib import Path

import boto3
import pytest
from azure.storage.blob import BlobServiceClient

import world

# The SDKs and boto3 in this process: loopback only, and no settings of the user's.
for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
    del os.environ[name]
for name in [n for n in os.environ if n.startswith(("AWS_", "AZURE_", "OPENAI_", "ANTHROPIC_"))]:
    del os.environ[name]


def pytest_configure():
    if not os.access(world.BINARY, os.X_OK):
        pytest.exit("COLUMNIST_BIN names no program; start these tests with tests/services/run", 2)


def pytest_terminal_summary(terminalreporter):
    """Lists the files that packages ship, with what became of each."""
    passed = terminalreporter.getreports("passed")
    told = [value for report in passed if report.when == "call" for name, value in report.user_properties if name == "shipped"]
    if told:
        terminalreporter.section("files that packages ship")
    for verdict in sorted({verdict for verdict, _ in told}):
        files = sorted(file for said, file in told if said == verdict)
        terminalreporter.write_line(f"{verdict}: {len(files)}")
        for file in files:
            terminalreporter.write_line(f"  {file}")


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


class Server:
    """A server in a process of its own, on a port of its own choice that it prints."""

    def __init__(self, log, command, said, **env):
        self.log = log
        with log.open("wb") as file:
            self.process = subprocess.Popen(
                list(map(str, command)),
                stdout=file,
                stderr=file,
                env=world.environment(PYTHONUNBUFFERED="1", **env),
            )
        self.said = said
        try:
            self.url = world.wait_for(log.stem, self._url)
        except BaseException:
            self.stop()
            raise

    def _url(self):
        text = self.log.read_text()
        assert self.process.poll() is None, text
        found = re.search(self.said + r"(http://127\.0\.0\.1:\d+)", text)
        return found and found[1]

    def stop(self):
        world.stop(self.process)


class S3(Server):
    """An S3 server, and a client for it."""

    scheme = "s3"

    def __init__(self, log, command, said):
        super().__init__(log, command, said)
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
    """moto, one request at a time."""
    script = Path(__file__).with_name("moto_one_by_one.py")
    log = tmp_path_factory.mktemp("s3") / "moto.log"
    server = S3(log, [sys.executable, script], "Running on ")
    yield server
    server.stop()


@pytest.fixture(scope="session")
def rclone(tmp_path_factory):
    """rclone's S3, which takes `If-None-Match` for decoration."""
    folder = tmp_path_factory.mktemp("rclone")
    program = Path(sys.executable).with_name("rclone")
    root = folder / "root"
    root.mkdir()
    serve = ["serve", "s3", root, "--addr", "127.0.0.1:0", "--auth-key", "test,testtest"]
    server = S3(folder / "rclone.log", [program, *serve], r"Starting s3 server on \[")
    yield server
    server.stop()


class Azure(Server):
    """Azurite, and a client for it."""

    scheme = "az"

    def __init__(self, log, program):
        account, key = "lake", base64.b64encode(b"a key for nothing but this").decode()
        options = ["--inMemoryPersistence", "--skipApiVersionCheck", "--disableTelemetry"]
        super().__init__(
            log,
            [program, "--blobPort", "0", *options],
            "successfully listens on ",
            AZURITE_ACCOUNTS=f"{account}:{key}",
        )
        self.env = {
            "AZURE_STORAGE_ACCOUNT_NAME": account,
            "AZURE_STORAGE_ACCOUNT_KEY": key,
            "AZURE_STORAGE_ENDPOINT": f"{self.url}/{account}",
            "AZURE_ALLOW_HTTP": "true",
        }
        credential = {"account_name": account, "account_key": key}
        self.client = BlobServiceClient(f"{self.url}/{account}", credential=credential)
        self.containers = itertools.count()

    def bucket(self):
        """A new container."""
        name = f"lake-{next(self.containers)}"
        self.client.create_container(name)
        return name

    def put(self, container, name, body):
        self.client.get_blob_client(container, name).upload_blob(body, overwrite=True)

    def read(self, container, name):
        return self.client.get_blob_client(container, name).download_blob().readall()

    def list(self, container, prefix=""):
        """Names with their entity tags."""
        found = self.client.get_container_client(container).list_blobs(name_starts_with=prefix)
        return {blob.name: blob.etag for blob in found}


@pytest.fixture(scope="session")
def azure(tmp_path_factory):
    program = os.environ.get("COLUMNIST_AZURITE")
    if not program:
        pytest.skip("no npm, so no Azurite: nothing was tried on Azure")
    server = Azure(tmp_path_factory.mktemp("azure") / "azurite.log", program)
    yield server
    server.stop()


@pytest.fixture(params=["s3", "azure"])
def lake(request):
    """One kind of object storage after the other."""
    return request.getfixturevalue(request.param)
