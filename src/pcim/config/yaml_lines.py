"""Read YAML with the line of each key. Duplicate keys and aliases are refused.

PyYAML keeps the last of two equal keys and follows any alias in silence: here both are faults.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

import yaml

from pcim.core.safe_read import read_text

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

Keys: TypeAlias = tuple[str, ...]

MAX_BYTES = 1_000_000
MAX_NODES = 100_000
"""A file may hold so many keys and values once its aliases are followed."""


MAX_DEPTH = 32
"""Lists and mappings may lie so deep in one another: a config's lie six deep."""


class _Loader(yaml.SafeLoader):
    """Yields plain values alone; of what nests too deeply it stops at once, where PyYAML's time grows with the square of the depth."""

    def fetch_flow_collection_start(self, TokenClass: type[yaml.Token]) -> None:  # noqa: N803 - its own name
        self._refuse_depth(self.flow_level)
        super().fetch_flow_collection_start(TokenClass)

    def add_indent(self, column: int) -> bool:
        self._refuse_depth(len(self.indents))
        return bool(super().add_indent(column))

    def _refuse_depth(self, depth: int) -> None:
        if depth >= MAX_DEPTH:
            raise yaml.MarkedYAMLError(problem="nested too deeply", problem_mark=self.get_mark())


@dataclass(frozen=True)
class YamlSource:
    """Values, and where each of their keys stands: keys from the top -> ``file:line``. `source`: what gives the others."""

    values: Any
    places: Mapping[Keys, str] = field(default_factory=dict)
    source: str = "config"

    def at(self, *keys: object) -> str:
        """Return ``file:line: dotted.key``; a key that is not there is placed where the group is that lacks it."""
        path = tuple(map(str, keys))
        known = (self.places.get(path[:depth]) for depth in range(len(path), 0, -1))
        return f"{next(filter(None, known), self.source)}: {'.'.join(path) or 'the file'}"

    def over(self, values: Any, elsewhere: str = "--config") -> YamlSource:
        """Return the values that a run was given, with these places; what no file says came from `elsewhere`."""
        told = dict(_walk(self.values))
        other = {
            path: elsewhere
            for path, value in _walk(values)
            if path not in told or (told[path] != value and not isinstance(value, dict | list))
        }
        return YamlSource(values, {**self.places, **other}, self.source)


def _walk(values: Any, path: Keys = ()) -> Iterator[tuple[Keys, Any]]:
    """Yield (keys from the top, value) of everything in plain mappings and lists."""
    children = values.items() if isinstance(values, dict) else enumerate(values) if isinstance(values, list) else ()
    for key, value in children:
        yield (*path, str(key)), value
        yield from _walk(value, (*path, str(key)))


def read_yaml(file: Path, faults: list[str]) -> YamlSource | None:
    """Read a YAML file; None and a fault where it cannot be read, a fault for every key that stands twice."""
    try:
        text = read_text(file, MAX_BYTES)
    except FileNotFoundError:
        faults.append(f"{file}: no such file")
    except (OSError, ValueError) as error:
        faults.append(f"{file}: not readable as YAML: {error}")
    else:
        return yaml_of(text, file, faults)
    return None


def yaml_of(text: str, file: object, faults: list[str]) -> YamlSource | None:
    """Return what the text of a file says; None and a fault as `read_yaml`."""
    try:
        loader = _Loader(text)
        root = loader.get_single_node()
        if root is None:
            return YamlSource(None, {}, str(file))
        _count(root, {})
        faults.extend(f"{file}:{fault}" for fault in dict.fromkeys(_twice(root)))
        values = loader.construct_document(root)  # also puts merged keys (<<) where they belong
    except yaml.MarkedYAMLError as error:
        line = f":{error.problem_mark.line + 1}" if error.problem_mark else ""
        told = ", ".join(filter(None, (error.context, error.problem)))
        faults.append(f"{file}{line}: not readable as YAML: {told}")
    except RecursionError:
        faults.append(f"{file}: not readable as YAML: nested too deeply")
    except (ValueError, LookupError, AttributeError, TypeError, yaml.YAMLError) as error:
        # beside its own errors PyYAML raises what a tag makes of a text that it does not fit: !!int of nothing
        faults.append(f"{file}: not readable as YAML: {' '.join(str(error).split())}")
    else:
        return YamlSource(values, {path: f"{file}:{line}" for path, line in _lines(root)}, str(file))
    return None


