"""The bounce of one drop: its rejected lines as they came, and beside them why each was refused.

- A record's bytes are exact. All line ends of a bounce are of one kind, that of the original's first line (LF or CRLF); the
  last line has one too. A BOM is left out: line 1 is the header or a record.
- Cells of the reasons file that a spreadsheet would run get a `'` in front.
- A name that the file system would refuse, or that another drop of the date has, is cut and gets a digest of the path.
- A bounce that a person has begun to mend is never lost: while its drop's decisions stand it is left alone, after that it is
  set aside as `<name>.edited`.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import date
from itertools import chain
from pathlib import Path
from typing import BinaryIO

import duckdb
import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.archive import Archive
from pipelines.dialects import forms
from pipelines.discovery import drop_format
from pipelines.files import sync_folder
from pipelines.problems import DropHeldError, NightdropError
from pipelines.sheets import MAX_RECORD

REASONS_SUFFIX = ".reasons.csv"
BOUNCE_FILE = re.compile(r".*\.[0-9a-f]{8}\.rejected\.(jsonl|ndjson|csv)(\.reasons\.csv)?", re.DOTALL)
"""The names that are ours to replace and to remove in a report's folder."""

_NAME_BYTES = 255
_TEMPORARY = ".tmp"
_EDITED = ".edited"
_BOM = b"\xef\xbb\xbf"
_RUNS_IN_A_SPREADSHEET = r"^[=+\-@\t\r]"
# A raw line may be a MiB long: few at a time bound the memory. Reasons are short.
_LINES_AT_ONCE = 1024
_REASONS_AT_ONCE = 100_000
_NO_LINE = 2**63 - 1

_OF_A_DROP = f"FROM rejected_lines WHERE business_date = ? AND path = ? AND byte_length {{}} {MAX_RECORD}"
_LINES = f"SELECT line, raw {_OF_A_DROP.format('<=')} AND line > ? AND line < ? ORDER BY line"
_LONG_LINES = f"SELECT line, sha256, byte_offset, byte_length {_OF_A_DROP.format('>')} ORDER BY line"
"""Too long a record is not asked of DuckDB, which would have it in memory as a whole."""
_REASONS = """
    SELECT line, category, step, entity_id AS id, code, field, value, message, cause_date, cause_path, cause_line
    FROM rejections WHERE business_date = ? AND path = ? ORDER BY line, code, field, value, message
"""


@dataclass(frozen=True, slots=True)
class Original:
    """A drop that has rejected lines."""

    business_date: date
    path: str
    sha256: str


Reasons = Callable[[duckdb.DuckDBPyConnection, Original, pl.DataFrame], Iterator[bytes]]
"""Yields a CSV of a drop's reasons; the frame has `line` and `bounce_line` of every rejected record."""


@dataclass(frozen=True, slots=True)
class Bounce:
    """A bounce as it was issued."""

    name: str
    sha256: str
    """Of the bounce file's bytes: another one tells that a person has changed the file."""
    lines: int


def bounce_name(path: str, sha256: str, *, taken: Collection[str] = ()) -> str:
    """Return the file name of a drop's bounce: `<path, / as __>.<first 8 of sha256>.rejected.<suffix>`."""
    stem = path.replace("/", "__")
    tail = f".{sha256[:8]}.rejected{_suffix(path)}"
    room = _NAME_BYTES - len(f"{tail}{REASONS_SUFFIX}{_TEMPORARY}".encode())
    if len(stem.encode()) <= room and stem + tail not in taken:
        return stem + tail
    digest = hashlib.sha256(path.encode()).hexdigest()[:16] + "~"
    # The end of a path tells more than its beginning; a character cut in two is left out.
    end = stem.encode()[-(room - len(digest)) :].decode(errors="ignore")
    return digest + end + tail


