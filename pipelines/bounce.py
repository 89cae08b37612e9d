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
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from io import BytesIO
from itertools import chain
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np
import polars as pl

from pipelines.archive import Archive
from pipelines.dialects import forms
from pipelines.discovery import drop_format
from pipelines.problems import DropHeldError, NightdropError
from pipelines.rejected import LongRecord, Original, Records, Rejected

REASONS_SUFFIX = ".reasons.csv"
BOUNCE_FILE = re.compile(r".*\.[0-9a-f]{8}\.rejected\.(jsonl|ndjson|csv)(\.reasons\.csv)?", re.DOTALL)
"""The names that are ours to replace and to remove in a report's folder."""

_NAME_BYTES = 255
_TEMPORARY = ".tmp"
_EDITED = ".edited"
_BOM = b"\xef\xbb\xbf"
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
        write_whole(place, [content])
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
    starts = _Starts(first=begins.header.count(b"\n") + 1)
    digest = hashlib.sha256()

    def may_replace() -> bool:
        before()
        return _make_room(folder / name, issued, digest.hexdigest())

    lines = chain([begins.header], _lines(rejected, begins.line_end, starts))
    write_whole(folder / name, _noted(lines, digest.update), may_replace=may_replace)
    placed = map(starts.places(), rejected.reasons())
    write_whole(folder / f"{name}{REASONS_SUFFIX}", (reasons or _reasons)(placed))
    return Bounce(name, digest.hexdigest(), starts.count)


def write_whole(place: Path, pieces: Iterable[bytes], *, may_replace: Callable[[], bool] = lambda: True) -> None:
    """Put those bytes at `place` at once; its name is durable once the caller syncs the folder.

    `may_replace` is asked when they are written: where it says no, what is there stays.
    """
    draft = place.with_name(place.name + _TEMPORARY)
    try:
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o640), "wb") as file:
            for piece in pieces:
                file.write(piece)
            file.flush()
            os.fsync(file.fileno())
        if may_replace():
            draft.replace(place)
    finally:
        draft.unlink(missing_ok=True)


def _noted(pieces: Iterable[bytes], note: Callable[[bytes], object]) -> Iterator[bytes]:
    for piece in pieces:
        note(piece)
        yield piece


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


@dataclass(slots=True)
class _Starts:
    """On which line of the bounce each record starts; a CSV record may span lines."""

    first: int
    lines: list[np.ndarray] = field(default_factory=list)
    bounce_lines: list[np.ndarray] = field(default_factory=list)

    def add(self, records: Records, content: bytes) -> None:
        """Add the next records, in their order; `content` is all of them with their line ends."""
        spans = np.ones(len(records.raw), np.int64)
        if content.count(b"\n") != len(spans):
            spans += np.fromiter((raw.count(b"\n") for raw in records.raw), np.int64, len(spans))
        ends = self.first + np.cumsum(spans)
        self.lines.append(np.array(records.lines, np.int64))
        self.bounce_lines.append(ends - spans)
        self.first = int(ends[-1])

    def add_long(self, line: int, feeds: int) -> None:
        """Add one record that has so many LF in it."""
        self.lines.append(np.array([line], np.int64))
        self.bounce_lines.append(np.array([self.first], np.int64))
        self.first += feeds + 1

    @property
    def count(self) -> int:
        """Return how many records there are."""
        return sum(map(len, self.lines))

    def places(self) -> Callable[[pl.DataFrame], pl.DataFrame]:
        """Return what adds `bounce_line` to reasons. Lines ascend, so each is looked up: a join would hash them all each time."""
        empty = np.empty(0, np.int64)
        lines, bounce_lines = (np.concatenate([empty, *parts]) for parts in (self.lines, self.bounce_lines))

        def place(found: pl.DataFrame) -> pl.DataFrame:
            at = np.searchsorted(lines, found["line"].to_numpy())
            return found.with_columns(pl.Series("bounce_line", bounce_lines[at], dtype=pl.Int64()))

        return place


def _lines(rejected: Rejected, line_end: bytes, starts: _Starts) -> Iterator[bytes]:
    """Yield the rejected records with their line ends, many at a time, and note in `starts` where they stand."""
    for some in rejected.records():
        if isinstance(some, LongRecord):
            feeds = 0
            for piece in some.pieces:
                feeds += piece.count(b"\n")
                yield piece
            yield line_end
            starts.add_long(some.line, feeds)
        elif some.raw:
            content = line_end.join([*some.raw, b""])
            starts.add(some, content)
            yield content


def _reasons(frames: Iterator[pl.DataFrame]) -> Iterator[bytes]:
    """Yield the reasons as CSV, a row per reason in the order of the lines."""
    for number, frame in enumerate(frames):
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
