"""The exports: one module an export, `exports/NAME.py` is the export `NAME`. Each offers a function `export`.

To add one, add its module and run the contract suite `feature_registry_tests/contracts/exports.py` over it.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable

from feature_registry.errors import NotFound
from feature_registry.model import Contents

Export = Callable[[Contents], str]


def names() -> list[str]:
    return sorted(module.name for module in pkgutil.iter_modules(__path__))


def get(name: str) -> Export:
    """A function of the catalog's contents, without drafts, to the export's text; equal contents give equal text."""
    if name not in names():
        raise NotFound("is no export", field="export", value=name, expected=names())
    export: Export = importlib.import_module(f"{__name__}.{name}").export
    return export
