"""The warehouse's tables, views and macros (contract, section 4), declared out of the entities' fields. Pure.

`TABLES` is the one list of columns: their order, types and comments. A version of a record stands once: the open one is the
record's row, those that ended stand in the schema `past`, and a history is the view over both.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from validation.entities import ENTITIES
from validation.fields import Entity


@dataclass(frozen=True, slots=True)
class Column:
    """One column. Not null only where the law always has a value."""

    name: str
    sql_type: str
    comment: str
    not_null: bool = False
    distinct: bool = False
    """Texts that differ from row to row. DuckDB looks for what repeats in them and finds nothing: Zstandard, told instead, takes
    a third to a half of the time and, of long texts, half the room."""

    @property
    def sql(self) -> str:
        """Return the column as CREATE TABLE takes it."""
        compression = " USING COMPRESSION zstd" if self.distinct else ""
        return f'"{self.name}" {self.sql_type}{" NOT NULL" if self.not_null else ""}{compression}'


@dataclass(frozen=True, slots=True)
class Table:
    """One table: no keys and no indexes, which would slow every load; `pipelines/gate.py` asserts them instead."""

    name: str
    comment: str
    columns: tuple[Column, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """Return the column names in their order."""
        return tuple(column.name for column in self.columns)


@dataclass(frozen=True, slots=True)
class View:
    """One view."""

    name: str
    comment: str
    columns: tuple[Column, ...]
    query: str


@dataclass(frozen=True, slots=True)
class Macro:
    """One table macro of one parameter, `d`."""

    name: str
    comment: str
    columns: tuple[Column, ...]
    query: str


# A client made through the API may lack these until an event brings them (contract, section 7).
_LATER_ON_API_CLIENTS = frozenset({"email", "phone", "registration_number", "gender"})


def _entity_columns(entity: Entity) -> tuple[Column, ...]:
    late = _LATER_ON_API_CLIENTS if entity.category == "client" else frozenset()
    fields = tuple(
        Column(
            field.name,
            field.type.sql,
            field.comment,
            not_null=field.name == entity.id or (field.required and field.name not in late),
            distinct=field.name in (entity.id, entity.parent_id) or (field.required and field.identifies),
        )
        for field in entity.fields
    )
    return (
        *fields,
        Column("created_on", "DATE", f"Business date of the event that created the {entity.category}", not_null=True),
        Column("updated_on", "DATE", "Business date of the last event that was applied to it", not_null=True),
        Column("deleted_on", "DATE", "Business date of its delete; NULL while it lives"),
    )


_VALID_FROM = Column("valid_from", "DATE", "First business date of this version", not_null=True)
_VALID_TO = Column("valid_to", "DATE", "Business date from which the next version holds (half-open); NULL = still valid")
_ENDED = "Business date from which the next version holds (half-open)"

_POSITION = (
    Column("business_date", "DATE", "Business date of the drop", not_null=True),
    Column("path", "VARCHAR", "The drop: its path relative to the inbox, with /", not_null=True),
    Column("line", "BIGINT", "1-based physical line on which the record starts", not_null=True),
)

_FINDING = (
    Column("code", "VARCHAR", "Reason code, as `nightdrop rules` lists it", not_null=True),
    Column("field", "VARCHAR", "Field it is about, NULL when it is about the whole record"),
    Column("value", "VARCHAR", "The offending value as text, NULL when absent or null"),
    Column("message", "VARCHAR", "What is wrong and what was wanted", not_null=True, distinct=True),
)

_CATEGORY = Column("category", "VARCHAR", "client, loan, payment or deposit; NULL where it could not be read")
_STEP = Column("step", "VARCHAR", "create, update or delete, as sent; NULL where it could not be read")
_ENTITY_ID = Column(
    "entity_id", "VARCHAR", "Id of the record it is about, as sent; NULL where it could not be read", distinct=True
)


PAST = "past"
"""The schema of the versions that ended: analysts see them in the histories."""


def past(entity: Entity) -> str:
    """Return the table of an entity's versions that ended: the columns of its history."""
    return f"{PAST}.{entity.table}"


