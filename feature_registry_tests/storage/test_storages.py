"""The storage contract over every scheme."""

from pathlib import Path

import pytest

from feature_registry.errors import Invalid
from feature_registry.location import Location
from feature_registry.settings import Settings
from feature_registry.storage import open_store
from feature_registry_tests.contracts.storage import PLACES, TestStorage, place, schemes, store

__all__ = ["TestStorage", "place", "store"]


def test_every_scheme_has_a_place() -> None:
    assert set(PLACES) == set(schemes())


@pytest.mark.parametrize("location", ["http://host/a", "ftp://a/b", "S4://bucket/key"])
def test_a_scheme_of_no_storage_is_refused(location: str, tmp_path: Path) -> None:
    with pytest.raises(Invalid) as caught:
        open_store(Location(location), Settings(home=tmp_path))
    assert (caught.value.field, caught.value.expected) == ("location", schemes())
