"""A stream cut into blocks of whole lines, so that memory follows the block and the longest line, not the file."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from pipelines import _lines

LONG = 32 * 1024 * 1024
"""Bytes from which on a line that goes over several pieces is a block of its own."""
BOM = b"\xef\xbb\xbf"


class Readable(Protocol):
    """Bytes that come one after the other."""

    def read(self, size: int, /) -> bytes:
        """Return as many bytes, fewer only at the end."""


@dataclass(frozen=True, slots=True)
class Block:
    """Some whole lines."""

    data: bytes
    """Ends with LF, unless the file ends without one."""
    offset: int
    """Where the block starts in the uncompressed file."""
    line: int
    """The 1-based number of its first line."""


def whole_lines(stream: Readable, chunk_bytes: int, first_bytes: int | None = None) -> Iterator[Block]:
    """Yield the stream's lines in blocks of about `chunk_bytes`; a longer line makes a block as long as it is.

    The first is of about `first_bytes`, if that is given. A line that is `LONG` as well has its block for itself: it is never
    copied along with others.
    """
    offset, line = 0, 1
    parts: list[bytes] = []
    waiting = 0
    wanted = first_bytes or chunk_bytes
    while piece := stream.read(wanted):
        wanted = chunk_bytes
        if waiting > LONG and (first := piece.find(b"\n") + 1):
            parts.append(piece[:first])
            data, piece = b"".join(parts), piece[first:]
            parts.clear()
            waiting = 0
            yield Block(data, offset, line)
            offset, line = offset + len(data), line + 1
            del data
        cut = piece.rfind(b"\n") + 1
        if cut:
            data = b"".join((*parts, memoryview(piece)[:cut])) if parts or cut < len(piece) else piece
            parts.clear()
            waiting = 0
            yield Block(data, offset, line)
            offset += len(data)
            line += _lines.count_feeds(data, 0, len(data))
            piece = piece[cut:]
        if piece:
            parts.append(piece)
            waiting += len(piece)
    if parts:
        yield Block(b"".join(parts), offset, line)


def without_bom(block: Block) -> Block:
    """Return the file's first block without its byte order mark."""
    return Block(block.data[len(BOM) :], block.offset + len(BOM), block.line)


def lines_of(block: Block) -> Iterator[tuple[int, int, bytes]]:
    """Yield number, offset and bytes of each line, its line end included."""
    start, line = 0, block.line
    while start < len(block.data):
        end = block.data.find(b"\n", start) + 1 or len(block.data)
        yield line, block.offset + start, block.data[start:end]
        start, line = end, line + 1


def is_blank(line: bytes) -> bool:
    """Tell whether a line is only ASCII white space, its line end aside."""
    return not line or line.isspace()


def content_length(line: bytes) -> int:
    """Return the length of a line without its line end, LF or CRLF."""
    if line.endswith(b"\r\n"):
        return len(line) - 2
    return len(line) - line.endswith(b"\n")
