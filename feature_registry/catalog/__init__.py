"""The catalog: the system of record, in SQL. Nothing else imports SQLAlchemy.

`database.py` opens and migrates it, `events.py` appends to the record, `derivation.py` derives the current state from
an event, `entries.py` reads tables and versions, `search.py` finds them, `grants.py` keeps what was given to whom.
"""

from __future__ import annotations

from sqlalchemy import Connection as Connection

from feature_registry.catalog.database import Database as Database
