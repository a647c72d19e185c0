"""The command line, `feature-registry`. Results go to standard output, all else to standard error.

Exit codes: 0, 1 for what went wrong, 2 for a command that is typed wrong.
"""

from feature_registry.cli import (
    catalog,
    checking,
    citing,
    comparing,
    converting,
    following,
    operating,
    publishing,
    reading,
    registering,
    searching,
    serving,
)
from feature_registry.cli.commands import app

# The modules add their commands to `app`.
__all__ = [
    "app",
    "catalog",
    "checking",
    "citing",
    "comparing",
    "converting",
    "following",
    "operating",
    "publishing",
    "reading",
    "registering",
    "searching",
    "serving",
]
