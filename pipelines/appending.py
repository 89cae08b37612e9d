"""Decide and load what comes after all that stands, part after part. Runs in the caller's transaction.

A part is all events about some records: nothing else has a say in what becomes of them but their parents, which come first.
Memory holds one part at a time, so a first load, and a whole past decided again, cost the same an event however many there are.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, Future
from dataclasses import replace
from datetime import date
from threading import Lock
from typing import NamedTuple, Self

import duckdb
import polars as pl

from pipelines import conservation, standing, threads
from pipelines.causes import find_causes
from pipelines.deciding import decide_some
from pipelines.decision import Decision, Living
from pipelines.eventlog import EventLog
from pipelines.flips import Verdicts, write_flips
from pipelines.loading import Adding, Loaded
from pipelines.logform import CHOSEN
from pipelines.logged import NAMELESS, Logged
from pipelines.moment import Moment
from pipelines.refused import RawLines, add_raw
from pipelines.rewinding import rewind
from validation.entities import ENTITIES
from validation.fields import Entity
from validation.rulebook import RuleBook

_OTHERS = 8
"""Who stays is decided again along with a large change when it is less than so many times as large."""


class _Part(NamedTuple):
    """What is decided at a time."""

    entities: Sequence[Entity]
    events: Logged
    has_children: bool = False
    """Whether parts that come later ask for its records."""


def is_for_append(change: Living, sizes: Mapping[tuple[str, str], int], part_bytes: int) -> bool:
    """Tell whether to take in a change by `append`: nothing that stays comes after it, or it is too large to be held at once.

    Then all from its first date on is decided again, unless that is so much more that only what it touches should be. `sizes`:
    bytes of editions by path and SHA-256.
    """
    recent = change.drops.filter(pl.col("business_date") >= change.since)
    stays = recent.filter(~pl.col("added"))
    if stays.is_empty():
        return True
    key = ("path", "sha256")
    moved = sum(sizes[edition] for frame in (recent.filter("added"), change.gone) for edition in frame.select(key).iter_rows())
    return part_bytes < moved and sum(sizes[edition] for edition in stays.select(key).iter_rows()) < _OTHERS * moved


def _whole(change: Living) -> Living:
    """Return a change as one that takes out all from its first date on, and puts in again what lives."""
    again = ~pl.col("added") & (pl.col("business_date") >= change.since)
    gone = pl.concat([change.gone, change.drops.filter(again).select(change.gone.columns)])
    return replace(change, drops=change.drops.with_columns(added=pl.col("added") | again), gone=gone)


def append(
    con: duckdb.DuckDBPyConnection,
    log: EventLog,
    change: Living,
    since: date,
    rules: RuleBook,
    *,
    source_of: Callable[[str], str],
    raw_lines: RawLines,
    moment: Moment,
    part_bytes: int,
    meanwhile: Callable[[], None],
) -> tuple[Loaded, conservation.Ledger]:
    """Take in a change, about `part_bytes` of records at a time; also return what must then be there.

    `meanwhile` is called once, when all is decided and the last of it is being written.
    `since`: its first business date. What stands from then on is taken out first, and decided again if it stays.
    """
    every = _whole(change)
    ledger, was = conservation.ledger_before(con, since), Verdicts(con, every)
    if not every.gone.is_empty():
        rewind(con, since)
    added = every.drops.filter("added")
    units, places = log.units(added.select(*CHOSEN)), every.drops.select("rank", "business_date", "path", "sha256")
    ranks = places.select("business_date", "path", "rank")
    taken = _Taken()
    with threads.pool(1) as reader, _Writer(con, places, since, moment) as writer:
        stands = standing.Now(con, writer.turn)
        for part, last in _read_ahead(_parts(log, units, change.fixes, part_bytes), reader):
            decision = decide_some(stands, part.entities, part.events, ranks, rules, source_of=source_of)
            ledger.expect(decision)
            writer.write(decision, last=last)
            taken.note(decision)
            if part.has_children:
                for stage in decision.stages:
                    stands.keep(stage.entity, stage.settled.lives)
        conservation.of_the_log(taken.events, int(added["records"].sum()))
        # While the last decision is written.
        meanwhile()
        add_raw(con, taken.refused().join(places, on="rank", how="left"), raw_lines, turn=writer.turn)
    stands.forget()
    find_causes(con, since, ranks)
    flipped = write_flips(con, was.changed(places), change, moment)
    told = added.select("business_date", "path")
    return Loaded(flipped, told, taken.events, taken.applied, taken.codes), ledger


def _parts(log: EventLog, units: pl.DataFrame, fixes: pl.DataFrame, part_bytes: int) -> Iterator[_Part]:
    """Yield one part after the other, parents before children.

    A part is a range of ids of one category; what fits into one part is not cut at all. What has no id, which may name a parent
    all the same, comes before the last category: it is little, and while the last part is written there is other work.
    """
    logged = log.of_units(units, fixes)
    parts = -(-int(units["bytes"].sum()) // part_bytes)
    if parts <= 1:
        yield _Part(tuple(ENTITIES.values()), logged)
        return
    records = {category: count for category in ENTITIES if (count := logged.records(category))}
    asked = {ENTITIES[category].parent for category in records}
    if not records:
        yield from _nameless(log, units, fixes, part_bytes)
    for category, count in records.items():
        if category == [*records][-1]:
            yield from _nameless(log, units, fixes, part_bytes)
        share = count / max(1, int(units["records"].sum()))
        for ids in logged.ids(category, max(1, round(parts * share))):
            yield _Part((ENTITIES[category],), logged.of(ids, category), has_children=category in asked)


def _nameless(log: EventLog, units: pl.DataFrame, fixes: pl.DataFrame, part_bytes: int) -> Iterator[_Part]:
    before = pl.col("bytes").cum_sum() - pl.col("bytes")
    for some in units.with_columns(group=before // part_bytes).partition_by("group", maintain_order=True, include_key=False):
        yield _Part((), log.of_units(some, fixes).of(NAMELESS))


def _read_ahead(parts: Iterable[_Part], reader: Executor) -> Iterator[tuple[_Part, bool]]:
    """Yield the parts, each with whether it is the last; while one is decided the next is read."""
    before: _Part | None = None
    for part in parts:
        part.events.begin(reader)
        if before is not None:
            yield before, False
        before = part
    if before is not None:
        yield before, True


class _Taken:
    """What was taken in so far."""

    def __init__(self) -> None:
        self.events = self.applied = 0
        self.codes: Counter[str] = Counter()
        self._refused: list[pl.DataFrame] = []

    def note(self, decision: Decision) -> None:
        self.events += len(decision.events)
        self.applied += int(decision.events["applied"].sum())
        self.codes.update(dict(decision.reasons["code"].value_counts().iter_rows()))
        columns = ["rank", "line", "byte_offset", "byte_length", "file"]
        self._refused.append(decision.events.filter(~pl.col("applied")).select(columns))

    def refused(self) -> pl.DataFrame:
        """Return rank, line, byte_offset, byte_length, file of all events that are refused."""
        return pl.concat(self._refused)


class _Writer:
    """Writes one decision while the next is made, on the same connection in turns."""

    def __init__(self, con: duckdb.DuckDBPyConnection, places: pl.DataFrame, since: date, moment: Moment) -> None:
        self._ready, self._pool, self.turn = threads.pool(1), threads.pool(1), Lock()
        self._adding = Adding(con, places, since=since, moment=moment, turn=self.turn)
        self._under_way: Future[None] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        try:
            if kind is None:
                self._wait()
        finally:
            self._ready.shutdown(cancel_futures=True)
            self._pool.shutdown(cancel_futures=True)

    def write(self, decision: Decision, *, last: bool) -> None:
        """Begin to write a decision, once the one before it is written; raises what went wrong there."""
        ready = self._ready.submit(self._adding.make_ready, decision, last=last)
        self._wait()
        self._under_way = self._pool.submit(lambda: self._adding.write(ready.result()))

    def _wait(self) -> None:
        if self._under_way is not None:
            self._under_way.result()
