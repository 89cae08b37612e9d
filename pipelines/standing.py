"""What the working warehouse says of records: how they stood, when they were made and ended. Reads only."""

from __future__ import annotations

from contextlib import AbstractContextManager
from datetime import date

import duckdb
import polars as pl

from pipelines import conservation
from pipelines.database import handed_over, query
from pipelines.positions import position
from pipelines.settled import SPAN, lives_schema
from validation.entities import ENTITIES
from validation.fields import Entity

_EARLIER = pl.lit(-1, dtype=pl.Int64)
"""Position of what happened before the first date that is decided again."""

_LIFE = ("id", "created_pos", "deleted_pos")
"""What a life is, where children ask for nothing else of their parent."""

VERDICTS = {
    "business_date": pl.Date(),
    "path": pl.String(),
    "line": pl.Int64(),
    "id": pl.String(),
    "step": pl.String(),
    "was": pl.String(),
    "was_client": pl.String(),
}
"""Events as the warehouse has them: `was` is the verdict, `was_client` the client."""


def no_records(entity: Entity) -> pl.DataFrame:
    """Return no record, in the columns of `records_before`."""
    fields: dict[str, pl.DataType] = {name: entity.field(name).type.dtype for name in entity.names}
    return pl.DataFrame(schema={**fields, **SPAN, "valid_from": pl.Date(), "created_pos": pl.Int64(), "deleted_pos": pl.Int64()})


def no_names() -> pl.DataFrame:
    """Return no record's name, in the columns of `records_named`."""
    return pl.DataFrame(schema={"category": pl.String(), "entity_id": pl.String()})


def records_named(con: duckdb.DuckDBPyConnection, drops: pl.DataFrame) -> pl.DataFrame:
    """Return category, entity_id of every record that the events of those drops (business_date, path) name."""
    if drops.is_empty():
        return no_names()
    return query(
        con,
        "SELECT DISTINCT category, entity_id FROM events AS e SEMI JOIN those "
        "ON those.business_date = e.business_date AND those.path = e.path",
        those=drops.select("business_date", "path"),
    )


class AsOf:
    """How records stood before a business date; lives, as the warehouse has them.

    `ranks`: business_date, path, rank of the drops from `since` on; what happened earlier is at position -1.
    """

    def __init__(self, con: duckdb.DuckDBPyConnection, since: date, ranks: pl.DataFrame) -> None:
        self.con, self.since, self.ranks = con, since, ranks

    def has_none(self, entity: Entity) -> bool:
        """Tell whether it is known, unasked, that no record stood."""
        return False

    def records(self, entity: Entity, ids: pl.DataFrame) -> pl.DataFrame:
        """Return the records of those ids (column `id`) as they stood before `since`: columns of `no_records`."""
        return _versions(
            self.con, entity, ids, "valid_from < $since AND (valid_to IS NULL OR valid_to >= $since)", since=self.since
        )

    def verdicts(self, entity: Entity, ids: pl.DataFrame) -> pl.DataFrame:
        """Return the events from `since` on that name those ids, columns `VERDICTS`."""
        return query(
            self.con,
            "SELECT e.business_date, e.path, e.line, e.entity_id AS id, e.step, e.verdict AS was, e.client_id AS was_client "
            "FROM events AS e SEMI JOIN ids ON ids.id = e.entity_id WHERE e.category = $category AND e.business_date >= $since",
            {"category": entity.category, "since": self.since},
            ids=ids,
        )

    def lives(self, entity: Entity, ids: pl.DataFrame, *, known: tuple[pl.DataFrame, pl.DataFrame] | None = None) -> pl.DataFrame:
        """Return the lives (columns `lives_schema`) of those ids; `known`: their `records` and `verdicts`, to ask less."""
        schema = lives_schema(entity)
        if known is not None and len(schema) == len(_LIFE):
            found = _made(entity, *known)
        else:
            found = _lives(self.con, entity, entity.table, ids)
        if found.is_empty():
            return found.select(*schema)
        events = self.verdicts(entity, found.select("id")) if known is None else known[1]
        # A drop that is no longer living has no rank: what it made is at no position that a living one has.
        placed = (
            events.filter((pl.col("was") == "applied") & pl.col("step").is_in(["create", "delete"]))
            .join(self.ranks, on=["business_date", "path"], how="left")
            .select("id", "step", at=position().fill_null(-2))
        )
        made = placed.filter(pl.col("step") == "create").select("id", made="at")
        ended = placed.filter(pl.col("step") == "delete").select("id", ended="at")
        return (
            found.join(made, on="id", how="left")
            .join(ended, on="id", how="left")
            .with_columns(created_pos=pl.coalesce("made", "created_pos"), deleted_pos=pl.coalesce("ended", "deleted_pos"))
            .select(*schema)
        )


