"""Which files, columns, keys and attributes of a campaign's results docs/formats.md does not name.

``python tests/layouts.py results/demo label split_rows`` asks the same of any finished campaign; the words are columns of its plate maps.
"""

from __future__ import annotations

import functools
import json
import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import xarray as xr
from zarr.storage import ZipStore

FORMATS = (Path(__file__).parents[2] / "docs/formats.md").read_text(encoding="utf-8")
SECTIONS = {part.split("\n", 1)[0].strip("# "): part for part in re.split(r"\n(?=#{2,3} )", FORMATS)}
OURS_ELSEWHERE = {"ome"}
"""What another specification describes."""


def section(*beginnings: str) -> str:
    """Return the text of the sections whose headings begin so, and of those on keys and provenance."""
    found = [text for heading, text in SECTIONS.items() if heading.startswith(beginnings)]
    assert len(found) >= len(beginnings), f"docs/formats.md has no section {beginnings}"
    return "\n".join([*found, SECTIONS["Keys"], SECTIONS["Provenance"]])


@functools.cache
def spans(text: str) -> list[str]:
    """Return what stands in a text as code: spans, and the first words of a fenced tree's lines."""
    code = re.findall(r"(?<!`)`([^`\n]+)`(?!`)", re.sub(r"```.*?```", "", text, flags=re.DOTALL))
    trees = re.findall(r"```\n(.*?)```", text, re.DOTALL)
    return [*code, *(line.split()[0] for tree in trees for line in tree.splitlines() if line.strip())]


@functools.cache
def is_named(name: str, text: str) -> bool:
    """Tell whether a text names `name` as code, braces standing for any word within it."""
    patterns = (re.sub(r"\\\{[^}]*\\\}", "[^/]+", re.escape(span)) for span in spans(text) if not re.fullmatch(r"\{\w+\}", span))
    return any(re.fullmatch(pattern, name) for pattern in patterns)


def headed(path: str) -> bool:
    """Tell whether a heading is the pattern of this very file: ``ingest/{plate}/fields.parquet: a row a field``."""
    heads = [word.strip(",:") for heading in SECTIONS for word in heading.split() if "." in word]
    return is_named(path, " ".join(f"`{head}`" for head in heads))


def text_about(path: str) -> tuple[str, str]:
    """Return the text that must name a file, and the name that it must have there."""
    parts = path.split("/")
    name = parts[-1]
    if name == ".lock":
        return section("logs/"), name
    if name.startswith("."):
        return section("Hidden files"), name
    if parts[0] == "maps":
        inside = "/".join(parts[3:])
        inside = re.sub(r"^[A-Z]+(?=/)", "A", inside)
        inside = re.sub(r"^A/[^/]+(?=/)", "A/1", inside)
        return section("maps/"), re.sub(r"^A/1/[^/.]+(?=/)", "A/1/0", inside)
    if parts[0] == "report":
        return section("report/"), "/".join(parts[1:])
    if parts[0] == "aggregate":
        return section("aggregate/"), name
    return section(f"{parts[0]}/"), "/".join(parts[2:])


def is_file_named(path: str) -> bool:
    """Tell whether docs/formats.md names a file; below logs/, benchmarks/ and workflow/ it names the folders."""
    if headed(path) or path.startswith(("logs/", "benchmarks/", "workflow/")):
        return True
    text, name = text_about(path)
    return is_named(name, text) or (path.startswith("maps/") and _in_tree(name, text))


def _in_tree(name: str, text: str) -> bool:
    """Tell whether a file of a plate of maps lies in the tree: arrays are folders there, with ``zarr.json`` and one shard."""
    folder = re.sub(r"(/zarr\.json|/c(/\d+)*)$", "", name)
    tree = {one for span in spans(text) for one in _taken_apart(span.rstrip("/"))}
    return name in tree or (folder in tree and name != folder)