def write_bounce(
    con: duckdb.DuckDBPyConnection,
    folder: Path,
    original: Original,
    archive: Archive,
    *,
    name: str,
    issued: str | None = None,
    reasons: Reasons | None = None,
    delimiter: str = ",",
) -> Bounce:
    """Write a drop's rejected lines and their reasons into `folder`, out of `rejected_lines` and `rejections`.

    `issued` is the SHA-256 of the bounce that was issued under this name before, if there was one. `reasons` writes the CSV
    beside it in other words than ours. `delimiter` is that of the drop's CSV.
    Raises NightdropError when the archived original, of which the line ends and the header come, cannot be read.
    """
    header, line_end = opening(original, archive, delimiter)
    starts = _Starts(first=header.count(b"\n") + 1)
    sha256 = write_whole(folder / name, chain([header], _lines(con, original, archive, line_end, starts)), issued=issued)
    lines = starts.frame()
    write_whole(folder / f"{name}{REASONS_SUFFIX}", (reasons or _reasons)(con, original, lines))
    return Bounce(name, sha256, lines.height)


def write_whole(place: Path, pieces: Iterable[bytes], *, issued: str | None = None) -> str:
    """Put those bytes at `place` durably and at once, and return their SHA-256.

    With `issued`, a file there that holds other bytes than the issued ones was changed by a person: it is left alone when
    the new bytes are the issued ones, and else set aside.
    """
    draft = place.with_name(place.name + _TEMPORARY)
    digest = hashlib.sha256()
    try:
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o640), "wb") as file:
            for piece in pieces:
                file.write(piece)
                digest.update(piece)
            file.flush()
            os.fsync(file.fileno())
        sha256 = digest.hexdigest()
        if issued and place.exists():
            if sha256 == issued:
                return sha256
            set_aside_if_edited(place, issued, sha256)
        draft.replace(place)
    finally:
        draft.unlink(missing_ok=True)
    sync_folder(place.parent)
    return sha256


def set_aside_if_edited(place: Path, *known: str) -> None:
    """Rename a bounce file to `<name>.edited` (`.edited-2` …) when its bytes are none of the known ones."""
    with place.open("rb") as file:
        if hashlib.file_digest(file, "sha256").hexdigest() in known:
            return
    names = chain([_EDITED], (f"{_EDITED}-{number}" for number in range(2, 1_000_000)))
    place.rename(next(free for name in names if not (free := place.with_name(place.name + name)).exists()))


def defused(columns: pl.Expr) -> pl.Expr:
    """Return text cells with a `'` in front where a spreadsheet would take them for a formula."""
    return pl.when(columns.str.contains(_RUNS_IN_A_SPREADSHEET)).then("'" + columns).otherwise(columns).name.keep()


@dataclass(slots=True)
class _Starts:
    """On which line of the bounce each record starts; a CSV record may span lines."""

    first: int
    lines: list[np.ndarray] = field(default_factory=list)
    bounce_lines: list[np.ndarray] = field(default_factory=list)

    def add(self, lines: pa.Array, raw: pa.Array) -> None:
        """Add the next records, in their order."""
        ends = np.cumsum(pc.count_substring(raw, "\n").to_numpy(zero_copy_only=False).astype(np.int64) + 1)
        self.lines.append(lines.to_numpy(zero_copy_only=False))
        self.bounce_lines.append(self.first + np.concatenate(([0], ends[:-1])))
        self.first += int(ends[-1])

    def add_long(self, line: int, feeds: int) -> None:
        """Add one record that has so many LF in it."""
        self.lines.append(np.array([line], np.int64))
        self.bounce_lines.append(np.array([self.first], np.int64))
        self.first += feeds + 1

    def frame(self) -> pl.DataFrame:
        """Return `line` and `bounce_line` of every record, both Int64."""
        empty = np.empty(0, np.int64)
        return pl.DataFrame(
            {
                "line": np.concatenate([empty, *self.lines]),
                "bounce_line": np.concatenate([empty, *self.bounce_lines]),
            }
        )


def _lines(
    con: duckdb.DuckDBPyConnection, original: Original, archive: Archive, line_end: bytes, starts: _Starts
) -> Iterator[bytes]:
    """Yield the rejected records with their line ends, many at a time, and note in `starts` where they stand."""
    key = [original.business_date, original.path]
    before = 0
    for line, sha256, offset, length in con.execute(_LONG_LINES, key).fetchall():
        yield from _short_lines(con, [*key, before, line], line_end, starts)
        yield from _long_line(archive, original, sha256, (line, offset, length), starts)
        yield line_end
        before = line
    yield from _short_lines(con, [*key, before, _NO_LINE], line_end, starts)


