"""Pick up drops: their bytes into the archive, their events checked into the log. Decides nothing.

Doing it twice, or being killed on the way, leaves the same: archived bytes are named by their hash, a part of the log
counts only once it is whole.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path

import orjson
import polars as pl

from pipelines.archive import Archive
from pipelines.checking import check
from pipelines.discovery import Candidate
from pipelines.eventlog import EDITIONS, PartWriter
from pipelines.problems import DropHeldError, NightdropError
from pipelines.reading import Chunk, read_chunks
from pipelines.sheets import UNREAD
from validation.rulebook import RuleBook


@dataclass(frozen=True, slots=True)
class Delivery:
    """One edition of one drop: where it came from, its archived bytes, and why it is held if it is."""

    path: str
    business_date: date | None
    format: str | None
    compression: str | None
    sha256: str | None
    bytes: int | None
    hold: tuple[str, str] | None = None
    """Reason code and detail."""

    def held(self, reason: str, detail: str) -> Delivery:
        """Return the same delivery, held."""
        return replace(self, hold=(reason, detail))


class Seen:
    """Remembers which file had which hash, so that a file that did not change is not read again.

    Lost or damaged, it costs one more reading of the inbox and nothing else.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        try:
            self._hashes: dict[str, list[object]] = orjson.loads(file.read_bytes())
        except (FileNotFoundError, orjson.JSONDecodeError):
            self._hashes = {}
        self._now: dict[str, list[object]] = {}

    def hash_of(self, candidate: Candidate) -> str | None:
        """Return the hash of a file that is as it was when it was last archived."""
        known = self._hashes.get(candidate.path)
        if known is None or known[:-1] != _identity(candidate):
            return None
        self._now[candidate.path] = known
        return str(known[-1])

    def remember(self, candidate: Candidate, identity: list[object], sha256: str) -> None:
        """Note a hash under what the file looked like before it was read."""
        self._now[candidate.path] = [*identity, sha256]

    def save(self) -> None:
        """Write what was noted; files that are gone are forgotten."""
        beside = self._file.with_suffix(".tmp")
        beside.write_bytes(orjson.dumps(self._now))
        beside.replace(self._file)


def _identity(candidate: Candidate) -> list[object]:
    try:
        status = candidate.location.stat()
    except OSError:
        return []
    return [status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino]


def archive_drop(candidate: Candidate, archive: Archive, seen: Seen) -> Delivery:
    """Keep a drop's bytes as they were delivered."""
    delivery = Delivery(
        candidate.path, candidate.business_date, candidate.format, candidate.compression, None, candidate.bytes, candidate.hold
    )
    if candidate.hold and candidate.hold[0] in ("not_a_file", "unreadable"):
        return delivery
    known = seen.hash_of(candidate)
    if known and archive.path(known).exists():
        return replace(delivery, sha256=known)
    identity = _identity(candidate)
    try:
        stored = archive.store(candidate.location)
    except DropHeldError as held:
        return delivery.held(held.reason, held.detail)
    seen.remember(candidate, identity, stored.sha256)
    return replace(delivery, sha256=stored.sha256, bytes=stored.bytes)


def read_into_log(
    deliveries: Sequence[Delivery], archive: Archive, part: PartWriter, rules: RuleBook, *, chunk_bytes: int
) -> list[Delivery]:
    """Read and check deliveries into one part of the log; return them, some of them held now."""
    waiting = _Waiting(part, rules, chunk_bytes)
    results = []
    try:
        for number, delivery in enumerate(deliveries):
            try:
                waiting.read(number, delivery, archive)
            except DropHeldError as held:
                waiting.forget(number)
                results.append(delivery.held(held.reason, held.detail))
            else:
                results.append(delivery)
        waiting.flush()
        part.close(_editions(results, rules.fingerprint))
    except BaseException:
        part.abandon()
        raise
    return results


def _editions(deliveries: Iterable[Delivery], rule_set: str) -> pl.DataFrame:
    rows = [
        (number, delivery.path, delivery.sha256, rule_set) for number, delivery in enumerate(deliveries) if delivery.hold is None
    ]
    return pl.DataFrame(rows, schema=EDITIONS, orient="row")


class _Waiting:
    """Chunks that were read and wait to be checked together: many small drops cost what one large one does."""

    def __init__(self, part: PartWriter, rules: RuleBook, chunk_bytes: int) -> None:
        self._part, self._rules, self._chunk_bytes = part, rules, chunk_bytes
        self._chunks: list[tuple[int, Chunk]] = []
        self._bytes = 0

    def read(self, number: int, delivery: Delivery, archive: Archive) -> None:
        """Read one drop; raises DropHeldError when it cannot be taken as it is."""
        position = 0
        with archive.open_bytes(str(delivery.sha256), delivery.compression) as stream:
            for chunk in read_chunks(stream, str(delivery.format), chunk_bytes=self._chunk_bytes):
                position = self._tiled(delivery, chunk, position)
                self._chunks.append((number, chunk))
                if self._bytes >= self._chunk_bytes:
                    self.flush()

    def _tiled(self, delivery: Delivery, chunk: Chunk, position: int) -> int:
        """Hold the reader to its promise that every byte belongs to one thing; return where the chunk ends."""
        frames = [chunk.filler, chunk.unread, *chunk.sheets.values()]
        spans = pl.concat(frame.select("byte_offset", "byte_span") for frame in frames).sort("byte_offset")
        ends = (spans["byte_offset"] + spans["byte_span"]).to_list()
        begins = spans["byte_offset"].to_list()
        if begins != [position, *ends][: len(begins)]:
            raise NightdropError(f"{delivery.path}: the reader lost or doubled bytes near {position}; nothing was changed")
        self._bytes += (ends[-1] - position) if ends else 0
        return ends[-1] if ends else position

    def forget(self, number: int) -> None:
        """Drop the waiting chunks of a drop; those already written count for nothing without their edition."""
        self._chunks = [(owner, chunk) for owner, chunk in self._chunks if owner != number]

    def flush(self) -> None:
        """Check everything that waits, and write it."""
        if not self._chunks:
            return
        sheets: dict[str, list[pl.DataFrame]] = {}
        unread = [pl.DataFrame(schema={"drop": pl.UInt32(), **UNREAD})]
        for number, chunk in self._chunks:
            drop = pl.lit(number, dtype=pl.UInt32).alias("drop")
            unread.append(chunk.unread.select(drop, *UNREAD))
            for category, sheet in chunk.sheets.items():
                sheets.setdefault(category, []).append(sheet.with_columns(drop))
        self._chunks, self._bytes = [], 0
        whole: Mapping[str, pl.DataFrame] = {category: pl.concat(parts) for category, parts in sheets.items()}
        self._part.write(check(whole, pl.concat(unread), self._rules))
