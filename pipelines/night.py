"""The step list of a night: discover, pick up, settle, load, publish, report. The command line and the Prefect flow both call it.

Whoever calls it has the home's lock. Killed anywhere, the next run finishes the job: the archive and the log only grow by
whole files, the working warehouse changes in one transaction, the rest is made again from it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from functools import partial
from itertools import groupby
from typing import TypeVar

import duckdb
import polars as pl

from pipelines import database, diary, drops, gate, schema
from pipelines.archive import Archive
from pipelines.deciding import Decision, Living, decide
from pipelines.discovery import Candidate, business_date, discover, drop_format, held_by_name, path_key
from pipelines.eventlog import EventLog, PartWriter
from pipelines.home import Home, Settings
from pipelines.loading import Loaded, Moment, load
from pipelines.pickup import Delivery, Seen, archive_drop, read_into_log
from pipelines.publishing import publish
from pipelines.reporting import write_reports
from pipelines.summary import DropResult, Night, Progress, StepRunner
from validation.rulebook import RuleBook

T = TypeVar("T")


def run_night(
    home: Home,
    settings: Settings,
    *,
    only_date: date | None = None,
    progress: Progress | None = None,
    around: StepRunner | None = None,
) -> Night:
    """Take in what lies in the inbox (only drops of `only_date`, if given) and bring warehouse and reports up to date.

    Raises NightdropError when the world is broken: a missing inbox, a full disk, tables that do not add up. Readers then have
    the warehouse of before, and the next run starts where this one did.
    """
    moment = Moment.now()
    steps = _Steps(progress, around)
    candidates = steps.run("discover", lambda: discover(home.inbox))
    home.state.mkdir(parents=True, exist_ok=True, mode=0o750)
    with diary.unfinished(home, moment) as died, _working_warehouse(home) as con:
        work = _Work(home, settings, con, moment, steps)
        taken = work.take_in(candidates, only_date, died)
    steps.run("publish", lambda: publish(home.working, home.warehouse))
    dates = diary.dates_to_report(home)
    with database.connect(home.working, read_only=True) as con:
        for day in dates:
            steps.run(f"report {day}", lambda day=day: write_reports(con, home, [day]))  # type: ignore[misc]
        if not dates:
            steps.run("report", lambda: write_reports(con, home, []))
    diary.reported(home)
    finished = datetime.now(UTC)
    return Night(
        run_id=moment.run_id,
        started_at=moment.at,
        finished_at=finished,
        drops=taken.drops,
        reasons=taken.reasons,
        events=taken.events,
        applied=taken.applied,
        rejected=taken.events - taken.applied,
        flipped=taken.flipped,
        seconds=(finished - moment.at).total_seconds(),
        steps=steps.seconds,
        changed=taken.changed,
        dates=tuple(dates),
    )


@contextmanager
def _working_warehouse(home: Home) -> Iterator[duckdb.DuckDBPyConnection]:
    """Open the working warehouse, new when there is none; sealed at the end."""
    con = database.connect(home.working)
    try:
        if schema.is_empty(con):
            schema.create(con)
        yield con
    except BaseException:
        con.close()
        raise
    database.seal(con)


class _Steps:
    """Runs steps by their names, tells the progress, and keeps the time."""

    def __init__(self, progress: Progress | None, around: StepRunner | None) -> None:
        self.progress, self.around = progress, around
        self.seconds: dict[str, float] = {}

    def run(self, name: str, work: Callable[[], T], *, total: int | None = None) -> T:
        """Run one step."""
        if self.progress:
            self.progress.step(name, total)
        started = time.perf_counter()
        try:
            return self.around(name, work) if self.around else work()
        finally:
            kind = name.removesuffix(name.lstrip("abcdefghijklmnopqrstuvwxyz ")).strip()
            self.seconds[kind] = self.seconds.get(kind, 0.0) + time.perf_counter() - started

    def advance(self) -> None:
        """One unit of the step is done."""
        if self.progress:
            self.progress.advance()


@dataclass(frozen=True, slots=True)
class _Taken:
    """What the run took in."""

    changed: bool
    drops: tuple[DropResult, ...]
    events: int = 0
    applied: int = 0
    flipped: int = 0
    reasons: dict[str, int] = field(default_factory=dict)

    def numbers(self) -> dict[str, int]:
        """Return the counts that `runs` keeps."""
        drops_taken = sum(drop.status == "applied" for drop in self.drops)
        rejected = self.events - self.applied
        return {
            "drops": drops_taken,
            "events": self.events,
            "applied": self.applied,
            "rejected": rejected,
            "flipped": self.flipped,
        }


class _Work:
    """The part of a run between the inbox and the committed warehouse."""

    def __init__(self, home: Home, settings: Settings, con: duckdb.DuckDBPyConnection, moment: Moment, steps: _Steps) -> None:
        self.home, self.settings, self.con, self.moment, self.steps = home, settings, con, moment, steps
        self.archive, self.log = Archive(home.archive), EventLog(home.log)
        self.rules = RuleBook.of(settings.registration_patterns)
        self.seen = Seen(home.state / "seen.json")
        self.living = drops.living(con)
        self.logged = _editions(self.log.editions(self.rules.fingerprint))

    def take_in(self, candidates: Sequence[Candidate], only_date: date | None, died: Sequence[diary.Died]) -> _Taken:
        """Pick up what is new, decide what it touches, and commit both with the record that it happened."""
        self.archive.sweep()
        self.log.sweep()
        looked_at = self._pick_up(candidates, only_date)
        self.seen.save()
        known = _editions(self.living) & self.logged
        added = [d for d in looked_at if not d.hold and (d.path, d.sha256) not in known]
        living = self._living_after(looked_at, added)
        since = living.since
        decision = None
        if since is not None:
            decision = self.steps.run("settle", lambda: decide(self.con, self.log, living, since, self.rules))
        return self.steps.run("load", lambda: self._load(living, decision, added, looked_at, died))

    def _pick_up(self, candidates: Sequence[Candidate], only_date: date | None) -> list[Delivery]:
        """Return the edition that every drop has now: archived, and in the log unless it is held."""
        wanted: list[Candidate | Delivery] = [c for c in candidates if only_date in (None, c.business_date)]
        wanted += self._from_archive({c.path for c in wanted}, {c.path for c in candidates}, only_date)
        wanted.sort(key=lambda drop: (drop.business_date or date.max, path_key(drop.path)))
        looked_at: list[Delivery] = []
        for number, batch in enumerate(_batches(wanted, self.settings.chunk_bytes)):
            part = f"{self.moment.run_id}.{number:06}"
            looked_at += self.steps.run(
                f"pick up {_dates(batch)}", partial(self._archive_and_read, batch, part), total=len(batch)
            )
        return looked_at

    def _from_archive(self, wanted: set[str], found: set[str], only_date: date | None) -> Iterator[Delivery]:
        """Yield the drops to read again whose file is not looked at: held ones whose file is gone, living ones not in the log."""
        for path, sha256, size in drops.held(self.con).select("path", "sha256", "bytes").iter_rows():
            delivery = _archived(path, sha256, size)
            if sha256 is not None and path not in found and only_date in (None, delivery.business_date):
                yield delivery
        for path, sha256, size in self.living.select("path", "sha256", "bytes").iter_rows():
            if (path, sha256) not in self.logged and path not in wanted:
                yield _archived(path, sha256, size)

    def _archive_and_read(self, batch: Sequence[Candidate | Delivery], part: str) -> list[Delivery]:
        deliveries: list[Delivery] = []
        unread: list[Delivery] = []
        for drop in batch:
            delivery = archive_drop(drop, self.archive, self.seen) if isinstance(drop, Candidate) else drop
            known = delivery.hold or (delivery.path, delivery.sha256) in self.logged
            (deliveries if known else unread).append(delivery)
            self.steps.advance()
        if unread:
            writer = PartWriter(self.home.log, part)
            deliveries += read_into_log(unread, self.archive, writer, self.rules, chunk_bytes=self.settings.chunk_bytes)
        return deliveries

    def _living_after(self, looked_at: Sequence[Delivery], added: Sequence[Delivery]) -> Living:
        """Return the living drops: an added edition takes its path's place, a held one leaves the older there."""
        reread = {d.path for d in looked_at if d.hold and (d.path, d.sha256) in _editions(self.living)}
        taken = [d.path for d in added] + sorted(reread)
        schema = {"business_date": pl.Date(), "path": pl.String(), "sha256": pl.String()}
        new = pl.DataFrame([(d.business_date, d.path, d.sha256) for d in added], schema=schema, orient="row")
        stays = ~pl.col("path").is_in(taken)
        old = self.living.select(*schema)
        both = pl.concat([old.filter(stays).with_columns(added=pl.lit(False)), new.with_columns(added=pl.lit(True))])
        places = both.rows(named=True)
        order = sorted(range(len(places)), key=lambda row: (places[row]["business_date"], path_key(places[row]["path"])))
        ranked = both[order].with_row_index("rank").with_columns(pl.col("rank").cast(pl.Int64))
        editions = self.log.editions(self.rules.fingerprint)
        return Living(
            ranked.join(editions, on=["path", "sha256"], how="left", maintain_order="left"),
            old.filter(~stays).select("business_date", "path"),
        )

    def _load(
        self,
        living: Living,
        decision: Decision | None,
        added: Sequence[Delivery],
        looked_at: Sequence[Delivery],
        died: Sequence[diary.Died],
    ) -> _Taken:
        """Commit everything of this run in one transaction, once it adds up."""
        held_before = drops.held(self.con)
        loaded = Loaded(0, pl.DataFrame(schema={"business_date": pl.Date(), "path": pl.String()}))
        with database.transaction(self.con):
            diary.write_died(self.con, died)
            drops.write_looked_at(self.con, looked_at, [*(d.path for d in looked_at)], self.moment)
            drops.write_applied(self.con, added, self.moment)
            if decision is not None:
                loaded = load(self.con, decision, living, self._raw_lines, self.moment)
                drops.recount(self.con, loaded.drops, self.moment)
            held_now = drops.held(self.con)
            changed = decision is not None or not held_now.sort("path").equals(held_before.sort("path"))
            taken = _taken(changed, drops.results(self.con, self.moment), decision, loaded)
            diary.write_run(self.con, self.moment, taken.numbers(), self.rules.fingerprint)
            gate.check(self.con, since=decision.since if decision else date.max)
            days = {*loaded.drops["business_date"], *(d.business_date for d in looked_at if d.hold and changed)}
            diary.note_dates_to_report(self.home, {day for day in days if day is not None})
        return taken

    def _raw_lines(self, path: str, sha256: str, ranges: pl.DataFrame) -> pl.Series:
        shape = drop_format(path)
        compression = shape[1] if shape else None
        offsets, lengths = ranges["byte_offset"].to_list(), ranges["byte_length"].to_list()
        return pl.Series(self.archive.read_ranges(sha256, compression, offsets, lengths), dtype=pl.Binary)


