"""Bytes as whole columns: words read at many places at once, text columns that point into a buffer and copy nothing. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

Bytes = npt.NDArray[np.uint8]
Ints = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]
Words = npt.NDArray[np.uint64]

NULL, ABSENT = -1, -2
"""Lengths that say there is no text: an explicit null, a field that was not sent."""

_WORD = 8
_ROOM = 6 * _WORD
_INLINE = 12
# The Arrow string view: up to 12 bytes stand in it; of longer text the first four, the buffer's number and the offset.
_VIEW = np.dtype([("length", "<u4"), ("head", "<u8"), ("tail", "<u4")])
_MASKS = np.array([(1 << (8 * count)) - 1 for count in range(_WORD + 1)], dtype=np.uint64)
MAX_BUFFER = 2**31 - 64


@dataclass(frozen=True, slots=True)
class Buffer:
    """The bytes of a block, with room behind them so that a word may be read at every place."""

    array: Bytes
    size: int

    @classmethod
    def of(cls, data: bytes) -> Buffer:
        """Return a buffer of those bytes."""
        array = np.zeros(len(data) + _ROOM, dtype=np.uint8)
        array[: len(data)] = np.frombuffer(data, dtype=np.uint8)
        buffer = cls(array, len(data))
        for place, constant in ((buffer.true, b"true"), (buffer.false, b"false")):
            array[place : place + len(constant)] = np.frombuffer(constant, dtype=np.uint8)
        return buffer

    @property
    def true(self) -> int:
        """The place, behind the bytes, where `true` stands."""
        return self.size + _WORD

    @property
    def false(self) -> int:
        """The place, behind the bytes, where `false` stands."""
        return self.size + 2 * _WORD

    def words(self, places: Ints, lengths: Ints, *, skip: int = 0) -> Words:
        """Return up to eight bytes of texts from their byte `skip` on, zeros behind their end, as little-endian words."""
        every = np.ndarray((len(self.array) - skip - _WORD + 1,), "<u8", self.array, skip, (1,))
        words: Words = every[places]
        return words & mask(lengths - skip)

    def column(self, starts: Ints, lengths: Ints) -> pl.Series:
        """Return texts as a column; a length below 0 is a null. The bytes must be UTF-8."""
        views = np.zeros(len(starts), dtype=_VIEW)
        there = np.maximum(lengths, 0)
        head = self.words(starts, there)
        long = there > _INLINE
        views["length"] = there
        views["head"] = np.where(long, head & _MASKS[4], head)
        views["tail"] = np.where(long, starts.astype(np.uint64), self.words(starts, there, skip=_WORD))
        nulls = lengths < 0
        validity = pa.py_buffer(np.packbits(~nulls, bitorder="little")) if nulls.any() else None
        array = pa.Array.from_buffers(pa.string_view(), len(starts), [validity, pa.py_buffer(views), pa.py_buffer(self.array)])
        return pl.Series(array, dtype=pl.String)


def mask(lengths: Ints) -> Words:
    """Return words whose first `lengths` bytes are all ones."""
    return _MASKS[np.clip(lengths, 0, _WORD)]


def word(text: str, *, skip: int = 0) -> int:
    """Return the word that `Buffer.words` gives for that text."""
    return int.from_bytes(text.encode()[skip : skip + _WORD], "little")


@dataclass(frozen=True, slots=True)
class Lines:
    """The lines of a buffer."""

    starts: Ints
    ends: Ints
    """Without line ends, LF or CRLF."""
    nexts: Ints

    @classmethod
    def of(cls, buffer: Buffer) -> Lines:
        """Return where the lines of a buffer are."""
        text = buffer.array[: buffer.size]
        feeds = np.flatnonzero(text == ord("\n"))
        nexts = feeds + 1
        ends = feeds
        if buffer.size and text[-1] != ord("\n"):
            nexts, ends = np.append(nexts, buffer.size), np.append(ends, buffer.size)
        starts = np.concatenate([[0], nexts])[: len(nexts)].astype(np.int64)
        returns = (nexts > ends) & (ends > starts) & (text[np.maximum(ends - 1, 0)] == ord("\r"))
        return cls(starts, ends - returns, nexts)

    def of_places(self, places: Ints) -> Ints:
        """Return in which line each place is."""
        return np.searchsorted(self.starts, places, side="right") - 1

    def slices(self, about: int) -> list[slice]:
        """Return the lines cut into runs of about that many bytes, which a processor's cache can hold."""
        cuts = np.searchsorted(self.starts, np.arange(0, int(self.nexts.max(initial=0)), about))
        edges = [*dict.fromkeys(cuts.tolist()), len(self.starts)]
        return [slice(low, high) for low, high in pairwise(edges) if low < high]


def undecodable(data: bytes, lines: Lines) -> Flags:
    """Return which lines are not UTF-8."""
    bad = np.zeros(len(lines.starts), dtype=np.bool_)
    if data.isascii():
        return bad
    for part in lines.slices(65536):
        starts, nexts = lines.starts[part], lines.nexts[part]
        if _is_utf8(data[starts[0] : nexts[-1]]):
            continue
        for at, (start, end) in enumerate(zip(starts.tolist(), nexts.tolist(), strict=True), start=part.start):
            bad[at] = not _is_utf8(data[start:end])
    return bad


def _is_utf8(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True
