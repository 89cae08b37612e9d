"""What was not expected, or the file system refused: one line in words without a value in it, the traceback kept in the home.

A library's error may quote what a sender wrote. `data/state/failures.log`, for the owner's group to read at most, is the one
place where that may stand: no terminal, no log of cron, nothing of Prefect's.
"""

from __future__ import annotations

import errno
import os
import sys
import tempfile
import traceback
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

import duckdb

from pipelines.home import Home
from pipelines.problems import NightdropError

T = TypeVar("T")


def unexpected(home: Home, error: Exception) -> str:
    """Return the words for an error that nobody foresaw; its traceback is kept."""
    return (
        f"{type(error).__name__}. This was not expected; what was published before stands. The details are in "
        f"{keep_traceback(home)}. Run again; if it fails again, hand that file to whoever looks after nightdrop."
    )


_WORLD = {
    errno.ENOSPC: "Make room on that disk",
    errno.EDQUOT: "Make room in this user's quota",
    errno.EFBIG: "Raise this user's limit for files (`ulimit -f`)",
    errno.EACCES: "Give this user the right to it",
    errno.EPERM: "Give this user the right to it",
    errno.EROFS: "Make that file system writable, or choose another place",
    errno.ENOTDIR: "Move away the file that stands where a folder is wanted",
    errno.EISDIR: "Move away the folder that stands where a file is wanted",
    errno.EMFILE: "Raise this user's limit for open files (`ulimit -n`)",
    errno.EIO: "Look whether that disk fails",
}
"""What a disk or its rights may answer, and what helps: nothing is wrong with nightdrop then."""


def broken_world(home: Home, error: Exception) -> str | None:
    """Return the words for what the file system refused; None when the error is something else."""
    if not isinstance(error, OSError) and type(error).__module__.split(".")[0] not in ("polars", "duckdb", "_duckdb"):
        return None
    # Polars and DuckDB tell it in their text only.
    number = getattr(error, "errno", None) or next((number for number in _WORLD if os.strerror(number) in str(error)), None)
    file = getattr(error, "filename", None)
    if number not in _WORLD and file is None:
        return None
    where = os.fsdecode(file) if isinstance(file, str | bytes) else home.root
    what = getattr(error, "strerror", None) or str(error).strip().splitlines()[0]
    details = "" if number in _WORLD else f" The details are in {keep_traceback(home)}."
    return (
        f"{where}: {what}. Readers have the warehouse that was last published, and no drop is lost. "
        f"{_WORLD.get(number or 0, 'Look what is there')}, then run again: that finishes the job.{details}"
    )


def without_values(home: Home, work: Callable[[], T]) -> T:
    """Do something for Prefect, which keeps every error in words: those it may keep pass, the others lose what they say."""
    try:
        return work()
    except (NightdropError, OSError, duckdb.IOException):
        raise
    except Exception as error:  # its text may hold what a sender wrote: it stays in the home
        words = unexpected(home, error)
    raise NightdropError(words)


def keep_traceback(home: Home) -> Path | str:
    """Append the traceback to the home's failure log, or put it where temporary files go; say so when neither can be done."""
    words = f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC, process {os.getpid()}: {sys.argv}\n{traceback.format_exc()}\n"
    if home.state.is_dir():
        with suppress(OSError):  # a full or read-only disk may be what failed
            return _append(home.state / "failures.log", words)
    try:
        return _append(Path(tempfile.gettempdir()) / f"nightdrop-failure-{os.getpid()}.log", words)
    except OSError:
        return "no file: none could be written"


def _append(file: Path, words: str) -> Path:
    with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o640), "a", errors="backslashreplace") as log:
        log.write(words)
    return file
