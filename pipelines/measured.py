"""Streams of a drop's bytes: what went through is counted and hashed, within limits; what was read ahead is given again."""

from __future__ import annotations

import hashlib
from typing import BinaryIO

from pipelines import _lines
from pipelines.blocks import Readable
from pipelines.limits import Limits


class Measured:
    """A stream that knows what went through it: how many bytes, their SHA-256, how many lines."""

    def __init__(self, stream: BinaryIO, limits: Limits, *, sha256: str | None = None) -> None:
        """`sha256`: of all its bytes, where somebody hashed them a moment ago; they are not hashed again."""
        self._stream, self._limits, self._known = stream, limits, sha256
        self._digest, self._size, self._feeds, self._last = hashlib.sha256(), 0, 0, b""
        self._line_length = 0

    def read(self, size: int, /) -> bytes:
        """Return the next bytes, none at the end."""
        piece = self._stream.read(size)
        if self._known is None:
            self._digest.update(piece)
        self._size += len(piece)
        self._feeds += _lines.count_feeds(piece, 0, len(piece))
        self._last = piece[-1:] or self._last
        feed = piece.rfind(b"\n") + 1
        self._line_length = len(piece) - feed + (0 if feed else self._line_length)
        self._limits.assert_size(self._size)
        self._limits.assert_line(self._feeds + 1, self._line_length)
        return piece

    @property
    def size(self) -> int:
        """How many bytes."""
        return self._size

    @property
    def sha256(self) -> str:
        """Their SHA-256 in hexadecimal digits."""
        return self._known or self._digest.hexdigest()

    @property
    def lines(self) -> int:
        """How many lines, the last also when it has no line end."""
        return self._feeds + (self._last not in (b"", b"\n"))


class Begun:
    """A stream of which the first bytes were read: it gives them again."""

    def __init__(self, first: bytes, rest: Readable) -> None:
        self._first, self._rest = first, rest

    def read(self, size: int, /) -> bytes:
        """Return the next bytes, none at the end."""
        if not self._first:
            return self._rest.read(size)
        piece, self._first = self._first[:size], self._first[size:]
        return piece if len(piece) == size else piece + self._rest.read(size - len(piece))
