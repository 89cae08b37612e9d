"""Find the root cause of every refusal for an unknown record: the rejected create that would have made it.

Source: the contract's "Root causes". A refused create of a child may itself have a cause, so parents come first.
"""

from __future__ import annotations

from datetime import date

import duckdb
import polars as pl

from pipelines.database import handed_over, query
from pipelines.positions import position
from pipelines.summary import RootCause
from validation.entities import ENTITIES

_OWN = {"cause_date": "business_date", "cause_path": "path", "cause_line": "line"}
"""The columns of a cause, and those of the create that is its own cause."""
CAUSE = tuple(_OWN)
_THEIR_CAUSE = ", ".join(f"coalesce(if(business_date < $since, {name}, NULL), {own}) AS {name}" for name, own in _OWN.items())


def find_causes(con: duckdb.DuckDBPyConnection, since: date, ranks: pl.DataFrame) -> pl.DataFrame:
    """Write the cause of every `…_unknown` rejection from `since` on. Runs in the caller's transaction.

    `ranks`: business_date, path, rank of every living drop. Returns where (business_date, path) a cause is another now.
    """
    unknown = query(
        con,
        "SELECT business_date, path, line, code, category, step, entity_id, value AS missing, cause_date, cause_path, cause_line "
        "FROM rejections WHERE code LIKE '%\\_unknown' ESCAPE '\\' AND business_date >= $since",
        {"since": since},
    )
    if unknown.is_empty():
        return unknown.select("business_date", "path")
    creates = _rejected_creates(con, unknown, since, ranks)
    unknown = unknown.join(ranks, on=["business_date", "path"], how="left").with_columns(pos=position())
    caused = []
    for category in ENTITIES:
        mine = unknown.filter(pl.col("code") == f"{category}_unknown").drop(CAUSE)
        if mine.is_empty():
            continue
        found = mine.sort("pos").join_asof(
            creates[category].sort("pos"),
            on="pos",
            by_left="missing",
            by_right="entity_id",
            strategy="backward",
            allow_exact_matches=False,
            check_sortedness=False,  # it is sorted the line above; Polars cannot see so within groups
        )
        caused.append(found)
        for child in ENTITIES.values():
            if child.parent == category:
                creates[child.category] = _inherit(creates[child.category], found.filter(pl.col("category") == child.category))
    return _write(con, unknown, pl.concat(caused))


def most_followed(con: duckdb.DuckDBPyConnection, since: date, count: int) -> tuple[RootCause, ...]:
    """Return the root causes with most followers from a business date on."""
    found = con.execute(
        """
        WITH followed AS (
            SELECT cause_date, cause_path, cause_line, count(DISTINCT (path, line)) AS followers FROM rejections
            WHERE cause_line IS NOT NULL AND business_date >= $since GROUP BY ALL
            ORDER BY followers DESC, cause_date, cause_path, cause_line LIMIT $count
        )
        SELECT f.cause_date, f.cause_path, f.cause_line, string_agg(DISTINCT r.code, ', ' ORDER BY r.code), f.followers
        FROM followed AS f JOIN rejections AS r
            ON r.business_date = f.cause_date AND r.path = f.cause_path AND r.line = f.cause_line
        GROUP BY ALL ORDER BY f.followers DESC, 1, 2, 3
        """,
        {"since": since, "count": count},
    ).fetchall()
    return tuple(RootCause(*row) for row in found)


def _rejected_creates(
    con: duckdb.DuckDBPyConnection, unknown: pl.DataFrame, since: date, ranks: pl.DataFrame
) -> dict[str, pl.DataFrame]:
    """Return per category the rejected creates of missing ids: entity_id, pos, and their cause.

    That is the cause they have, of creates before `since`; themselves, of the others, whose own causes are yet to be found.
    """
    found = query(
        con,
        f"SELECT DISTINCT category, entity_id, business_date, path, line, {_THEIR_CAUSE} "
        "FROM rejections SEMI JOIN missing ON missing.id = entity_id WHERE step = 'create'",
        {"since": since},
        missing=unknown.select(id="missing").unique(),
    )
    placed = found.join(ranks, on=["business_date", "path"], how="left").with_columns(pos=position())
    return {category: placed.filter(pl.col("category") == category).select("entity_id", "pos", *CAUSE) for category in ENTITIES}


def _inherit(creates: pl.DataFrame, found: pl.DataFrame) -> pl.DataFrame:
    """Give creates that were refused for an unknown parent the cause of that refusal."""
    inherited = found.filter((pl.col("step") == "create") & pl.col("cause_line").is_not_null()).select("pos", *CAUSE)
    joined = creates.join(inherited, on="pos", how="left", suffix="_above")
    return joined.select("entity_id", "pos", *(pl.coalesce(f"{name}_above", name).alias(name) for name in CAUSE))


def _write(con: duckdb.DuckDBPyConnection, before: pl.DataFrame, found: pl.DataFrame) -> pl.DataFrame:
    key = ["business_date", "path", "line", "code"]
    columns = [*key, *CAUSE]
    changed = found.select(columns).join(before.select(columns), on=columns, how="anti", nulls_equal=True)
    if changed.is_empty():
        return changed.select("business_date", "path")
    with handed_over(con, changed=changed):
        con.execute(
            "UPDATE rejections AS r SET cause_date = c.cause_date, cause_path = c.cause_path, cause_line = c.cause_line "
            "FROM changed AS c "
            "WHERE r.business_date = c.business_date AND r.path = c.path AND r.line = c.line AND r.code = c.code"
        )
    return changed.select("business_date", "path")
