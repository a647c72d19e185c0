"""The Feature Registry: a catalog of feature tables, and short-lived links to just the files that a reader needs.

The public names are resolved when first used, so that importing the package loads nothing heavy.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from feature_registry.client import FeatureRegistry as FeatureRegistry
    from feature_registry.defs.feature_table import feature_table as feature_table
    from feature_registry.defs.io_manager import FeatureTableIOManager as FeatureTableIOManager
    from feature_registry.defs.resources import FeatureRegistryResource as FeatureRegistryResource
    from feature_registry.model import Column as Column
    from feature_registry.model import Written as Written
    from feature_registry.registry import Registry as Registry

__version__ = "0.1.0"

# name -> (module, extra that brings what the module needs)
_PUBLIC = {
    "Column": ("feature_registry.model", ""),
    "Written": ("feature_registry.model", ""),
    "FeatureRegistry": ("feature_registry.client", ""),
    "Registry": ("feature_registry.registry", "server"),
    "FeatureRegistryResource": ("feature_registry.defs.resources", "pipeline"),
    "FeatureTableIOManager": ("feature_registry.defs.io_manager", "pipeline"),
    "feature_table": ("feature_registry.defs.feature_table", "pipeline"),
}

__all__ = [*_PUBLIC, "__version__"]  # noqa: PLE0604


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from feature_registry.errors import needed

    module, extra = _PUBLIC[name]
    value = getattr(needed(module, extra), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
