from __future__ import annotations

import pytest

from feature_registry import exports
from feature_registry.errors import NotFound
from feature_registry_tests.contracts.exports import ExportContract


@pytest.mark.parametrize("name", exports.names())
class TestExports(ExportContract):
    @pytest.fixture
    def export(self, name: str) -> exports.Export:
        return exports.get(name)


def test_an_unknown_export_is_answered_with_what_exists() -> None:
    with pytest.raises(NotFound) as raised:
        exports.get("nothing")
    assert raised.value.expected == exports.names()
