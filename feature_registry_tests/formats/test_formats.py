"""The format contract over every format."""

from feature_registry_tests.contracts.formats import TestFormat, location, store, table_format

__all__ = ["TestFormat", "location", "store", "table_format"]
