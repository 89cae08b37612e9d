"""Sheets made of places in a buffer: what the whole-column readers find, row by row and spelling by spelling. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from pipelines.sheets import UNKNOWN
from pipelines.textviews import ABSENT, Buffer, Flags, Ints, Lines, Words
from validation.entities import ENTITIES
from validation.fields import FieldType

Spots = npt.NDArray[np.int32]

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


def plain_sheet(category: str, found: Sequence[Found], buffer: Buffer, lines: Lines, *, offset: int, line: int) -> pl.DataFrame:
    """Return the sheet of one category; `offset` and `line` are where the block starts in the file."""
    entity = ENTITIES[category]
    rows = np.concatenate([part.rows for part in found])
    sent = np.zeros(len(rows), dtype=np.uint64)
    wrong = np.concatenate([part.wrong for part in found])
    starts = lines.starts[rows]
    columns: dict[str, pl.Series | Ints | Words] = {
        "line": rows + line,
        "byte_offset": starts + offset,
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
        is_object = entity.field(name).type is FieldType.OBJECT
        columns[name] = _compact(text, (wrong >> np.uint64(bit)) & np.uint64(1) == 0) if is_object else text
    columns |= {"sent": sent, "wrong": wrong}
    columns["unknown"] = pl.repeat(None, len(rows), dtype=UNKNOWN, eager=True)
    return pl.DataFrame(columns)


def _compact(text: pl.Series, objects: Flags) -> pl.Series:
    """Return the texts, those of objects without the spaces between their parts; their strings have no escaped quotes."""
    if not text.str.contains(" ", literal=True).any():
        return text
    return text.to_frame("text").select(
        pl.when(pl.Series(objects)).then(pl.col("text").str.replace_all(_NOT_IN_STRINGS, "$1")).otherwise(pl.col("text"))
    )["text"]
