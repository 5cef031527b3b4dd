"""Parquet tables that are whole or not there. Many files are read as one table, rows are given one by one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from pcim.runtime.atomic_file import whole_file
from pcim.runtime.provenance import as_metadata

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    import pandas as pd


def write_table(table: pd.DataFrame, path: str | Path, made: Mapping[str, Any] | None = None) -> None:
    """Write a Parquet table, whole or not at all, with what `made` it (`provenance.record`) in its schema's metadata."""
    import pyarrow as pa
    from pyarrow import parquet

    content = pa.Table.from_pandas(table, preserve_index=False)
    told = {**(content.schema.metadata or {}), **(as_metadata(made) if made else {})}
    with whole_file(path) as partial:
        parquet.write_table(content.replace_schema_metadata(told), partial)


def read_tables(paths: Sequence[str], *, job: bool = False, columns: Sequence[str] = ()) -> pd.DataFrame:
    """Read tables of one kind into one; those without rows have no types to add and are left out, unless all are empty.

    With `job`, a column of that name says which file a row comes from. Of no paths the table is empty, with `columns`.
    """
    import pandas as pd

    tables = [pd.read_parquet(path) for path in paths]
    if job:
        tables = [table.assign(job=str(path)) for table, path in zip(tables, paths, strict=True)]
    if not tables:
        return pd.DataFrame(columns=list(columns))
    return pd.concat([table for table in tables if len(table)] or tables[:1], ignore_index=True)


def rows_of(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Return a table's rows, each as column -> value."""
    return cast("list[dict[str, Any]]", table.to_dict("records"))