def _taken(changed: bool, results: tuple[DropResult, ...], decision: Decision | None, loaded: Loaded) -> _Taken:
    if decision is None:
        return _Taken(changed, results)
    decided = decision.events.filter(pl.col("sound") | pl.col("added"))
    counts = decision.reasons["code"].value_counts(sort=True)
    return _Taken(
        changed,
        results,
        events=len(decided),
        applied=int(decided["applied"].sum()),
        flipped=loaded.flipped,
        reasons=dict(counts.sort(["count", "code"], descending=[True, False]).iter_rows()),
    )


def _editions(frame: pl.DataFrame) -> set[tuple[str, str]]:
    return set(frame.select("path", "sha256").iter_rows())


def _archived(path: str, sha256: str, size: int) -> Delivery:
    """Return a drop as its path says it is, its bytes in the archive."""
    shape = drop_format(path)
    day = business_date(path)
    delivery = Delivery(path, day, shape[0] if shape else None, shape[1] if shape else None, sha256, size)
    hold = held_by_name(path)
    return delivery.held(*hold) if hold else delivery


def _batches(wanted: Sequence[Candidate | Delivery], enough: int) -> Iterator[list[Candidate | Delivery]]:
    """Cut the drops into whole dates, as many together as make a chunk."""
    batch: list[Candidate | Delivery] = []
    for _, day in groupby(wanted, key=lambda drop: drop.business_date):
        batch += day
        if sum(drop.bytes or 0 for drop in batch) >= enough:
            yield batch
            batch = []
    if batch:
        yield batch


def _dates(batch: Sequence[Candidate | Delivery]) -> str:
    first, last = (str(drop.business_date or "undated") for drop in (batch[0], batch[-1]))
    return first if first == last else f"{first} to {last}"
