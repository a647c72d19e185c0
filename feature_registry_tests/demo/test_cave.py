from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from caveclient import CAVEclient

from feature_registry.demo.cave import FrozenVersion, StandIn, serving
from feature_registry_tests.cave.stand_in import EXPIRED, FROZEN, PUBLIC, TOKEN, stand_in


@pytest.fixture(scope="module")
def served() -> Iterator[tuple[StandIn, str]]:
    cave = stand_in()
    with serving(cave) as address:
        yield cave, address


@pytest.fixture
def client(served: tuple[StandIn, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("HOME", str(tmp_path))  # it writes down which server a datastack has
    return CAVEclient(PUBLIC, server_address=served[1], auth_token=TOKEN)


def test_caveclient_talks_to_it(client: Any) -> None:
    info, materialize = client.info.get_datastack_info(), client.materialize
    assert info["aligned_volume"]["name"] == "minnie65"
    assert client.local_server == client.server_address
    assert client.info.segmentation_source().endswith("/minnie3_v1")
    assert client.auth.get_user_information([121, 7]) == [{"id": 121, "name": "Ada"}]
    assert materialize.api_version == 3
    assert sorted(materialize.get_versions()) == [943, 1507]
    assert EXPIRED in materialize.get_versions(expired=True)
    assert materialize.get_version_metadata(1507)["time_stamp"] == FROZEN
    assert {each["version"] for each in materialize.get_versions_metadata()} == {943, 1507}
    assert materialize.get_tables(version=1507) == ["nucleus_detection", "cell_types"]
    assert materialize.get_annotation_count("nucleus_detection", version=1507) == 144_120
    nuclei = materialize.get_table_metadata("nucleus_detection", version=1507)
    assert nuclei["voxel_resolution"] == [4, 4, 40]
    assert nuclei["pcg_table_name"] == "minnie3_v1"
    assert "aibs_cell_info" in materialize.get_views(1507)
    assert materialize.get_view_metadata("aibs_cell_info", 1507)["description"] == "What is known of every cell."
    assert materialize.get_view_schema("aibs_cell_info", 1507)["pt_position"] == {"type": "SpatialPoint"}
    assert set(materialize.get_view_schemas(1507)) == set(materialize.get_views(1507))


def test_what_it_says_changes_while_it_runs(served: tuple[StandIn, str], client: Any) -> None:
    versions = served[0].datastacks[PUBLIC].versions
    versions[1600] = FrozenVersion(FROZEN)
    assert 1600 in client.materialize.get_versions()
    versions[1600].valid = False
    assert 1600 not in client.materialize.get_versions()
    del versions[1600]
    assert 1600 not in client.materialize.get_versions(expired=True)


def test_a_wrong_token_is_refused(served: tuple[StandIn, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(requests.HTTPError, match="401"):
        CAVEclient(PUBLIC, server_address=served[1], auth_token="wrong")
