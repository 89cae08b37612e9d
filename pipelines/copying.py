"""Copy a file that somebody may still be writing: its bytes, their SHA-256, and whether it stood still meanwhile."""

from __future__ import annotations

import hashlib
import mmap
import os
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from typing import BinaryIO

from pipelines.inbox import open_file
from pipelines.problems import DropHeldError

_PIECE = 1024 * 1024
_AT_ONCE = 64 * 1024 * 1024
"""So much is copied or hashed at a time where nobody is waited for: every time another thread may have to let us go on."""
NEVER = Event()
"""The `stop` of a copy that somebody waits for."""


class Stopped(Exception):
    """Nobody wants the copy any more."""


@dataclass(frozen=True, slots=True)
class Stored:
    """What the archive keeps of one file."""

    sha256: str
    bytes: int


@dataclass(frozen=True, slots=True)
class Copied:
    """What was copied, and what the file looked like then."""

    stored: Stored
    _looked: tuple[int, ...]

    def is_still(self, source: Path) -> bool:
        """Tell whether the file is the one that was copied, as it was."""
        try:
            return _look_of(source.stat()) == self._looked
        except OSError:
            return False


def copied(source: Path, copy: BinaryIO, *, inbox: Path | None, growing: bool, stop: Event) -> Copied | None:
    """Copy a file's bytes into an empty one; None when it changed on the way.

    `inbox`, `growing`: as `Archive.take` has them. Raises DropHeldError `unreadable` or `not_a_file`, Stopped once `stop` is set.
    """
    with _unreadable_when_failing(source):
        file = _open(source) if inbox is None else open_file(inbox, source)
    with os.fdopen(file, "rb", buffering=0) as stream:
        before = os.fstat(stream.fileno())
        wanted = _whole_lines(stream, before.st_size) if growing else sys.maxsize
        size = _copy_bytes(source, stream, copy, wanted, stop)
        after = os.fstat(stream.fileno())
    same = (before.st_size, before.st_mtime_ns) == (after.st_size, after.st_mtime_ns) and size == after.st_size
    if not (size == wanted if growing else same):
        return None
    copy.flush()
    return Copied(Stored(_sha256(copy, size, stop), size), _look_of(before))


def _look_of(status: os.stat_result) -> tuple[int, ...]:
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


def _sha256(file: BinaryIO, size: int, stop: Event) -> str:
    """Return the SHA-256 of a file of ours as it lies in the system's cache, without another copy of it."""
    digest = hashlib.sha256()
    for start in range(0, size, _AT_ONCE):
        _go_on(stop)
        with mmap.mmap(file.fileno(), min(_AT_ONCE, size - start), access=mmap.ACCESS_READ, offset=start) as piece:
            digest.update(piece)
    return digest.hexdigest()


def _go_on(stop: Event) -> None:
    if stop.is_set():
        raise Stopped


def _copy_bytes(source: Path, stream: BinaryIO, copy: BinaryIO, wanted: int, stop: Event) -> int:
    """Copy up to so many bytes; return how many there were."""
    size = 0
    # The kernel copies in half the time. What it refuses is tried again below, where it shows which of the two files is at fault.
    with suppress(OSError):
        while count := os.sendfile(copy.fileno(), stream.fileno(), None, min(_AT_ONCE, wanted - size)):
            size += count
            _go_on(stop)
    copy.seek(size)
    while True:
        with _unreadable_when_failing(source):
            piece = stream.read(min(_PIECE, wanted - size))
        if not piece:
            return size
        copy.write(piece)
        size += len(piece)
        _go_on(stop)


def _open(source: Path) -> int:
    """Open a file that a person names. O_NONBLOCK: opening a FIFO would wait for ever."""
    file = os.open(source, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(file).st_mode):
        os.close(file)
        raise DropHeldError("not_a_file", "it is no regular file")
    return file


def _whole_lines(stream: BinaryIO, size: int) -> int:
    """Return how many of the first `size` bytes of a file stand in whole lines; it is then at its start."""
    end = size
    while end > 0:
        start = max(0, end - _PIECE)
        stream.seek(start)
        feed = stream.read(end - start).rfind(b"\n")
        if feed >= 0:
            end = start + feed + 1
            break
        end = start
    stream.seek(0)
    return end


@contextmanager
def _unreadable_when_failing(source: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise DropHeldError("unreadable", f"{source.name!r} cannot be read: {error.strerror}") from error
