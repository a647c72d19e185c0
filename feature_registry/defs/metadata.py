"""What Dagster shows of a feature table, derived from the nouns: columns, owners, kinds, tags, column lineage."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

import dagster as dg

from feature_registry.defs.declaration import Declaration
from feature_registry.defs.partitions import asset_key
from feature_registry.model import Column, Entry, FeatureTable, Owner
from feature_registry.registry import validation

ID, ENTRY = "feature_registry/id", "feature_registry/entry"
_EMAIL = re.compile(r"[A-Za-z0-9._%+-]+@[A-Za-z0-9.-]+\.[A-Za-z]{2,}")
_TAG = re.compile(r"[A-Za-z0-9_.-]{1,63}")
_KINDS = {"delta": "deltalake"}  # the UI's icons go by these names
_SHOWN = ("license", "usage_constraints", "citation", "invalidation_radius", "mutability", "durability", "key")


def owners(owner: Owner | None) -> list[str]:
    """As Dagster spells them; a person without an e-mail address has no spelling there."""
    if owner is None:
        return []
    team = [f"team:{owner.team}"] if owner.team else []
    person = [owner.person] if owner.person and _EMAIL.fullmatch(owner.person) else []
    return team + person


def owner(spelled: Iterable[str]) -> Owner | None:
    """The owner from Dagster's spelling: the first team and the first person."""
    teams = [each.removeprefix("team:") for each in spelled if each.startswith("team:")]
    persons = [each for each in spelled if not each.startswith("team:")]
    return Owner(team=next(iter(teams), None), person=next(iter(persons), None)) if teams or persons else None


def of_asset(table: FeatureTable, format: str) -> dict[str, Any]:
    """What an asset's definition says beside its metadata; of the tags, those that Dagster can hold."""
    return {
        "description": table.description or None,
        "owners": owners(table.owner),
        "kinds": {_KINDS.get(format, format), "table"},
        "tags": {tag: "" for tag in table.tags if _TAG.fullmatch(tag)},
        "group_name": table.datastack,
    }


def of_declaration(declaration: Declaration) -> dict[str, Any]:
    """Metadata of the asset's definition, before anything is made."""
    table = declaration.table
    declared = {name: column.type or "as stored" for name, column in table.columns.items()}
    schema = {"dagster/column_schema": _schema(table, declared, {})} if declared else {}
    return _said(table, declaration.said) | schema | _lineage(table)


def of_table(entry: Entry) -> dict[str, Any]:
    """Metadata of the definition of a table that was made elsewhere."""
    table = entry.table
    said = {name for name in _SHOWN if getattr(table, name) != FeatureTable.model_fields[name].default}
    return _said(table, said) | _stored_schema(entry) | _lineage(table)


def of_version(entry: Entry, address: str) -> dict[str, Any]:
    """Metadata of a materialization: what the format saw, joined with what was declared."""
    table, version = entry.table, entry.version
    seen = version.inspection
    ref = str(version.ref)
    found: dict[str, Any] = {
        "dagster/uri": str(seen.location),
        "dagster/table_name": f"{version.datastack}.{version.name}",
        "dagster/storage_kind": seen.format,
        "feature_registry/bytes": seen.bytes,
        "feature_registry/files": seen.files,
        "feature_registry/page": dg.MetadataValue.url(f"{address}/v1/tables/{ref}"),
    }
    if seen.rows is not None:
        found["dagster/row_count"] = seen.rows
    if seen.snapshot is not None:
        found["feature_registry/snapshot"] = seen.snapshot
    if version.derived_from:
        found["feature_registry/derived_from"] = list(version.derived_from)
    return found | _stored_schema(entry) | _lineage(table) | of_entry(entry)


