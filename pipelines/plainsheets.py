"""Sheets made of places in a buffer: what the whole-column readers find, row by row and spelling by spelling. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from pipelines.blocks import Block
from pipelines.sheets import MAX_RECORD, UNKNOWN
from pipelines.textviews import ABSENT, MAX_BUFFER, Buffer, Flags, Ints, Lines, Words, undecodable
from validation.entities import ENTITIES
from validation.fields import FieldType

Spots = npt.NDArray[np.int32]

_SLICE = 1024 * 1024
_THREADS = 2
_NOT_IN_STRINGS = r'("[^"]*")| '


@dataclass(frozen=True, slots=True)
class Found:
    """Where the values of some events of one category are."""

    rows: Ints
    """The lines of the block, counted from 0."""
    starts: Spots
    """One row a spelling, one column an event."""
    lengths: Spots
    """Likewise; NULL or ABSENT where there is no text."""
    wrong: Words
    unknown: pl.DataFrame | None = None
    """Fields that the category does not know: row (a line of the block), name, value."""

    def only(self, keep: Flags) -> Found:
        """Return some of the events."""
        if keep.all():
            return self
        unknown = self.unknown
        if unknown is not None:
            unknown = unknown.filter(pl.col("row").is_in(pl.Series(self.rows[keep]).implode()))
        return Found(self.rows[keep], self.starts[:, keep], self.lengths[:, keep], self.wrong[keep], unknown)


ReadLines = Callable[[Buffer, Lines, Ints], Mapping[str, Found]]
"""Takes a buffer, its lines and the numbers of some lines; gives, by category, what the plain ones among these say."""


@dataclass(frozen=True, slots=True)
class Plain:
    """What was read of a block in whole columns."""

    block: Block
    buffer: Buffer
    lines: Lines
    found: Mapping[str, Sequence[Found]]
    doubled_quotes: bool
    """Whether quotes in texts stand doubled, as in the quoted cells of CSV."""

    def left(self) -> Ints:
        """Return the lines that are left to the exact reader, counted from 0."""
        left = np.ones(len(self.lines.starts), dtype=np.bool_)
        for one in (one for each in self.found.values() for one in each):
            left[one.rows] = False
        return np.flatnonzero(left)

    def line(self, row: int) -> tuple[int, int, bytes]:
        """Return number, offset in the file and bytes of a line, its line end included."""
        start, end = int(self.lines.starts[row]), int(self.lines.nexts[row])
        return self.block.line + row, self.block.offset + start, self.block.data[start:end]

    def sheets(self, *, without: Sequence[int] = ()) -> dict[str, pl.DataFrame]:
        """Return the sheets of the plain lines, but for those of some numbers in the file."""
        sheets = {category: _sheet(category, self, parts) for category, parts in self.found.items()}
        if without:
            sheets = {category: sheet.filter(~pl.col("line").is_in(without)) for category, sheet in sheets.items()}
        return {category: sheet for category, sheet in sheets.items() if len(sheet)}


def read_plain(block: Block, read_lines: ReadLines, *, doubled_quotes: bool = False) -> Plain | None:
    """Return what `read_lines` reads of a block, slice by slice; None for a block too large to point into."""
    if len(block.data) > MAX_BUFFER:
        return None
    buffer = Buffer.of(block.data)
    lines = Lines.of(buffer)
    fit = ~undecodable(block.data, lines) & (lines.ends - lines.starts <= MAX_RECORD)
    parts = lines.slices(_SLICE)
    found: dict[str, list[Found]] = {}
    with ThreadPoolExecutor(_THREADS) as pool:
        rows = (np.flatnonzero(fit[part]) + part.start for part in parts)
        for result in pool.map(lambda some: read_lines(buffer, lines, some), rows):
            for category, one in result.items():
                found.setdefault(category, []).append(one)
    return Plain(block, buffer, lines, found, doubled_quotes)


def _sheet(category: str, plain: Plain, found: Sequence[Found]) -> pl.DataFrame:
    buffer, lines = plain.buffer, plain.lines
    entity = ENTITIES[category]
    rows = np.concatenate([part.rows for part in found])
    sent = np.zeros(len(rows), dtype=np.uint64)
    wrong = np.concatenate([part.wrong for part in found])
    starts = lines.starts[rows]
    columns: dict[str, pl.Series | Ints | Words] = {
        "line": rows + plain.block.line,
        "byte_offset": starts + plain.block.offset,
        "byte_length": lines.ends[rows] - starts,
        "byte_span": lines.nexts[rows] - starts,
    }
    for bit, name in enumerate(entity.spellings):
        lengths = np.concatenate([part.lengths[bit] for part in found])
        there = lengths != ABSENT
        if not there.any():
            columns[name] = pl.repeat(None, len(rows), dtype=pl.String, eager=True)
            continue
        sent |= there.astype(np.uint64) << np.uint64(bit)
        text = buffer.column(np.concatenate([part.starts[bit] for part in found]), lengths)
        if plain.doubled_quotes:
            text = undoubled(text)
        is_object = entity.field(name).type is FieldType.OBJECT
        columns[name] = _compact(text, (wrong >> np.uint64(bit)) & np.uint64(1) == 0) if is_object else text
    columns |= {"sent": sent, "wrong": wrong}
    columns["unknown"] = _unknown(rows, [part.unknown for part in found if part.unknown is not None])
    columns["channel"] = pl.repeat(None, len(rows), dtype=pl.String, eager=True)
    return pl.DataFrame(columns)


def undoubled(texts: pl.Series) -> pl.Series:
    """Return the texts of CSV cells with each doubled quote as one."""
    if not texts.str.contains('"', literal=True).any():
        return texts
    return texts.str.replace_all('""', '"', literal=True)


def _compact(text: pl.Series, objects: Flags) -> pl.Series:
    """Return the texts, those of objects without the spaces between their parts; their strings have no escaped quotes."""
    if not text.str.contains(" ", literal=True).any():
        return text
    return text.to_frame("text").select(
        pl.when(pl.Series(objects)).then(pl.col("text").str.replace_all(_NOT_IN_STRINGS, "$1")).otherwise(pl.col("text"))
    )["text"]


def _unknown(rows: Ints, parts: Sequence[pl.DataFrame]) -> pl.Series:
    if not parts:
        return pl.repeat(None, len(rows), dtype=UNKNOWN, eager=True)
    fields = pl.concat(parts).group_by("row", maintain_order=True).agg(pl.struct("name", "value").alias("unknown"))
    return pl.DataFrame({"row": rows}).join(fields, on="row", how="left", maintain_order="left")["unknown"]