def _entity_tables() -> tuple[Table, ...]:
    tables = tuple(
        Table(
            entity.table,
            f"Every {entity.category} as it stands now, deleted ones included (deleted_on)",
            _entity_columns(entity),
        )
        for entity in ENTITIES.values()
    )
    ended = tuple(
        Table(
            past(entity),
            f"Versions of {entity.table} that ended; {entity.history} has them and the open ones",
            (*_entity_columns(entity), _VALID_FROM, replace(_VALID_TO, comment=_ENDED, not_null=True)),
        )
        for entity in ENTITIES.values()
    )
    return (*tables, *ended)


_DECISION_TABLES = (
    Table(
        "loan_changes",
        "Changes of a loan's terms: one row per watched field (amount, expected_margin, maturity_date) and update",
        (
            Column("loan_id", "VARCHAR", "The loan", not_null=True),
            Column("change_date", "DATE", "Day of the change, as the update gives it", not_null=True),
            Column("field", "VARCHAR", "Field that changed", not_null=True),
            Column("old_value", "VARCHAR", "Value before, as text; NULL when it had none"),
            Column("new_value", "VARCHAR", "Value after, as text; NULL when it was cleared"),
            Column("change_reason", "VARCHAR", "Why, as the update gives it", not_null=True),
            *_POSITION,
        ),
    ),
    Table(
        "events",
        "Every record of every living drop and what was decided about it",
        (
            *_POSITION,
            _CATEGORY,
            _STEP,
            _ENTITY_ID,
            Column("client_id", "VARCHAR", "Client the event is about; NULL where it is not known", distinct=True),
            Column("verdict", "VARCHAR", "applied or rejected", not_null=True),
            Column("decided_at", "TIMESTAMP", "When the verdict was reached, UTC", not_null=True),
        ),
    ),
    Table(
        "rejections",
        "Why events were rejected: one row per reason",
        (
            *_POSITION,
            _CATEGORY,
            _STEP,
            _ENTITY_ID,
            *_FINDING,
            Column("cause_date", "DATE", "Business date of the rejected create it follows from; NULL = its own cause"),
            Column("cause_path", "VARCHAR", "Drop of that create"),
            Column("cause_line", "BIGINT", "Line of that create"),
        ),
    ),
    Table(
        "warnings",
        "What was odd about applied events: one row per warning",
        (
            *_POSITION,
            Column("category", "VARCHAR", "client, loan, payment or deposit", not_null=True),
            Column("entity_id", "VARCHAR", "Id of the record it is about", not_null=True, distinct=True),
            *_FINDING,
        ),
    ),
    Table(
        "rejected_lines",
        "The exact bytes of every rejected record",
        (
            *_POSITION,
            Column("sha256", "VARCHAR", "SHA-256 of the file, in hexadecimal", not_null=True),
            Column("byte_offset", "BIGINT", "Where the record starts in the uncompressed file, from 0", not_null=True),
            Column("byte_length", "BIGINT", "Its length in bytes, without the line end", not_null=True),
            Column("raw", "BLOB", "The record's bytes, without the line end", not_null=True, distinct=True),
        ),
    ),
    Table(
        "corrections",
        "Lines of resubmitted bounce files that stand in for their originals",
        (
            *_POSITION,
            Column("sha256", "VARCHAR", "SHA-256 of the resubmitted file, in hexadecimal", not_null=True),
            Column("its_line", "BIGINT", "Line of the resubmitted file, from 1", not_null=True),
            Column("submitted_at", "TIMESTAMP", "When it was resubmitted, UTC", not_null=True),
        ),
    ),
)

