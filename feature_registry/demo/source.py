"""CAVE of the demo: a stand-in server and PostgreSQL, in or held by whichever process asks first."""

from __future__ import annotations

import atexit
from contextlib import ExitStack
from functools import cache
from pathlib import Path

import psycopg
from pydantic import SecretStr

from feature_registry.cave.server import Cave
from feature_registry.demo.annotations import TABLES
from feature_registry.demo.cave import FollowedDatastack, FrozenTable, FrozenVersion, FrozenView, StandIn, serving
from feature_registry.demo.cortex import DATASTACK, LATEST, RESOLUTION, TIME_STAMPS, VERSIONS
from feature_registry.demo.database import ALIGNED_VOLUME, MERGED, PUBLIC, SEGMENTATION, VIEW, folder, server, write
from feature_registry.settings import Settings

_SYNTHETIC = (
    "Synthetic: made by the demo, measured by nobody. In the shapes of MICrONS, doi:10.1038/s41586-025-08790-w."
)
_BELOW = {"pt_supervoxel_id": "integer", "pt_root_id": "integer"}
_SAID: dict[str, tuple[str, str, str | None]] = {  # schema type, description, what it refers to
    "synapses": (
        "synapse",
        "Every synapse that was detected, with its points and the cells on both sides.",
        None,
    ),
    "nucleus_detection": (
        "nucleus_detection",
        "Every nucleus that was detected. A cell may have none, or by mistake more than one.",
        None,
    ),
    "cell_types": ("cell_type_reference", "The type of every cell with a nucleus.", "nucleus_detection"),
    "proofreading_status": (
        "compartment_proofread_status_strategy",
        "How far the axon and the dendrite of a cell were proofread. A row holds for the cell that it judged: where "
        "valid_id differs from pt_root_id, the cell was edited since.",
        None,
    ),
    "spines": ("spine_with_info", "Spines that were found under synapses.", "synapses"),
}
_VIEW = FrozenView(
    {"id": "integer", "pt_position": "SpatialPoint", **_BELOW}
    | {"volume": "float", "classification_system": "string", "cell_type": "string"},
    {"description": "Every nucleus with the type of its cell.", "notice_text": _SYNTHETIC},
)
_SHOWN = ("nucleus_detection", "cell_types")  # by the public datastack, which sees all views, as CAVE has it


class CortexCave(Cave):
    """CAVE as the registry asks it, with the demo's servers in place of those of the settings."""

    def __init__(self) -> None:
        into = folder()
        said = {"cave_server": _standing(into), "cave_database": SecretStr(server(into))}
        super().__init__(Settings().model_copy(update=said | {"cave_datastacks": (DATASTACK, PUBLIC)}))


@cache
def _standing(into: Path) -> str:
    """The address of the stand-in server, which lives as long as this process."""
    write(into)
    stack = ExitStack()
    atexit.register(stack.close)
    return stack.enter_context(serving(StandIn(_datastacks(server(into)), users={1: "cave-team"})))


def _datastacks(address: str) -> dict[str, FollowedDatastack]:
    own = {
        number: FrozenVersion(
            TIME_STAMPS[number], merged=number in MERGED, tables=_tables(address, number), views={VIEW: _VIEW}
        )
        for number in VERSIONS
    }
    shown = {name: own[LATEST].tables[name] for name in _SHOWN}
    public = {LATEST: FrozenVersion(TIME_STAMPS[LATEST], parent=DATASTACK, tables=shown)}
    x, y, z = map(float, RESOLUTION)
    return {
        name: FollowedDatastack(ALIGNED_VOLUME, SEGMENTATION, (x, y, z), versions)
        for name, versions in ((DATASTACK, own), (PUBLIC, public))
    }


def _tables(address: str, mat_version: int) -> dict[str, FrozenTable]:
    counts = ", ".join(f"(SELECT count(*) FROM {name} WHERE valid)" for name in TABLES)  # noqa: S608 (names of our own)
    with psycopg.connect(address, dbname=f"{DATASTACK}__mat{mat_version}") as connection:
        [rows] = connection.execute(f"SELECT {counts}")
    return {name: _table(name, count) for name, count in zip(TABLES, rows, strict=True)}


def _table(name: str, rows: int) -> FrozenTable:
    schema_type, description, parent = _SAID[name]
    said = {"description": description, "notice_text": _SYNTHETIC, "reference_table": parent}
    return FrozenTable(schema_type, rows, bound=name != "cell_types", said=said)
