"""What the journals hold that a publication does not have yet: lines read and checked by the very code of the night."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import date
from functools import lru_cache
from pathlib import Path

import polars as pl

from api.publication import Edition
from pipelines.checking import Checked, check
from pipelines.journals import journal_path
from pipelines.positions import position
from pipelines.reading import read_chunks
from pipelines.sheets import UNREAD
from validation.rulebook import RuleBook
from validation.rules import SOURCE

_CHUNK = 16 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Pending:
    """The lines of one journal that a publication lacks; all of them, when what it has of that day is something else."""

    day: date
    lines: bytes
    """Whole lines."""
    first_line: int
    """Line, in the journal, of the first of them."""
    replaces: bool
    """Whether they take the place of an edition that lives in the publication."""

    @property
    def path(self) -> str:
        """Return the journal's path in the inbox."""
        return journal_path(self.day)


def pending(journals: Iterable[tuple[date, Path]], known: dict[str, Edition]) -> tuple[list[Pending], dict[date, int]]:
    """Return what is pending of some journals, and how many bytes of each were looked at."""
    found, looked_at = [], {}
    for day, file in journals:
        edition = known.get(journal_path(day))
        status = file.stat()
        if edition is not None and _digest(file, status.st_size, status.st_mtime_ns, status.st_ino) == edition.sha256:
            looked_at[day] = edition.bytes  # it stands, or was withdrawn and did not grow
            continue
        data = _whole_lines(file)
        looked_at[day] = len(data)
        if edition is None or edition.status != "applied":
            found.append(Pending(day, data, 1, replaces=False))
        elif _begins_with(data, edition):
            if len(data) > edition.bytes:
                known_lines = data.count(b"\n", 0, edition.bytes)
                found.append(Pending(day, data[edition.bytes :], known_lines + 1, replaces=False))
        else:
            found.append(Pending(day, data, 1, replaces=True))
    return found, looked_at


def checked(lines: bytes, first_line: int, drop: int, rules: RuleBook, source: str) -> Checked:
    """Read and check lines of a journal; the first of them is `first_line`, `source` the name under which they came."""
    sheets: dict[str, list[pl.DataFrame]] = {}
    number, shift = pl.lit(drop, dtype=pl.UInt32).alias("drop"), pl.col("line") + (first_line - 1)
    sent_by = [pl.lit(source).alias(SOURCE)] if rules.of_sources else []
    unread = [pl.DataFrame(schema={"drop": pl.UInt32(), **UNREAD})]
    for chunk in read_chunks(io.BytesIO(lines), "jsonl", chunk_bytes=_CHUNK, journal=True):
        unread.append(chunk.unread.with_columns(line=shift).select(number, *UNREAD))
        for category, sheet in chunk.sheets.items():
            sheets.setdefault(category, []).append(sheet.with_columns(number, *sent_by, line=shift))
    return check({category: pl.concat(parts) for category, parts in sheets.items()}, pl.concat(unread), rules)


def placed(sound: pl.DataFrame, day: date, rules: RuleBook, source: str) -> pl.DataFrame:
    """Return sound events as settling takes them; positions of journals ascend by day, then by line."""
    sent_by = [pl.lit(source).alias(SOURCE)] if rules.of_sources else []
    pos = position(pl.lit(day.toordinal(), dtype=pl.Int64))
    return sound.with_columns(*sent_by, pos=pos, date=pl.lit(day)).drop("drop", "line")


def only(found: Checked, keep: Callable[[pl.Expr], pl.Expr]) -> Checked:
    """Return what was checked, reduced to the events of some records (their id as an expression)."""
    index = found.index.filter(keep(pl.col("entity_id")))
    keys = ["drop", "line"]
    return Checked(
        {category: events.join(index, on=keys, how="semi") for category, events in found.events.items()},
        index,
        found.reasons.join(index, on=keys, how="semi"),
        found.warnings.join(index, on=keys, how="semi"),
    )


def _whole_lines(file: Path) -> bytes:
    data = file.read_bytes()
    return data[: data.rfind(b"\n") + 1]


@lru_cache(maxsize=4096)
def _digest(file: Path, size: int, changed: int, inode: int) -> str:
    """Return the SHA-256 of a journal's whole lines; of one that did not change since, without reading it again."""
    return hashlib.sha256(_whole_lines(file)).hexdigest()


def _begins_with(data: bytes, edition: Edition) -> bool:
    return hashlib.sha256(data[: edition.bytes]).hexdigest() == edition.sha256
