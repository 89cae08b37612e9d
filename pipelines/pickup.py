"""Pick up drops: their bytes into the archive, their events checked into the log. Decides nothing.

Doing it twice, or being killed on the way, leaves the same: archived bytes are named by their hash, a part of the log
counts only once it is whole.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from contextlib import closing
from functools import partial

import polars as pl

from pipelines import conservation, threads
from pipelines.archive import Archive, damaged
from pipelines.blocks import Readable
from pipelines.book import Edition
from pipelines.checking import check
from pipelines.corrections import corrected_path
from pipelines.discovery import drop_format, held_by_name
from pipelines.eventlog import PartWriter
from pipelines.journals import is_journal
from pipelines.limits import Limits
from pipelines.logform import EDITIONS
from pipelines.measured import Begun, Measured
from pipelines.problems import DropHeldError
from pipelines.reading import read_chunks
from pipelines.sheets import UNREAD, Chunk
from pipelines.sources import ANYBODY, Sources
from pipelines.tiling import lost_bytes
from pipelines.together import SMALL, can_be_followed, read_together
from validation.rulebook import RuleBook
from validation.rules import SOURCE

_PIECE = 1024 * 1024
_AT_ONCE = 2
"""So many chunks are checked while the next is read."""
_FIRST = 4
"""The first chunk is such a part of the others."""


def read_into_log(
    editions: Sequence[Edition],
    archive: Archive,
    part: PartWriter,
    rules: RuleBook,
    *,
    chunk_bytes: int,
    limits: Limits,
    advance: Callable[[], None],
    sources: Sources = ANYBODY,
) -> None:
    """Read and check editions into one part of the log, and note in each what was found: its counts, or why it is held.

    `advance` is called when one is read.
    """
    with closing(_Waiting(part, rules, chunk_bytes, limits, sources)) as waiting:
        try:
            _read_all(waiting, editions, archive, rules, advance)
            part.close(_editions(editions, rules.fingerprint))
        except BaseException:
            waiting.close()
            part.abandon()
            raise


def _read_all(
    waiting: _Waiting, editions: Sequence[Edition], archive: Archive, rules: RuleBook, advance: Callable[[], None]
) -> None:
    for number, edition in enumerate(editions):
        edition.hold = edition.records = edition.refused = None
        try:
            waiting.read(number, edition, archive)
        except DropHeldError as held:
            waiting.forget(number)
            edition.hold = (held.reason, held.detail)
        edition.read_under = rules.fingerprint
        advance()
    waiting.flush()
    waiting.settle_down()
    for number, edition in enumerate(editions):
        if edition.hold is None:
            waiting.assert_whole(number, edition)
            edition.records, edition.refused = waiting.records.get(number, 0), waiting.refused.get(number, 0)


def _editions(editions: Sequence[Edition], rule_set: str) -> pl.DataFrame:
    rows = [(number, e.path, e.sha256, e.released, rule_set) for number, e in enumerate(editions) if e.hold is None]
    return pl.DataFrame(rows, schema=EDITIONS, orient="row")


class _Waiting:
    """What was read and waits to be checked together: many small drops cost what one large one does."""

    def __init__(self, part: PartWriter, rules: RuleBook, chunk_bytes: int, limits: Limits, sources: Sources) -> None:
        self._part, self._rules, self._chunk_bytes, self._limits = part, rules, chunk_bytes, limits
        self._sources = sources
        self._senders: dict[int, str] = {}
        self._small: dict[int, bytes] = {}
        """Small drops that wait to be read together."""
        self._small_bytes = min(SMALL, chunk_bytes)
        self._chunks: list[tuple[int | None, Chunk]] = []
        """What was read, every frame with `drop`, and the one drop that it is of; None: of several."""
        self._bytes = 0
        self._workers = threads.pool(_AT_ONCE)
        self._checking: deque[Future[pl.DataFrame]] = deque()
        self._flushed = 0
        self._read_records: dict[int, int] = {}
        """Records of each drop as the reader counted them."""
        self.records: dict[int, int] = {}
        self.refused: dict[int, int] = {}

    def read(self, number: int, edition: Edition, archive: Archive) -> None:
        """Read one drop; raises DropHeldError when it cannot be taken as it is."""
        shape = drop_format(edition.path)
        if shape is None:
            raise DropHeldError(*(held_by_name(edition.path) or ("unknown_format", edition.path)))
        format, compression = shape
        path = corrected_path(edition.path)
        self._senders[number] = self._sources.name_of(path)
        self._read_records[number] = 0
        limits = Limits() if edition.released or is_journal(path) else self._limits
        with closing(archive.open_bytes(edition.sha256, compression)) as stream:
            hashed = compression is None and archive.was_hashed(edition.sha256)
            measured = Measured(stream, limits, sha256=edition.sha256 if hashed else None)
            try:
                first = measured.read(self._small_bytes) if edition.bytes < self._small_bytes else b""
                whole = len(first) < self._small_bytes and format == "jsonl" and not is_journal(path)
                together = whole and can_be_followed(first)
                spans = len(first)
                if not together:
                    spans = self._read(number, Begun(first, measured), format, limits, as_it_is=edition.released, path=path)
            finally:
                # Also of a drop that is held: the rest is read for its hash, which tells it from another one.
                while measured.read(_PIECE):
                    pass
                edition.content, edition.lines = measured.sha256, measured.lines
        if spans != measured.size:
            raise lost_bytes(spans, measured.size)
        if compression is None and measured.sha256 != edition.sha256:
            raise damaged(edition.path, edition.sha256)
        if together:
            self._small[number] = first
            self._came(len(first))

    def _read(self, number: int, stream: Readable, format: str, limits: Limits, *, as_it_is: bool, path: str) -> int:
        """Read what is of that path, or what corrects it; return how many bytes records and filler have together."""
        self._read_small()  # so that drops are checked in their order
        spans = 0
        dialect, journal = self._sources.dialect_of(path), is_journal(path)
        for chunk in read_chunks(
            stream,
            format,
            chunk_bytes=self._chunk_bytes,
            first_bytes=self._enough,
            as_it_is=as_it_is,
            journal=journal,
            dialect=dialect,
        ):
            for line, length in chunk.unread.filter(pl.col("code") == "line_too_long").select("line", "byte_length").iter_rows():
                limits.assert_line(line, length)
            self._take(number, chunk.each(partial(_owned_by, number)))
            spans += chunk.span
            self._came(chunk.span)
        return spans

    def _read_small(self) -> None:
        """Read the small drops that wait."""
        if not self._small:
            return
        spans = 0
        for chunk in read_together(self._small):
            self._take(None, chunk)
            spans += chunk.span
        if spans != sum(map(len, self._small.values())):
            raise lost_bytes(spans, sum(map(len, self._small.values())))
        self._small = {}

    def _take(self, owner: int | None, chunk: Chunk) -> None:
        """Have a chunk wait and count its records."""
        records = pl.concat([frame["drop"] for frame in (chunk.unread, *chunk.sheets.values())])
        for number, count in records.value_counts().iter_rows():
            self._read_records[number] += count
        if len(records):
            self._chunks.append((owner, chunk))

    def _came(self, count: int) -> None:
        """Count bytes that came to what waits, and let it wait no longer when it is enough."""
        self._bytes += count
        # What is read at a time ends with a line, and so is a little less.
        if self._bytes >= self._enough * 3 // 4:
            self.flush()

    @property
    def _enough(self) -> int:
        """How many bytes are checked together: few at first, since nothing is checked while they are read."""
        return self._chunk_bytes if self._flushed else max(1, self._chunk_bytes // _FIRST)

    def forget(self, number: int) -> None:
        """Drop the waiting chunks of a drop; those already written count for nothing without their edition."""
        self._chunks = [(owner, chunk) for owner, chunk in self._chunks if owner != number]

    def assert_whole(self, number: int, edition: Edition) -> None:
        """Raise NightdropError unless every record of a drop that was read was checked, once."""
        conservation.same(edition.path, "records read", self._read_records[number], "checked", self.records.get(number, 0))

    def flush(self) -> None:
        """Have everything that waits checked and written, while the next chunks are read; `_AT_ONCE` such tasks at a time."""
        self._read_small()
        self.settle_down(_AT_ONCE - 1)
        if self._chunks:
            chunks = [chunk for _, chunk in self._chunks]
            self._checking.append(self._workers.submit(self._check, self._flushed, chunks, self._senders.copy()))
            self._flushed += 1
        self._chunks, self._bytes = [], 0

    def settle_down(self, left: int = 0) -> None:
        """Wait until no more than so many tasks are `left`; raises what went wrong there."""
        while len(self._checking) > left:
            for number, records, refused in self._checking.popleft().result().iter_rows():
                self.records[number] = self.records.get(number, 0) + records
                self.refused[number] = self.refused.get(number, 0) + refused

    def close(self) -> None:
        """Let no task run on."""
        self._workers.shutdown(cancel_futures=True)

    def _check(self, place: int, chunks: Sequence[Chunk], senders: Mapping[int, str]) -> pl.DataFrame:
        """Check chunks and write what was found at their `place` in the part; return drop, records, refused."""
        sheets: dict[str, list[pl.DataFrame]] = {}
        for chunk in chunks:
            for category, sheet in chunk.sheets.items():
                sheets.setdefault(category, []).append(sheet)
        source = pl.col("drop").replace_strict(senders, return_dtype=pl.String).alias(SOURCE)
        of_sources = [source] if self._rules.of_sources else []
        joined = {category: pl.concat(parts).with_columns(of_sources) for category, parts in sheets.items()}
        unread = pl.concat([chunk.unread.select("drop", *UNREAD) for chunk in chunks])
        checked = check(joined, unread, self._rules)
        conservation.of_checking(checked)
        self._part.write(checked, place)
        return checked.index.group_by("drop").agg(pl.len(), pl.col("refused").sum())


def _owned_by(drop: int, frame: pl.DataFrame) -> pl.DataFrame:
    return frame.with_columns(pl.lit(drop, dtype=pl.UInt32).alias("drop"))
