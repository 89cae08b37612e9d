"""The event log: what checking gave for every edition of every drop, as Parquet parts, a part a run.

A part is written beside and renamed into place once, then never changed. It follows from archived bytes and the rule set
alone, so a lost part is read again from the archive.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path

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
_FILES = "nightdrop.files.2"
"""Where the file of editions keeps the names of the others in its part. A part of another form (1: without counts) has none
here and is read again."""


def position() -> pl.Expr:
    """Return the position of an event, from its drop's rank and its line."""
    return pl.col("rank") * LINES_A_DROP + pl.col("line")


def event_schema(entity: Entity) -> dict[str, pl.DataType]:
    """Return the columns of sound events in the log."""
    values = {field.name: field.type.dtype for field in entity.fields}
    return {"drop": pl.UInt32(), "line": pl.Int64(), STEP.name: pl.String(), "sent": pl.UInt64(), **values}


class PartWriter:
    """Writes one part, some checked events at a time."""

    def __init__(self, folder: Path, name: str) -> None:
        self._place = folder / name
        self._writing = folder / f"{_WRITING}{name}"
        shutil.rmtree(self._writing, ignore_errors=True)
        self._writing.mkdir(parents=True)
        self._number = 0

    def write(self, checked: Checked) -> None:
        """Add what checking gave for some events."""
        frames = {"index": checked.index, "reasons": checked.reasons, "warnings": checked.warnings, **checked.events}
        for kind, frame in frames.items():
            if not frame.is_empty():
                file = self._writing / f"{kind}-{self._number:06}.parquet"
                with _refusals_as_os_errors(file):
                    frame.write_parquet(file, compression="lz4", statistics=False)
        self._number += 1

    def close(self, editions: pl.DataFrame) -> None:
        """Finish the part: only the rows of these editions (columns `EDITIONS`) count."""
        files = {_FILES: ",".join(sorted(file.name for file in self._writing.iterdir()))}
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


@dataclass(frozen=True, slots=True)
class Logged:
    """Everything the log has about chosen editions; lazy, each with `rank`, `pos`, `business_date`.

    `index` also has `file`: the resubmitted file a record comes from, null for one that comes from its drop.
    """

    index: pl.LazyFrame
    reasons: pl.LazyFrame
    warnings: pl.LazyFrame
    events: dict[str, pl.LazyFrame]


class EventLog:
    """The folder of parts."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

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

    def read(self, chosen: pl.DataFrame, fixes: pl.DataFrame) -> Logged:
        """Return what the log has of the chosen editions (`CHOSEN`), corrected lines (`FIXES`) in their originals' place."""
        fixes = fixes.join(chosen, on="rank", how="semi")
        schemas = {"index": INDEX, "reasons": REASONS, "warnings": REASONS}
        schemas |= {category: event_schema(entity) for category, entity in ENTITIES.items()}
        frames = {kind: self._scan(kind, schema, chosen, fixes) for kind, schema in schemas.items()}
        return Logged(
            **{field.name: frames[field.name] for field in fields(Logged) if field.name != "events"},
            events={category: frames[category] for category in ENTITIES},
        )

    def _scan(self, kind: str, schema: dict[str, pl.DataType], chosen: pl.DataFrame, fixes: pl.DataFrame) -> pl.LazyFrame:
        placed = {**schema, "rank": pl.Int64(), "business_date": pl.Date(), "file": pl.String()}
        frames = [pl.LazyFrame(schema=placed)]
        for (part,), drops in chosen.group_by("part", maintain_order=True):
            for scanned in self._files(str(part), kind):
                places = drops.lazy().select("drop", "rank", "business_date", file=pl.lit(None, dtype=pl.String))
                rows = scanned.join(places, on="drop", how="inner", maintain_order="left")
                if not fixes.is_empty():
                    rows = rows.join(fixes.lazy(), on=["rank", "line"], how="anti", maintain_order="left")
                frames.append(rows.select(*placed))
        for (part,), lines in fixes.group_by("part", maintain_order=True):
            for scanned in self._files(str(part), kind):
                those = lines.lazy().select("drop", "its_line", "rank", "business_date", "file", original="line")
                rows = scanned.join(those, left_on=["drop", "line"], right_on=["drop", "its_line"], how="inner")
                frames.append(rows.with_columns(line="original").select(*placed))
        return pl.concat(frames).with_columns(pos=position())

    def _files(self, part: str, kind: str) -> list[pl.LazyFrame]:
        """Return the rows of one kind in a part, none when there are no files of it."""
        files = sorted((self.folder / part).glob(f"{kind}-*.parquet"))
        return [pl.scan_parquet(files, glob=False)] if files else []


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
        told = pq.read_metadata(part / "editions.parquet").metadata[_FILES.encode()]
        for name in filter(None, told.decode().split(",")):
            pq.read_metadata(part / name)
        return pl.read_parquet(part / "editions.parquet", glob=False).with_columns(part=pl.lit(part.name))
    except (pa.ArrowInvalid, OSError, KeyError, TypeError, pl.exceptions.PolarsError):
        return None