def read_together(files: Sequence[Path], faults: list[str]) -> YamlSource:
    """Read config files as Snakemake does: a key of a later file replaces that of an earlier one. No values if one cannot be read."""
    values: dict[str, Any] = {}
    places: dict[Keys, str] = {}
    is_read = True
    for file in files:
        told = read_yaml(file, faults)
        is_read = is_read and told is not None
        if told is not None and isinstance(told.values, dict):
            _merge(values, told.values)
            places |= told.places
        elif told is not None:
            found = "nothing" if told.values is None else f"a {type(told.values).__name__}"
            faults.append(f"{file}: expected keys and values, got {found}")
    return YamlSource(values if is_read else None, places, ", ".join(map(str, files)))


def _merge(values: dict[str, Any], told: Mapping[str, Any]) -> None:
    for key, value in told.items():
        if isinstance(value, dict) and isinstance(values.get(key), dict):
            _merge(values[key], value)
        else:
            values[key] = value


def _count(node: yaml.Node, counted: dict[int, int]) -> int:
    """Return how many nodes there are once aliases are followed; refuse too many, and what is in itself."""
    known = counted.get(id(node))
    if known == 0:
        raise ValueError(f"line {node.start_mark.line + 1}: an alias to what it stands in")
    if known is None:
        counted[id(node)] = 0  # until it is left again
        known = 1 + sum(_count(child, counted) for child in _children(node))
        if known > MAX_NODES:
            raise ValueError(f"more than {MAX_NODES:,} keys and values once its aliases are followed")
        counted[id(node)] = known
    return known


def _children(node: yaml.Node) -> list[yaml.Node]:
    if isinstance(node, yaml.MappingNode):
        return [part for pair in node.value for part in pair]
    return list(node.value) if isinstance(node, yaml.SequenceNode) else []


def _twice(node: yaml.Node, path: Keys = ()) -> Iterator[str]:
    """Yield a fault for every key that stands twice in one mapping."""
    if isinstance(node, yaml.MappingNode):
        names = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        for name in (name for name, count in Counter(names).items() if count > 1):
            lines = [key.start_mark.line + 1 for key, _ in node.value if key.value == name]
            others = ", ".join(map(str, lines[:-1]))
            yield f"{lines[-1]}: {'.'.join((*path, name))}: stands twice; it is in line {others} already"
    for name, child in _children_by_name(node):
        yield from _twice(child, (*path, name))


def _children_by_name(node: yaml.Node) -> Iterator[tuple[str, yaml.Node]]:
    """Yield the values of a node by their key, or by their number in a list."""
    if isinstance(node, yaml.MappingNode):
        yield from ((key.value, child) for key, child in node.value if isinstance(key, yaml.ScalarNode))
    elif isinstance(node, yaml.SequenceNode):
        yield from ((str(number), child) for number, child in enumerate(node.value))


def _lines(node: yaml.Node, path: Keys = ()) -> Iterator[tuple[Keys, int]]:
    """Yield (keys from the top, line from 1) of everything; of a key that was merged and then given, the given one last."""
    if isinstance(node, yaml.MappingNode):
        yield from (((*path, key.value), key.start_mark.line + 1) for key, _ in node.value if isinstance(key, yaml.ScalarNode))
    elif isinstance(node, yaml.SequenceNode):
        yield from (((*path, str(number)), child.start_mark.line + 1) for number, child in enumerate(node.value))
    for name, child in _children_by_name(node):
        yield from _lines(child, (*path, name))
