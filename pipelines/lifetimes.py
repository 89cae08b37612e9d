"""When the records of a timeline begin and end: which row creates each and which one deletes it, as their parents stand. Pure.

Neither depends on updates, so it is found for all records at once before any update is decided.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from pipelines.settled import NO_REASONS, placed
from pipelines.timeline import BASE, CREATE, DELETE, Ints, Timeline
from validation.findings import describe, find
from validation.rules import PARENT, Rule


@dataclass(frozen=True, slots=True)
class Lifetimes:
    """A timeline with the lives of its records found out."""

    timeline: Timeline
    created: Ints
    """Per row, the row that creates its record; NEVER when none does."""
    deleted: Ints
    """Per row, the row that deletes its record; NEVER when none does."""
    parents: pl.DataFrame
    """One row a create, in order: row, parent_known, parent_gone."""
    parent_lives: pl.DataFrame
    mismatches: pl.DataFrame
    """Reasons (columns `REASONS`) of creates that disagree with their living parent."""

    @classmethod
    def of(cls, timeline: Timeline, rules: Sequence[Rule], lives: pl.DataFrame) -> Lifetimes:
        """Find out who lives when; `rules` are those that refuse, `lives` (columns `lives_schema`) the parents'."""
        rows = np.arange(len(timeline), dtype=np.int64)
        parents = _parents_of_creates(timeline, lives)
        welcome = parents.filter(pl.col("parent_known") & ~pl.col("parent_gone"))["row"].to_numpy()
        bad, mismatches = _mismatches(timeline, [rule for rule in rules if rule.waits_for_parent], welcome, lives)
        creating = timeline.step == BASE
        creating[welcome] = True
        creating[bad] = False
        created = timeline.first(creating)[timeline.group]
        ending = (timeline.step == DELETE) & (created < rows)
        stood = np.flatnonzero(timeline.step == BASE)
        ending[stood[timeline.stood("deleted_pos", stood).is_not_null().to_numpy()]] = True
        deleted = timeline.first(ending)[timeline.group]
        # A create of an id that is taken is refused for that, whatever its parent says.
        taken = pl.Series(timeline.pos[rows > created], dtype=pl.Int64)
        return cls(timeline, created, deleted, parents, lives, mismatches.filter(~pl.col("pos").is_in(taken.implode())))


def _parents_of_creates(timeline: Timeline, lives: pl.DataFrame) -> pl.DataFrame:
    """Return row, parent_known, parent_gone of every create, as its parent stands at the create's own position."""
    rows = np.flatnonzero(timeline.step == CREATE)
    creates = pl.DataFrame({"row": rows.astype(np.int64), "pos": timeline.pos[rows]})
    if timeline.entity.parent_id is None:
        return creates.select("row", parent_known=pl.lit(True), parent_gone=pl.lit(False))
    return (
        creates.with_columns(timeline.values(timeline.entity.parent_id, rows).alias("id"))
        .join(lives, on="id", how="left", maintain_order="left")
        .select(
            "row",
            parent_known=(pl.col("created_pos") < pl.col("pos")).fill_null(False),
            parent_gone=(pl.col("deleted_pos") < pl.col("pos")).fill_null(False),
        )
    )


def of_parent(timeline: Timeline, lives: pl.DataFrame, rules: Sequence[Rule], at: Ints, ids: pl.Series) -> list[pl.Series]:
    """Return the parent's fields that the rules read, at the rows `at`; null where the parent is not there yet."""
    wanted = sorted({name for rule in rules for name in rule.reads if name.startswith(PARENT)})
    if not wanted:
        return []
    joined = (
        pl.DataFrame({"id": ids, "pos": timeline.pos[at]})
        .join(lives, on="id", how="left", maintain_order="left")
        .with_columns(there=pl.col("created_pos") < pl.col("pos"))
    )
    return [joined.select(pl.when("there").then(pl.col(name.removeprefix(PARENT))).alias(name)).to_series() for name in wanted]


def _mismatches(timeline: Timeline, rules: Sequence[Rule], welcome: Ints, lives: pl.DataFrame) -> tuple[Ints, pl.DataFrame]:
    """Return the rows of creates that disagree with their living parent, and their reasons."""
    entity = timeline.entity
    if not rules or entity.parent_id is None:
        return np.empty(0, np.int64), NO_REASONS
    own = sorted({name for rule in rules for name in rule.reads if "." not in name})
    ids = timeline.values(entity.parent_id, welcome)
    frame = pl.DataFrame([timeline.values(name, welcome) for name in own] + of_parent(timeline, lives, rules, welcome, ids))
    found = find(f"{entity.category} record", rules, frame)
    return welcome[found["row"].to_numpy()], placed(describe(found, rules, frame), timeline.pos[welcome])
