"""One shift of work on a home: look at drops, read what could live, decide, and commit it with the record that it happened.

A nightly run and every act of a person (withdraw, release …) is a shift. Whoever begins one has the home's lock.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import date
from functools import partial
from itertools import groupby
from typing import TypeVar

import duckdb
import numpy as np
import polars as pl

from pipelines import conservation, corrections, database, diary, drops, gate, heap, living, schema
from pipelines.appending import append, is_for_append
from pipelines.archive import Archive
from pipelines.arriving import Seen, Unreachable, archive_drop, wanted
from pipelines.book import Book, Edition, Unread, read_book, sweep, write_book
from pipelines.causes import most_followed
from pipelines.deciding import decide
from pipelines.decision import Living
from pipelines.discovery import Candidate, drop_format, held_by_name, path_key
from pipelines.eventlog import EventLog, PartWriter
from pipelines.home import Home, Settings
from pipelines.journals import is_journal
from pipelines.limits import Limits
from pipelines.loading import Loaded, load
from pipelines.manifests import read_manifest
from pipelines.moment import Moment
from pipelines.pickup import read_into_log
from pipelines.problems import NightdropError
from pipelines.ranges import Ranges, read_ranges
from pipelines.steps import Steps
from pipelines.summary import DropResult, RootCause

_CAUSES_TOLD = 5
_MEMORY = "1GB"
"""What DuckDB may hold in memory while it loads; what is more it keeps in files beside the working warehouse."""
_PART = 5
"""So many times what is read at a time is picked up in a step, and decided and loaded at a time."""
_PARTS_BY_ID = 4
"""What makes more parts is logged in the order of ids, or each part would read all of it."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a shift changed."""

    changed: bool
    drops: tuple[DropResult, ...]
    events: int = 0
    applied: int = 0
    flipped: int = 0
    reasons: dict[str, int] = field(default_factory=dict)
    causes: tuple[RootCause, ...] = ()

    def numbers(self) -> dict[str, int]:
        """Return the counts that `runs` keeps."""
        return {
            "drops": sum(drop.status == "applied" for drop in self.drops),
            "events": self.events,
            "applied": self.applied,
            "rejected": self.events - self.applied,
            "flipped": self.flipped,
        }


@contextmanager
def working_warehouse(home: Home) -> Iterator[duckdb.DuckDBPyConnection]:
    """Open the working warehouse, new when there is none; sealed at the end. Raises NightdropError for one of other tables."""
    con = database.connect(home.working, memory_limit=_MEMORY)
    try:
        if not schema.is_current(con):
            if not schema.is_empty(con):
                raise NightdropError(
                    f"{home.working}: its tables are those of another version of nightdrop. Nothing was changed, and readers "
                    "have what was published last. `nightdrop rebuild` makes them again out of the archive; then run again."
                )
            schema.create(con)
        ((longest,),) = con.execute("SELECT max(byte_length) FROM rejected_lines").fetchall()
        database.let_hold(con, longest or 0)  # the gate looks at it
        yield con
    except BaseException:
        con.close()
        raise
    database.seal(con)


