"""Searching in the catalog as it is, or was."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING

from feature_registry.catalog import Connection
from feature_registry.catalog import facets as counting
from feature_registry.catalog import search as finding
from feature_registry.model import Facets, Found, Search

if TYPE_CHECKING:
    from feature_registry.registry import Registry


def search(registry: Registry, wanted: Search) -> Found:
    with _at(registry, wanted) as (connection, now):
        return finding.search(connection, wanted, registry.person.name, now)


def facets(registry: Registry, wanted: Search, most: int) -> Facets:
    with _at(registry, wanted) as (connection, now):
        return counting.facets(connection, wanted, registry.person.name, now, most)


@contextmanager
def _at(registry: Registry, wanted: Search) -> Iterator[tuple[Connection, datetime]]:
    with registry.past.read(wanted.as_of, wanted.datastack, wanted.datastack and wanted.name) as connection:
        yield connection, wanted.as_of or registry.clock()
