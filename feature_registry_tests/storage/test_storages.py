"""The storage contract over every scheme."""

from feature_registry_tests.contracts.storage import PLACES, TestStorage, place, schemes, store

__all__ = ["TestStorage", "place", "store"]


def test_every_scheme_has_a_place() -> None:
    assert set(PLACES) == set(schemes())
