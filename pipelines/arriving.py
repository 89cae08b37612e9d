"""Take the files of the inbox into the archive: which are whole, which are new, and copying them while a run gets ready.

Imports nothing heavy: what lies in the inbox is copied while the rest of a run is imported.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import date
from pathlib import Path

from pipelines.archive import Archive
from pipelines.discovery import Candidate
from pipelines.files import read_json, write_json
from pipelines.home import Home, Settings
from pipelines.journals import is_journal
from pipelines.problems import DropHeldError


@contextmanager
def arriving(home: Home, settings: Settings, candidates: Sequence[Candidate], only_date: date | None = None) -> Iterator[Archive]:
    """Give the archive, into which the files of an inbox that are new are copied while the block gets ready to take them.

    What a killed run left half copied goes. Only for the run that has the lock.
    """
    archive, seen = Archive(home.archive), Seen(home.state / "seen.json")
    archive.sweep()
    new = [
        candidate.location
        for candidate in wanted(candidates, settings, only_date)
        if not is_journal(candidate.path) and _can_be_read(candidate) and seen.hash_of(candidate) is None
    ]
    with archive.copying_ahead(new, home.inbox):
        yield archive


def wanted(candidates: Sequence[Candidate], settings: Settings, only_date: date | None) -> list[Candidate]:
    """Return those to look at: of the date, if one is given, and whole as far as their age tells."""
    return [c for c in candidates if only_date in (None, c.business_date) and not _is_restless(c, settings.quiet_seconds)]


def _is_restless(candidate: Candidate, quiet_seconds: float) -> bool:
    """Tell whether a file changed too short a time ago to be whole."""
    if is_journal(candidate.path):  # it grows by whole lines: what stands in it is whole at any time
        return False
    # Either way: a file dated in the future, since the clock jumped back, is not left for ever.
    return abs(time.time() - candidate.mtime_ns / 1e9) < quiet_seconds


def _can_be_read(candidate: Candidate) -> bool:
    return not (candidate.hold and candidate.hold[0] in ("not_a_file", "unreadable"))


class Seen:
    """Remembers which file had which hash, so that a file that did not change is not read again.

    Lost or damaged, it costs one more reading of the inbox and nothing else.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        known = read_json(file, dict)
        self._hashes = known if isinstance(known, dict) else {}
        self._now: dict[str, list[object]] = {}

    def hash_of(self, candidate: Candidate) -> str | None:
        """Return the hash of a file that is as it was when it was last archived."""
        known = self._hashes.get(candidate.path)
        if not isinstance(known, list) or known[:-1] != _identity(candidate):
            return None
        self._now[candidate.path] = known
        return str(known[-1])

    def remember(self, candidate: Candidate, identity: list[object], sha256: str) -> None:
        """Note a hash under what the file looked like before it was read."""
        self._now[candidate.path] = [*identity, sha256]

    def save(self) -> None:
        """Write what was noted; files that are gone are forgotten."""
        write_json(self._file, self._now)


def _identity(candidate: Candidate) -> list[object]:
    try:
        status = candidate.location.stat()
    except OSError:
        return []
    return [status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino]


class Unreachable(Exception):
    """A file whose bytes cannot be had; `hold` says why."""

    def __init__(self, hold: tuple[str, str]) -> None:
        super().__init__(": ".join(hold))
        self.hold = hold


def archive_drop(candidate: Candidate, inbox: Path, archive: Archive, seen: Seen) -> tuple[str, int]:
    """Keep a drop's bytes as they were delivered, within the archive's `arrivals`; return their SHA-256 and how many they are.

    Raises Unreachable when they cannot be had.
    """
    if candidate.hold and not _can_be_read(candidate):
        raise Unreachable(candidate.hold)
    known = seen.hash_of(candidate)
    if known and archive.path(known).exists():
        return known, archive.path(known).stat().st_size
    identity = _identity(candidate)
    try:
        stored = archive.take(candidate.location, inbox=inbox, growing=is_journal(candidate.path))
    except DropHeldError as held:
        raise Unreachable((held.reason, held.detail)) from held
    seen.remember(candidate, identity, stored.sha256)
    return stored.sha256, stored.bytes
