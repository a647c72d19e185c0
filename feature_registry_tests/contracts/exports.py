"""What every export must do; the tests inherit the class and give the fixture `export`."""

from __future__ import annotations

from datetime import UTC, datetime

from feature_registry.exports import Export
from feature_registry.model import Column, Contents, Datastack, Entry, FeatureTable, Owner, TableRef, TableVersion
from feature_registry_tests.catalog.planted import inspection


def entry(name: str, mat_version: int) -> Entry:
    ref = TableRef(datastack="d", name=name, mat_version=mat_version)
    return Entry(
        table=FeatureTable(
            datastack="d",
            name=name,
            description="Größe & <b>markup</b>",
            owner=Owner(team="team"),
            license="CC-BY-4.0",
            columns={"id": Column("which", unit="nm")},
        ),
        version=TableVersion(
            id=str(ref),
            datastack="d",
            name=name,
            mat_version=mat_version,
            revision=0,
            status="published",
            inspection=inspection(f"s3://bucket/{name}/{mat_version}"),
            created_at=datetime(2024, 1, 1, tzinfo=UTC),
            created_by="ann",
        ),
    )


def contents(*entries: Entry) -> Contents:
    return Contents(datastacks=(Datastack(name="d"),), entries=entries)


class ExportContract:
    def test_it_names_every_table_its_columns_and_its_licence(self, export: Export) -> None:
        text = export(contents(entry("synapses", 7), entry("spines", 8)))
        for said in ("synapses", "spines", "CC-BY-4.0", "size", "team"):
            assert said in text

    def test_equal_contents_give_equal_text(self, export: Export) -> None:
        assert export(contents(entry("synapses", 7), entry("spines", 8))) == export(
            contents(entry("synapses", 7), entry("spines", 8))
        )

    def test_an_empty_catalog_is_exported_too(self, export: Export) -> None:
        assert isinstance(export(Contents()), str)
