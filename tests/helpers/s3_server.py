"""Buckets on a server of this process, for plates on ``s3://``."""

from __future__ import annotations

import functools
import itertools
from pathlib import Path

import pytest

SECRET = "s3cr3tKEYx9"
ACCESS = {"AWS_ACCESS_KEY_ID": f"id{SECRET}", "AWS_SECRET_ACCESS_KEY": SECRET, "AWS_SESSION_TOKEN": f"tok{SECRET}"}
_numbers = itertools.count(1)


@functools.cache
def _server() -> str:
    """Start the server, one for all tests: s3fs keeps its connections, and those of an ended test's would lead nowhere."""
    moto = pytest.importorskip("moto.server", reason="moto is not installed")
    server = moto.ThreadedMotoServer("127.0.0.1", 0)
    server.start()
    host, port = server.get_host_and_port()
    return f"http://{host}:{port}"


def put_in_a_bucket(plate: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Copy a plate into a bucket of its own, with what gives access in the environment, and return its address."""
    import boto3

    for name, value in {**ACCESS, "AWS_DEFAULT_REGION": "us-east-1", "AWS_ENDPOINT_URL": _server()}.items():
        monkeypatch.setenv(name, value)
    client, bucket = boto3.client("s3"), f"plates{next(_numbers)}"
    client.create_bucket(Bucket=bucket)
    for file in (path for path in plate.rglob("*") if path.is_file()):
        client.upload_file(str(file), bucket, f"screen/{plate.name}/{file.relative_to(plate).as_posix()}")
    return f"s3://{bucket}/screen/{plate.name}"
