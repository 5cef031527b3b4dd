"""A bucket on a server of this process, for plates on ``s3://``."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

ACCESS = {"AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x"}


@contextlib.contextmanager
def bucket_with(plate: Path, monkeypatch: pytest.MonkeyPatch, access: Mapping[str, str] = ACCESS) -> Iterator[str]:
    """Serve a bucket that holds a plate, by credentials in the environment; gives the plate's address."""
    moto = pytest.importorskip("moto.server", reason="moto is not installed")
    import boto3
    import s3fs

    s3fs.S3FileSystem.clear_instance_cache()  # an earlier test's would ask that test's server
    for name, value in {**access, "AWS_DEFAULT_REGION": "us-east-1"}.items():
        monkeypatch.setenv(name, value)
    server = moto.ThreadedMotoServer("127.0.0.1", 0)
    server.start()
    try:
        host, port = server.get_host_and_port()
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
        client = boto3.client("s3")
        client.create_bucket(Bucket="plates")
        for file in (path for path in plate.rglob("*") if path.is_file()):
            client.upload_file(str(file), "plates", f"screen/{plate.name}/{file.relative_to(plate).as_posix()}")
        yield f"s3://plates/screen/{plate.name}"
    finally:
        server.stop()
        s3fs.S3FileSystem.clear_instance_cache()
