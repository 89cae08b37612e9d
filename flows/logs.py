"""What runs do, for machines: a JSON object a line, appended to a file. Names of steps, counts, codes, paths; nobody's data."""

from __future__ import annotations

import json
import logging
import logging.handlers
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pipelines.home import Home
from pipelines.problems import UsageError
from pipelines.visible import visible

LOG = logging.getLogger("nightdrop")
_FILE = "nightdrop.log"
_kept: list[str] = []
"""The command whose doings are being kept, if one's are."""


def told(event: str, *, level: int = logging.INFO, **what: Any) -> None:
    """Note that something happened."""
    LOG.log(level, event, extra={"told": what})


@contextmanager
def kept(home: Home, command: str, *, to: Path | None, verbose: bool = False) -> Iterator[None]:
    """Keep what happens in the block: in a file (default: in data/state/ of a home that is there), and on standard error."""
    if _kept:  # the caller keeps it already
        yield
        return
    handlers: list[logging.Handler] = []
    file = to or (home.state / _FILE if home.inbox.is_dir() or home.state.is_dir() else None)
    if file:
        try:
            if to is None:
                home.state.mkdir(exist_ok=True, mode=0o750)
            os.close(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o640))
            # What a log rotation moves away is begun anew.
            handlers.append(logging.handlers.WatchedFileHandler(file, encoding="utf-8", errors="backslashreplace"))
        except OSError as error:
            if to:
                raise UsageError(f"--log-file {to}: it cannot be written ({error.strerror}). Nothing was changed.") from error
        else:
            handlers[0].setFormatter(_AsJson(command))
    if verbose:
        handlers.append(logging.StreamHandler(sys.stderr))
        handlers[-1].setFormatter(_AsWords())
    for handler in handlers:
        LOG.addHandler(handler)
    LOG.setLevel(logging.INFO)
    LOG.propagate = False
    logging.raiseExceptions = False  # a full disk is told of by the run itself
    _kept.append(command)
    try:
        yield
    finally:
        _kept.clear()
        for handler in handlers:
            LOG.removeHandler(handler)
            handler.close()


class _AsJson(logging.Formatter):
    def __init__(self, command: str) -> None:
        super().__init__()
        self._command = command

    def format(self, record: logging.LogRecord) -> str:
        at = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        head: dict[str, Any] = {"at": at, "level": record.levelname.lower(), "event": record.getMessage()}
        head |= {"command": self._command, "process": record.process}
        return json.dumps(head | getattr(record, "told", {}), default=str, ensure_ascii=False)


class _AsWords(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        # A path may hold what steers a terminal.
        words = " ".join(f"{name}={visible(str(value))}" for name, value in getattr(record, "told", {}).items())
        return f"{datetime.fromtimestamp(record.created, UTC):%H:%M:%S} {record.getMessage()} {words}".rstrip()
