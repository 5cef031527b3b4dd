"""What others wrote is read to a bound: of size, rows, columns and depth, and what is beyond is refused soon, with its place."""

from __future__ import annotations

import io
import os
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import vendor_exports

from pcim.campaign.input_tables import read_platemap, read_plates
from pcim.campaign.scaffold.platemap_template import read_given
from pcim.config.yaml_lines import read_yaml
from pcim.core import safe_read
from pcim.core.plate_source import Source
from pcim.core.safe_read import MAX_COLUMNS, MAX_ROW_CHARACTERS, check_file, read_table
from pcim.plates.ngff_json import NgffError
from pcim.plates.vendors import read_export
from pcim.plates.vendors.export import Room, digest_of, elements
from pcim.views.objects import MAX_TABLE_BYTES, middles, read_places


def test_a_table_has_its_columns_and_the_lines_of_its_rows() -> None:
    header, rows = read_table(io.StringIO('a,b\n\n1,"x\ny"\n\n2\n', newline=""), "t.csv")
    assert header == ["a", "b"]
    assert list(rows) == [(4, ["1", "x\ny"]), (6, ["2"])]
    assert read_table(io.StringIO(""), "t.csv")[0] == []


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a\n1\n2\n3\n", r"^t\.csv:4: more than 3 rows$"),
        ("a\n\n\n\n\n", r"^t\.csv:4: more than 3 rows$"),
        ("," * MAX_COLUMNS, r"^t\.csv:1: more than 10,000 columns$"),
        ("a\n" + "," * MAX_COLUMNS, r"^t\.csv:2: more than 10,000 columns$"),
        ("a" * 200_000, r"^t\.csv:1: field larger than field limit"),
        ('a\n"' + '\n","' * (MAX_ROW_CHARACTERS // 4), r"more than 1,000,000 characters in a row$"),
        ('a\n"b"c\n', r"^t\.csv:2: ',' expected after '\"'$"),
    ],
)
def test_a_table_beyond_its_bounds_is_refused_at_its_line(text: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        list(read_table(io.StringIO(text, newline=""), "t.csv", most=2)[1])


def faults_of(read: Callable[[Path, list[str]], Any]) -> Callable[[Path], str]:
    def found(file: Path) -> str:
        faults: list[str] = []
        read(file, faults)
        return "; ".join(faults)

    return found


def refusal_of(read: Callable[[Path], Any]) -> Callable[[Path], str]:
    def found(file: Path) -> str:
        with pytest.raises(ValueError) as refused:  # noqa: PT011 - its words are what is returned
            read(file)
        return str(refused.value)

    return found


TABLES: dict[str, tuple[str, Callable[[Path], str]]] = {
    "plates": ("plate\tpath\tplatemap\tx", faults_of(lambda file, faults: read_plates(file, faults, platemaps=False))),
    "platemap": ("well_position,x", faults_of(read_platemap)),
    "given platemap": ("well_position;x", faults_of(read_given)),
    "places": ("well,field,y,x", refusal_of(lambda file: read_places(file, "p"))),
    "tiles": (
        "file_path,row,column",
        refusal_of(lambda file: read_export.__wrapped__(Source(str(file.parent), format="tiles"))),
    ),
}


@pytest.mark.parametrize("name", TABLES)
@pytest.mark.parametrize("form", ["columns", "field", "line"])
def test_every_table_of_others_is_refused_soon_where_it_is_beyond_its_bounds(tmp_path: Path, name: str, form: str) -> None:
    head, read = TABLES[name]
    mark = next(mark for mark in "\t;," if mark in head)
    file = tmp_path / "tiles.csv"
    file.write_text({
        "columns": head + mark.join(map(str, range(200_000))) + "\n",
        "field": f"{head}\n" + "a" * 200_000 + "\n",
        "line": head + mark + "a" + '\n"' + f'\n"{mark}"' * 300_000,
    }[form])  # fmt: skip
    begun = time.process_time()
    told = read(file)
    assert "more than" in told or "field larger" in told
    assert len(told) < 500
    assert time.process_time() - begun < 5


def test_a_table_of_places_is_read_in_little_memory(tmp_path: Path) -> None:
    file = tmp_path / "places.csv"
    with file.open("wb") as handle:
        handle.truncate(300_000_000)  # one line, of NULs
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match=r"places\.csv:1: more than 1,000,000 characters in a row"):
            read_places(file, "p")
        assert tracemalloc.get_traced_memory()[1] < 20_000_000
    finally:
        tracemalloc.stop()
    os.truncate(file, MAX_TABLE_BYTES + 1)
    with pytest.raises(ValueError, match=r"places\.csv: 4,294,967,297 bytes; at most 4,294,967,296 are read"):
        read_places(file, "p")