def _taken_apart(span: str) -> Iterator[str]:
    braces = re.search(r"\{([^}]*,[^}]*)\}", span)
    if braces is None:
        yield span
        return
    for one in braces[1].split(","):
        yield from _taken_apart(span[: braces.start()] + one + span[braces.end() :])


def column_faults(path: str, columns: Iterable[str], own: set[str]) -> list[str]:
    """Return the columns of a table that docs/formats.md does not name; `own` are columns of the plate maps."""
    parts = path.split("/")
    if parts[0] == "report":
        text = next(row for row in section("report/tables").splitlines() if row.startswith(f"| `{Path(path).stem}` |"))
        text += section("report/tables").split("| table |")[0] + SECTIONS["Keys"]
        columns = [re.sub(r"_(low|high)$", "", column) for column in columns]
    else:
        text = section(f"{parts[0]}/")
    own = own | {f"Metadata_{column}" for column in own}
    return [f"{path}: column {one}" for one in columns if not is_named(one, text) and one not in own]


def json_faults(path: str, found: Any, text: str) -> list[str]:
    """Return the keys of an object that docs/formats.md does not name."""
    return [f"{path}: key {key}" for key in found if key not in OURS_ELSEWHERE and not is_named(key, text)]


def dataset_faults(path: str, file: Path) -> list[str]:
    """Return the variables and attributes of a zipped zarr that docs/formats.md does not name."""
    with ZipStore(file, mode="r") as store, xr.open_zarr(store, consolidated=False) as found:
        names = [str(name) for name in (*found.variables, *found.attrs)]
    return [f"{path}: {name}" for name in names if not is_named(name, section("aggregate/"))]


def group_faults(path: str, attributes: dict[str, Any]) -> list[str]:
    """Return the attributes of a group or array of maps that docs/formats.md does not name."""
    text, ours = section("maps/"), attributes.get("pcim", {})
    return json_faults(path, attributes, text) + [
        f"{path}: pcim.{key}" for key in ours if not is_named(key, text) and not is_named(f"pcim.{key}", text)
    ]


def object_faults(path: str, found: dict[str, Any]) -> list[str]:
    """Return the keys of a JSON file, and of what it holds of each classifier, that docs/formats.md does not name."""
    text = section({"plan": "plan/", "campaign.json": "campaign.json"}.get(path.split("/", maxsplit=1)[0], "report/"))
    inner = [fault for one in found.get("classifiers", {}).values() for fault in json_faults(path, one, text)]
    return json_faults(path, found, text) + inner


def content_faults(path: str, file: Path, own: set[str]) -> list[str]:
    """Return what a file holds and docs/formats.md does not name."""
    if path.endswith(".parquet"):
        schema = pq.read_schema(file)
        made = json.loads((schema.metadata or {}).get(b"pcim", b"{}"))
        return column_faults(path, schema.names, own) + json_faults("records", made, SECTIONS["Provenance"])
    if path.endswith(".zarr.zip"):
        return dataset_faults(path, file)
    if path.endswith("zarr.json"):
        attributes = json.loads(file.read_text(encoding="utf-8")).get("attributes", {})
        return group_faults(f"maps/…/{text_about(path)[1]}", attributes)
    if path.endswith(".json") and not Path(path).name.startswith((".", "ro-crate")):
        return object_faults(path, json.loads(file.read_text(encoding="utf-8")))
    return []


def faults_of(results: Path, own: set[str]) -> list[str]:
    """Return every file, column, key and attribute of finished results that docs/formats.md does not name."""
    files = sorted(path for path in results.rglob("*") if path.is_file())
    assert len(files) > 100, "no finished campaign"
    paths = [file.relative_to(results).as_posix() for file in files]
    unnamed = [path for path in paths if not is_file_named(path)]
    inside = {
        fault for path, file in zip(paths, files, strict=True) for fault in content_faults(path, file, own)
    }  # fields of maps are many, and alike
    return [*unnamed, *sorted(inside)]


if __name__ == "__main__":
    sys.stdout.write("".join(f"{fault}\n" for fault in faults_of(Path(sys.argv[1]), set(sys.argv[2:]))))
