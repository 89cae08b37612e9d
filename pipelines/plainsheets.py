"""Sheets made of places in a buffer: what the whole-column readers find, row by row and spelling by spelling. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from pipelines.sheets import UNKNOWN
from pipelines.textviews import ABSENT, Buffer, Ints, Lines, Words
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
        columns[name] = _compact(text) if entity.field(name).type is FieldType.OBJECT else text
    columns |= {"sent": sent, "wrong": np.concatenate([part.wrong for part in found])}
    columns["unknown"] = pl.repeat(None, len(rows), dtype=UNKNOWN, eager=True)
    return pl.DataFrame(columns)


def _compact(text: pl.Series) -> pl.Series:
    """Return JSON texts without the spaces between their parts; their strings have no escaped quotes."""
    return text.str.replace_all(_NOT_IN_STRINGS, "$1") if text.str.contains(" ", literal=True).any() else text
