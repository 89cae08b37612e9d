"""The event log: what checking gave for every edition of every drop, as Parquet parts, a part a run.

A part is written beside and renamed into place once, then never changed. It follows from archived bytes and the rule set
alone, so a lost part is read again from the archive.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import Lock

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.checking import Checked
from pipelines.files import sync_file, sync_folder
from pipelines.logform import CHOSEN, EDITIONS, FORM, ID_COLUMNS, UNITS, file_name, index_of, told_by
from pipelines.logged import Logged
from pipelines.logorder import STEPS, Places, in_steps
from validation.entities import ENTITIES

_WRITING = ".writing-"
_END = b"PAR1"
_RUN = 4
"""So many times what is written at once stands in one file: each range of ids is looked for in every file."""
_GROUP = 4096
"""What Parquet reads of it at a time has at least so many rows."""


class PartWriter:
    """Writes one part, some checked events at a time; `by_id`: its rows in the order of ids, to be read by ranges of them.

    Several threads may write at once.
    """

    def __init__(self, folder: Path, name: str, *, by_id: bool = False) -> None:
        self._place = folder / name
        self._writing = folder / f"{_WRITING}{name}"
        shutil.rmtree(self._writing, ignore_errors=True)
        self._writing.mkdir(parents=True)
        self._units: dict[int, pl.DataFrame] = {}
        self._by_id = by_id
        self._runs: dict[int, list[Mapping[str, pl.DataFrame]]] = {}
        self._coming = Lock()
        self._ids: dict[str, Places] = {}
        self._rows: dict[str, int] = {}

    def write(self, checked: Checked, place: int) -> None:
        """Add what checking gave for some events; `place`: how many were added before, wherever they are on their way."""
        frames = _frames(checked)
        number = place // _RUN if self._by_id else place
        self._units[place] = _units(checked.index, number)
        if not self._by_id:
            self._write(frames, number)
            return
        # One thread is quicker than several, and others are at work.
        in_order = {kind: frame.sort(ID_COLUMNS[kind], multithreaded=False) for kind, frame in frames.items()}
        with self._coming:
            run = self._runs.setdefault(number, [])
            run.append(in_order)
            whole = len(run) == _RUN  # asked here, or two threads might both find it so
            if whole:
                del self._runs[number]
        if whole:
            self._write_run(run, number)

    def _write_run(self, run: Sequence[Mapping[str, pl.DataFrame]], number: int) -> None:
        for kind in sorted({kind for frames in run for kind in frames}):
            frame, where = in_steps([frames[kind] for frames in run if kind in frames], ID_COLUMNS[kind])
            self._ids[file_name(kind, number)] = where
            self._write({kind: frame}, number, group=max(_GROUP, len(frame) // STEPS))

    def _write(self, frames: Mapping[str, pl.DataFrame], number: int, *, group: int | None = None) -> None:
        for kind, frame in frames.items():
            file = self._writing / file_name(kind, number)
            with _refusals_as_os_errors(file):
                frame.write_parquet(file, compression="lz4", statistics=False, row_group_size=group)
            self._rows[file.name] = len(frame)

    def close(self, editions: pl.DataFrame) -> None:
        """Finish the part: only the rows of these editions (columns `EDITIONS`) count."""
        for number, run in sorted(self._runs.items()):
            self._write_run(run, number)
        names = sorted(file.name for file in self._writing.iterdir())
        units = list(_of_files([self._units[place] for place in sorted(self._units)]).iter_rows())
        files = {FORM: json.dumps({"files": names, "units": units, "rows": self._rows, "ids": self._ids})}
        file = self._writing / "editions.parquet"
        with _refusals_as_os_errors(file):
            editions.select(*EDITIONS).write_parquet(file, metadata=files)
        for file in self._writing.iterdir():
            sync_file(file)
        sync_folder(self._writing)
        self._writing.rename(self._place)
        sync_folder(self._place.parent)

    def abandon(self) -> None:
        """Leave nothing behind."""
        shutil.rmtree(self._writing, ignore_errors=True)


def _frames(checked: Checked) -> dict[str, pl.DataFrame]:
    """Return what checking gave by the kinds of the log's rows, those that have any."""
    found = checked.index.filter((pl.col("reasons") > 0) | (pl.col("warnings") > 0))
    who = found.select("drop", "line", "entity_id")
    told = {"reasons": checked.reasons, "warnings": checked.warnings}
    frames = {kind: rows.join(who, on=["drop", "line"], how="left", maintain_order="left") for kind, rows in told.items()}
    frames |= checked.events
    for category in (None, *ENTITIES):
        of_category = pl.col("category").eq_missing(pl.lit(category, dtype=pl.String))
        frames[index_of(category)] = checked.index.filter(of_category)
    return {kind: frame for kind, frame in frames.items() if not frame.is_empty()}


