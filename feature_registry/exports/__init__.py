"""The exports: one module an export, `exports/NAME.py` is the export `NAME`. Each offers a function `export`,
and what its text is as `MEDIA_TYPE`, unless it is JSON.

To add one, add its module and run the contract suite `feature_registry_tests/contracts/exports.py` over it.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from types import ModuleType

from feature_registry.errors import NotFound
from feature_registry.model import Contents

Export = Callable[[Contents], str]


def names() -> list[str]:
    return sorted(module.name for module in pkgutil.iter_modules(__path__) if not module.name.startswith("_"))


def get(name: str) -> Export:
    """A function of the catalog's contents, without drafts, to the export's text; equal contents give equal text."""
    export: Export = _module(name).export
    return export


def media_type(name: str) -> str:
    """What an export's text is, for whoever sends it."""
    said: str = getattr(_module(name), "MEDIA_TYPE", "application/json")
    return said


def _module(name: str) -> ModuleType:
    if name not in names():
        raise NotFound("is no export", field="export", value=name, expected=names())
    return importlib.import_module(f"{__name__}.{name}")
