"""What a producer declares of a feature table, validated where it is written down."""

from __future__ import annotations

import ast
import hashlib
import inspect
import re
import textwrap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from pydantic import ValidationError

from feature_registry import formats
from feature_registry.defs.writing import same_rows
from feature_registry.errors import Invalid
from feature_registry.formats import WriteOptions
from feature_registry.model import CheckResult, FeatureTable, Layout, Metadata, TableVersion
from feature_registry.policy import missing_to_publish
from feature_registry.settings import current

if TYPE_CHECKING:
    from dagster import AssetKey

    from feature_registry.registry import Registry

DEFAULT = WriteOptions()
SMALL = 64_000_000
CHECKS = ("schema", "key", "references")

Check = Callable[[TableVersion, "Registry", Any], CheckResult]
"""Of a table version, and of what the function returned; None in its place when only checks are asked for."""


@dataclass(frozen=True, slots=True)
class Declaration:
    """A feature table as its producer declared it."""

    table: FeatureTable
    said: frozenset[str]
    versioned: bool = True
    format: str = "delta"
    partition_by: tuple[str, ...] = ()
    layouts: tuple[Layout, ...] = ()
    layouts_from: int = SMALL
    bytes_per_file: int = DEFAULT.bytes_per_file
    rows_per_group: int = DEFAULT.rows_per_group
    blocking: frozenset[str] = frozenset({"schema", "key"})
    checks: Mapping[str, Check] = field(default_factory=dict)
    code_version: str | None = None
    publish: bool = False

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

    def found(self, metadata: dict[str, Any]) -> Declaration:
        """With what was found out about the table while it was made."""
        return replace(self, table=FeatureTable.checked(dict(self.table) | metadata)) if metadata else self

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


@dataclass(frozen=True, slots=True)
class Skipped:
    """What a feature function returns where there is no table to make, and that is no failure."""

    reason: str


def declare(
    datastack: str,
    name: str,
    *,
    versioned: bool = True,
    format: str = "delta",
    partition_by: Sequence[str] = (),
    sort_by: Sequence[str] = (),
    layouts: Sequence[Layout] = (),
    layouts_from: int = SMALL,
    bytes_per_file: int = DEFAULT.bytes_per_file,
    rows_per_group: int = DEFAULT.rows_per_group,
    blocking: Sequence[str] = ("schema", "key"),
    checks: Mapping[str, Check] | None = None,
    code_version: str | None = None,
    publish: bool = False,
    **metadata: Any,
) -> Declaration:
    """Raises `Invalid` that names the field at fault and what would be right.

    datastack: the datastack's name
    name: the table's name
    versioned: whether it has a table version a materialization version; False: one that belongs to none
    format: what it is written as
    partition_by: columns whose values part the files
    sort_by: columns that sort the rows, so that a reader of few rows reads few files
    layouts: arrangements of the rows instead of `sort_by`
    layouts_from: bytes of the first layout from which the others are written, too; below, reading all costs little
    bytes_per_file: about; a file ends with the row group that fills it
    rows_per_group: of a Parquet file's row groups, which is what a reader skips or reads
    blocking: checks that keep a table version a draft if they fail: schema, key, references, references_COLUMN
    checks: further ones, which block: name -> function of table version, registry and what the function returned
    code_version: None: a hash of the function
    publish: whether it is published by itself when no blocking check failed; otherwise it is a draft until somebody
        looked at it
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
    for where, given in (("partition_by", partition_by), ("sort_by", sort_by), ("blocking", blocking)):
        if isinstance(given, str):
            raise Invalid("is a single text", field=where, value=given, expected=f"a list, such as [{given!r}]")
    for where, size in (("bytes_per_file", bytes_per_file), ("rows_per_group", rows_per_group)):
        if size < 1:
            raise Invalid("is no size", field=where, value=size, expected="1 or more")
    _check_blocking(blocking, table)
    arranged = _layouts(tuple(layouts), tuple(partition_by), tuple(sort_by))
    checks = ({"layouts": same_rows} if len(arranged) > 1 else {}) | dict(checks or {})
    _check_names(checks, table)
    missing = missing_to_publish(table, current().policies_of(datastack).publishing_needs) if publish else []
    if missing:
        raise Invalid(
            f"missing in the declaration of {name!r}, and publishing needs it: {', '.join(missing)}",
            field=missing[0],
            expected="a value, or publish=False",
        )
    return Declaration(
        table=table,
        said=frozenset(metadata),
        versioned=versioned,
        format=format,
        partition_by=tuple(partition_by),
        layouts=arranged,
        layouts_from=layouts_from,
        bytes_per_file=bytes_per_file,
        rows_per_group=rows_per_group,
        blocking=frozenset(blocking),
        checks=checks,
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


def _check_names(checks: Mapping[str, Check], table: FeatureTable) -> None:
    taken = {"schema", "key", *map(reference_check, table.references)}
    for name in checks:
        if name in taken or not re.fullmatch(r"\w+", name, re.ASCII):
            expected = f"letters, digits and _, and none of {sorted(taken)}"
            raise Invalid("is no name of a further check", field="checks", value=name, expected=expected)


def _layouts(
    layouts: tuple[Layout, ...], partition_by: tuple[str, ...], sort_by: tuple[str, ...]
) -> tuple[Layout, ...]:
    if not layouts:
        name = re.sub(r"\W", "_", f"by_{sort_by[0]}", flags=re.ASCII)[:128] if sort_by else ""
        return (Layout(name=name, sort_by=sort_by),) if sort_by else ()
    for where, given in (("partition_by", partition_by), ("sort_by", sort_by)):
        if given:
            raise Invalid("is said beside layouts", field=where, value=given, expected="nothing, or no layouts")
    return checked_layouts(layouts)


def checked_layouts(layouts: Sequence[Layout]) -> tuple[Layout, ...]:
    """Raises `Invalid` for layouts that cannot be written, whatever the columns."""
    names = [layout.name for layout in layouts]
    if len(set(map(str.lower, names))) < len(names):
        raise Invalid("name two of them alike", field="layouts", value=names, expected="a name each")
    for layout in layouts:
        if layout.curve and len(layout.sort_by) not in (2, 3):
            expected = "the columns of two or three axes"
            raise Invalid(
                "are no axes", field=f"layouts.{layout.name}.sort_by", value=layout.sort_by, expected=expected
            )
        for bucket in layout.hash_buckets:
            if bucket.transform == "opaque":
                expected = "bucket or modulo"
                raise Invalid("cannot be computed", field="transform", value=bucket.transform, expected=expected)
    return tuple(layouts)


def _invalid(name: str, wrong: ValidationError) -> Invalid:
    first = wrong.errors(include_url=False)[0]
    field = ".".join(str(part) for part in first["loc"]) or "declaration"
    message = f"in the declaration of {name!r}: {first['msg'].removeprefix('Value error, ')}"
    expected = getattr(FeatureTable.model_fields.get(str(first["loc"][0]) if first["loc"] else ""), "description", None)
    return Invalid(message, field=field, value=first["input"], expected=expected)
