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
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import Executor, Future
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from itertools import chain
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np
import polars as pl

from pipelines import threads
from pipelines.archive import Archive
from pipelines.dialects import forms
from pipelines.discovery import drop_format
from pipelines.problems import DropHeldError, NightdropError
from pipelines.rejected import LongRecord, Original, Rejected, Stretch, in_pieces

REASONS_SUFFIX = ".reasons.csv"
BOUNCE_FILE = re.compile(r".*\.[0-9a-f]{8}\.rejected\.(jsonl|ndjson|csv)(\.reasons\.csv)?", re.DOTALL)
"""The names that are ours to replace and to remove in a report's folder."""

_NAME_BYTES = 255
_TEMPORARY = ".tmp"
_EDITED = ".edited"
_BOM = b"\xef\xbb\xbf"
_WORTH_A_THREAD = 1024 * 1024
"""Bytes of lines that are written beside their reasons."""
_RUNS_IN_A_SPREADSHEET = r"^[=+\-@\t\r]"


class Opening(NamedTuple):
    """How a drop begins."""

    header: bytes
    """With its line end; empty for JSONL."""
    line_end: bytes
    """Of its first line: LF or CRLF."""


Reasons = Callable[[Iterator[pl.DataFrame]], Iterator[bytes]]
"""Yields a CSV of a drop's reasons: frames with the columns of `Rejected.reasons` and `bounce_line`, at least one."""


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


def put(place: Path, content: bytes) -> Path:
    """Put a file in its place; one that is there with these bytes is left alone."""
    if not place.is_file() or place.read_bytes() != content:
        write_whole(place, content)
    return place


def write_bounce(
    folder: Path,
    rejected: Rejected,
    begins: Opening,
    *,
    name: str,
    issued: str | None = None,
    reasons: Reasons | None = None,
    before: Callable[[], object] = lambda: None,
) -> Bounce:
    """Write a drop's rejected lines and their reasons into `folder`; whoever calls makes the names in it durable.

    `begins` is how the drop does. `issued` is the SHA-256 of the bounce that was issued under this name before, if there was one.
    `reasons` writes the CSV beside it in other words than ours. `before` is called when the lines are written, before anybody can
    take them.
    """
    # Side by side, a stretch of lines and then its reasons: both are asked for ahead.
    with (
        threads.pool(1) as beside,
        _draft(folder / f"{name}{REASONS_SUFFIX}") as why,
        _draft(folder / name, may_replace=lambda: _make_room(folder / name, issued, lines.sha256)) as file,
    ):
        lines = _Lines(file, begins.header, beside)
        for piece in (reasons or _reasons)(map(lines.write, rejected.stretches(begins.line_end))):
            why.write(piece)
        lines.finish()
        before()
    return Bounce(name, lines.sha256, lines.count)


def write_whole(place: Path, content: bytes) -> None:
    """Put those bytes at `place` at once; its name is durable once the caller syncs the folder."""
    with _draft(place) as file:
        file.write(content)


@contextmanager
def _draft(place: Path, may_replace: Callable[[], bool] = lambda: True) -> Iterator[BinaryIO]:
    """Let the block write a file that is put at `place` when it is whole and durable, unless `may_replace` says no."""
    draft = place.with_name(place.name + _TEMPORARY)
    try:
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o640), "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        if may_replace():
            draft.replace(place)
    finally:
        draft.unlink(missing_ok=True)


def _make_room(place: Path, issued: str | None, sha256: str) -> bool:
    """Make room for a bounce with that SHA-256 where the one that was `issued` may be; tell whether it is to be put there.

    A file that holds other bytes than the issued ones was changed by a person: it is left alone when the new bytes are the issued
    ones, and else set aside.
    """
    if issued and place.exists():
        if sha256 == issued:
            return False
        set_aside_if_edited(place, issued, sha256)
    return True


def set_aside_if_edited(place: Path, *known: str) -> None:
    """Rename a bounce file to `<name>.edited` (`.edited-2` …) when its bytes are none of the known ones."""
    with place.open("rb") as file:
        if hashlib.file_digest(file, "sha256").hexdigest() in known:
            return
    names = chain([_EDITED], (f"{_EDITED}-{number}" for number in range(2, 1_000_000)))
    place.rename(next(free for name in names if not (free := place.with_name(place.name + name)).exists()))


def defused(frame: pl.DataFrame, columns: Sequence[str] | None = None) -> pl.DataFrame:
    """Return a frame whose text cells have a `'` in front where a spreadsheet would take them for a formula.

    `columns`: those to look at; None: all that hold text.
    """
    # Those signs sort before the letters: most columns have nothing to be looked at twice.
    below = frame.select((pl.col(pl.String if columns is None else columns) < "A").any())
    risky = pl.col([column.name for column in below.iter_columns() if column.item()])
    return frame.with_columns(pl.when(risky.str.contains(_RUNS_IN_A_SPREADSHEET)).then("'" + risky).otherwise(risky).name.keep())


class _Lines:
    """The lines of a bounce, as far as they are written: large stretches by another thread, one behind this one."""

    def __init__(self, file: BinaryIO, header: bytes, beside: Executor) -> None:
        self._file, self._beside, self._digest = file, beside, hashlib.sha256()
        self._under_way: Future[None] | None = None
        self._next_line = header.count(b"\n") + 1
        self.count = 0
        """Of the records."""
        self._note(header)

    @property
    def sha256(self) -> str:
        """Return that of all that is written."""
        return self._digest.hexdigest()

    def write(self, stretch: Stretch) -> pl.DataFrame:
        """Write the next records; return their reasons with the `bounce_line` on which their record starts."""
        records = stretch.records
        self.finish()
        if isinstance(records, LongRecord):
            lines, feeds = np.array([records.line]), np.zeros(1, np.int64)
            for piece in records.pieces:
                feeds += piece.count(b"\n")
                self._note(piece)
        elif len(records.content) < _WORTH_A_THREAD:
            lines, feeds = records.lines, records.feeds()
            self._note(records.content)
        else:
            self._under_way = self._beside.submit(self._note, records.content)
            lines, feeds = records.lines, records.feeds()
        starts = self._next_line + np.cumsum(feeds) - feeds
        self._next_line += int(feeds.sum())
        self.count += len(lines)
        at = np.searchsorted(lines, stretch.reasons["line"].to_numpy())
        return stretch.reasons.with_columns(pl.Series("bounce_line", starts[at], dtype=pl.Int64()))

    def finish(self) -> None:
        """Wait until what was given is written; raises what went wrong there."""
        if self._under_way is not None:
            self._under_way.result()
            self._under_way = None

    def _note(self, piece: bytes | memoryview) -> None:
        self._digest.update(piece)
        self._file.write(piece)


def _reasons(frames: Iterator[pl.DataFrame]) -> Iterator[bytes]:
    """Yield the reasons as CSV, a row per reason in the order of the lines."""
    for number, frame in enumerate(chain.from_iterable(map(in_pieces, frames))):
        rows = defused(frame.select("bounce_line", pl.exclude("bounce_line")))
        written = BytesIO()
        rows.write_csv(written, include_header=number == 0)
        yield written.getvalue()


def opening(original: Original, archive: Archive, delimiter: str = ",") -> Opening:
    """Return how an original begins; `delimiter` is that of its CSV.

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
    return Opening(first if kind == "csv" else b"", line_end)


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
