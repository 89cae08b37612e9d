"""Conservation of bytes: each byte of a drop belongs to exactly one record, or to filler. Pure."""

from __future__ import annotations

import polars as pl

from pipelines.problems import NightdropError
from pipelines.sheets import Chunk


def tiled_to(chunk: Chunk, start: int) -> int:
    """Return the byte up to which a chunk's records and filler cover the file from `start`, none missing, none twice.

    Raises NightdropError where they do not: a fault of the reader, never of the drop.
    """
    pieces = [frame.select("byte_offset", "byte_span") for frame in chunk.frames]
    tiles = pl.concat(pieces).sort("byte_offset")
    if tiles.is_empty():
        return start
    offset, end = tiles["byte_offset"], tiles["byte_offset"] + tiles["byte_span"]
    wanted = end.shift(1, fill_value=start)
    if (astray := (offset != wanted).arg_true()).len():
        first = int(astray[0])
        raise lost_bytes(int(wanted[first]), int(offset[first]))
    return int(end[-1])


def lost_bytes(wanted: int, got: int) -> NightdropError:
    """Return the error that says where the bytes do not add up."""
    return NightdropError(
        f"reading went wrong: what comes after byte {wanted} was found at byte {got}, so bytes would be lost or read twice. "
        "Nothing of this drop was taken in; please report this with the file"
    )
