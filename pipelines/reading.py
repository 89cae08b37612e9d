"""Archived bytes in, sheets of raw events out, a chunk at a time; every byte belongs to one record or to filler."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Protocol

from pipelines.blocks import BOM, Block, Readable, content_length, is_blank, lines_of, whole_lines, without_bom
from pipelines.csvs import Header, Scan, read_header, read_record, scan_line
from pipelines.dialects import PLAIN, Dialect
from pipelines.jsonl import is_whole, read_line
from pipelines.plainlines import read_plain
from pipelines.problems import DropHeldError
from pipelines.sheets import MAX_RECORD, Chunk, Findings, Unread
from pipelines.tiling import lost_bytes, tiled_to


def read_chunks(
    stream: Readable,
    format: str,
    *,
    chunk_bytes: int,
    as_it_is: bool = False,
    journal: bool = False,
    dialect: Dialect = PLAIN,
    first_bytes: int | None = None,
) -> Iterator[Chunk]:
    """Yield what the uncompressed bytes of a drop say, about `chunk_bytes` of them at a time; `format` is `jsonl` or `csv`.

    The first time it may be `first_bytes`.

    Each chunk's records and filler tile the bytes from where the chunk before ended. What comes out does not depend on
    `chunk_bytes`, but for where it is cut. Raises DropHeldError `truncated` or `csv_header`, also after chunks were yielded:
    until the end nothing of a drop is sure. With `as_it_is` an unfinished last record is a record like another, not `truncated`.
    In the API's `journal` the events' channel is honoured. `dialect` says how CSV is written; places are those of the bytes as
    they are.
    """
    reader: _Reader = _JsonlReader(as_it_is, journal) if format == "jsonl" else _CsvReader(as_it_is, dialect)
    position = end = 0
    for lines in whole_lines(stream, chunk_bytes, first_bytes):
        found, block = Findings(), lines
        if lines.offset == 0 and lines.data.startswith(BOM):
            found.filler.append((0, len(BOM), "bom"))
            block = without_bom(lines)
        end = block.offset + len(block.data)
        chunk = reader.read(block, found)
        position = tiled_to(chunk, position)
        yield chunk
    last = reader.finish(Findings())
    position = tiled_to(last, position)
    yield last
    if position != end:
        raise lost_bytes(position, end)


class _Reader(Protocol):
    def read(self, block: Block, found: Findings) -> Chunk: ...

    def finish(self, found: Findings) -> Chunk: ...


class _JsonlReader:
    """Reads lines, each by itself."""

    def __init__(self, as_it_is: bool, journal: bool) -> None:
        self.as_it_is, self.journal = as_it_is, journal

    def read(self, block: Block, found: Findings) -> Chunk:
        plain = read_plain(block)
        lines = lines_of(block) if plain is None else map(plain.line, plain.left.tolist())
        for line, offset, data in lines:
            self._read_line(line, offset, data, found)
        return found.chunk(plain.sheets() if plain else None)

    def _read_line(self, line: int, offset: int, data: bytes, found: Findings) -> None:
        if is_blank(data):
            found.filler.append((offset, len(data), "blank"))
            return
        length = content_length(data)
        if length == len(data) and not self.as_it_is and not is_whole(data):
            raise DropHeldError("truncated", f"line {line}, the last one, has no line end and is not valid JSON")
        too_long = length > MAX_RECORD  # and not to be copied
        said = Unread("line_too_long") if too_long else read_line(data[:length], journal=self.journal)
        found.add((line, offset, length, len(data)), said)

    def finish(self, found: Findings) -> Chunk:
        """Nothing waits: no line needs another."""
        return found.chunk()


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


def _why_unfinished(record: _Record, encoding: str) -> str:
    """Return the line reason of a record whose quote is never closed."""
    if record.length > MAX_RECORD:
        return "line_too_long"
    try:
        record.data.decode(encoding)
    except UnicodeDecodeError:
        return "invalid_encoding"
    return "ragged_row"


class _CsvReader:
    """Reads records, which may run over several lines, under one header."""

    def __init__(self, as_it_is: bool, dialect: Dialect) -> None:
        self.as_it_is, self.dialect = as_it_is, dialect
        self.header: Header | None = None
        self.pending: _Record | None = None

    def read(self, block: Block, found: Findings) -> Chunk:
        rest = self._finish_pending(block, found)
        plain = read_plain(rest, self.header) if self.header and rest.data and self.dialect.is_plain else None
        if plain is None:
            for line in lines_of(rest):
                self._read_line(*line, found)
            return found.chunk()
        swallowed: list[int] = []
        last = -1
        for row in plain.left.tolist():
            if row <= last:
                continue
            self._read_line(*plain.line(row), found)
            last = row
            while self.pending and last + 1 < len(plain.starts):
                last += 1
                self._read_line(*plain.line(last), found)
                swallowed.append(rest.line + last)
        return found.chunk(plain.sheets(without=swallowed))

    def _finish_pending(self, block: Block, found: Findings) -> Block:
        """Read lines until a record may start under the header; return the rest of the block."""
        end = 0
        for line, offset, data in lines_of(block):
            if self.header and not self.pending:
                return Block(block.data[end:], offset, line) if end else block
            self._read_line(line, offset, data, found)
            end += len(data)
        return Block(b"", block.offset + end, block.line)

    def _read_line(self, line: int, offset: int, data: bytes, found: Findings) -> None:
        if self.pending is None and is_blank(data):
            found.filler.append((offset, len(data), "blank"))
            return
        record = self.pending or _Record(line, offset, scan=Scan(delimiter=self.dialect.delimiter))
        record.take(data)
        self.pending = record if record.scan.open_quote else None
        if self.pending is None:
            self._close(record, found)

    def _close(self, record: _Record, found: Findings) -> None:
        if self.header is None:
            self.header = read_header(record.data, record.scan, record.line, length=record.length, dialect=self.dialect)
            found.filler.append((record.offset, record.span, "header"))
            return
        columns = len(self.header.columns)
        if not record.ending and not self.as_it_is and record.scan.cells < columns:
            raise DropHeldError(
                "truncated",
                f"line {record.line}, the last record, has no line end and {record.scan.cells} cells of {columns}",
            )
        place = (record.line, record.offset, record.length, record.span)
        too_long = record.length > MAX_RECORD
        found.add(place, Unread("line_too_long") if too_long else read_record(record.data, record.scan, self.header))

    def finish(self, found: Findings) -> Chunk:
        """Return the record that the end of the file left open, when it is taken as it is; else raise DropHeldError."""
        if self.pending is not None and self.as_it_is and self.header is not None:
            record = self.pending
            why = _why_unfinished(record, self.dialect.encoding)
            found.add((record.line, record.offset, record.length, record.span), Unread(why))
            return found.chunk()
        if self.pending is not None:
            raise DropHeldError("truncated", f"line {self.pending.line}: a quote opened in this record is never closed")
        if self.header is None:
            raise DropHeldError("csv_header", "there is no header: the file is empty or blank")
        return found.chunk()
