"""What a producer declares of a feature table, validated where it is written down."""

from __future__ import annotations

import ast
import hashlib
import inspect
import re
import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from pydantic import ValidationError

from feature_registry import formats
from feature_registry.errors import Invalid
from feature_registry.formats import WriteOptions
from feature_registry.model import FeatureTable, Metadata, TableVersion
from feature_registry.policy import missing_to_publish

if TYPE_CHECKING:
    from dagster import AssetKey

DEFAULT = WriteOptions()
CHECKS = ("schema", "key", "references")


@dataclass(frozen=True, slots=True)
class Declaration:
    """A feature table as its producer declared it."""

    table: FeatureTable
    said: frozenset[str]
    versioned: bool = True
    format: str = "delta"
    partition_by: tuple[str, ...] = ()
    sort_by: tuple[str, ...] = ()
    rows_per_file: int = DEFAULT.rows_per_file
    blocking: frozenset[str] = frozenset({"schema", "key"})
    code_version: str | None = None
    publish: bool = True

    @property
    def datastack(self) -> str:
        return self.table.datastack

    @property
    def name(self) -> str:
        return self.table.name

    @property
    def asset_key(self) -> AssetKey:
        from dagster import AssetKey

        return AssetKey([self.datastack, self.name])

    @property
    def metadata(self) -> dict[str, Any]:
        """The metadata that was said, and only that."""
        return {name: getattr(self.table, name) for name in Metadata.model_fields if name in self.said}


@dataclass(slots=True)
class Product:
    """What a feature function returned, on its way to the I/O manager, which notes the table version it became."""

    declaration: Declaration
    value: Any
    derived_from: tuple[str, ...] = ()
    publish: bool = False  # at once, for want of checks that decide it
    version: TableVersion | None = None


def declare(
    datastack: str,
    name: str,
    *,
    versioned: bool = True,
    format: str = "delta",
    partition_by: Sequence[str] = (),
    sort_by: Sequence[str] = (),
    rows_per_file: int = DEFAULT.rows_per_file,
    blocking: Sequence[str] = ("schema", "key"),
    code_version: str | None = None,
    publish: bool = True,
    **metadata: Any,
) -> Declaration:
    """Raises `Invalid` that names the field at fault and what would be right.

    datastack: the datastack's name
    name: the table's name
    versioned: whether it has a table version a materialization version; False: one that belongs to none
    format: what it is written as
    partition_by: columns whose values part the files
    sort_by: columns that sort the rows, so that a reader of few rows reads few files
    rows_per_file: at most
    blocking: checks that keep a table version a draft if they fail: schema, key, references, references_COLUMN
    code_version: None: a hash of the function
    publish: whether it is published when no blocking check failed
    """
    unknown = sorted(metadata.keys() - Metadata.model_fields.keys())
    if unknown:
        raise Invalid(
            f"is no field of the feature table {name!r}",
            field=unknown[0],
            value=metadata[unknown[0]],
            expected=sorted(Metadata.model_fields),
        )
    try:
        table = FeatureTable(datastack=datastack, name=name, **metadata)
    except ValidationError as wrong:
        raise _invalid(name, wrong) from None
    for column in table.columns:
        _check_type(column, table.columns[column].type)
    if format not in formats.names():
        raise Invalid("is no format", field="format", value=format, expected=formats.names())
    for field, given in (("partition_by", partition_by), ("sort_by", sort_by), ("blocking", blocking)):
        if isinstance(given, str):
            raise Invalid("is a single text", field=field, value=given, expected=f"a list, such as [{given!r}]")
    if rows_per_file < 1:
        raise Invalid("is no number of rows", field="rows_per_file", value=rows_per_file, expected="1 or more")
    _check_blocking(blocking, table)
    if publish and missing_to_publish(table):
        raise Invalid(
            f"is missing in the declaration of {name!r}, and publishing needs it",
            field=missing_to_publish(table)[0],
            expected="a value, or publish=False",
        )
    return Declaration(
        table=table,
        said=frozenset(metadata),
        versioned=versioned,
        format=format,
        partition_by=tuple(partition_by),
        sort_by=tuple(sort_by),
        rows_per_file=rows_per_file,
        blocking=frozenset(blocking),
        code_version=code_version,
        publish=publish,
    )


def reference_check(column: str) -> str:
    """The name of the check of a reference; Dagster allows letters, digits and `_` only."""
    return "references_" + re.sub(r"\W", "_", column, flags=re.ASCII)


def code_hash(function: Callable[..., Any]) -> str | None:
    """A hash of what the function does: comments, docstring and decorators do not change it. None without source."""
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    except (OSError, TypeError, SyntaxError):
        return None
    definition = tree.body[0]
    if not isinstance(definition, ast.FunctionDef):
        return None
    definition.decorator_list = []
    if ast.get_docstring(definition) is not None:
        definition.body = definition.body[1:] or [ast.Pass()]
    return hashlib.sha256(ast.unparse(definition).encode()).hexdigest()[:16]


def _check_type(column: str, name: str | None) -> None:
    """Arrow has no parser of its nested and parametrised types, so only a plain word can be judged."""
    if name is None or not re.fullmatch(r"\w+", name):
        return
    try:
        pa.type_for_alias(name)
    except ValueError:
        raise Invalid(
            "is no Arrow type", field=f"columns.{column}.type", value=name, expected="such as int64, float32, string"
        ) from None


def _check_blocking(blocking: Sequence[str], table: FeatureTable) -> None:
    allowed = [*CHECKS, *map(reference_check, table.references)]
    for check in blocking:
        if check not in allowed:
            raise Invalid("is no check", field="blocking", value=check, expected=allowed)


def _invalid(name: str, wrong: ValidationError) -> Invalid:
    first = wrong.errors(include_url=False)[0]
    field = ".".join(str(part) for part in first["loc"]) or "declaration"
    message = f"in the declaration of {name!r}: {first['msg'].removeprefix('Value error, ')}"
    expected = getattr(FeatureTable.model_fields.get(str(first["loc"][0]) if first["loc"] else ""), "description", None)
    return Invalid(message, field=field, value=first["input"], expected=expected)
