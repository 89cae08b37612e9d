"""How one working warehouse differs from another: records field by field, verdicts, drops, and every table row by row.

What the law does not decide is left aside: clocks and run ids, `runs`, `verdict_changes`, and in the table of drops
those that do not live; how these changed is told apart.
"""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import duckdb
import polars as pl

from pipelines import schema
from pipelines.database import connect, query
from pipelines.problems import NightdropError
from pipelines.tables import TABLES, past
from validation.entities import ENTITIES
from validation.fields import Entity

_DIARY_TABLES = frozenset({"runs", "verdict_changes"})
_DIARY_COLUMNS = frozenset({"decided_at", "picked_at", "run_id", "submitted_at"})
_LIVING = {"drops": "WHERE status = 'applied'"}
_POSITION = ("business_date", "path", "line")
_RECORDS = pl.Schema(dict.fromkeys(("category", "id", "change", "field", "before", "after"), pl.String()))
_DROPS = "SELECT business_date, path, sha256, status, reason FROM drops"


@dataclass(frozen=True, slots=True, eq=False)
class OneSided:
    """The rows of one table that only one of two warehouses has."""

    only_before: pl.DataFrame
    only_after: pl.DataFrame


@dataclass(frozen=True, slots=True, eq=False)
class Difference:
    """What is other in the warehouse after than in the one before."""

    tables: dict[str, OneSided]
    """By name; tables without a difference are not there."""
    records: pl.DataFrame
    """category, id, change (created, removed, changed), field, before, after: a row per record that came or went (`field` null)
    and per field that changed. All text."""
    verdicts: pl.DataFrame
    """business_date, path, line, was, now: `was` null for what is newly decided, `now` null for what was taken out."""
    drops: pl.DataFrame
    """business_date, path, sha256, was, was_reason, now, now_reason: editions of any status whose status or reason changed."""

    @property
    def is_empty(self) -> bool:
        """Tell whether nothing at all is other."""
        return not self.tables and self.drops.is_empty()


def compare(before: Path, after: Path) -> Difference:
    """Say how two working warehouses differ; both files stay as they are and must not be open elsewhere for writing.

    Raises NightdropError when one of them is missing, cannot be opened, or has the tables of another version.
    """
    with closing(_opened(before)) as old, closing(_opened(after)) as new:
        found = {name: _one_sided(old, new, name) for name in TABLES if name not in _DIARY_TABLES}
        for entity in ENTITIES.values():
            found[entity.history] = _history(entity, found[entity.table], found.pop(past(entity)))
        tables = {name: rows for name, rows in found.items() if rows.only_before.height or rows.only_after.height}
        records = [_record_changes(entity, found[entity.table]) for entity in ENTITIES.values()]
        return Difference(tables, pl.concat(records), _verdict_changes(found["events"]), _drop_changes(old, new))


def _opened(file: Path) -> duckdb.DuckDBPyConnection:
    con = connect(file, read_only=True)
    if schema.is_current(con):
        return con
    con.close()
    raise NightdropError(
        f"{file}: its tables are those of another version of nightdrop, wanted this one's; they cannot be compared. Nothing was "
        "changed. `nightdrop rebuild` makes the working warehouse again out of the archive."
    )


def _one_sided(old: duckdb.DuckDBPyConnection, new: duckdb.DuckDBPyConnection, table: str) -> OneSided:
    """Return the rows that one side has more often than the other, each once."""
    columns = [column.name for column in TABLES[table].columns if column.name not in _DIARY_COLUMNS]
    digests = _digests(table, columns)
    surplus = query(
        new,
        "SELECT any_value(row) FILTER (side < 0) AS before, any_value(row) FILTER (side > 0) AS after, sum(side) > 0 AS is_after "
        f"FROM (SELECT *, 1 AS side FROM ({digests}) UNION ALL SELECT *, -1 FROM other) "
        "GROUP BY forth, back HAVING sum(side) <> 0",
        other=query(old, digests),
    )
    before, after = surplus.filter(~pl.col("is_after")), surplus.filter("is_after")
    return OneSided(_rows(old, table, columns, before["before"]), _rows(new, table, columns, after["after"]))