def _units(index: pl.DataFrame, number: int) -> pl.DataFrame:
    """Return number, drop, and of each drop the lines, records and bytes that an index of records is about."""
    line = pl.col("line")
    units = index.group_by("drop", maintain_order=True).agg(
        line.min().alias("first_line"),
        line.max().alias("last_line"),
        records=pl.len().cast(pl.Int64),
        bytes=pl.col("byte_length").sum(),
    )
    return units.with_columns(number=pl.lit(number, dtype=pl.Int64))


def _of_files(units: Sequence[pl.DataFrame]) -> pl.DataFrame:
    """Return the units (`UNITS`) of a part's files: what came to one file at several times is one unit a drop."""
    columns = {name: dtype for name, dtype in UNITS.items() if name != "alone"}
    came = pl.concat([pl.DataFrame(schema=columns), *(frame.select(*columns) for frame in units)])
    merged = came.group_by("number", "drop", maintain_order=True).agg(
        pl.col("first_line").min(), pl.col("last_line").max(), pl.col("records", "bytes").sum()
    )
    return merged.with_columns(alone=pl.len().over("number") == 1).select(*UNITS)


class EventLog:
    """The folder of parts."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._editions: dict[str, pl.DataFrame] = {}
        """Of whole parts, by their names: a part that is there never changes."""

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
        for part in parts:
            if part.name not in self._editions and (found := _editions_of(part)) is not None:
                self._editions[part.name] = found
        empty = pl.DataFrame(schema={**EDITIONS, "part": pl.String()})
        return (
            pl.concat([empty, *(self._editions[part.name] for part in parts if part.name in self._editions)])
            .filter(pl.col("rule_set") == rule_set)
            .unique(["path", "sha256", "released"], keep="last", maintain_order=True)
            .select("part", "drop", "path", "sha256", "released")
        )

    def units(self, chosen: pl.DataFrame) -> pl.DataFrame:
        """Return the units of chosen editions (columns `CHOSEN`, `UNITS`), in the order of their events."""
        frames = [pl.DataFrame(schema={**CHOSEN, **UNITS})]
        for (part,), drops in chosen.drop_nulls("part").group_by("part", maintain_order=True):
            told = told_by(self.place(str(part)))
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
    """Return the editions of a part; None when a file of it is damaged or gone: its drops are then read again.

    A home has a part a night, and every run asks all of them, one with nothing to do too: so of each file only the end is read.
    """
    try:
        if not all(_has_its_end(part / name) for name in told_by(part)["files"]):
            return None
        editions = pl.DataFrame(pq.ParquetFile(part / "editions.parquet").read())
        return editions.select(*EDITIONS, part=pl.lit(part.name))
    except (pa.ArrowException, OSError, KeyError, TypeError, ValueError, pl.exceptions.PolarsError):
        return None


def _has_its_end(file: Path) -> bool:
    """Tell whether a file ends as Parquet does, which is written last: one that was cut short has another end."""
    with file.open("rb") as stream:
        stream.seek(-len(_END), os.SEEK_END)
        return stream.read() == _END