def of_entry(entry: Entry) -> dict[str, Any]:
    """Metadata of an observation; with the whole entry, from which the catalog can be rebuilt."""
    return {
        ID: entry.version.id,
        "feature_registry/table_version": str(entry.ref),
        "feature_registry/status": entry.version.status,
        "feature_registry/existence": entry.existence,
        ENTRY: dg.MetadataValue.json(plain(entry)),
    }


def plain(entry: Entry) -> dict[str, Any]:
    """The entry as it is remembered. When it was looked at last is no change of it."""
    return entry.model_dump(mode="json", exclude={"warnings": True, "version": {"checks": {"__all__": {"at"}}}})


def of_spec(spec: dg.AssetSpec) -> dict[str, Any]:
    """What an asset that is no `@feature_table` says of its table."""
    said: dict[str, Any] = {
        "description": spec.description,
        "owner": owner(spec.owners),
        "tags": sorted(tag for tag in spec.tags if not tag.startswith("dagster/")),
        "license": _told(spec, "license"),
    }
    return {name: value for name, value in said.items() if value}


def publishes(spec: dg.AssetSpec) -> bool:
    """Whether an asset that is no `@feature_table` says that it is published by itself."""
    return _told(spec, "publish") is True


def _told(spec: dg.AssetSpec, name: str) -> Any:
    value = spec.metadata.get(f"feature_registry/{name}")
    return getattr(value, "value", value)


def data_version(entry: Entry) -> str:
    return entry.version.inspection.content or entry.version.inspection.fingerprint


def _said(table: FeatureTable, names: Iterable[str]) -> dict[str, Any]:
    shown = [name for name in _SHOWN if name in names]
    return {f"feature_registry/{name}": _plain(getattr(table, name)) for name in shown}


def _stored_schema(entry: Entry) -> dict[str, dg.TableSchema]:
    fields = entry.version.inspection.fields
    types, nullable = {each.name: each.type for each in fields}, {each.name: each.nullable for each in fields}
    return {"dagster/column_schema": _schema(entry.table, types, nullable)}


def _schema(table: FeatureTable, types: Mapping[str, str], nullable: Mapping[str, bool]) -> dg.TableSchema:
    columns = []
    for name, type_name in types.items():
        meaning = table.columns.get(name, Column())
        constraints = dg.TableColumnConstraints(
            nullable=nullable.get(name, True) and name not in table.key,
            unique=table.key == (name,),
            other=[f"part of the key ({', '.join(table.key)})"] if name in table.key and len(table.key) > 1 else None,
        )
        columns.append(
            dg.TableColumn(
                name=name,
                type=validation.arrow_type(type_name),
                description=_described(meaning),
                constraints=constraints,
                tags=_column_tags(name, meaning, table),
            )
        )
    return dg.TableSchema(columns=columns)


def _described(column: Column) -> str | None:
    return f"{column.description} [{_unit(column)}]".strip() if _unit(column) else column.description or None


def _unit(column: Column) -> str:
    """Empty for a pure number, whose unit is spelled `1`."""
    return "" if column.unit in (None, "1") else str(column.unit)


def _column_tags(name: str, column: Column, table: FeatureTable) -> dict[str, str]:
    told = {"kind": column.kind.kind if column.kind.kind != "plain" else "", "unit": _unit(column)}
    if name in table.references:
        told["references"] = table.references[name].replace("/", ".")
    # Dagster's tag values have fewer letters than units have; um^3 stays in the description.
    return {key: value for key, value in told.items() if value and _TAG.fullmatch(value)}


def _lineage(table: FeatureTable) -> dict[str, dg.TableColumnLineage]:
    sources = {name: column.derived_from for name, column in table.columns.items() if column.derived_from}
    if not sources:
        return {}
    split = {name: [source.rpartition(".") for source in given] for name, given in sources.items()}
    deps = {
        name: [dg.TableColumnDep(asset_key(table.datastack, parent), column) for parent, _, column in given]
        for name, given in split.items()
    }
    return {"dagster/column_lineage": dg.TableColumnLineage(deps)}


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value
