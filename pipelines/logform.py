"""The form of the event log: its kinds of rows, their columns, and the names of its files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow.parquet as pq

from pipelines.checking import INDEX, REASONS
from validation.entities import ENTITIES
from validation.fields import STEP, Entity

EDITIONS = {
    "drop": pl.UInt32(),
    "path": pl.String(),
    "sha256": pl.String(),
    "released": pl.Boolean(),
    "rule_set": pl.String(),
}
"""One edition of one drop; `drop` is its number within the part, `released` whether it was read as it is."""
CHOSEN = {"part": pl.String(), "drop": pl.UInt32(), "rank": pl.Int64(), "business_date": pl.Date()}
"""Editions to read from the log, with the place each has among the living drops."""
UNITS = {
    "number": pl.Int64(),
    "drop": pl.UInt32(),
    "first_line": pl.Int64(),
    "last_line": pl.Int64(),
    "records": pl.Int64(),
    "bytes": pl.Int64(),
    "alone": pl.Boolean(),
}
"""What one number of a part's files has of one drop (`alone`: and of no other): a run of its lines; `bytes` without line ends."""
FIXES = {
    "part": pl.String(),
    "drop": pl.UInt32(),
    "its_line": pl.Int64(),
    "rank": pl.Int64(),
    "line": pl.Int64(),
    "business_date": pl.Date(),
    "file": pl.String(),
}
"""Lines of resubmitted files (part, drop, its_line; `file`: SHA-256) that stand in for lines of living drops (rank, line)."""
FORM = "nightdrop.files.5"
"""Where the file of editions keeps the names of the others in its part, its units, and where ids stand in them. A part of another
form (1: without counts, 2: one index, 3: without units, 4: steps without ends) has none here and is read again."""


def event_schema(entity: Entity) -> dict[str, pl.DataType]:
    """Return the columns of sound events in the log."""
    values = {field.name: field.type.dtype for field in entity.fields}
    return {"drop": pl.UInt32(), "line": pl.Int64(), STEP.name: pl.String(), "sent": pl.UInt64(), **values}


def index_of(category: object) -> str:
    """Return the kind of the log's rows about all records of a category; `None`: of those whose category could not be read."""
    return f"index.{category or 'unread'}"


INDEXES = [index_of(category) for category in (None, *ENTITIES)]
_FINDINGS = {**REASONS, "entity_id": pl.String()}
SCHEMAS = {
    **dict.fromkeys(INDEXES, INDEX),
    "reasons": _FINDINGS,
    "warnings": _FINDINGS,
    **{category: event_schema(entity) for category, entity in ENTITIES.items()},
}
ID_COLUMNS = {kind: ENTITIES[kind].id if kind in ENTITIES else "entity_id" for kind in SCHEMAS}
"""The column of each kind with the id of the record that a row is about; null where it could not be read."""


def file_name(kind: str, number: int) -> str:
    """Return the name of a part's file of one kind."""
    return f"{kind}-{number:06}.parquet"


def told_by(part: Path) -> dict[str, Any]:
    """Return what the file of editions of a part tells: `files` (names), `units` (rows of `UNITS`), `rows`, `ids` (a file)."""
    told: dict[str, Any] = json.loads(pq.read_metadata(part / "editions.parquet").metadata[FORM.encode()])
    return told