_DIARY_TABLES = (
    Table(
        "drops",
        "Every edition of every drop that was seen and what became of it; status applied = in the warehouse",
        (
            Column("business_date", "DATE", "Business date; NULL when the path has none"),
            Column("path", "VARCHAR", "Path relative to the inbox, with /", not_null=True),
            Column("sha256", "VARCHAR", "SHA-256 of the file as delivered, in hexadecimal; NULL when unreadable"),
            Column("bytes", "BIGINT", "Size of the file as delivered; NULL when unreadable"),
            Column("records", "BIGINT", "Records in it (applied + rejected); NULL when it was not decided"),
            Column("applied", "BIGINT", "Records that were applied; NULL when it was not decided"),
            Column("rejected", "BIGINT", "Records that were rejected; NULL when it was not decided"),
            Column("warned", "BIGINT", "Records with at least one warning; NULL when it was not decided"),
            Column("status", "VARCHAR", "applied, held, duplicate, superseded or withdrawn", not_null=True),
            Column("reason", "VARCHAR", "Code of the reason it is not applied; NULL when it is"),
            Column("detail", "VARCHAR", "The reason in words"),
            Column("picked_at", "TIMESTAMP", "When it was picked up, UTC", not_null=True),
            Column("decided_at", "TIMESTAMP", "When it was last decided, UTC"),
            Column("run_id", "VARCHAR", "Run that last decided it", not_null=True),
        ),
    ),
    Table(
        "runs",
        "The diary of runs",
        (
            Column("run_id", "VARCHAR", "The run", not_null=True),
            Column("started_at", "TIMESTAMP", "When it started, UTC", not_null=True),
            Column("finished_at", "TIMESTAMP", "When it ended, UTC"),
            Column("state", "VARCHAR", "How it ended", not_null=True),
            Column("drops", "BIGINT", "Drops it took in"),
            Column("events", "BIGINT", "Events it decided"),
            Column("applied", "BIGINT", "Events of those that were applied"),
            Column("rejected", "BIGINT", "Events of those that were rejected"),
            Column("flipped", "BIGINT", "Earlier verdicts it changed"),
            Column("seconds", "DOUBLE", "How long it took, in seconds"),
            Column("version", "VARCHAR", "Version of nightdrop"),
            Column("rule_set", "VARCHAR", "Fingerprint of the rule set it decided under"),
        ),
    ),
    Table(
        "verdict_changes",
        "Verdicts that a later run changed",
        (
            Column("run_id", "VARCHAR", "Run that changed it", not_null=True),
            *_POSITION,
            Column("was", "VARCHAR", "Verdict before: applied or rejected"),
            Column("now", "VARCHAR", "Verdict after: applied or rejected"),
            Column("because_path", "VARCHAR", "Drop whose coming or going changed it"),
        ),
    ),
)

TABLES: dict[str, Table] = {table.name: table for table in (*_entity_tables(), *_DECISION_TABLES, *_DIARY_TABLES)}


def _history(entity: Entity) -> View:
    columns = _entity_columns(entity)
    names = ", ".join(column.name for column in columns)
    return View(
        entity.history,
        f"Every {entity.category} as it stood over time: one version a business date on which it changed",
        (*columns, _VALID_FROM, _VALID_TO),
        # Every applied event sets updated_on and begins a version, so the open one began on that date.
        f"SELECT {names}, updated_on AS valid_from, CAST(NULL AS DATE) AS valid_to FROM {entity.table} "
        f"UNION ALL SELECT {names}, valid_from, valid_to FROM {past(entity)}",
    )


VIEWS: dict[str, View] = {
    view.name: view
    for view in (
        *map(_history, ENTITIES.values()),
        View(
            "active_clients",
            "Clients that are not deleted",
            TABLES["clients"].columns,
            f"SELECT {', '.join(TABLES['clients'].names)} FROM clients WHERE deleted_on IS NULL",
        ),
    )
}


def _as_of(entity: Entity) -> Macro:
    table = TABLES[entity.table]
    columns = ", ".join(f"v.{name}" for name in table.names)
    return Macro(
        f"{entity.table}_as_of",
        f"Table {entity.table} as it stood at the end of business date d, deleted ones included",
        table.columns,
        # The cast lets a date written as text, '2026-01-31', do as well.
        f"SELECT {columns} FROM {entity.history} AS v "
        "WHERE v.valid_from <= CAST(d AS DATE) AND (v.valid_to IS NULL OR CAST(d AS DATE) < v.valid_to)",
    )


SHOWN = tuple(name for name in (*TABLES, *VIEWS) if "." not in name)
"""The tables and views that analysts see."""

MACROS: dict[str, Macro] = {macro.name: macro for macro in map(_as_of, ENTITIES.values())}
