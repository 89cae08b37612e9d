"""The event log: what checking gave for every edition of every drop, as Parquet parts, a part a run.

A part is written beside and renamed into place once, then never changed. It follows from archived bytes and the rule set
alone, so a lost part is read again from the archive.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from copy import copy
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.checking import INDEX, REASONS, Checked
from pipelines.files import sync_folder
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
LINES_A_DROP = 1 << 40
"""A position is one number: rank of the drop times this, plus the line."""
_WRITING = ".writing-"
_FILES = "nightdrop.files.4"
"""Where the file of editions keeps the names of the others in its part, its units, and where ids stand in them. A part of another
form (1: without counts, 2: one index, 3: without units) has none here and is read again."""


def position() -> pl.Expr:
    """Return the position of an event, from its drop's rank and its line."""
    return pl.col("rank") * LINES_A_DROP + pl.col("line")


def event_schema(entity: Entity) -> dict[str, pl.DataType]:
    """Return the columns of sound events in the log."""
    values = {field.name: field.type.dtype for field in entity.fields}
    return {"drop": pl.UInt32(), "line": pl.Int64(), STEP.name: pl.String(), "sent": pl.UInt64(), **values}


def index_of(category: object) -> str:
    """Return the kind of the log's rows about all records of a category; `None`: of those whose category could not be read."""
    return f"index.{category or 'unread'}"


_INDEXES = [index_of(category) for category in (None, *ENTITIES)]
_FINDINGS = {**REASONS, "entity_id": pl.String()}
_SCHEMAS = {
    **dict.fromkeys(_INDEXES, INDEX),
    "reasons": _FINDINGS,
    "warnings": _FINDINGS,
    **{category: event_schema(entity) for category, entity in ENTITIES.items()},
}
_IDS = {kind: ENTITIES[kind].id if kind in ENTITIES else "entity_id" for kind in _SCHEMAS}
"""The column of each kind with the id of the record that a row is about; null where it could not be read."""
_GROUPS = 16
"""A file whose rows are in the order of their ids is read by so many groups of rows."""
_GROUP = 4096
"""A group has at least so many rows."""
_SAMPLED = 64
"""Of a file without groups one id in so many is looked at to cut ranges."""


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


