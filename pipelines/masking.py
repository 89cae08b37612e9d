"""The masked warehouse: the same tables, with tokens for what identifies a person, for analysts who need no names.

A token is a keyed hash (HMAC-SHA-256): equal values have equal tokens, so what could be joined and counted still can, and
nobody without the key can tell or guess the value. The file is new each time: nothing masked is left in freed blocks.

Plain stay the ids of records (the lender's references, by which tables join), countries, cities, amounts, dates and paths; of a
birthday, the year. Ids, steps and names of fields are tokens where they are none of ours: a sender may have put anything there.
"""

from __future__ import annotations

from pathlib import Path

import duckdb

from pipelines import conservation, database
from pipelines.schema import statements
from pipelines.tables import TABLES, past
from validation.entities import ENTITIES
from validation.fields import STEP, FieldType

_BLOCK = 64
"""Bytes of a block of SHA-256, as HMAC (RFC 2104) needs it."""
_DIGITS = 32
"""Hexadecimal digits of a token: 128 bits."""

_IN_ENTITIES = {
    (table, field.name): field
    for entity in ENTITIES.values()
    for table in (entity.table, past(entity))
    for field in entity.fields
    if field.identifies
}
_SPELLINGS = sorted({name for entity in ENTITIES.values() for name in entity.spellings})
_OTHERS: dict[tuple[str, str], str] = {
    ("loan_changes", "change_reason"): "token(t.change_reason)",
    ("rejected_lines", "raw"): "encode(token_of_bytes(t.raw))",
    ("drops", "detail"): "token(t.detail)",
    **{(table, "value"): "token(t.value)" for table in ("rejections", "warnings")},
    **{(table, "message"): "t.code" for table in ("rejections", "warnings")},
    **{(table, "field"): "CASE WHEN list_contains($spellings, t.field) THEN t.field ELSE token(t.field) END"
       for table in ("rejections", "warnings")},
    **{(table, "step"): "CASE WHEN list_contains($steps, t.step) THEN t.step ELSE token(t.step) END"
       for table in ("events", "rejections")},
    **{(table, "entity_id"): "CASE WHEN own.id IS NULL THEN token(t.entity_id) ELSE t.entity_id END"
       for table in ("events", "rejections", "warnings")},
    ("events", "client_id"): "CASE WHEN its.id IS NULL THEN token(t.client_id) ELSE t.client_id END",
}  # fmt: skip
"""Outside the records: what stands in a column's place."""


def write_masked(working: Path, masked: Path, key: bytes) -> None:
    """Write the masked tables of a sealed warehouse into a new file, sealed too."""
    with database.connect(masked, folders=[working.parent]) as con:
        database.attach(con, working, "plain")
        _make_token(con, key)
        # What is made in the file itself: tables, comments, views, macros; no word of how tokens are made.
        for statement in statements():
            con.execute(statement)
        _know_ids(con)
        for table in TABLES:
            con.execute(*_masking(table))
            rows = (con.execute(f"SELECT count(*) FROM {name}").fetchall()[0][0] for name in (f"plain.{table}", table))
            conservation.same(f"masked {table}", "rows in the warehouse", next(rows), "rows masked", next(rows))
        con.execute("DETACH plain")
        con.execute("CHECKPOINT")


def is_masked(table: str, column: str) -> bool:
    """Tell whether a column's values are replaced."""
    return (table, column) in _IN_ENTITIES or (table, column) in _OTHERS


def _make_token(con: duckdb.DuckDBPyConnection, key: bytes) -> None:
    """Make the functions `token` and `token_of_bytes`, of this connection alone; the key is in no statement and in no file."""
    block = key.ljust(_BLOCK, b"\0")
    for name, pad in (("inner_key", 0x36), ("outer_key", 0x5C)):
        con.execute(f"SET VARIABLE {name} = $value", {"value": bytes(byte ^ pad for byte in block)})
    for name, message in (("token", "encode(v)"), ("token_of_bytes", "v")):
        inner = f"unhex(sha256(getvariable('inner_key') || {message}))"
        con.execute(f"CREATE TEMP MACRO {name}(v) AS 't_' || left(sha256(getvariable('outer_key') || {inner}), {_DIGITS})")


def _know_ids(con: duckdb.DuckDBPyConnection) -> None:
    ids = (f"SELECT '{entity.category}' AS category, {entity.id} AS id FROM plain.{entity.table}" for entity in ENTITIES.values())
    con.execute(f"CREATE TEMP TABLE known AS {' UNION ALL '.join(ids)}")


def _masking(table: str) -> tuple[str, dict[str, list[str]]]:
    """Return the statement that fills a table, and its parameters."""
    columns = ", ".join(f"{_masked(table, column)} AS {column}" for column in TABLES[table].names)
    joins = ""
    if (table, "entity_id") in _OTHERS:
        joins += " LEFT JOIN known AS own ON own.category = t.category AND own.id = t.entity_id"
    if (table, "client_id") in _OTHERS:
        joins += " LEFT JOIN known AS its ON its.category = 'client' AND its.id = t.client_id"
    sql = f"INSERT INTO {table} BY NAME SELECT {columns} FROM plain.{table} AS t{joins} ORDER BY t.rowid"
    parameters = {"spellings": _SPELLINGS, "steps": list(STEP.choices)}
    return sql, {name: value for name, value in parameters.items() if f"${name}" in sql}


def _masked(table: str, column: str) -> str:
    field = _IN_ENTITIES.get((table, column))
    if field is None:
        return _OTHERS.get((table, column), f"t.{column}")
    if field.type is FieldType.DATE:
        return f"date_trunc('year', t.{column})"
    return f"to_json(token(t.{column}::VARCHAR))" if field.type is FieldType.OBJECT else f"token(t.{column})"
