from __future__ import annotations

import json
from typing import Any

import pyarrow as pa
import pytest

from feature_registry.errors import Invalid
from feature_registry.exports.catalog_json import FORMAT, export, parse
from feature_registry.model import CheckResult, Contents, Entry
from feature_registry_tests.catalog.planted import SCHEMA, inspection
from feature_registry_tests.contracts.exports import contents, entry

OTHER = SCHEMA.append(pa.field("other", pa.uint64()))


def seen(made: Entry, **changes: Any) -> Entry:
    return made.model_copy(update={"version": made.version.model_copy(update=changes)})


HELD = contents(
    entry("synapses", 7),
    seen(entry("spines", 8), checks=(CheckResult(name="ids", outcome="passed", details={"largest": 2**63 - 1}),)),
    seen(entry("synapses", 8), inspection=inspection("s3://bucket/ü", OTHER)),
    seen(entry("synapses", 7), revision=1, status="deprecated"),
)


def test_what_is_written_is_read_back_in_the_order_of_registration() -> None:
    assert parse(export(HELD)) == HELD
    assert parse(export(Contents())) == Contents()


def test_it_is_json_with_each_schema_once() -> None:
    read = json.loads(export(HELD))
    assert read["format"] == FORMAT
    assert [table["table"]["name"] for table in read["tables"]] == ["spines", "synapses"]
    assert [line["number"] for line in read["tables"][1]["versions"]] == [0, 2, 3]
    assert len(read["schemas"]) == 2


@pytest.mark.parametrize("text", ["", "{}", '{"tables": []}', "no JSON", "PAR1"])
def test_a_foreign_file_is_refused(text: str) -> None:
    with pytest.raises(Invalid, match="no export"):
        parse(text)


def test_a_truncated_or_altered_file_is_refused() -> None:
    text = export(HELD)
    for length in range(0, len(text) - 2, 97):
        with pytest.raises(Invalid):
            parse(text[:length])
    with pytest.raises(Invalid, match="altered"):
        parse(text.replace("CC-BY-4.0", "CC-BY-3.0"))
    with pytest.raises(Invalid):
        parse(text.replace("catalog 1", "catalog 2"))
