"""What the event log has of chosen drops, to be read whole, a range of ids at a time, or of some records alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, Future
from copy import copy
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import polars as pl

from pipelines.logform import CHOSEN, ID_COLUMNS, INDEXES, SCHEMAS, file_name, index_of, told_by
from pipelines.logorder import stretch
from pipelines.positions import position
from validation.entities import ENTITIES

_SAMPLED = 64
"""Of a file without steps one id in so many is looked at to cut ranges."""


@dataclass(frozen=True, slots=True)
class Ids:
    """A range of ids, from `first` on and before `end`, None for an open side; `none`: what has no id."""

    first: str | None = None
    end: str | None = None
    none: bool = False

    def hold(self, column: str) -> pl.Expr:
        """Tell of each row whether its id is of the range; null is of none."""
        if self.none:
            return pl.col(column).is_null()
        held = pl.col(column).is_not_null()
        if self.first is not None:
            held &= pl.col(column) >= self.first
        return held if self.end is None else held & (pl.col(column) < self.end)

    @staticmethod
    def cut(ids: pl.Series, parts: int) -> list[Ids]:
        """Return ranges that hold all ids there may be, and of those given about the same number each."""
        ordered = ids.sort()
        cuts = {str(ordered[len(ordered) * part // parts]) for part in range(1, parts)} if len(ordered) else set()
        edges = [None, *sorted(cuts), None]
        return [Ids(first, end) for first, end in pairwise(edges)]


NAMELESS = Ids(none=True)


class Logged:
    """What the log has of chosen units; every row with `rank`, `pos`, `business_date`.

    Kinds are `reasons`, `warnings`, the categories, whose rows are the sound events, and an index a category of all its records,
    with `file`: the resubmitted file a record comes from, null for one that comes from its drop.
    """

    def __init__(self, place: Callable[[str], Path], units: pl.DataFrame, fixes: pl.DataFrame) -> None:
        self._place, self._units = place, units
        self._files = [
            (str(part), int(str(number)), of) for (part, number), of in units.group_by("part", "number", maintain_order=True)
        ]
        self._chosen = units.select(*CHOSEN).unique(maintain_order=True)
        self._fixes = fixes if fixes.is_empty() else _within(units, fixes)
        self._fixed = [(str(part), lines) for (part,), lines in self._fixes.group_by("part", maintain_order=True)]
        self._ids: Ids | None = None
        self._indexes = INDEXES
        self._parts_told: dict[str, dict[str, Any]] = {}
        self._begun: dict[str, Future[pl.DataFrame]] = {}

    def of(self, ids: Ids, *categories: str) -> Logged:
        """Return what is about records with an id of a range, of some categories (none named: of all, and of none)."""
        part = copy(self)
        part._begun = {}
        part._ids, part._indexes = ids, [index_of(category) for category in categories] or INDEXES
        return part

    def begin(self, pool: Executor) -> None:
        """Begin to read everything, so that it is at hand when it is asked for, once."""
        # No sound event is without an id.
        events = [kind for kind in ENTITIES if index_of(kind) in self._indexes and self._ids != NAMELESS]
        for kind in (*self._indexes, *events, "reasons", "warnings"):
            self._begun[kind] = pool.submit(self._read, kind)

    def _read(self, kind: str) -> pl.DataFrame:
        rows = self._scanned(kind).collect()
        # To what is known of records columns are added, which makes Polars put them into one piece, beside the pieces.
        return rows.rechunk() if kind in INDEXES else rows

    def ids(self, category: str, parts: int) -> list[Ids]:
        """Return ranges of ids, so that each has about the same number of a category's records."""
        kind = index_of(category)
        told = [pl.Series(dtype=pl.String)]
        for part, number, _ in self._files:
            name = file_name(kind, number)
            known = self._told(part)["ids"].get(name)
            if known is not None:
                told.append(pl.Series(known["ids"], dtype=pl.String))
            elif (file := self._place(part) / name).exists():
                told.append(pl.read_parquet(file, glob=False, columns=["entity_id"]).to_series().gather_every(_SAMPLED))
        return Ids.cut(pl.concat(told).drop_nulls(), parts)

    def records(self, category: str) -> int:
        """Return about how many records of a category there are: those whose files have others too count in full."""
        kind = index_of(category)
        told = (self._told(part)["rows"].get(file_name(kind, number), 0) for part, number, _ in self._files)
        fixed = 0 if self._fixes.is_empty() else 1
        return fixed + sum(map(int, told))

    def every(self, kind: str) -> pl.LazyFrame:
        """Return all rows of a kind."""
        return self._begun.pop(kind).result().lazy() if kind in self._begun else self._scanned(kind)

    def _scanned(self, kind: str) -> pl.LazyFrame:
        frames = [pl.LazyFrame(schema=_placed(kind))]
        for rows, units in self._scans(kind):
            frames.append(self._of_drop(kind, rows, units) if units["alone"].all() else self._in_place(kind, rows, units.lazy()))
        for part, lines in self._fixed:
            held = pl.lit(value=True) if self._ids is None else self._ids.hold(ID_COLUMNS[kind])
            frames += [self._in_stead(kind, rows.filter(held), lines.lazy()) for rows in self._scan(kind, [part])]
        return pl.concat(frames).with_columns(pos=position())

    def index(self) -> pl.LazyFrame:
        """Return what the log has of every record, of whatever category."""
        return pl.concat([self.every(kind) for kind in self._indexes])

    def _scans(self, kind: str) -> Iterator[tuple[pl.LazyFrame, pl.DataFrame]]:
        """Yield the rows of files that are asked for, with the files' units; what files of one drop hold as a whole at once."""
        whole: list[Path] = []
        of = self._units.clear()
        for part, number, units in self._files:
            file = self._place(part) / file_name(kind, number)
            if not file.exists():
                continue
            cut = self._stretch(part, file)
            if whole and not (cut is None and _are_of_one_drop(of, units)):
                yield self._held(kind, pl.scan_parquet(whole, glob=False)), of
                whole = []
            if cut is None:
                whole, of = [*whole, file], units
            elif cut[0] < cut[1]:
                yield self._held(kind, pl.scan_parquet(file, glob=False).slice(cut[0], cut[1] - cut[0])), units
        if whole:
            yield self._held(kind, pl.scan_parquet(whole, glob=False)), of

    def _stretch(self, part: str, file: Path) -> tuple[int, int] | None:
        """Return from which row on and before which other a file has what is asked for; None where it does not tell."""
        if self._ids is None or (places := self._told(part)["ids"].get(file.name)) is None:
            return None
        return stretch(places, self._ids.first, self._ids.end, none=self._ids.none)

    def _held(self, kind: str, rows: pl.LazyFrame) -> pl.LazyFrame:
        return rows if self._ids is None else rows.filter(self._ids.hold(ID_COLUMNS[kind]))

    def _told(self, part: str) -> dict[str, Any]:
        if part not in self._parts_told:
            self._parts_told[part] = told_by(self._place(part))
        return self._parts_told[part]

    def having(self, kind: str, column: str, values: pl.Series) -> pl.DataFrame:
        """Return the rows of a kind that have one of the values in a column, in the drops of the chosen units.

        One scan of all parts, by that column first: the others are read of the rows that are wanted.
        """
        parts = pl.concat([self._chosen["part"], self._fixes["part"]]).unique().drop_nulls().to_list()
        frames = [pl.LazyFrame(schema=_placed(kind))]
        for scanned in self._scan(kind, parts):
            wanted = scanned.filter(pl.col(column).is_in(values.implode())).collect()
            found = wanted.lazy().with_columns(pl.col("part").str.split("/").list.get(-2))
            frames.append(self._in_place(kind, found, self._chosen.lazy(), by=("part", "drop")))
            frames.append(self._in_stead(kind, found, self._fixes.lazy(), by=("part", "drop")))
        return pl.concat(frames).with_columns(pos=position()).collect()

    def _of_drop(self, kind: str, rows: pl.LazyFrame, units: pl.DataFrame) -> pl.LazyFrame:
        """Give the rows of a file of one drop its place, without the lines that others stand in for."""
        rank, day = (pl.lit(units[name][0], dtype=CHOSEN[name]) for name in ("rank", "business_date"))
        return self._without_fixed(rows.with_columns(rank=rank, business_date=day, file=pl.lit(None, dtype=pl.String)), kind)

    def _in_place(self, kind: str, rows: pl.LazyFrame, drops: pl.LazyFrame, *, by: Sequence[str] = ("drop",)) -> pl.LazyFrame:
        """Give rows the places of their drops, without the lines that others stand in for."""
        places = drops.select(*by, "rank", "business_date", file=pl.lit(None, dtype=pl.String))
        return self._without_fixed(rows.join(places, on=by, how="inner", maintain_order="left"), kind)

    def _without_fixed(self, placed: pl.LazyFrame, kind: str) -> pl.LazyFrame:
        if not self._fixes.is_empty():
            placed = placed.join(self._fixes.lazy(), on=["rank", "line"], how="anti", maintain_order="left")
        return placed.select(*_placed(kind))

    @staticmethod
    def _in_stead(kind: str, rows: pl.LazyFrame, lines: pl.LazyFrame, *, by: Sequence[str] = ("drop",)) -> pl.LazyFrame:
        """Give lines of resubmitted files the places of those they stand in for."""
        places = lines.select(*by, "its_line", "rank", "business_date", "file", original="line")
        placed = rows.join(places, left_on=[*by, "line"], right_on=[*by, "its_line"], how="inner")
        return placed.with_columns(line="original").select(*_placed(kind))

    def _scan(self, kind: str, parts: Sequence[str]) -> list[pl.LazyFrame]:
        """Return the rows of one kind in some parts, none when there are no files of it; `part` is the path of a row's file."""
        files = [file for part in parts for file in sorted(self._place(part).glob(f"{kind}-*.parquet"))]
        return [pl.scan_parquet(files, glob=False, include_file_paths="part")] if files else []


def _within(units: pl.DataFrame, fixes: pl.DataFrame) -> pl.DataFrame:
    """Return those fixes whose lines are of the units."""
    runs = units.select("rank", "first_line", "last_line")
    within = pl.col("line").is_between("first_line", "last_line")
    return fixes.join(runs, on="rank", how="inner").filter(within).select(fixes.columns)


def _placed(kind: str) -> dict[str, pl.DataType]:
    """Return the columns of a kind's rows with the place of their drop."""
    return {**SCHEMAS[kind], "rank": pl.Int64(), "business_date": pl.Date(), "file": pl.String()}


def _are_of_one_drop(one: pl.DataFrame, other: pl.DataFrame) -> bool:
    """Tell whether two files (their units) are of one and the same drop, and of no other."""
    of = ("part", "drop", "alone")
    return len(one) == len(other) == 1 and one.select(of).row(0) == other.select(of).row(0) and bool(one["alone"][0])
