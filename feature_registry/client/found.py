"""What a search found: a sequence that fetches its pages when they are looked at, and shows itself as a table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, overload

from feature_registry.client.text import amount, counted, grid, owner
from feature_registry.model import Entry, Inspection, Search

if TYPE_CHECKING:
    from feature_registry.client.http import Service

SHOWN = 50  # lines


class SearchResult(Sequence[Entry]):
    """Entries, one a table version. `others` are the tables that match at other materialization versions only."""

    def __init__(self, service: Service, search: Search) -> None:
        self._service = service
        self._search = search
        self._entries: list[Entry] = []
        self._next: str | None = search.after
        self._begun = False
        self._corrected: dict[str, tuple[str, ...]] = {}

    def _fetch(self, upto: int | None) -> None:
        """Pages until the entry number `upto` is there; None: all."""
        while (upto is None or upto >= len(self._entries)) and (self._next is not None or not self._begun):
            page = self._service.search(self._search.model_copy(update={"after": self._next}))
            self._entries += page.entries
            self._next, self._begun, self._corrected = page.next, True, page.corrected

    def __len__(self) -> int:
        self._fetch(None)
        return len(self._entries)

    def __bool__(self) -> bool:
        self._fetch(0)
        return bool(self._entries)

    @overload
    def __getitem__(self, index: int) -> Entry: ...

    @overload
    def __getitem__(self, index: slice) -> list[Entry]: ...

    def __getitem__(self, index: int | slice) -> Entry | list[Entry]:
        self._fetch(index if isinstance(index, int) and index >= 0 else None)
        return self._entries[index]

    @property
    def corrected(self) -> dict[str, tuple[str, ...]]:
        """Words of the text that nothing begins with -> the nearest ones, which were taken for them."""
        self._fetch(0)
        return self._corrected

    @property
    def coverage(self) -> dict[str, tuple[int | None, ...]]:
        """`datastack/name` -> its materialization versions that match but for the version; None: unversioned."""
        found: dict[str, set[int | None]] = {}
        everywhere = self._search.model_copy(update={"mat_version": None, "after": None, "limit": 1000})
        for entry in SearchResult(self._service, everywhere):
            found.setdefault(_name(entry), set()).add(entry.version.mat_version)
        return {name: tuple(sorted(seen, key=lambda v: (v is None, v or 0))) for name, seen in found.items()}

    def __repr__(self) -> str:
        self._fetch(SHOWN)
        elsewhere = self.coverage
        lines = [_line(entry, elsewhere.get(_name(entry), ())) for entry in self._entries[:SHOWN]]
        header = ("name", "version", "rows", "bytes", "owner", "also at", "description")
        text = grid(header, lines, right=(2, 3)) if lines else "nothing found"
        if len(self._entries) > SHOWN:
            text += "\n... and more"
        others = elsewhere.keys() - set(map(_name, self._entries)) if self._next is None else ()
        only = ", ".join(f"{name} ({_versions(elsewhere[name])})" for name in sorted(others))
        taken = "".join(f"\nfor {typed}: {', '.join(words)}" for typed, words in self._corrected.items())
        return text + taken + (f"\nat other versions only: {only}" if only else "")


def _name(entry: Entry) -> str:
    return f"{entry.table.datastack}/{entry.table.name}"


def _line(entry: Entry, versions: Sequence[int | None]) -> tuple[str, ...]:
    here = entry.version.mat_version
    description = entry.table.description.split("\n", 1)[0]
    mark = f" ({entry.existence if entry.existence == 'missing' else 'changed'})" if entry.version.drift else ""
    return (
        f"{entry.table.name}{mark}",
        _versions([here]),
        counted(entry.version.inspection.rows),
        _size(entry.version.inspection),
        owner(entry),
        _versions([version for version in versions if version != here]),
        description if len(description) <= 60 else f"{description[:57]}...",
    )


def _size(seen: Inspection) -> str:
    return f"{amount(seen.bytes)}, {len(seen.layouts)} layouts" if seen.layouts else amount(seen.bytes)


def _versions(versions: Sequence[int | None]) -> str:
    return ", ".join("unversioned" if version is None else str(version) for version in versions)
