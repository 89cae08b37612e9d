"""Records read out of archived bytes by their places: what lies close together at once, as it stands in memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from pipelines.archive import Archive

_CLOSE = 32 * 1024
"""Ranges with so many bytes between them, or fewer, are read at once: to seek and read takes as long as to read them."""
_PIECE = 1024 * 1024
"""What begins in different pieces is read apart."""


class Ranges(NamedTuple):
    """Ranges of a file that lie close together, and what is between them."""

    content: bytes
    starts: np.ndarray
    """Of each in `content`."""
    ends: np.ndarray

    @property
    def size(self) -> int:
        """Return how many bytes they have together."""
        return int((self.ends - self.starts).sum())

    def pieces(self) -> Iterator[bytes]:
        """Yield the bytes of each."""
        for start, end in zip(self.starts.tolist(), self.ends.tolist(), strict=True):
            yield self.content[start:end]


def read_ranges(
    archive: Archive,
    sha256: str,
    compression: str | None,
    offsets: Sequence[int] | np.ndarray,
    lengths: Sequence[int] | np.ndarray,
) -> Iterator[Ranges]:
    """Yield those ranges of the uncompressed bytes; offsets ascend and ranges do not overlap. One pass."""
    starts = np.asarray(offsets, np.int64)
    ends = starts + np.asarray(lengths, np.int64)
    apart = (starts[1:] - ends[:-1] > _CLOSE) | (np.diff(starts // _PIECE) > 0)
    together = list(pairwise([0, *(np.flatnonzero(apart) + 1).tolist(), len(starts)])) if len(starts) else []
    stretches = [(int(starts[first]), int(ends[end - 1])) for first, end in together]
    read = archive.read_stretches(sha256, compression, stretches)
    for (first, end), (begin, _), content in zip(together, stretches, read, strict=True):
        yield Ranges(content, starts[first:end] - begin, ends[first:end] - begin)
