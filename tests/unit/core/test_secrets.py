"""What gives access to a server is used and never written: no key, password or signature is in a plan, table, log or message."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest
from planted_campaign import CHANNELS, spot_field, write_plate
from s3_server import SECRET, put_in_a_bucket

from pcim.campaign.input_tables import CampaignError, read_plates
from pcim.campaign.plan import plan_plate
from pcim.campaign.plan_file import PlatePlan
from pcim.config.stages import IngestSettings
from pcim.core.plate_source import Source, holds_secret
from pcim.core.safe_read import is_printable, printable
from pcim.plates.field_image import FieldImage
from pcim.plates.ngff_json import NgffError
from pcim.runtime.job_log import log, log_to
from pcim.stages.ingest import ingest_plate

GOOD = spot_field(np.random.default_rng(3), (40, 52), (20, 30))


@pytest.fixture
def bucket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The address of a plate of two wells, one of them broken, in a bucket that is reached by a key and a password."""
    local = write_plate(tmp_path / "p.zarr", {("A", "1", "0"): GOOD, ("B", "3", "0"): GOOD})
    (local / "B/3/0/0/c/0/0/0").write_bytes(b"broken")
    return put_in_a_bucket(local, monkeypatch)


def test_nothing_that_is_written_about_a_plate_in_a_bucket_holds_a_key(
    tmp_path: Path, bucket: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    out = tmp_path / "results"
    (out / "maps").mkdir(parents=True)
    platemap = tmp_path / "map.csv"
    platemap.write_text("well_position\nA1\nB3\n")
    plan: PlatePlan = plan_plate(Source(bucket), None, lambda *_: (1, "by hand"))
    plan.write(out / "plan.json")
    with log_to(out / "ingest.log"):
        ingest_plate(
            plate="p",
            store=Source(bucket),
            platemap=platemap,
            table=str(out / "fields.parquet"),
            settings=IngestSettings(),
            workers=1,
            revision=1,
        )
        with pytest.raises(NgffError):
            FieldImage.open(Source(bucket), "B/3/0").read(CHANNELS)
    import boto3
    from botocore.config import Config
    from botocore.exceptions import EndpointConnectionError

    nobody = boto3.client("s3", endpoint_url=f"http://user:{SECRET}@127.0.0.1:9", config=Config(retries={"total_max_attempts": 1}))
    with pytest.raises(EndpointConnectionError, match=SECRET), log_to(out / "failed.log"):  # the library does tell it
        log.warning("asked %s", f"http://user:{SECRET}@127.0.0.1:9/x?X-Amz-Signature={SECRET}")
        nobody.list_buckets()
    files = [path for path in out.rglob("*") if path.is_file()]
    assert {path.name for path in files} == {"plan.json", "ingest.log", "fields.parquet", "failed.log"}
    for file in files:
        assert SECRET.encode() not in file.read_bytes(), file
    assert "http://***@127.0.0.1:9/x?X-Amz-Signature=***" in (out / "failed.log").read_text()


@pytest.mark.parametrize(
    "address",
    [
        f"s3://u:{SECRET}@bucket/p.zarr", f"https://{SECRET}@host/p.zarr", f"https://host/p.zarr?X-Amz-Signature={SECRET}&X-Amz-Date=1",
        f"https://host/p.zarr?token={SECRET}", f"s3://[{SECRET}@/p", f"https://host/p?sig={SECRET}#x",
    ],
)  # fmt: skip
def test_an_address_with_a_secret_is_refused_and_repeated_by_no_message(tmp_path: Path, address: str) -> None:
    assert holds_secret(address)
    (tmp_path / "plates.tsv").write_text(f"plate\tpath\tplatemap\nq\t{address}\t{address}\n")
    with pytest.raises(CampaignError) as refused:
        read_plates(tmp_path / "plates.tsv", [])
    assert SECRET not in str(refused.value)
    (tmp_path / "plates.tsv").write_text(f"plate\tpath\tplatemap\nq\tp.zarr\t{address}\n")
    faults: list[str] = []
    read_plates(tmp_path / "plates.tsv", faults)
    assert SECRET not in str(CampaignError(faults))
    assert SECRET not in str(NgffError(f"{address}: not there"))


def test_words_that_would_steer_a_terminal_are_shown_as_what_they_are() -> None:
    assert printable("a\x1b[2Jb\rc\u202ed\x9be") == "a\\x1b[2Jb\\rc\\u202ed\\x9be"
    assert printable("well A01\n\tof p, 37 °C, 日本") == "well A01\n\tof p, 37 °C, 日本"
    assert printable("s3://bucket/p.zarr?x=1 at me@lab.org") == "s3://bucket/p.zarr?x=1 at me@lab.org"
    assert is_printable("a,b\r\nc\rd")
    assert not is_printable("a\0b")