def test_a_table_of_places_lists_so_many_objects_of_a_plate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pcim.views.objects.MAX_OBJECTS", 2)
    file = tmp_path / "places.csv"
    file.write_text("well,field,y,x,plate\nA1,0,1,1,q\nA1,0,1,1,q\nA1,0,1,1,p\nA1,0,2,1,p\n")
    assert len(read_places(file, "p")["A01", "0"]) == 2
    file.write_text(file.read_text() + "A1,0,3,1,p\n")
    with pytest.raises(ValueError, match=r"places\.csv:6: more than 2 objects of p"):
        read_places(file, "p")


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ("A1,0,1", "expected 4 values"),
        ("A1,../0,1,1", r"field '\.\./0' is not a plain name"),
        ("A1," + "9" * 130 + ",1,1", "is not a plain name"),
    ],
)
def test_a_row_of_a_table_of_places_is_whole_and_names_a_field(tmp_path: Path, row: str, words: str) -> None:
    file = tmp_path / "places.csv"
    file.write_text(f"well,field,y,x\n{row}\n")
    with pytest.raises(ValueError, match=rf"places\.csv:2: .*{words}"):
        read_places(file, "p")


def test_numbers_of_objects_may_be_larger_than_any_memory() -> None:
    labels = np.zeros((6, 8), np.uint64)
    labels[1:3, 2:5], labels[4, 7] = 2**63 + 5, 7
    assert middles(labels) == [("7", 4.0, 7.0), (str(2**63 + 5), 1.5, 3.0)]


@pytest.mark.parametrize("text", ["[" * 900_000, "a: " + "{b: [" * 100_000, "- " * 450_000, "? " * 450_000, "a: {b: {c: " + "[" * 1020])
def test_yaml_that_nests_too_deeply_is_refused_soon(tmp_path: Path, text: str) -> None:
    file = tmp_path / "c.yaml"
    file.write_text(text)
    begun = time.process_time()
    faults: list[str] = []
    assert read_yaml(file, faults) is None
    assert faults == [f"{file}:1: not readable as YAML: nested too deeply"]
    assert time.process_time() - begun < 2


def test_yaml_that_nests_as_a_config_may_is_read(tmp_path: Path) -> None:
    file = tmp_path / "c.yaml"
    for text in ("[" * 31 + "]" * 31, "".join(f"{' ' * depth}a:\n" for depth in range(31))):
        file.write_text(text)
        faults: list[str] = []
        assert read_yaml(file, faults) is not None
        assert not faults


def test_a_pipe_or_a_device_is_not_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for file in (tmp_path / "pipe", Path("/dev/zero"), tmp_path):
        with pytest.raises(ValueError, match="not a regular file"):
            check_file(file, safe_read.MAX_TEXT_BYTES)


XML_BOMBS = {
    "deep": (b"<a>" * 4_000_000, "more than 64 deep"),
    "one element": (b"<a><Image>" + b"<b/>" * 5_000_000, "one of more than 100,000 bytes"),
    "one tag": (b"<a><b " + b"".join(b"c%d='' " % n for n in range(300_000)), "a tag or text of more than 1,000,000 bytes"),
    "one text": (b"<a>" + b"x" * 20_000_000, "a tag or text of more than 1,000,000 bytes"),
}  # fmt: skip


@pytest.mark.parametrize("name", XML_BOMBS)
def test_xml_is_read_in_bounded_memory(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    content, words = XML_BOMBS[name]
    monkeypatch.setattr("pcim.plates.vendors.export.MAX_ELEMENT_BYTES", 100_000)
    file = tmp_path / "index.xml"
    file.write_bytes(content)
    tracemalloc.start()
    try:
        with pytest.raises(NgffError, match=words):
            list(elements(file, "Image"))
        assert tracemalloc.get_traced_memory()[1] < 10_000_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("form", ["operetta", "cellvoyager"])
def test_an_index_claims_no_more_planes_than_are_read(tmp_path: Path, form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    source = Source(str(getattr(vendor_exports, form)(tmp_path / "in")), format=form)
    count = sum(map(len, read_export.__wrapped__(source).fields.values()))
    monkeypatch.setattr(Room.__init__, "__defaults__", (count,))
    read_export.__wrapped__(source)
    monkeypatch.setattr(Room.__init__, "__defaults__", (count - 1,))
    with pytest.raises(NgffError, match="more than 2,000,000 planes"):
        read_export.__wrapped__(source)


def test_an_index_has_the_digest_of_its_bytes(tmp_path: Path) -> None:
    file = tmp_path / "a"
    file.write_bytes(bytes(range(256)) * 9000)
    assert digest_of([file, "b"]) == digest_of([file.read_bytes(), "b"])


def test_ome_xml_of_countless_elements_is_not_parsed(tmp_path: Path) -> None:
    file = tmp_path / "p.companion.ome"
    file.write_bytes(b"<OME>" + b"<a/>" * 4_000_001)
    with pytest.raises(NgffError, match="OME-XML of more than 4,000,000 tags"):
        read_export.__wrapped__(Source(str(tmp_path), format="ometiff"))