class Shift:
    """The work between the inbox and the committed warehouse."""

    def __init__(
        self,
        home: Home,
        settings: Settings,
        con: duckdb.DuckDBPyConnection,
        *,
        archive: Archive,
        moment: Moment,
        steps: Steps,
    ) -> None:
        self.home, self.settings, self.con, self.moment, self.steps = home, settings, con, moment, steps
        self.archive, self.log = archive, EventLog(home.log)
        self.log.sweep()
        self.rules = settings.rules()
        # It reads files of ours: not while the disk is busy with what arrives.
        self.rule_set = self.rules.fingerprint
        self.limits = Limits(settings.max_expanded, settings.max_line)
        self._last_run = diary.last_run(con)
        self.book: Book = read_book(home.book, self._last_run)
        self.again: set[tuple[str, str]] = set()
        """Editions to decide again although they lived before."""
        self._parts = 0
        self._seen: Seen | None = None

    # --- look ---

    def look_at(self, candidates: Sequence[Candidate], only_date: date | None) -> None:
        """Take the drops of the inbox into archive and book (only those of one date, if given)."""
        self._seen = seen = Seen(self.home.state / "seen.json")
        found = {candidate.path for candidate in candidates}
        self.book.unread = {path: unread for path, unread in self.book.unread.items() if path in found}
        for batch in batches(wanted(candidates, self.settings, only_date), self.settings.chunk_bytes, size=lambda c: c.bytes):
            work = partial(self._archive, batch, seen)
            self.steps.run(f"archive {_dates(c.business_date for c in batch)}", work, total=len(batch), kind="archive")

    def _archive(self, batch: Sequence[Candidate], seen: Seen) -> None:
        for candidate in batch:
            self.book.unread.pop(candidate.path, None)
            try:
                sha256, size = archive_drop(candidate, self.home.inbox, self.archive, seen)
            except Unreachable as held:
                self.book.unread[candidate.path] = Unread(candidate.business_date, candidate.bytes, held.hold)
                continue
            finally:
                self.steps.advance()
            edition = self.book.arrive(
                Edition(candidate.path, sha256, size, candidate.business_date, self.moment.at, self.moment.run_id)
            )
            # A manifest that disappears changes nothing.
            if not is_journal(candidate.path):
                edition.manifest = read_manifest(candidate.location, self.home.inbox) or edition.manifest

    # --- read ---

    def read_what_could_live(self) -> None:
        """Read every edition whose standing depends on what is in it and that was not read under these rules."""
        while unread := self._to_read():
            # Many at a time: what is read last in a step is checked while nothing else is read.
            for batch in batches(unread, _PART * self.settings.chunk_bytes, size=lambda e: e.bytes):
                work = partial(self._read, batch)
                self.steps.run(f"pick up {_dates(e.business_date for e in batch)}", work, total=len(batch), kind="pick up")
        heap.trim()  # the blocks of the drops; what is decided stands in memory of Polars and DuckDB

    def _to_read(self) -> list[Edition]:
        logged = set(self.log.editions(self.rule_set).select("path", "sha256", "released").iter_rows())
        standing = living.judge(self.book, self.settings.hold_above_for)
        unread = []
        for editions in self.book.of_path().values():
            for edition in reversed(editions):
                named = held_by_name(edition.path)
                if named and not (named[0] == "no_business_date" and edition.business_date):
                    break
                is_logged = (*edition.key, edition.released) in logged
                limited = not edition.released and self.limits.are_others_than_in(edition.hold)
                if limited or edition.read_under != self.rule_set or (edition.hold is None and not is_logged):
                    unread.append(edition)
                if standing[edition.key].status not in ("held", "superseded"):
                    break
        unread += [file for file in corrections.files(self.book) if (*file.key, file.released) not in logged]
        return sorted(unread, key=lambda e: (e.business_date or date.max, path_key(e.path)))

    def _read(self, batch: Sequence[Edition]) -> None:
        many = sum(edition.bytes for edition in batch) > _PARTS_BY_ID * _PART * self.settings.chunk_bytes
        writer = PartWriter(self.home.log, f"{self.moment.run_id}.{self._parts:06}", by_id=many)
        self._parts += 1
        read_into_log(
            batch,
            self.archive,
            writer,
            self.rules,
            sources=self.settings.sources,
            chunk_bytes=self.settings.chunk_bytes,
            limits=self.limits,
            advance=self.steps.advance,
        )
        for edition in batch:
            self.again.add(edition.key)
            corrections.carry_over(self.book, edition, self.archive)

    # --- decide and commit ---

    def _source(self, path: str) -> str:
        return self.settings.sources.name_of(path)

    def finish(self, died: Sequence[diary.Died], *, meanwhile: Callable[[], None]) -> Outcome:
        """Decide what the book as it now is changes, and commit it in one transaction, once it adds up.

        `meanwhile` is to begin what can be done beside that; it is called when somebody waits for DuckDB, if anything changes.
        """
        if self._seen is not None:
            self._seen.save()  # not before: while the archive's copies go to the disk, it would wait for them
        standing = living.judge(self.book, self.settings.hold_above_for)
        change = self._change(standing)
        with ExitStack() as until_committed:
            until_committed.enter_context(database.transaction(self.con))
            diary.write_died(self.con, died)
            load_it = self._settle(change, meanwhile)
            outcome = self.steps.run("load", lambda: self._commit(standing, change, load_it, until_committed))
        sweep(self.home.book, self.moment.run_id)
        return outcome

    def _settle(self, change: Living, meanwhile: Callable[[], None]) -> Callable[[], tuple[Loaded, conservation.Ledger | None]]:
        """Decide a change; return what loads it and tells what must then be there."""
        since = change.since
        if since is None:
            return lambda: (Loaded(0, pl.DataFrame(schema={"business_date": pl.Date(), "path": pl.String()})), None)
        part_bytes = _PART * self.settings.chunk_bytes
        if is_for_append(change, {edition.key: edition.bytes for edition in self.book.editions}, part_bytes):
            work = partial(append, source_of=self._source, raw_lines=self._raw_lines, moment=self.moment, part_bytes=part_bytes)
            done = self.steps.run("settle", lambda: work(self.con, self.log, change, since, self.rules, meanwhile=meanwhile))
            return lambda: done
        meanwhile()
        decision = self.steps.run("settle", lambda: decide(self.con, self.log, change, since, self.rules, source_of=self._source))

        def load_it() -> tuple[Loaded, conservation.Ledger]:
            with self.steps.within("load", "gate"):
                ledger = conservation.open_ledger(self.con, decision, change, since)
            return load(self.con, decision, change, since=since, raw_lines=self._raw_lines, moment=self.moment), ledger

        return load_it

    def _change(self, standing: dict[tuple[str, str], living.Standing]) -> Living:
        """Return the living drops, and how they differ from those in the warehouse."""
        columns = {"business_date": pl.Date(), "path": pl.String(), "sha256": pl.String()}
        lived = drops.living(self.con).select(*columns)
        before = {(path, sha256): day for day, path, sha256 in lived.iter_rows()}
        lives = [edition for edition in self.book.editions if standing[edition.key].status == "applied"]
        lives.sort(key=lambda edition: (edition.business_date, path_key(edition.path)))
        self.again |= corrections.changed(self.con, self.book, lives)
        stay = {e.key for e in lives if before.get(e.key) == e.business_date and e.key not in self.again}
        for edition in lives:
            if edition.key not in stay:
                edition.run_id = self.moment.run_id
        rows = [
            (e.business_date, e.path, e.sha256, e.released, rank, e.key not in stay, e.records) for rank, e in enumerate(lives)
        ]
        logged = self.log.editions(self.rule_set)
        told = {"released": pl.Boolean(), "rank": pl.Int64(), "added": pl.Boolean(), "records": pl.Int64()}
        now = pl.DataFrame(rows, schema={**columns, **told}, orient="row")
        gone = [(day, path, sha256) for (path, sha256), day in before.items() if (path, sha256) not in stay]
        return Living(
            now.join(logged, on=["path", "sha256", "released"], how="left", maintain_order="left"),
            pl.DataFrame(gone, schema=columns, orient="row"),
            corrections.fixes(self.book, lives, logged),
        )

    def _commit(
        self,
        standing: dict[tuple[str, str], living.Standing],
        change: Living,
        load_it: Callable[[], tuple[Loaded, conservation.Ledger | None]],
        until_committed: ExitStack,
    ) -> Outcome:
        """Load what was decided, write what goes with it, look whether it adds up, and commit."""
        loaded, ledger = load_it()
        restated = drops.write(self.con, self.book, standing, self.moment)
        corrections.write(self.con, self.book, [e for e in self.book.editions if standing[e.key].status == "applied"])
        drops.recount(self.con, loaded.drops, self.moment)
        outcome = self._outcome(change, loaded, restated)
        diary.write_run(self.con, self.moment, outcome.numbers(), self.rule_set)
        with self.steps.within("load", "gate"):
            gate.check(self.con, since=change.since or date.max)
            if ledger is not None:
                ledger.close(self.con)
        write_book(self.home.book, self.moment.run_id, self.book, self._last_run)
        days = {*loaded.drops["business_date"], *change.gone["business_date"]}
        if restated:
            days |= {e.business_date for e in self.book.editions if standing[e.key].status == "held"}
        diary.note_dates_to_report(self.home, {day for day in days if day is not None})
        until_committed.close()
        return outcome

    def _outcome(self, change: Living, loaded: Loaded, restated: bool) -> Outcome:
        results = drops.results(self.con, self.moment)
        if change.since is None:
            return Outcome(restated, results)
        return Outcome(
            changed=True,
            drops=results,
            events=loaded.events,
            applied=loaded.applied,
            flipped=loaded.flipped,
            reasons=dict(sorted(loaded.reasons.items(), key=lambda item: (-item[1], item[0]))),
            causes=most_followed(self.con, change.since, _CAUSES_TOLD),
        )

    def _raw_lines(self, path: str, sha256: str, offsets: np.ndarray, lengths: np.ndarray) -> Iterator[Ranges]:
        shape = drop_format(path)
        return read_ranges(self.archive, sha256, shape[1] if shape else None, offsets, lengths)


D = TypeVar("D", Candidate, Edition)


def batches(drops_: Iterable[D], enough: int, *, size: Callable[[D], int]) -> Iterator[list[D]]:
    """Cut drops into runs of whole dates, as many together as make `enough` bytes."""
    batch: list[D] = []
    in_order = sorted(drops_, key=lambda drop: (drop.business_date or date.max, path_key(drop.path)))
    for _, day in groupby(in_order, key=lambda drop: drop.business_date):
        batch += day
        if sum(size(drop) for drop in batch) >= enough:
            yield batch
            batch = []
    if batch:
        yield batch


def _dates(days: Iterable[date | None]) -> str:
    told = [str(day or "undated") for day in days]
    return told[0] if told[0] == told[-1] else f"{told[0]} to {told[-1]}"
