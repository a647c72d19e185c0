"""The command line, `feature-registry`. Results go to standard output, all else to standard error.

Exit codes: 0, 1 for what went wrong, 2 for a command that is typed wrong.
"""

from feature_registry.cli import catalog, converting, operating, reading, serving
from feature_registry.cli.commands import app

__all__ = ["app", "catalog", "converting", "operating", "reading", "serving"]  # the modules add their commands to `app`
