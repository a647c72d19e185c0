"""`python -m feature_registry` is the command line."""

from feature_registry.cli import app

if __name__ == "__main__":
    app()
