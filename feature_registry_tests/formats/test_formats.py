"""The format contract over every format."""

from feature_registry_tests.contracts.formats import TestFormat, layout, location, store

__all__ = ["TestFormat", "layout", "location", "store"]
