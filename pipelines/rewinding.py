"""Take everything from a business date on out of the working warehouse, as if it had never come. In the caller's transaction."""

from __future__ import annotations

from datetime import date

import duckdb

from pipelines.settled import SPAN
from pipelines.tables import past
from validation.entities import ENTITIES

BY_EVENT = ("events", "rejections", "warnings", "loan_changes", "rejected_lines")
"""Tables with a row, or some, an event."""


def rewind(con: duckdb.DuckDBPyConnection, since: date) -> None:
    """Leave what stood at the end of the day before `since`: its events, records, histories."""
    for table in BY_EVENT:
        con.execute(f"DELETE FROM {table} WHERE business_date >= $since", {"since": since})
    for entity in ENTITIES.values():
        con.execute(f"DELETE FROM {past(entity)} WHERE valid_from >= $since", {"since": since})
        con.execute(f"DELETE FROM {entity.table} WHERE updated_on >= $since", {"since": since})
        ended = f"FROM {past(entity)} WHERE valid_to >= $since"
        # Nobody inserts nothing (docs/design.md, Parts): DuckDB 2.0.0 would hide the next whole row groups until the commit.
        if con.execute(f"SELECT 1 {ended} LIMIT 1", {"since": since}).fetchall():
            # What a younger version had ended is open again.
            columns = ", ".join((*entity.names, *SPAN))
            con.execute(f"INSERT INTO {entity.table} ({columns}) SELECT {columns} {ended}", {"since": since})
            con.execute(f"DELETE {ended}", {"since": since})
