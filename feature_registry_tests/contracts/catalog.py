"""What every catalog's database must do. A database's tests inherit the class and give the fixture `database`."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

import pytest

from feature_registry.catalog import Database, entries, events, grants
from feature_registry.catalog.facets import facets
from feature_registry.catalog.search import search
from feature_registry.errors import Invalid
from feature_registry.model import (
    CheckResult,
    Column,
    Embedding,
    Entry,
    Grant,
    HashBuckets,
    Owner,
    Retention,
    Search,
    TableRef,
)
from feature_registry_tests.catalog.planted import SCHEMA, describe, materialize, plant

BUCKETS = HashBuckets(column="id", partition_column="b", transform="modulo", buckets=8)
BUCKETED = {
    "name": "by_id",
    "fingerprint": "f",
    "partition_columns": ["b"],
    "arrow_schema": "a",
    "bytes": 1,
    "files": 1,
}


def found(database: Database, ref: str, person: str = "ann") -> Entry | None:
    with database.read() as connection:
        return entries.find(connection, TableRef.parse(ref), person)


def names(database: Database, person: str = "ann", **wanted: Any) -> list[str]:
    with database.read() as connection:
        return [str(entry.ref) for entry in search(connection, Search(**wanted), person).entries]


def plant_many(url: str, count: int) -> list[str]:
    """What one of several writers does: as many versions, of two tables in turn."""
    database = Database(url)
    planted = [plant(database, f"d/t{at % 2}@1").id for at in range(count)]
    database.close()
    return planted


# Details that a reader of the text could take for what is around them.
MISLEADING = {
    ',"checks":[': "]}",
    "of": [{"name": "exists", "outcome": "passed"}, {"outcome": "failed"}],
    "schema": "x",
}
CHECKS: list[dict[str, Any]] = [
    {},
    {"exists": "passed"},
    {"exists": "passed", "key": "passed", "schema": "passed"},
    {"key": "passed", "exists": "passed"},
    {"exists": "skipped", "key": "passed", "rows": "warned"},
    {"exists": "failed", "content": "failed"},
    {"key": "passed"},
    {"key": "failed"},
]

FILTERS: list[tuple[dict[str, Any], dict[str, Any], dict[str, Any]]] = [
    ({"tags": ["x", "y"]}, {"tags": ["x", "y", "z"]}, {}),
    ({"owner": "team"}, {"owner": Owner(team="team")}, {}),
    ({"owner": "a@b.c"}, {"owner": Owner(person="a@b.c")}, {}),
    ({"license": "CC-BY-4.0"}, {"license": "CC-BY-4.0"}, {}),
    ({"mutability": "append"}, {"mutability": "append"}, {}),
    ({"durability": "durable"}, {"durability": "durable"}, {}),
    ({"references": "nuclei"}, {"references": {"id": "nuclei.id"}}, {}),
    ({"format": "delta"}, {}, {"format": "delta"}),
    ({"producer": "dagster:d/t"}, {}, {"producer": {"pipeline": "dagster:d/t"}}),
    ({"producer": "unet-3"}, {}, {"producer": {"model": "unet-3"}}),
    ({"derived_from": "d/parent"}, {}, {"derived_from": ["d/parent@1.0"]}),
    ({"column": "rare"}, {}, {"schema": SCHEMA.append(SCHEMA.field(0).with_name("rare"))}),
    ({"name": "t"}, {}, {}),
    ({"unit": "um^3"}, {"columns": {"size": Column(unit="um^3")}}, {}),
    ({"kind": "embedding"}, {"columns": {"size": Column(kind=Embedding(dimension=3))}}, {}),
    ({"key": "id"}, {"key": ["id"]}, {}),
    ({"hash_column": "id"}, {"hash_buckets": [BUCKETS]}, {}),
    ({"superseded_by": "d/new"}, {"superseded_by": "d/new"}, {}),
    ({"usage_constraints": "ASK %"}, {"usage_constraints": "Please ask % first"}, {}),
    ({"citation": "10.1038"}, {"citation": "doi:10.1038/x"}, {}),
    ({"invalidation_radius": 500}, {"invalidation_radius": 400}, {}),
    ({"retention_days": 30}, {"retention": Retention(days=30)}, {}),
    ({"any_tags": ["x", "never"]}, {"tags": ["x"]}, {}),
    ({"tags": ["x"], "any_tags": ["y", "z"]}, {"tags": ["x", "z"]}, {}),
    ({"code_version": "abc123"}, {}, {"producer": {"code_version": "abc123"}}),
    ({"config": "adam-1e-4"}, {}, {"producer": {"config": "adam-1e-4"}}),
    ({"model": "unet-3"}, {}, {"producer": {"model": "unet-3"}}),
    ({"model_before": "unet-3"}, {}, {"producer": {"model": "unet-2.9"}}),
    ({"producer": "abc123"}, {}, {"producer": {"code_version": "abc123"}}),
    ({"producer": "run-1"}, {}, {"producer": {"run_id": "run-1"}}),
    ({"partition_column": "k"}, {}, {"partition_columns": ("k",)}),
    ({"snapshot": "12"}, {}, {"snapshot": "12"}),
    ({"location": "s3://here/a"}, {}, {"location": "s3://here/a/b"}),
    ({"layout": "by_id"}, {}, {"layouts": [{"name": "by_place"}, {"name": "by_id", "sort_by": ["id"]}]}),
    ({"layout": "id"}, {}, {"layouts": [{"name": "by_id", "sort_by": ["size", "id"]}]}),
    ({"hash_column": "id"}, {}, {"layouts": [{"name": "by_id", "hash_buckets": [BUCKETS]}]}),
    ({"partition_column": "b"}, {}, {"stored_layouts": [BUCKETED]}),
    ({"created_by": "eve"}, {}, {"by": "eve"}),
    ({"status": "draft"}, {}, {"status": "draft"}),
    ({"at": datetime(2024, 5, 1, tzinfo=UTC)}, {}, {"snapshot_time": datetime(2024, 5, 1, tzinfo=UTC)}),
]


class CatalogContract:
    def test_a_failed_transaction_leaves_no_event_and_no_state(self, database: Database) -> None:
        with pytest.raises(RuntimeError), database.write() as connection:
            events.record(connection, "described", by="ann", datastack="d", name="t", details={"description": "x"})
            raise RuntimeError
        with database.read() as connection:
            assert events.newest(connection) == 0
            assert entries.table(connection, "d", "t") is None

    def test_a_description_merges_into_what_was_said_before(self, database: Database) -> None:
        describe(database, "d/t", description="first", tags=["a"])
        describe(database, "d/t", description="second")
        with database.read() as connection:
            table = entries.table(connection, "d", "t")
            assert table is not None
            assert (table.description, table.tags) == ("second", ("a",))
            assert [event.kind for event in events.history(connection, "d", "t")] == ["described", "described"]

    def test_readers_get_the_newest_published_revision(self, database: Database) -> None:
        plant(database, "d/t@7")
        second = plant(database, "d/t@7")
        plant(database, "d/t@7", status="draft")
        entry = found(database, "d/t@7")
        assert entry is not None
        assert entry.version.id == second.id
        older = found(database, "d/t@7.0")
        assert older is not None
        assert older.version.revision == 0

    def test_a_draft_is_seen_by_who_made_it(self, database: Database) -> None:
        plant(database, "d/t@7", status="draft", by="ann")
        assert found(database, "d/t@7", "ann") is not None
        assert found(database, "d/t@7", "bob") is None
        assert found(database, "d/t@7.0", "bob") is None
        assert names(database, "ann", mat_version=7) == ["d/t@7.0"]
        assert names(database, "bob", mat_version=7) == []

    def test_latest_is_the_highest_valid_published_materialization_version(self, database: Database) -> None:
        for number in (5, 7, 9):
            materialize(database, "d", number)
            plant(database, f"d/t@{number}", status="draft" if number == 9 else "published")
        plant(database, "d/t@unversioned")
        assert str(found(database, "d/t").ref) == "d/t@7.0"  # type: ignore[union-attr]
        materialize(database, "d", 7, valid=False)
        assert str(found(database, "d/t@latest").ref) == "d/t@5.0"  # type: ignore[union-attr]
        assert found(database, "d/t@7") is not None  # pinned is exact, valid or not

    def test_an_unversioned_table_is_never_meant_by_latest(self, database: Database) -> None:
        plant(database, "d/t@unversioned")
        assert found(database, "d/t@unversioned") is not None
        assert names(database, mat_version="latest") == []
        assert names(database) == ["d/t@unversioned.0"]

    def test_a_deprecated_revision_gives_way_to_a_published_one(self, database: Database) -> None:
        plant(database, "d/t@7", status="deprecated")
        assert found(database, "d/t@7").version.status == "deprecated"  # type: ignore[union-attr]
        plant(database, "d/t@7")
        assert found(database, "d/t@7").version.revision == 1  # type: ignore[union-attr]

    def test_an_entry_brings_its_materialization_version(self, database: Database) -> None:
        materialize(database, "d", 7)
        plant(database, "d/t@7")
        entry = found(database, "d/t@7")
        assert entry is not None
        assert entry.materialization is not None
        assert entry.materialization.mat_version == 7

    def test_text_finds_names_descriptions_columns_tags_and_owners(self, database: Database) -> None:
        plant(database, "d/synapse_soma_distance@1")
        describe(database, "d/synapse_soma_distance@1", description="Path to the centré of the nucleus", tags=["shape"])
        columns = {"size": Column("voxels of the cleft")}
        describe(database, "d/synapse_soma_distance@1", columns=columns, owner=Owner(team="celltypes"))
        plant(database, "d/other@1")
        for text in ("soma", "synapse dist", "NUCLEUS", "centre", "cleft", "shape", "celltyp", "id soma"):
            assert names(database, text=text) == ["d/synapse_soma_distance@1.0"], text
        assert names(database, text="soma other") == []
        assert names(database, text='soma" OR "other') == []
        assert names(database, text="...") == []
        assert names(database, text="id") != []

    def test_a_hit_in_the_name_comes_first(self, database: Database) -> None:
        plant(database, "d/a@1")
        describe(database, "d/a@1", description="spine and more spine text about a spine")
        plant(database, "d/spine@1")
        assert names(database, text="spine") == ["d/spine@1.0", "d/a@1.0"]

    @pytest.mark.parametrize(("wanted", "said", "version"), FILTERS, ids=lambda value: str(value)[:30])
    def test_each_filter_finds_what_was_planted(
        self, database: Database, wanted: dict[str, Any], said: dict[str, Any], version: dict[str, Any]
    ) -> None:
        snapshot: dict[str, Any] = (
            {"snapshot_time": datetime(2020, 1, 1, tzinfo=UTC)} if "snapshot_time" not in version else {}
        )
        plant(database, "d/t@1", **version, **snapshot)
        if said:
            describe(database, "d/t@1", **said)
        plant(database, "d/u@1")
        assert names(database, **wanted) == ["d/t@1.0"]
        assert names(database, mat_version=1, datastack="d", **wanted) == ["d/t@1.0"]
        assert names(database, mat_version=2, **wanted) == []

    def test_each_field_of_a_search_has_a_filter(self) -> None:
        told_how = {"text", "mat_version", "as_of", "columns", "limit", "after"}
        of_tests_below = {"datastack", "aligned_volume"}
        planted = {name for wanted, _, _ in FILTERS for name in wanted}
        assert planted | of_tests_below == Search.model_fields.keys() - told_how

    @pytest.mark.row("M16")
    def test_made_by_an_older_model_counts_its_numbers(self, database: Database) -> None:
        models = ("segclr-1.9", "segclr-1.10", "segclr-2.0", "segclr-2.0.1", "segclr-10", "segclr", "unet-1.0", None)
        for at, model in enumerate(models):
            plant(database, f"d/t{at}@1", producer={"model": model, "code_version": f"c{at % 2}", "config": "adam"})
        before = {"segclr-1.9": [], "segclr-1.10": [0], "segclr-2.0": [0, 1], "segclr-11": [0, 1, 2, 3, 4]}
        for model, older in before.items():
            assert names(database, model_before=model) == [f"d/t{at}@1.0" for at in older]
        assert names(database, model_before="segclr-2.0", code_version="c1") == ["d/t1@1.0"]
        assert names(database, model="segclr-2.0", config="adam") == ["d/t2@1.0"]
        with pytest.raises(Invalid, match="model_before"):
            names(database, model_before="segclr")

    @pytest.mark.row("M15")
    def test_tags_compose_with_and_and_or(self, database: Database) -> None:
        for name, tags in (("a", ["x", "y"]), ("b", ["x", "z"]), ("c", ["z"])):
            plant(database, f"d/{name}@1")
            describe(database, f"d/{name}@1", tags=tags)
        assert names(database, tags=["x", "y"]) == ["d/a@1.0"]
        assert names(database, any_tags=["y", "z"]) == ["d/a@1.0", "d/b@1.0", "d/c@1.0"]
        assert names(database, tags=["x"], any_tags=["z", "q"]) == ["d/b@1.0"]
        assert names(database, any_tags=["q"]) == []

    @pytest.mark.parametrize(
        ("typed", "taken"),
        [
            ("synpase", ("synapse",)),  # swapped
            ("snapse", ("synapse",)),  # one is missing
            ("synapze", ("synapse",)),  # another
            ("mitohcondrino", ("mitochondrion",)),  # two of a long word
            ("synaps", ()),  # its beginning
            ("snpse", ()),  # two of a short word
            ("axn", ()),  # too short
            ("nothing", ()),
        ],
    )
    def test_a_mistyped_word_is_taken_for_the_nearest(
        self, database: Database, typed: str, taken: tuple[str, ...]
    ) -> None:
        plant(database, "d/synapse_mitochondrion@1")
        plant(database, "d/axon@1")
        with database.read() as connection:
            answer = search(connection, Search(text=f"{typed} mito"), "bob")
        assert answer.corrected == ({typed: taken} if taken else {})
        assert len(answer.entries) == (1 if taken or typed == "synaps" else 0)

    def test_a_word_of_nobody_or_of_drafts_is_taken_for_none(self, database: Database) -> None:
        plant(database, "d/hidden@1", status="draft")
        plant(database, "d/t@1")
        describe(database, "d/t@1", description="spelt")
        describe(database, "d/t@1", description="other")
        for typed in ("hiden", "spelz"):
            with database.read() as connection:
                assert search(connection, Search(text=typed), "bob").corrected == {}

    def test_very_words_come_before_what_begins_with_them(self, database: Database) -> None:
        plant(database, "d/spines@1")
        plant(database, "d/b@1")
        describe(database, "d/b@1", description="a table that has, among much else that it says, the word spine")
        assert names(database, text="spine") == ["d/b@1.0", "d/spines@1.0"]
        assert names(database, text="spine", limit=1) == ["d/b@1.0"]
        assert names(database, text="spin") == ["d/spines@1.0", "d/b@1.0"]

    def test_facets_count_tables_under_text_and_filters(self, database: Database) -> None:
        with database.write() as connection:
            body = {"name": "d", "aligned_volume": "v"}
            events.record(connection, "datastack", by="ann", datastack="d", details=body)
        for name, tags in (("spine_a", ["x", "y"]), ("spine_b", ["x"]), ("soma", ["x"])):
            for number in (1, 2):
                plant(database, f"d/{name}@{number}", producer={"model": name})
            describe(database, f"d/{name}@1", tags=tags, owner=Owner(team="lab", person="eve"))
        plant(database, "e/spine_c@1", format="delta")
        plant(database, "d/spine_draft@1", status="draft")

        def counted(person: str = "bob", most: int = 20, **wanted: Any) -> dict[str, dict[str, int]]:
            with database.read() as connection:
                answer = facets(connection, Search(**wanted), person, None, most)
            return {name: {each.value: each.tables for each in values} for name, values in answer.facets.items()}

        every = counted()
        assert every["datastack"] == {"d": 3, "e": 1}
        assert every["aligned_volume"] == {"v": 3}
        assert every["owner"] == {"eve": 3, "lab": 3}
        assert list(every["tag"].items()) == [("x", 3), ("y", 1)]
        assert every["format"] == {"parquet": 3, "delta": 1}
        assert every["status"] == {"published": 4}
        assert counted(most=1)["tag"] == {"x": 3}
        assert counted(text="spine")["tag"] == {"x": 2, "y": 1}
        assert counted(text="spnie", tags=["y"])["model"] == {"spine_a": 1}
        assert counted(text="spine", mat_version=2)["datastack"] == {"d": 2}
        assert counted(text="...") == counted(text="soma", tags=["y"]) == {}
        assert counted("ann", status="draft")["datastack"] == {"d": 1}

    def test_a_list_leaves_out_the_columns_of_layouts(self, database: Database) -> None:
        plant(database, "d/t@1", stored_layouts=[BUCKETED])
        assert found(database, "d/t@1").version.inspection.layouts[0].arrow_schema == "a"  # type: ignore[union-attr]
        for columns in (False, True):
            with database.read() as connection:
                (entry,) = search(connection, Search(columns=columns), "ann").entries
            assert entry.version.inspection.layouts[0].arrow_schema == ("a" if columns else None)

    @pytest.mark.parametrize("since", [False, True])
    @pytest.mark.parametrize("details", [{}, MISLEADING])
    @pytest.mark.parametrize("outcomes", CHECKS)
    def test_a_list_leaves_out_the_checks_that_passed(
        self, database: Database, outcomes: dict[str, Any], details: dict[str, Any], since: bool
    ) -> None:
        checks = tuple(
            CheckResult(name=name, outcome=outcome, details=details, message='"]}')
            for name, outcome in outcomes.items()
        )
        if since:
            before = (each.model_copy(update={"outcome": "failed"}) for each in checks)
            planted = plant(database, "d/t@1", checks=tuple(before))
            with database.write() as connection:
                events.record(connection, "checked", **events.about(planted, "ann"), details={"checks": checks})
        else:
            plant(database, "d/t@1", checks=checks)
        with database.read() as connection:
            (whole,) = search(connection, Search(columns=True), "ann").entries
            (brief,) = search(connection, Search(), "ann").entries
        assert whole.version.checks == checks
        assert brief.version.checks == tuple(
            each for each in checks if each.outcome != "passed" or each.name == "exists"
        )
        assert brief.existence == whole.existence
        assert brief.version.drift == whole.version.drift

    def test_a_version_has_a_manifest_of_each_kind(self, database: Database) -> None:
        id, other = plant(database, "d/t@1").id, plant(database, "d/u@1").id
        with database.write() as connection:
            entries.keep_manifests(connection, id, {"files": b"f", "groups": b"g"})
            entries.keep_manifests(connection, other, {"files": b"o"})
            entries.replace_manifest(connection, id, b"moved")
        with database.read() as connection:
            held = [entries.manifest(connection, of, part) for of in (id, other) for part in ("files", "groups")]
        assert held == [b"moved", b"g", b"o", None]

    def test_a_range_of_time_is_half_open(self, database: Database) -> None:
        start, end = datetime(2024, 1, 1, tzinfo=UTC), datetime(2024, 2, 1, tzinfo=UTC)
        plant(database, "d/t@1", time_range={"start": start, "end": end})
        assert names(database, at=start) == ["d/t@1.0"]
        assert names(database, at=end) == []

    @pytest.mark.row("M6")
    def test_an_aligned_volume_finds_the_tables_of_its_datastacks(self, database: Database) -> None:
        with database.write() as connection:
            for datastack, volume in (("d", "v"), ("e", "v"), ("f", "w")):
                body = {"name": datastack, "aligned_volume": volume}
                events.record(connection, "datastack", by="ann", datastack=datastack, details=body)
        for datastack in "def":
            plant(database, f"{datastack}/t@1")
        assert names(database, aligned_volume="v") == ["d/t@1.0", "e/t@1.0"]

    @pytest.mark.parametrize("text", ["", "spine"])
    def test_pages_give_every_entry_once(self, database: Database, text: str) -> None:
        planted = {str(plant(database, f"d/spine_{number}@1").ref) for number in range(7)}
        seen: list[str] = []
        after = None
        with database.read() as connection:
            while True:
                page = search(connection, Search(text=text, limit=3, after=after), "ann")
                seen += [str(entry.ref) for entry in page.entries]
                after = page.next
                if after is None:
                    break
        assert len(seen) == 7
        assert set(seen) == planted

    def test_a_forged_page_is_refused(self, database: Database) -> None:
        with pytest.raises(Invalid, match="after"):
            names(database, after="bm9uc2Vuc2U=")

    def test_writers_at_once_lose_and_double_nothing_and_a_follower_misses_none(self, database: Database) -> None:
        """Each writer has connections of its own, as a process would; `make bench NAME=events` has the processes."""
        url = database.engine.url.render_as_string(hide_password=False)
        numbers = [0]
        with ThreadPoolExecutor(3) as pool:
            writers = [pool.submit(plant_many, url, 8) for _ in range(3)]
            done = False
            while not done:
                done = all(writer.done() for writer in writers)  # asked first: what comes while we read is read again
                with database.read() as connection:
                    numbers += [event.number for event in events.following(connection, numbers[-1], 1000)]
            planted = [id for writer in writers for id in writer.result()]
        with database.read() as connection:
            assert numbers[1:] == [event.number for event in events.following(connection, 0, 1000)]
            revisions = [entries.revisions(connection, TableRef.parse(f"d/t{at}@1")) for at in range(2)]
        assert [[each.version.revision for each in some] for some in revisions] == [[*range(12)]] * 2
        assert sorted(each.version.id for some in revisions for each in some) == sorted(planted)

    def test_grants_are_charged_up_to_their_reservation(self, database: Database) -> None:
        now = datetime.now(UTC)
        grant = Grant(
            id="g",
            person="ann",
            version_id="v",
            table="d/t@1.0",
            mode="links",
            files="0-3",
            reserved=100,
            charged=0,
            created_at=now,
            expires_at=now.replace(year=now.year + 1),
        )
        with database.write() as connection:
            grants.add(connection, grant)
            assert grants.charge(connection, "g", 60)
            assert not grants.charge(connection, "g", 60)
            grants.extend(connection, "g", 20)
            assert grants.charge(connection, "g", 60)
            assert not grants.charge(connection, "unknown", 1)
            assert grants.get(connection, "g") == grant.model_copy(update={"charged": 120, "reserved": 120})
            long_ago = now.replace(year=now.year - 1)
            assert grants.spent(connection, "ann", long_ago, now) == 120
            assert grants.spent(connection, "bob", long_ago, now) == 0
