"""What Dagster loads."""

from feature_registry.defs.build import build_defs

defs = build_defs()
