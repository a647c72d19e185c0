"""What a backup holds is the catalog, row by row, and comes back in either database."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from feature_registry.catalog import backup
from feature_registry.catalog.schema import metadata
from feature_registry.errors import Conflict, Invalid, RegistryError
from feature_registry.model import PlanRequest
from feature_registry.registry import Registry
from feature_registry.settings import Settings
from feature_registry_tests.registry.filled import fill, register, state, write

Catalogs = Callable[[str], Registry]


def rows(registry: Registry) -> dict[str, list[str]]:
    with registry.database.read() as connection:
        found = {table.name: connection.execute(sa.select(table)).all() for table in metadata.sorted_tables}
    return {name: sorted(map(repr, seen)) for name, seen in found.items()}


@pytest.fixture
def saved(catalogs: Catalogs, tmp_path: Path) -> Path:
    fill(catalogs("sqlite"), tmp_path / "data")
    [source] = tmp_path.glob("catalog0.db")
    registry = Registry(Settings(home=tmp_path / "home", database=f"sqlite:///{source}"))
    registry.backup(tmp_path / "saved.db")
    registry.close()
    return tmp_path / "saved.db"


@pytest.mark.parametrize("target", ["sqlite", "postgresql"])
@pytest.mark.parametrize("source", ["sqlite", "postgresql"])
def test_everything_comes_back_and_registering_goes_on(
    catalogs: Catalogs, tmp_path: Path, source: str, target: str
) -> None:
    before = catalogs(source)
    fill(before, tmp_path / "data")
    before.plan(PlanRequest(table="d/synapses"))
    held, seen = rows(before), state(before)
    assert min(map(len, held.values())) > 0
    file = tmp_path / "saved.db"
    assert before.backup(file) == {name: len(found) for name, found in held.items()}
    after = catalogs(target)
    after.restore(file)
    assert rows(after) == held
    assert state(after) == seen
    for registry in (before, after):
        report = register(registry, write(tmp_path / "data" / "next", 20), "another")
        assert registry.describe("d/another@7") == report.entry
    assert after.newest_event() == before.newest_event()
    assert after.history("d/another@7")[0].number == before.history("d/another@7")[0].number


def test_a_backup_is_a_catalog_itself(saved: Path, tmp_path: Path, catalogs: Catalogs) -> None:
    assert list(tmp_path.glob(".saved*")) == []
    opened = Registry(Settings(home=tmp_path / "home", database=f"sqlite:///{saved}"))
    assert str(opened.describe("d/synapses@7").ref) == "d/synapses@7.1"
    assert opened.backup(tmp_path / "again.db")
    opened.close()


def test_restoring_reads_a_backup_and_leaves_it(saved: Path, catalogs: Catalogs) -> None:
    before, beside = saved.read_bytes(), sorted(saved.parent.iterdir())
    after = catalogs("sqlite")
    after.restore(saved)
    assert saved.read_bytes() == before
    assert [path for path in sorted(saved.parent.iterdir()) if not path.name.startswith("catalog1")] == beside


def test_a_file_that_exists_is_left_alone(catalogs: Catalogs, tmp_path: Path) -> None:
    file = tmp_path / "mine"
    file.write_text("mine")
    with pytest.raises(Conflict):
        catalogs("sqlite").backup(file)
    assert file.read_text() == "mine"


def test_a_backup_that_dies_leaves_no_file(catalogs: Catalogs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    registry = catalogs("sqlite")
    fill(registry, tmp_path / "data")

    def full(*_: Any) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(backup, "_follow_up", full)
    with pytest.raises(OSError, match="space"):
        registry.backup(tmp_path / "backups" / "saved.db")
    assert list((tmp_path / "backups").glob("*")) + list((tmp_path / "backups").glob(".*")) == []


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_a_catalog_that_holds_something_is_refused(saved: Path, catalogs: Catalogs, tmp_path: Path, kind: str) -> None:
    after = catalogs(kind)
    register(after, write(tmp_path / "other", 1), "other")
    held = rows(after)
    with pytest.raises(Conflict, match="empty"):
        after.restore(saved)
    assert rows(after) == held


def change(statement: str) -> Callable[[Path], None]:
    def changed(path: Path) -> None:
        with sqlite3.connect(path) as file:
            assert file.execute(statement).rowcount
        file.close()

    return changed


HARM: dict[str, Callable[[Path], Any]] = {
    "truncated": lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]),
    "begun": lambda path: path.write_bytes(path.read_bytes()[:1000]),
    "empty": lambda path: path.write_bytes(b""),
    "foreign": lambda path: path.write_text("not a database" * 1000),
    "gone": Path.unlink,
    "a live catalog": lambda path: path.write_bytes((path.parent / "catalog0.db").read_bytes()),
    "altered": change("UPDATE versions SET location = replace(location, '/a', '/z') WHERE location LIKE '%/a'"),
    "a row less": change("DELETE FROM lineage"),
    "no JSON": change("UPDATE events SET details = substr(details, 1, 50) WHERE kind = 'registered'"),
    "no time": change("UPDATE events SET at = 'yesterday' WHERE number = 3"),
    "of another version": change("UPDATE feature_registry_migration SET version_num = '0000_older'"),
}


@pytest.mark.parametrize("harm", HARM)
def test_a_file_that_is_no_whole_backup_is_refused_and_changes_nothing(
    saved: Path, catalogs: Catalogs, harm: str
) -> None:
    HARM[harm](saved)
    after = catalogs("sqlite")
    with pytest.raises(RegistryError) as raised:
        after.restore(saved)
    assert isinstance(raised.value, Invalid)
    assert (raised.value.field, raised.value.value) == ("file", str(saved))
    assert not any(rows(after).values())


def test_random_bytes_that_change_are_noticed_or_do_not_matter(saved: Path, catalogs: Catalogs) -> None:
    """A byte of the full-text index or of free space may change: what is restored is the same."""
    content = saved.read_bytes()
    good = catalogs("sqlite")
    good.restore(saved)
    refused = 0
    for place in range(100, len(content), len(content) // 40):
        saved.write_bytes(content[:place] + bytes([content[place] ^ 0x55]) + content[place + 1 :])
        after = catalogs("sqlite")
        try:
            after.restore(saved)
        except Invalid:
            refused += 1
            assert not any(rows(after).values())
        else:
            assert rows(after) == rows(good)
    assert refused