class PartWriter:
    """Writes one part, some checked events at a time; `by_id`: its rows in the order of ids, to be read by ranges of them."""

    def __init__(self, folder: Path, name: str, *, by_id: bool = False) -> None:
        self._place = folder / name
        self._writing = folder / f"{_WRITING}{name}"
        shutil.rmtree(self._writing, ignore_errors=True)
        self._writing.mkdir(parents=True)
        self._number = 0
        self._units: list[tuple[object, ...]] = []
        self._by_id = by_id
        self._ids: dict[str, dict[str, Any]] = {}
        self._rows: dict[str, int] = {}

    def write(self, checked: Checked) -> None:
        """Add what checking gave for some events."""
        who = checked.index.select("drop", "line", "entity_id")
        told = {"reasons": checked.reasons, "warnings": checked.warnings}
        frames = {kind: rows.join(who, on=["drop", "line"], how="left", maintain_order="left") for kind, rows in told.items()}
        frames |= checked.events
        for (category,), index in checked.index.partition_by("category", as_dict=True).items():
            frames[index_of(category)] = index
        for kind, frame in frames.items():
            if not frame.is_empty():
                self._write(kind, frame)
        self._units += _units(checked.index, self._number).iter_rows()
        self._number += 1

    def _write(self, kind: str, frame: pl.DataFrame) -> None:
        file, group = self._writing / _file_name(kind, self._number), None
        if self._by_id:
            frame = frame.sort(_IDS[kind])
            ids = frame[_IDS[kind]]
            group = max(_GROUP, -(-len(frame) // _GROUPS))
            self._ids[file.name] = {"nameless": ids.null_count(), "group": group, "ids": ids.gather_every(group).to_list()}
        with _refusals_as_os_errors(file):
            frame.write_parquet(file, compression="lz4", statistics=False, row_group_size=group)
        self._rows[file.name] = len(frame)

    def close(self, editions: pl.DataFrame) -> None:
        """Finish the part: only the rows of these editions (columns `EDITIONS`) count."""
        names = sorted(file.name for file in self._writing.iterdir())
        files = {_FILES: json.dumps({"files": names, "units": self._units, "rows": self._rows, "ids": self._ids})}
        file = self._writing / "editions.parquet"
        with _refusals_as_os_errors(file):
            editions.select(*EDITIONS).write_parquet(file, metadata=files)
        for file in self._writing.iterdir():
            with file.open("rb") as stream:
                os.fsync(stream.fileno())
        sync_folder(self._writing)
        self._writing.rename(self._place)
        sync_folder(self._place.parent)

    def abandon(self) -> None:
        """Leave nothing behind."""
        shutil.rmtree(self._writing, ignore_errors=True)


def _units(index: pl.DataFrame, number: int) -> pl.DataFrame:
    """Return the units (`UNITS`) of the files that hold what that index of records is about."""
    line = pl.col("line")
    units = index.group_by("drop", maintain_order=True).agg(
        line.min().alias("first_line"), line.max().alias("last_line"), records=pl.len(), bytes=pl.col("byte_length").sum()
    )
    return units.with_columns(number=pl.lit(number, dtype=pl.Int64), alone=pl.len() == 1).select(*UNITS)


class Logged:
    """What the log has of chosen units; every row with `rank`, `pos`, `business_date`.

    Kinds are `reasons`, `warnings`, the categories, whose rows are the sound events, and an index a category of all its records,
    with `file`: the resubmitted file a record comes from, null for one that comes from its drop.
    """

    def __init__(self, place: Callable[[str], Path], units: pl.DataFrame, fixes: pl.DataFrame) -> None:
        self._place, self._units = place, units
        self._chosen = units.select(*CHOSEN).unique(maintain_order=True)
        runs = units.select("rank", "first_line", "last_line")
        within = pl.col("line").is_between("first_line", "last_line")
        self._fixes = fixes.join(runs, on="rank", how="inner").filter(within).select(fixes.columns)
        self._ids: Ids | None = None
        self._indexes = _INDEXES
        self._parts_told: dict[str, dict[str, Any]] = {}

    def of(self, ids: Ids, *categories: str) -> Logged:
        """Return what is about records with an id of a range, of some categories (none named: of all, and of none)."""
        part = copy(self)
        part._ids, part._indexes = ids, [index_of(category) for category in categories] or _INDEXES
        return part

    def ids(self, category: str, parts: int) -> list[Ids]:
        """Return ranges of ids, so that each has about the same number of a category's records."""
        kind = index_of(category)
        told = [pl.Series(dtype=pl.String)]
        for part, number in self._units.select("part", "number").unique(maintain_order=True).iter_rows():
            name = _file_name(kind, number)
            known = self._told(part)["ids"].get(name)
            if known is not None:
                told.append(pl.Series(known["ids"], dtype=pl.String))
            elif (file := self._place(part) / name).exists():
                told.append(pl.read_parquet(file, glob=False, columns=["entity_id"]).to_series().gather_every(_SAMPLED))
        return Ids.cut(pl.concat(told).drop_nulls(), parts)

    def records(self, category: str) -> int:
        """Return about how many records of a category there are: those whose files have others too count in full."""
        kind = index_of(category)
        files = self._units.select("part", "number").unique()
        told = (self._told(part)["rows"].get(_file_name(kind, number), 0) for part, number in files.iter_rows())
        fixed = 0 if self._fixes.is_empty() else 1
        return fixed + sum(map(int, told))

    def every(self, kind: str) -> pl.LazyFrame:
        """Return all rows of a kind."""
        frames = [pl.LazyFrame(schema=_placed(kind))]
        for (part, number), units in self._units.group_by("part", "number", maintain_order=True):
            file = self._place(str(part)) / _file_name(kind, int(str(number)))
            if file.exists():
                rows = self._rows(kind, str(part), file)
                alone = units["alone"].all()
                frames.append(self._of_drop(kind, rows, units) if alone else self._in_place(kind, rows, units.lazy()))
        for (part,), lines in self._fixes.group_by("part", maintain_order=True):
            held = pl.lit(value=True) if self._ids is None else self._ids.hold(_IDS[kind])
            frames += [self._in_stead(kind, rows.filter(held), lines.lazy()) for rows in self._scan(kind, [str(part)])]
        return pl.concat(frames).with_columns(pos=position())

    def index(self) -> pl.LazyFrame:
        """Return what the log has of every record, of whatever category."""
        return pl.concat([self.every(kind) for kind in self._indexes])

    def _rows(self, kind: str, part: str, file: Path) -> pl.LazyFrame:
        """Return the rows of a file that are asked for: where they stand by their ids, no others are read."""
        rows = pl.scan_parquet(file, glob=False)
        if self._ids is None:
            return rows
        if known := self._told(part)["ids"].get(file.name):
            first, end = _stretch(self._ids, **known)
            rows = rows.slice(first, None if end is None else end - first)
        return rows.filter(self._ids.hold(_IDS[kind]))

    def _told(self, part: str) -> dict[str, Any]:
        if part not in self._parts_told:
            self._parts_told[part] = _told_by(self._place(part))
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


def _stretch(wanted: Ids, *, nameless: int, group: int, ids: Sequence[str | None]) -> tuple[int, int | None]:
    """Return which rows of a file may hold wanted ids, from a row and before another.

    The rows are in the order of their ids, `nameless` ones first; `ids` are those of the first row of each group.
    """
    if wanted.none:
        return 0, nameless
    known = [id_ or "" for id_ in ids]
    first = max(0, bisect_left(known, wanted.first) - 1) * group if wanted.first is not None else 0
    end = bisect_left(known, wanted.end) * group if wanted.end is not None else None
    return max(first, nameless), end


def _file_name(kind: str, number: int) -> str:
    return f"{kind}-{number:06}.parquet"


def _placed(kind: str) -> dict[str, pl.DataType]:
    """Return the columns of a kind's rows with the place of their drop."""
    return {**_SCHEMAS[kind], "rank": pl.Int64(), "business_date": pl.Date(), "file": pl.String()}


class EventLog:
    """The folder of parts."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def place(self, part: str) -> Path:
        """Return the folder of a part."""
        return self.folder / part

    def sweep(self) -> None:
        """Remove what a killed run left half written. Only for the run that has the lock."""
        for left in self.folder.glob(f"{_WRITING}*"):
            shutil.rmtree(left)

    def forget(self, runs: Sequence[str]) -> None:
        """Remove the parts of runs that never committed: what they read is read again. Only for the run that has the lock."""
        for run_id in runs:
            for part in self.folder.glob(f"{run_id}.*"):
                shutil.rmtree(part)

    def editions(self, rule_set: str) -> pl.DataFrame:
        """Return part, drop, path, sha256, released of every edition checked under the rule set, the newest part of each."""
        parts = sorted(place.parent for place in self.folder.glob("*/editions.parquet") if not place.parent.name.startswith("."))
        frames = [frame for part in parts if (frame := _editions_of(part)) is not None]
        empty = pl.DataFrame(schema={**EDITIONS, "part": pl.String()})
        return (
            pl.concat([empty, *frames])
            .filter(pl.col("rule_set") == rule_set)
            .unique(["path", "sha256", "released"], keep="last", maintain_order=True)
            .select("part", "drop", "path", "sha256", "released")
        )

    def units(self, chosen: pl.DataFrame) -> pl.DataFrame:
        """Return the units of chosen editions (columns `CHOSEN`, `UNITS`), in the order of their events."""
        frames = [pl.DataFrame(schema={**CHOSEN, **UNITS})]
        for (part,), drops in chosen.drop_nulls("part").group_by("part", maintain_order=True):
            told = _told_by(self.place(str(part)))
            units = pl.DataFrame(told["units"], schema=UNITS, orient="row")
            frames.append(drops.join(units, on="drop", how="inner").select(frames[0].columns))
        return pl.concat(frames).sort("rank", "first_line")

    def read(self, chosen: pl.DataFrame, fixes: pl.DataFrame) -> Logged:
        """Return what the log has of the chosen editions (`CHOSEN`), corrected lines (`FIXES`) in their originals' place."""
        return self.of_units(self.units(chosen), fixes)

    def of_units(self, units: pl.DataFrame, fixes: pl.DataFrame) -> Logged:
        """Return what the log has of some units, corrected lines in their originals' place."""
        return Logged(self.place, units, fixes)


@contextmanager
def _refusals_as_os_errors(file: Path) -> Iterator[None]:
    """Raise what the file system refuses as OSError with number and file; Polars tells it in its text only."""
    try:
        yield
    except (pl.exceptions.ComputeError, OSError) as error:
        number = re.search(r"\(os error ([0-9]+)\)", str(error))
        if number is None:
            raise
        raise OSError(int(number[1]), os.strerror(int(number[1])), str(file)) from error


def _editions_of(part: Path) -> pl.DataFrame | None:
    """Return the editions of a part; None when a file of it is damaged or gone: its drops are then read again."""
    try:
        for name in _told_by(part)["files"]:
            pq.read_metadata(part / name)
        return pl.read_parquet(part / "editions.parquet", glob=False).with_columns(part=pl.lit(part.name))
    except (pa.ArrowInvalid, OSError, KeyError, TypeError, ValueError, pl.exceptions.PolarsError):
        return None


def _told_by(part: Path) -> dict[str, Any]:
    """Return what the file of editions of a part tells: `files` (names), `units` (rows of `UNITS`), `rows`, `ids` (a file)."""
    told: dict[str, Any] = json.loads(pq.read_metadata(part / "editions.parquet").metadata[_FILES.encode()])
    return told
