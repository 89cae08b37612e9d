"""The event log: what checking gave for every edition of every drop, as Parquet parts, a part a run.

A part is written beside and renamed into place once, then never changed. It follows from archived bytes and the rule set
alone, so a lost part is read again from the archive.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass, fields
from pathlib import Path

import polars as pl

from pipelines.checking import INDEX, REASONS, Checked
from validation.entities import ENTITIES
from validation.fields import STEP, Entity

EDITIONS = {
    "drop": pl.UInt32(),
    "path": pl.String(),
    "sha256": pl.String(),
    "rule_set": pl.String(),
}
"""One edition of one drop; `drop` is its number within the part."""
CHOSEN = {"part": pl.String(), "drop": pl.UInt32(), "rank": pl.Int64(), "business_date": pl.Date()}
"""Editions to read from the log, with the place each has among the living drops."""
LINES_A_DROP = 1 << 40
"""A position is one number: rank of the drop times this, plus the line."""
_WRITING = ".writing-"


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
                frame.write_parquet(self._writing / f"{kind}-{self._number:06}.parquet", compression="lz4", statistics=False)
        self._number += 1

    def close(self, editions: pl.DataFrame) -> None:
        """Finish the part: only the rows of these editions (columns `EDITIONS`) count."""
        editions.select(*EDITIONS).write_parquet(self._writing / "editions.parquet")
        self._writing.rename(self._place)

    def abandon(self) -> None:
        """Leave nothing behind."""
        shutil.rmtree(self._writing, ignore_errors=True)


@dataclass(frozen=True, slots=True)
class Logged:
    """Everything the log has about chosen editions; lazy, each with `rank`, `pos`, `business_date`."""

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

    def editions(self, rule_set: str) -> pl.DataFrame:
        """Return part, drop, path, sha256 of every edition checked under the rule set, the newest part of each."""
        parts = sorted(place.parent for place in self.folder.glob("*/editions.parquet") if not place.parent.name.startswith("."))
        frames = [pl.read_parquet(part / "editions.parquet").with_columns(part=pl.lit(part.name)) for part in parts]
        empty = pl.DataFrame(schema={**EDITIONS, "part": pl.String()})
        return (
            pl.concat([empty, *frames])
            .filter(pl.col("rule_set") == rule_set)
            .unique(["path", "sha256"], keep="last", maintain_order=True)
            .select("part", "drop", "path", "sha256")
        )

    def read(self, chosen: pl.DataFrame) -> Logged:
        """Return what the log has of the chosen editions (columns `CHOSEN`)."""
        schemas = {"index": INDEX, "reasons": REASONS, "warnings": REASONS}
        schemas |= {category: event_schema(entity) for category, entity in ENTITIES.items()}
        frames = {kind: self._scan(kind, schema, chosen) for kind, schema in schemas.items()}
        return Logged(
            **{field.name: frames[field.name] for field in fields(Logged) if field.name != "events"},
            events={category: frames[category] for category in ENTITIES},
        )

    def _scan(self, kind: str, schema: dict[str, pl.DataType], chosen: pl.DataFrame) -> pl.LazyFrame:
        frames = [pl.LazyFrame(schema={**schema, "rank": pl.Int64(), "business_date": pl.Date()})]
        for (part,), drops in chosen.group_by("part", maintain_order=True):
            files = sorted((self.folder / str(part)).glob(f"{kind}-*.parquet"))
            if files:
                places = drops.lazy().select("drop", "rank", "business_date")
                frames.append(pl.scan_parquet(files).join(places, on="drop", how="inner", maintain_order="left"))
        return pl.concat(frames).with_columns(pos=position())
