"""The day's journal: whole lines, appended and on disk before anyone is told; a torn last line is cut before the next one.

One process owns the journals of a home (`api/serving.py` holds the lock); runs only read them.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from pipelines.files import sync_folder
from pipelines.inbox import lies_in, open_folder
from pipelines.journals import journal_day, journal_path
from pipelines.problems import DropHeldError

_LOG = logging.getLogger("nightdrop.api")
_PIECE = 1024 * 1024


class JournalError(Exception):
    """The journal cannot be written: nothing of what was to be appended is in it."""


@dataclass(slots=True)
class _Open:
    """The journal of one day, open for writing."""

    day: date
    file: Path
    handle: int
    size: int
    lines: int


class Journal:
    """The journals of an inbox; one, the day's, is open. Not for several threads at once."""

    def __init__(self, inbox: Path, restore: Callable[[date, Path], None] | None = None) -> None:
        self.inbox = inbox
        self._restore = restore
        """Puts a journal back that the warehouse has and the inbox has not, before the day's first line is written."""
        self._open: _Open | None = None

    def days(self) -> Iterator[tuple[date, Path]]:
        """Yield every day that has a journal, and the file."""
        for file in sorted(self.inbox.glob("????-??-??/api.jsonl")):
            day = journal_day(file.relative_to(self.inbox).as_posix())
            if day is not None and file.is_file() and lies_in(self.inbox, file):
                yield day, file

    def mend(self) -> None:
        """Cut torn last lines that a killed server left: nobody was told of them."""
        for day, file in self.days():
            if not _ends_whole(file):
                self._let_go()
                self._open_day(day)
        self._let_go()

    def place(self, day: date) -> tuple[int, int]:
        """Return the size of a day's journal and how many lines it has, ready to be appended to."""
        journal = self._of(day)
        return journal.size, journal.lines

    def append(self, day: date, lines: Sequence[bytes]) -> None:
        """Append lines, each with its LF, as one piece that is on disk when this returns.

        Raises JournalError when that cannot be done; the journal is then as it was.
        """
        journal = self._of(day)
        data = b"".join(lines)
        try:
            left = memoryview(data)
            while left:
                left = left[os.write(journal.handle, left) :]
            os.fsync(journal.handle)
        except OSError as error:
            self._take_back(journal)
            raise JournalError(f"{journal.file}: {error.strerror}; nothing was written") from error
        journal.size += len(data)
        journal.lines += len(lines)

    def close(self) -> None:
        """Let go of the open journal."""
        self._let_go()

    def _take_back(self, journal: _Open) -> None:
        try:
            os.ftruncate(journal.handle, journal.size)
            os.fsync(journal.handle)
        except OSError as error:
            _LOG.error(
                "%s: what was half written could not be cut (%s); the next write tries again", journal.file, error.strerror
            )
        self._let_go()

    def _of(self, day: date) -> _Open:
        journal = self._open
        if journal is not None and journal.day == day and _is_there(journal):
            return journal
        gone = journal is not None and journal.day == day
        self._let_go()
        if gone and not (self.inbox / journal_path(day)).exists():
            raise JournalError(
                f"{self.inbox / journal_path(day)}: the journal was moved away while it was written to. Put it back; nothing was "
                "written. (After a restart of the server the day's journal begins with what the warehouse has of it.)"
            )
        return self._open_day(day)

    def _open_day(self, day: date) -> _Open:
        file = self.inbox / journal_path(day)
        if not lies_in(self.inbox, file):
            raise JournalError(f"{file}: a symlink that leads out of the inbox; nothing was written. Put a folder in its place")
        try:
            if not file.parent.is_dir():
                file.parent.mkdir(parents=True, mode=0o750)
                sync_folder(self.inbox)
            if not file.exists() and self._restore:
                self._restore(day, file)
            fresh = not file.exists()
            handle = _open(self.inbox, file)
            if fresh:
                sync_folder(file.parent)
            size, lines = _cut_torn(file, handle)
        except DropHeldError as held:
            raise JournalError(f"{file}: {held.detail}; nothing was written. Put a folder in its place") from held
        except OSError as error:
            raise JournalError(f"{file}: {error.strerror}; nothing was written") from error
        self._open = _Open(day, file, handle, size, lines)
        return self._open

    def _let_go(self) -> None:
        if self._open is not None:
            os.close(self._open.handle)
            self._open = None


def _open(inbox: Path, file: Path) -> int:
    """Open a journal to be read and appended to, new when there is none; no symlink is written through."""
    with open_folder(inbox, file.parent) as (folder, name):
        day = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
    try:
        return os.open(file.name, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC, 0o640, dir_fd=day)
    finally:
        os.close(day)


def _is_there(journal: _Open) -> bool:
    """Tell whether the open file is still the one of that name, of the size we left it with."""
    try:
        status, own = journal.file.stat(), os.fstat(journal.handle)
    except OSError:
        return False
    return (status.st_ino, status.st_dev) == (own.st_ino, own.st_dev) and own.st_size == journal.size


def _ends_whole(file: Path) -> bool:
    with file.open("rb") as stream:
        size = stream.seek(0, os.SEEK_END)
        stream.seek(max(0, size - 1))
        return size == 0 or stream.read(1) == b"\n"


def _cut_torn(file: Path, handle: int) -> tuple[int, int]:
    """Cut what follows the last LF; return the size and the number of lines."""
    size = whole = lines = 0
    while piece := os.pread(handle, _PIECE, size):
        last = piece.rfind(b"\n")
        whole = size + last + 1 if last >= 0 else whole
        lines += piece.count(b"\n")
        size += len(piece)
    if whole < size:
        _LOG.warning("%s: %d bytes of a torn last line were cut; no write that was answered is in them", file, size - whole)
        os.ftruncate(handle, whole)
        os.fsync(handle)
    return whole, lines
