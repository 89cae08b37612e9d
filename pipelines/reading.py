"""Archived bytes in, sheets of raw events out, a chunk at a time; every byte belongs to one record or to filler."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import BinaryIO, Protocol

from pipelines.blocks import BOM, Block, content_length, is_blank, lines_of, whole_lines, without_bom
from pipelines.csvs import Header, Scan, read_header, read_record, scan_line
from pipelines.jsonl import is_whole, read_line
from pipelines.plainjson import read_plain_json
from pipelines.problems import DropHeldError
from pipelines.sheets import MAX_RECORD, Chunk, Findings, Unread
from pipelines.tiling import lost_bytes, tiled_to

__all__ = ["Chunk", "read_chunks"]


def read_chunks(stream: BinaryIO, format: str, *, chunk_bytes: int) -> Iterator[Chunk]:
    """Yield what the uncompressed bytes of a drop say, about `chunk_bytes` of them at a time; `format` is `jsonl` or `csv`.

    Each chunk's records and filler tile the bytes from where the chunk before ended. What comes out does not depend on
    `chunk_bytes`, but for where it is cut. Raises DropHeldError `truncated` or `csv_header`, also after chunks were yielded:
    until the end nothing of a drop is sure.
    """
    reader: _Reader = _JsonlReader() if format == "jsonl" else _CsvReader()
    position = end = 0
    for lines in whole_lines(stream, chunk_bytes):
        found, block = Findings(), lines
        if lines.offset == 0 and lines.data.startswith(BOM):
            found.filler.append((0, len(BOM), "bom"))
            block = without_bom(lines)
        end = block.offset + len(block.data)
        chunk = reader.read(block, found)
        position = tiled_to(chunk, position)
        yield chunk
    reader.finish()
    if position != end:
        raise lost_bytes(position, end)


class _Reader(Protocol):
    def read(self, block: Block, found: Findings) -> Chunk: ...

    def finish(self) -> None: ...


class _JsonlReader:
    """Reads lines, each by itself."""

    def read(self, block: Block, found: Findings) -> Chunk:
        plain = read_plain_json(block)
        if plain is None:
            for line, offset, data in lines_of(block):
                self._read_line(line, offset, data, found)
            return found.chunk()
        for row in plain.left.tolist():
            start, end = int(plain.lines.starts[row]), int(plain.lines.nexts[row])
            self._read_line(block.line + row, block.offset + start, block.data[start:end], found)
        return found.chunk(plain.sheets)

    def _read_line(self, line: int, offset: int, data: bytes, found: Findings) -> None:
        if is_blank(data):
            found.filler.append((offset, len(data), "blank"))
            return
        length = content_length(data)
        if length == len(data) and not is_whole(data):
            raise DropHeldError("truncated", f"line {line}, the last one, has no line end and is not valid JSON")
        found.add((line, offset, length, len(data)), read_line(data[:length]))

    def finish(self) -> None:
        """Nothing waits: no line needs another."""


@dataclass(slots=True)
class _Record:
    """A CSV record of which some lines have come."""

    line: int
    offset: int
    span: int = 0
    parts: list[bytes] = field(default_factory=list)
    scan: Scan = field(default_factory=Scan)

    def take(self, data: bytes) -> None:
        scan_line(data, self.scan)
        self.span += len(data)
        self.parts.append(data)
        # Too long a record is never read, so only its line end is kept: a stray quote may run through the whole file.
        if self.span > MAX_RECORD + 2:
            self.parts = [data[-2:]]

    @property
    def ending(self) -> int:
        """How many bytes its line end has."""
        return len(self.parts[-1]) - content_length(self.parts[-1])

    @property
    def length(self) -> int:
        return self.span - self.ending

    @property
    def data(self) -> bytes:
        """Its bytes without the line end; for one that is not too long."""
        return b"".join(self.parts)[: self.length]


class _CsvReader:
    """Reads records, which may run over several lines, under one header."""

    def __init__(self) -> None:
        self.header: Header | None = None
        self.pending: _Record | None = None

    def read(self, block: Block, found: Findings) -> Chunk:
        for line, offset, data in lines_of(block):
            if self.pending is None and is_blank(data):
                found.filler.append((offset, len(data), "blank"))
                continue
            record = self.pending or _Record(line, offset)
            record.take(data)
            self.pending = record if record.scan.open_quote else None
            if self.pending is None:
                self._close(record, found)
        return found.chunk()

    def _close(self, record: _Record, found: Findings) -> None:
        if self.header is None:
            self.header = read_header(record.data, record.scan, record.line, length=record.length)
            found.filler.append((record.offset, record.span, "header"))
            return
        columns = len(self.header.columns)
        if not record.ending and record.scan.cells < columns:
            raise DropHeldError(
                "truncated",
                f"line {record.line}, the last record, has no line end and {record.scan.cells} cells of {columns}",
            )
        place = (record.line, record.offset, record.length, record.span)
        too_long = record.length > MAX_RECORD
        found.add(place, Unread("line_too_long") if too_long else read_record(record.data, record.scan, self.header))

    def finish(self) -> None:
        """Raise DropHeldError when the file ended too early."""
        if self.pending is not None:
            raise DropHeldError("truncated", f"line {self.pending.line}: a quote opened in this record is never closed")
        if self.header is None:
            raise DropHeldError("csv_header", "there is no header: the file is empty or blank")
