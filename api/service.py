"""All of the API but HTTP: one process a home that reads the newest publication and owns the journals."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path

from filelock import FileLock, Timeout

from api.journal import Journal
from api.publication import Publication, identify
from api.records import Records
from api.repeats import Repeats
from api.writing import Writer
from pipelines.archive import Archive
from pipelines.home import Home, Settings
from pipelines.journals import journal_path
from pipelines.problems import HomeBusyError, NightdropError

_LOG = logging.getLogger("nightdrop.api")
_LOOK_EVERY = 0.2
"""Seconds between two looks whether there is a new publication."""


class Service:
    """Records that follow the publications, and the writer over them."""

    def __init__(self, home: Home, settings: Settings) -> None:
        self.home = home
        self._sources = settings.sources
        self._rules = settings.rules()
        self.journal = Journal(home.inbox, self._put_back)
        self.journal.mend()
        self.records = self._read()
        repeats = Repeats(home.state / "api" / "repeats", home.inbox)
        self.writer = Writer(home, self.journal, repeats, lambda: self.records)
        self._ending = threading.Event()
        self._watcher = threading.Thread(target=self._watch, name="watcher")

    def start(self) -> None:
        """Begin to write, and to follow the publications."""
        self.writer.start()
        self._watcher.start()

    def stop(self) -> None:
        """Write what waits and let go of everything."""
        self._ending.set()
        self._watcher.join()
        self.writer.stop()
        self.journal.close()

    def follow(self) -> bool:
        """Take the newest publication if it is another one; tell whether it was."""
        if identify(self.home.warehouse) == self.records.published.identity:
            return False
        fresh = self._read()
        with self.writer.lock:
            fresh.catch_up()
            self.records = fresh
        return True

    def _read(self) -> Records:
        return Records(self.home, self.journal, Publication.open(self.home), self._rules, self._sources)

    def _watch(self) -> None:
        while not self._ending.wait(_LOOK_EVERY):
            try:
                self.follow()
            except (OSError, NightdropError) as error:
                _LOG.warning("the newest publication cannot be read yet: %s", error)

    def _put_back(self, day: date, file: Path) -> None:
        """Put back a journal that the warehouse has and somebody took out of the inbox, before new lines take its place."""
        known = self.records.published.journals.get(journal_path(day))
        if known is None or known.status != "applied" or not known.bytes:
            return
        with Archive(self.home.archive).open_bytes(known.sha256, None) as source:
            data = source.read()
        beside = file.with_name(f".{file.name}.back")
        beside.write_bytes(data)
        beside.replace(file)
        _LOG.warning("%s was gone from the inbox; it was put back as the warehouse has it", file)


@contextmanager
def serving(home: Home) -> Iterator[None]:
    """Have the journals of a home for oneself. Raises HomeBusyError when another server has them."""
    folder = home.state / "api"
    try:
        home.inbox.mkdir(parents=True, exist_ok=True, mode=0o750)
        folder.mkdir(parents=True, exist_ok=True, mode=0o750)
        lock = FileLock(folder / "server.lock", timeout=0, mode=0o640, fallback_to_soft=False)
        lock.acquire()
    except Timeout:
        raise HomeBusyError(f"{home.root}: another server has this home. Nothing was changed. End it, or use it.") from None
    except OSError as error:
        raise NightdropError(
            f"{error.filename or folder}: cannot serve this home ({error.strerror}). Nothing was changed."
        ) from error
    try:
        for left in folder.glob("published-*.duckdb"):
            left.unlink()
        yield
    finally:
        lock.release()
