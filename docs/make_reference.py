"""Write the documentation of settings and commands: config.schema.json, the tables in config/README.md, and docs/cli.md.

``python docs/make_reference.py`` writes them from `pcim.config.config` and `pcim.cli.main`, ``--check`` fails when they are stale.
"""

from __future__ import annotations

import json
import re
import sys
from itertools import groupby
from pathlib import Path
from typing import Any

import typer
from pydantic import BaseModel
from pydantic_core import PydanticUndefined
from typer.cli import get_docs_for_click

from pcim.classifiers.contract import Contract, InputContract, Percentiles, TestContract, TrainingRecord
from pcim.cli.main import app
from pcim.config.classifier import ClassifierSettings, Region, Select
from pcim.config.config import Config

_HEAD = """# Configuration

Made from the settings in `src/pcim/config/` by `make schema`; do not edit by hand. Unknown keys are refused, and the message names the
nearest right one. Threads, memory, partitions and GPUs are not here: they live in `profiles/`.

Paths are relative to the folder that Snakemake runs in. `plates.tsv` is tab separated with the columns `plate` (name),
`path` (OME-Zarr plate, 0.4 or 0.5) and `platemap` (CSV with `well_position`, and, where known, `treatment`,
`control_type` (`negcon`, `poscon` or nothing), `dose`, and any columns of your own).
"""

_COMMANDS = """# The command line

Made from the commands themselves by `make schema`; do not edit by hand. `pcim COMMAND --help` says the same. `pcim --version` prints the
version; `pcim --install-completion` lets the shell complete commands, options and campaigns. Faults are told in one message on stderr.
"""


def schema_text() -> str:
    """Return the JSON schema of a campaign's config."""
    return json.dumps(Config.model_json_schema(), indent=1, sort_keys=True) + "\n"


def readme_text() -> str:
    """Return config/README.md: a table of keys for each group of settings."""
    groups: list[tuple[str, str, type[BaseModel]]] = [("The campaign", "", Config)]
    groups += [
        (f"`{name}`", f"{name}.", field.annotation)
        for name, field in Config.model_fields.items()
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel)
    ]
    groups.append(("`attribute.pcim`", "attribute.pcim.", type(Config.model_fields["attribute"].default.pcim)))
    groups.append(("`report.reading`", "report.reading.", type(Config.model_fields["report"].default.reading)))
    groups.append(("`classifiers.NAME`", "classifiers.NAME.", ClassifierSettings))
    groups.append(("`classifiers.NAME.regions.NAME`", "", Region))
    groups.append(("`select`", "", Select))
    groups.append(("`model.yaml`", "", Contract))
    for name, model in (
        ("input", InputContract),
        ("input.percentiles", Percentiles),
        ("test", TestContract),
        ("training", TrainingRecord),
    ):
        groups.append((f"`model.yaml`: `{name}`", f"{name}.", model))
    return "\n".join([_HEAD, *(_table(title, prefix, model) for title, prefix, model in groups)])


def _table(title: str, prefix: str, model: type[BaseModel]) -> str:
    summary = (model.__doc__ or "").strip().splitlines()[0]
    lines = [f"## {title}", "", summary, "", "| key | default | bounds | meaning |", "|---|---|---|---|"]
    properties = model.model_json_schema()["properties"]
    for name, field in model.model_fields.items():
        if field.description is None:
            continue  # a group with a table of its own
        bounds = _bounds(properties[name]) or "-"
        lines.append(f"| `{prefix}{name}` | {_default(field.get_default(call_default_factory=True))} | {bounds} | {field.description} |")
    return "\n".join([*lines, ""])


def _default(value: Any) -> str:
    if value is PydanticUndefined:
        return "required"
    if isinstance(value, BaseModel):
        return "see its table"
    return f"`{json.dumps(value)}`"


def _bounds(schema: dict[str, Any]) -> str:
    """Return what a value may be, in words, from its JSON schema."""
    words = {"minimum": "≥ {}", "maximum": "≤ {}", "exclusiveMinimum": "> {}", "exclusiveMaximum": "< {}"}
    found = [text.format(schema[key]) for key, text in words.items() if key in schema]
    choices = schema.get("enum") or schema.get("items", {}).get("enum")
    if choices:
        found.append(", ".join(f"`{choice}`" for choice in choices))
    for option in schema.get("anyOf", []):
        found += [_bounds(option)] if _bounds(option) else []
    return ", ".join(found)


def commands_text() -> str:
    """Return docs/cli.md: each command with its examples, exit codes, arguments and options, in the order of the work."""
    group = typer.main.get_group(app)
    context = typer.Context(group)
    parts = [_COMMANDS]
    for panel, commands in groupby(group.commands.values(), key=lambda command: vars(command)["rich_help_panel"]):
        parts.append(f"## {panel}\n")
        parts += [get_docs_for_click(obj=each, ctx=context, indent=2, call_prefix="pcim") for each in commands]
    return re.sub(r"(:\n)(    )", r"\1\n\2", "\n".join(parts)).rstrip() + "\n"  # indented code has an empty line before it


def main(arguments: list[str]) -> int:
    """Write the generated files, or with ``--check`` tell which are stale."""
    files = {
        Path("config/config.schema.json"): schema_text(),
        Path("config/README.md"): readme_text(),
        Path("docs/cli.md"): commands_text(),
    }
    if arguments == ["--check"]:
        stale = [str(path) for path, text in files.items() if not path.exists() or path.read_text(encoding="utf-8") != text]
        if stale:
            print(f"stale: {', '.join(stale)}; run `make schema`", file=sys.stderr)
        return int(bool(stale))
    for path, text in files.items():
        path.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