class Now:
    """How records stand, when all that stands of them comes before what is decided.

    The lives of records that are decided already are kept here, for their children. The connection is used in `turn`.
    """

    def __init__(self, con: duckdb.DuckDBPyConnection, turn: AbstractContextManager[object]) -> None:
        self.con, self.turn = con, turn
        self._kept: dict[str, int] = {}
        """Category -> how many lives are kept of it."""
        self._first_load = {entity.table for entity in ENTITIES.values() if _is_empty(con, entity)}

    def has_none(self, entity: Entity) -> bool:
        """Tell whether no record stood before the change."""
        return entity.table in self._first_load

    def records(self, entity: Entity, ids: pl.DataFrame) -> pl.DataFrame:
        """Return the records of those ids (column `id`): columns of `no_records`."""
        # What was written since is of other records: no part asks for another one's.
        if self.has_none(entity):
            return no_records(entity)
        with self.turn:
            return _versions(self.con, entity, ids, "valid_to IS NULL")

    def keep(self, entity: Entity, lives: pl.DataFrame) -> None:
        """Keep lives (columns `lives_schema`) in a table that ends with `forget`."""
        # Nobody inserts nothing (docs/design.md, Parts): DuckDB 2.0.0 would hide the next whole row groups until the commit.
        if lives.is_empty():
            return
        with self.turn, handed_over(self.con, lives=lives):
            if entity.category in self._kept:
                self.con.execute(f"INSERT INTO {_kept(entity)} SELECT * FROM lives")
            else:
                self.con.execute(f"CREATE TEMP TABLE {_kept(entity)} AS SELECT * FROM lives")
        self._kept[entity.category] = self._kept.get(entity.category, 0) + len(lives)

    def lives(self, entity: Entity, ids: pl.DataFrame) -> pl.DataFrame:
        """Return the lives (columns `lives_schema`) of those ids."""
        with self.turn:
            if entity.category not in self._kept:
                return _lives(self.con, entity, entity.table, ids)
            lives = query(self.con, f"SELECT * FROM {_kept(entity)} AS t SEMI JOIN ids ON ids.id = t.id", ids=ids)
            others = ids.join(lives, on="id", how="anti")
            return pl.concat([lives.cast(pl.Schema(lives_schema(entity))), _lives(self.con, entity, entity.table, others)])

    def forget(self) -> None:
        """Drop what was kept, once it is sure that all of it could be seen: raises NightdropError if not."""
        for category, count in self._kept.items():
            # Looked at: `count(*)` alone is answered from what DuckDB noted when they were put in.
            counting = f"SELECT count(*) FILTER (WHERE id IS NOT NULL) FROM {_kept(ENTITIES[category])}"
            ((seen,),) = self.con.execute(counting).fetchall()
            conservation.same(f"the lives of {category}s", "kept for those that hang on them", count, "seen", seen)
            self.con.execute(f"DROP TABLE {_kept(ENTITIES[category])}")
        self._kept.clear()


def _is_empty(con: duckdb.DuckDBPyConnection, entity: Entity) -> bool:
    return not con.execute(f"SELECT 1 FROM {entity.table} LIMIT 1").fetchall()


def _kept(entity: Entity) -> str:
    return f"lives_of_{entity.table}"


Standing = AsOf | Now


def _made(entity: Entity, before: pl.DataFrame, verdicts: pl.DataFrame) -> pl.DataFrame:
    """Return the records there are, columns `_LIFE`: those that stood before, and those that an applied event created since."""
    created = verdicts.filter((pl.col("was") == "applied") & (pl.col("step") == "create"))
    none = pl.lit(None, dtype=pl.Int64)
    return pl.concat(
        [
            before.select("created_pos", "deleted_pos", id=entity.id).select(_LIFE),
            created.select("id", created_pos=_EARLIER, deleted_pos=none),
        ]
    )


def _versions(
    con: duckdb.DuckDBPyConnection, entity: Entity, ids: pl.DataFrame, which: str, **parameters: object
) -> pl.DataFrame:
    types = pl.Schema({field.name: field.type.dtype for field in entity.fields})
    columns = ", ".join((*entity.names, *SPAN, "valid_from"))
    found = query(
        con,
        f"SELECT {columns} FROM {entity.history} AS v SEMI JOIN ids ON ids.id = v.{entity.id} WHERE {which}",
        parameters,
        ids=ids,
    )
    return found.cast(types).with_columns(
        created_pos=_EARLIER, deleted_pos=pl.when(pl.col("deleted_on").is_not_null()).then(_EARLIER)
    )


def _lives(con: duckdb.DuckDBPyConnection, entity: Entity, source: str, ids: pl.DataFrame) -> pl.DataFrame:
    """Return the lives of those ids as if all had happened earlier."""
    schema = lives_schema(entity)
    if ids.is_empty():
        return pl.DataFrame(schema=schema)
    shown = "".join(f", t.{name}" for name in schema if name in entity.names)
    found = query(
        con,
        f"SELECT t.{entity.id} AS id, t.deleted_on{shown} FROM {source} AS t SEMI JOIN ids ON ids.id = t.{entity.id}",
        ids=ids,
    )
    ended = pl.when(pl.col("deleted_on").is_not_null()).then(_EARLIER)
    return found.with_columns(created_pos=_EARLIER, deleted_pos=ended).select(*schema).cast(pl.Schema(schema))