def _short_lines(con: duckdb.DuckDBPyConnection, where: list[object], line_end: bytes, starts: _Starts) -> Iterator[bytes]:
    for batch in _batches(con, _LINES, where, _LINES_AT_ONCE):
        lines, raw = batch.columns
        if len(raw):
            starts.add(lines, raw)
            # Joined element by element the records lie in one buffer, one after the other.
            yield _bytes_of(pc.binary_join_element_wise(raw, pa.scalar(line_end, raw.type), pa.scalar(b"", raw.type)))


def _long_line(
    archive: Archive, original: Original, sha256: str, place: tuple[int, int, int], starts: _Starts
) -> Iterator[bytes]:
    """Yield the bytes of a record (line, byte_offset, byte_length), of the original or of a file that corrects it."""
    line, offset, length = place
    shape = drop_format(original.path.rpartition("/")[2]) if sha256 == original.sha256 else None
    feeds = 0
    for piece in archive.pieces_of(sha256, shape[1] if shape else None, offset, length):
        feeds += piece.count(b"\n")
        yield piece
    starts.add_long(line, feeds)


def _batches(con: duckdb.DuckDBPyConnection, query: str, parameters: list[object], rows: int) -> pa.RecordBatchReader:
    return con.sql(query, params=parameters).to_arrow_reader(rows)


def _bytes_of(array: pa.Array) -> bytes:
    offsets = np.frombuffer(array.buffers()[1], np.int32)[array.offset : array.offset + len(array) + 1]
    return bytes(memoryview(array.buffers()[2])[offsets[0] : offsets[-1]])


def _reasons(con: duckdb.DuckDBPyConnection, original: Original, lines: pl.DataFrame) -> Iterator[bytes]:
    """Yield the reasons as CSV, a row per reason in the order of the lines."""
    reader = _batches(con, _REASONS, [original.business_date, original.path], _REASONS_AT_ONCE)
    frames = (pl.DataFrame(pl.from_arrow(batch)) for batch in reader)
    empty = pl.DataFrame(pl.from_arrow(reader.schema.empty_table()))
    for number, frame in enumerate(chain([empty], frames)):
        rows = frame.join(lines, on="line", how="inner", maintain_order="left")
        rows = rows.select("bounce_line", pl.exclude("bounce_line")).with_columns(defused(pl.col(pl.String)))
        yield rows.write_csv(include_header=number == 0).encode()


def opening(original: Original, archive: Archive, delimiter: str = ",") -> tuple[bytes, bytes]:
    """Return the header (empty for JSONL) with its line end, and the line end of the original's first line.

    Raises NightdropError when the archived original cannot be read.
    """
    shape = drop_format(original.path.rpartition("/")[2])
    kind, compression = shape if shape else ("jsonl", None)
    try:
        with archive.open_bytes(original.sha256, compression) as stream:
            first = _first_record(stream, forms(delimiter).record if kind == "csv" else None)
    except DropHeldError as error:
        raise NightdropError(
            f"{original.path}: its archived bytes {original.sha256} are damaged ({error.detail}). The warehouse is right, its "
            "bounce file could not be written. Put the archived file back from a backup, then run again."
        ) from error
    line_end = b"\r\n" if first.endswith(b"\r\n") else b"\n"
    return (first if kind == "csv" else b""), line_end


def _first_record(stream: BinaryIO, csv: re.Pattern[bytes] | None) -> bytes:
    """Return the first record with its line end, without BOM and the blank lines before it."""
    record = stream.readline().removeprefix(_BOM)
    while record.endswith(b"\n") and record.isspace():
        record = stream.readline()
    while csv and not csv.fullmatch(record):
        more = stream.readline()
        if not more:
            return record
        record += more
    return record


def _suffix(path: str) -> str:
    """Return the suffix of the uncompressed file."""
    name = path.removesuffix(".gz").removesuffix(".zst")
    return "." + name.rpartition(".")[2]
