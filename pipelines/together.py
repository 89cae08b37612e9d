"""Small drops of JSONL read as one file, and what they say told apart again: many small drops cost what one large one does. Pure.

A drop that ends with a line end can be followed by another: no line, and so no record and no filler, is of both.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping

import numpy as np
import polars as pl

from pipelines.blocks import BOM
from pipelines.reading import read_chunks
from pipelines.sheets import MAX_RECORD, Chunk
from pipelines.tiling import lost_bytes

SMALL = MAX_RECORD
"""A drop of fewer bytes is small: no record of it is too long, and a few of them are not much to keep."""


def can_be_followed(data: bytes) -> bool:
    """Tell whether the bytes of a JSONL drop can be read with other drops before and after them."""
    return data.endswith(b"\n") and not data.startswith(BOM)


def read_together(drops: Mapping[int, bytes]) -> Iterator[Chunk]:
    """Yield what drops (number -> bytes, each of which `can_be_followed`) say, as `read_chunks` does.

    Every frame has the number of the drop in `drop`; lines and offsets are those in the drop. Raises NightdropError when a record
    or filler would be of two drops.
    """
    numbers = np.fromiter(drops, dtype=np.uint32, count=len(drops))
    lines = _before([data.count(b"\n") for data in drops.values()])
    offsets = _before([len(data) for data in drops.values()])

    def told_apart(frame: pl.DataFrame) -> pl.DataFrame:
        start, span = frame["byte_offset"].to_numpy(), frame["byte_span"].to_numpy()
        which = np.searchsorted(offsets, start, side="right") - 1
        if (astray := np.flatnonzero(start + span > offsets[which + 1])).size:
            of_two = int(which[astray[0]])
            raise lost_bytes(int(offsets[of_two + 1]), int(start[astray[0]] + span[astray[0]]))
        placed = [pl.Series("drop", numbers[which]), pl.Series("byte_offset", start - offsets[which])]
        if "line" in frame.columns:
            placed.append(pl.Series("line", frame["line"].to_numpy() - lines[which]))
        return frame.with_columns(placed)

    data = b"".join(drops.values())
    for chunk in read_chunks(io.BytesIO(data), "jsonl", chunk_bytes=len(data)):
        yield chunk.each(told_apart)


def _before(counts: list[int]) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """Return how much comes before each drop, and last before the end."""
    return np.cumsum([0, *counts], dtype=np.int64)