def _digests(table: str, columns: list[str]) -> str:
    """Return a query for `row` (its rowid) and 128 bits, `forth` and `back`, that stand for what is in it."""
    # Whole rows side by side would be as large as both warehouses; that two rows agree in both hashes by chance is one in 2^128.
    forth, back = ", ".join(columns), ", ".join(reversed(columns))
    where = _LIVING.get(table, "")
    return f"SELECT rowid AS row, hash({forth}, 'forth') AS forth, hash('back', {back}) AS back FROM {table} {where}"


def _history(entity: Entity, records: OneSided, ended: OneSided) -> OneSided:
    """Return the versions that only one side has: open ones, which are its records, and those that ended."""

    def of(open_: pl.DataFrame, closed: pl.DataFrame) -> pl.DataFrame:
        validity = {"valid_from": pl.col("updated_on"), "valid_to": pl.lit(None, dtype=pl.Date)}
        return pl.concat([open_.with_columns(**validity), closed]).sort(entity.id, "valid_from")

    return OneSided(of(records.only_before, ended.only_before), of(records.only_after, ended.only_after))


def _rows(con: duckdb.DuckDBPyConnection, table: str, columns: list[str], those: pl.Series) -> pl.DataFrame:
    names = ", ".join(columns)
    select = f"SELECT {names} FROM {table} AS t SEMI JOIN those ON those.row = t.rowid ORDER BY {names}"
    return query(con, select, those=those.to_frame("row"))


def _record_changes(entity: Entity, rows: OneSided) -> pl.DataFrame:
    """Return the changes of one category's records."""
    before, after = (side.rename({entity.id: "id"}).cast(pl.String()) for side in (rows.only_before, rows.only_after))
    came = after.join(before, on="id", how="anti").select("id", change=pl.lit("created"))
    went = before.join(after, on="id", how="anti").select("id", change=pl.lit("removed"))
    names = [name for name in TABLES[entity.table].names if name != entity.id]
    fields = [side.unpivot(names, index="id", variable_name="field", value_name="value") for side in (before, after)]
    changed = (
        fields[0]
        .rename({"value": "before"})
        .join(fields[1].rename({"value": "after"}), on=["id", "field"], how="inner")
        .filter(pl.col("before").ne_missing(pl.col("after")))
        .with_columns(change=pl.lit("changed"))
    )
    order = pl.col("field").cast(pl.Enum(names))
    return (
        pl.concat([came, went, changed], how="diagonal")
        .with_columns(category=pl.lit(entity.category))
        .sort("id", order, nulls_last=False)
        .select(pl.col(name).cast(type_) for name, type_ in _RECORDS.items())
    )


def _verdict_changes(events: OneSided) -> pl.DataFrame:
    was = events.only_before.select(*_POSITION, was="verdict")
    now = events.only_after.select(*_POSITION, now="verdict")
    both = was.join(now, on=_POSITION, how="full", coalesce=True)
    return both.filter(pl.col("was").ne_missing(pl.col("now"))).sort(_POSITION)


def _drop_changes(old: duckdb.DuckDBPyConnection, new: duckdb.DuckDBPyConnection) -> pl.DataFrame:
    return query(
        new,
        f"""
        SELECT coalesce(n.business_date, o.business_date) AS business_date, coalesce(n.path, o.path) AS path,
               coalesce(n.sha256, o.sha256) AS sha256,
               o.status AS was, o.reason AS was_reason, n.status AS now, n.reason AS now_reason
        FROM ({_DROPS}) AS n FULL JOIN other AS o ON n.path = o.path AND n.sha256 IS NOT DISTINCT FROM o.sha256
        WHERE o.status IS DISTINCT FROM n.status OR o.reason IS DISTINCT FROM n.reason
        ORDER BY 1 NULLS FIRST, 2, 3
        """,
        other=query(old, _DROPS),
    )
