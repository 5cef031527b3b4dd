"""What each rule will ask of a cluster, read from the rules and a Snakemake profile. Files are parsed and never run."""

from __future__ import annotations

import ast
import operator
import re
import shlex
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from pcim.config.yaml_lines import MAX_BYTES
from pcim.core.safe_read import read_text

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_OPERATIONS: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.FloorDiv: operator.floordiv,
}
_FUNCTIONS: dict[str, Callable[..., Any]] = {"max": max, "min": min}
_LONGEST = 200


@dataclass(frozen=True)
class Request:
    """What the jobs of a rule ask for, at their first attempt; empty or None: nothing, or not known.

    `runtime` is in minutes, `mem_mb` in MB; `gpus` is a number, `gres` SLURM's own words. `unknown` names what is an expression that
    only Snakemake can work out.
    """

    rule: str
    partition: str = ""
    account: str = ""
    qos: str = ""
    constraint: str = ""
    gres: str = ""
    extra: tuple[str, ...] = ()
    runtime: float | None = None
    mem_mb: float | None = None
    gpus: int = 0
    gpu_model: str = ""
    unknown: tuple[str, ...] = ()

    @property
    def wants_gpu(self) -> bool:
        """Whether its jobs compute on a GPU."""
        return self.gpus > 0 or "gpu" in self.gres


@dataclass(frozen=True)
class Profile:
    """A Snakemake profile: its file, its executor, and rule -> request."""

    file: Path
    executor: str
    requests: dict[str, Request] = field(default_factory=dict)


def evaluate(value: Any, attempt: int = 1) -> float | None:
    """Return what a resource comes to at an attempt: a number, or sums, products, `max` and `min` of numbers and ``attempt``.

    None for all else: it is not worked out here.
    """
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return None
    if not isinstance(value, str):
        return float(value)
    try:
        return _number(ast.parse(value[:_LONGEST].strip(), mode="eval").body, attempt)
    except (SyntaxError, ValueError, TypeError, ArithmeticError, RecursionError):
        return None


def _number(node: ast.expr, attempt: int) -> float:
    if isinstance(node, ast.Constant) and isinstance(node.value, (int, float)) and not isinstance(node.value, bool):
        return float(node.value)
    if isinstance(node, ast.Name) and node.id == "attempt":
        return float(attempt)
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        return -_number(node.operand, attempt)
    if isinstance(node, ast.BinOp) and type(node.op) in _OPERATIONS:
        return float(_OPERATIONS[type(node.op)](_number(node.left, attempt), _number(node.right, attempt)))
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in _FUNCTIONS and not node.keywords:
        return float(_FUNCTIONS[node.func.id](*(_number(part, attempt) for part in node.args)))
    raise ValueError(ast.dump(node))


def rules_of(folder: Path) -> dict[str, dict[str, Any]]:
    """Return the resources that the rules of a workflow ask for by themselves: rule -> name -> value."""
    found: dict[str, dict[str, Any]] = {}
    for file in sorted(folder.glob("*.smk")):
        for text in re.split(r"^rule ", file.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]:
            name, _, body = text.partition(":")
            resources = re.search(r"^ {4}resources:\n((?: {8}.*\n)+)", body, flags=re.MULTILINE)
            pairs = re.findall(r"^\s+(\w+)=(\d+),?$", resources[1] if resources else "", flags=re.MULTILINE)
            found[name] = {key: int(value) for key, value in pairs}
    return found


def read_profile(name: str, rules: Mapping[str, Mapping[str, Any]]) -> Profile:
    """Read a profile, found as Snakemake finds it: a path, a folder here, or one of the user's or the site's.

    Raises
    ------
    ValueError
        When there is none, or it is no profile that can be read without running it.
    """
    from snakemake.cli import get_profile_dir

    found = get_profile_dir(name)
    if found is None:
        raise ValueError(f"profile {name!r}: not found; a path, or a folder here or in ~/.config/snakemake, with profile.yaml in it")
    file = Path(found[1])
    try:
        told = yaml.safe_load(read_text(file, MAX_BYTES))
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise ValueError(f"{file}: {error}") from error
    if not isinstance(told, dict):
        raise ValueError(f"{file}: expected keys and values, got {type(told).__name__}")  # noqa: TRY004 - told as a fault
    if told.get("__use_yte__"):
        raise ValueError(f"{file}: a template (__use_yte__), of which this cannot tell what it comes to")
    defaults, given = _pairs(told.get("default-resources")), _by_rule(told.get("set-resources"))
    wanted = {**dict.fromkeys(rules), **dict.fromkeys(given)}
    requests = {rule: _request(rule, {**defaults, **rules.get(rule, {}), **given.get(rule, {})}) for rule in wanted}
    return Profile(file, str(told.get("executor", "local")), requests)


def _pairs(told: Any) -> dict[str, Any]:
    """Read resources in either form, ``{name: value}`` or ``[name=value]``."""
    if isinstance(told, dict):
        return told
    listed = told if isinstance(told, list) else []
    return dict(str(part).split("=", 1) for part in listed if "=" in str(part))


def _by_rule(told: Any) -> dict[str, dict[str, Any]]:
    """Read resources of rules in either form, ``{rule: {name: value}}`` or ``[rule:name=value]``."""
    if isinstance(told, dict):
        return {str(rule): _pairs(resources) for rule, resources in told.items()}
    found: dict[str, dict[str, Any]] = {}
    for name, value in _pairs(told).items():
        rule, _, resource = name.partition(":")
        found.setdefault(rule, {})[resource] = value
    return found


def _request(rule: str, told: Mapping[str, Any]) -> Request:
    numbers = {name: evaluate(told[name]) for name in ("runtime", "mem_mb", "gpu") if name in told}
    words = {name: _unquote(str(told.get(name) or "")) for name in
             ("slurm_partition", "slurm_account", "qos", "constraint", "gres", "gpu_model", "slurm_extra")}  # fmt: skip
    unknown = [name for name, value in numbers.items() if value is None]
    try:
        extra = tuple(shlex.split(words["slurm_extra"]))
    except ValueError:  # a quote that is never closed
        extra, unknown = (), [*unknown, "slurm_extra"]
    return Request(
        rule,
        partition=words["slurm_partition"],
        account=words["slurm_account"],
        qos=words["qos"],
        constraint=words["constraint"],
        gres=words["gres"],
        extra=extra,
        gpu_model=words["gpu_model"],
        runtime=numbers.get("runtime"),
        mem_mb=numbers.get("mem_mb"),
        gpus=int(numbers.get("gpu") or 0),
        unknown=tuple(unknown),
    )


def _unquote(text: str) -> str:
    """Return what a string says that is quoted once more, so that Snakemake does not take it for an expression."""
    is_quoted = len(text) > 1 and text[0] == text[-1] and text[0] in "'\"" and text[0] not in text[1:-1]
    return text[1:-1] if is_quoted else text
