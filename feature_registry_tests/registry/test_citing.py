"""Citations of a selection: over the registry, HTTP and the command line, the same."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from bibtexparser.entrypoint import parse_string
from typer.testing import CliRunner

from feature_registry.cli import app
from feature_registry.client import FeatureRegistry
from feature_registry.errors import Invalid, NotFound
from feature_registry_tests.catalog.planted import describe, plant
from feature_registry_tests.deployment import Deployment, deployed

ARTICLE = "@article{sven2024, title = {Wiring}, year = 2024, doi = {10.1038/s41586-024-07558-y}}"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    with deployed(tmp_path_factory.mktemp("citing")) as made:
        database = made.registry.database
        describe(database, "d/synapses", citation=ARTICLE, license="CC-BY-4.0")
        describe(database, "d/distances", citation="doi:10.1038/S41586-024-07558-Y")
        describe(database, "d/spines", license="CC0-1.0", owner={"team": "spine-team"})
        plant(database, "d/synapses@7")
        plant(database, "d/distances@7", derived_from=("d/synapses@7.0", "d/gone@7.0"))
        plant(database, "d/spines@7", derived_from=("d/distances@7.0",))
        plant(database, "d/secret@7", status="draft", by="somebody")
        yield made


@pytest.fixture(params=["http", "embedded"])
def registry(request: pytest.FixtureRequest, made: Deployment) -> FeatureRegistry:
    server = made.settings.api_address if request.param == "http" else made.registry
    return FeatureRegistry("d", 7, server=server)


@pytest.mark.row("M13")
def test_a_selection_is_one_list_with_no_table_missing(registry: FeatureRegistry) -> None:
    found = parse_string(registry.cite("synapses", "distances", "spines", "d/synapses@7")).entries
    assert [each.key for each in found] == ["sven2024", "d_spines"]
    assert "d/synapses@7" in found[0]["note"]
    assert "d/distances@7" in found[0]["note"]
    assert found[0]["note"].count("d/synapses@7") == 1
    told = json.loads(registry.cite("spines", "synapses", style="csl_json", lineage=False))
    assert [each["id"] for each in told] == ["d_spines", "sven2024"]


@pytest.mark.row("M13")
def test_what_a_table_was_computed_from_is_cited_unless_said(registry: FeatureRegistry) -> None:
    assert [each.key for each in parse_string(registry.cite("spines")).entries] == ["d_spines", "sven2024"]
    assert [each.key for each in parse_string(registry.cite("spines", lineage=False)).entries] == ["d_spines"]


def test_what_cannot_be_cited_is_said(registry: FeatureRegistry) -> None:
    with pytest.raises(NotFound):
        registry.cite("spines", "nothing")
    with pytest.raises(NotFound):
        registry.cite("secret")
    with pytest.raises(Invalid) as refused:
        registry.cite("spines", style="apa")
    assert refused.value.field is not None
    assert "style" in refused.value.field
    with pytest.raises(Invalid):
        registry.cite()


@pytest.mark.row("M13")
def test_the_command_writes_it(made: Deployment) -> None:
    server = ("--server", made.settings.api_address)
    answer = CliRunner().invoke(app, [*server, "cite", "d/spines@7", "d/synapses@7"])
    assert answer.exit_code == 0, answer.output
    assert answer.stdout == made.registry.cite(["d/spines@7", "d/synapses@7"])
    alone = CliRunner().invoke(app, [*server, "cite", "d/spines@7", "--no-lineage", "--style", "csl_json"])
    assert [each["id"] for each in json.loads(alone.stdout)] == ["d_spines"]
