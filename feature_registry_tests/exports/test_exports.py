from __future__ import annotations

import json

import pytest

from feature_registry import exports
from feature_registry.errors import NotFound
from feature_registry_tests.contracts.exports import ExportContract, entry


@pytest.mark.parametrize("name", exports.names())
class TestExports(ExportContract):
    @pytest.fixture
    def export(self, name: str) -> exports.Export:
        return exports.get(name)


def test_an_unknown_export_is_answered_with_what_exists() -> None:
    with pytest.raises(NotFound) as raised:
        exports.get("nothing")
    assert raised.value.expected == exports.names()


def test_the_catalog_as_json_has_the_reference_of_each_table() -> None:
    tables = json.loads(exports.get("catalog_json")([entry("synapses", 7)]))["tables"]
    assert [table["ref"] for table in tables] == ["d/synapses@7.0"]
    assert "arrow_schema" not in json.dumps(tables)
