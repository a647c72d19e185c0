"""What the stand-in for CAVE says in tests."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from feature_registry.demo.cave import FollowedDatastack, FrozenTable, FrozenVersion, FrozenView, StandIn

TOKEN = "a7c0ffee"
WHOLE, PUBLIC = "minnie65_phase3_v1", "minnie65_public"
EXPIRED, RUNNING = 1400, 1601
FROZEN = datetime(2023, 4, 6, 20, 17, 9, 199182, tzinfo=UTC)


def stand_in() -> StandIn:
    """A whole datastack, and a public one whose versions are views of it."""
    tables = {
        "synapses": FrozenTable("synapse", 337_312_429, said={"user_id": "56", "read_permission": "GROUP"}),
        "nucleus_detection": FrozenTable(
            "nucleus_detection",
            144_120,
            said={"description": "Every nucleus.", "notice_text": "Do not use id 7.", "user_id": "121"},
        ),
        "cell_types": FrozenTable(
            "cell_type_reference", None, bound=False, said={"reference_table": "nucleus_detection", "user_id": ""}
        ),
    }
    views = {
        "aibs_cell_info": FrozenView(
            {"id": "integer", "pt_position": "SpatialPoint", "pt_root_id": "integer", "cell_type": "string"},
            {"description": "What is known of every cell."},
        ),
        "degrees": FrozenView({"root_id": "integer", "n_input": "integer"}),
    }
    whole = {
        943: FrozenVersion(FROZEN - timedelta(days=90), tables=tables, views=views),
        1507: FrozenVersion(FROZEN, FROZEN + timedelta(days=36_500), tables=tables, views=views),
        RUNNING: FrozenVersion(FROZEN + timedelta(days=9), FROZEN + timedelta(days=11), "RUNNING"),
    }
    shown = {name: tables[name] for name in ("nucleus_detection", "cell_types")}
    public = {
        943: FrozenVersion(FROZEN - timedelta(days=90), tables=shown, parent=WHOLE),
        1507: FrozenVersion(FROZEN, None, tables=shown, parent=WHOLE),
        EXPIRED: FrozenVersion(FROZEN - timedelta(days=20), FROZEN - timedelta(days=15), "EXPIRED", valid=False),
    }
    datastacks = {
        WHOLE: FollowedDatastack("minnie65", "minnie3_v1", (4, 4, 40), whole),
        PUBLIC: FollowedDatastack("minnie65", "minnie3_v1", (4, 4, 40), public),
    }
    return StandIn(datastacks, TOKEN, {121: "Ada"})
