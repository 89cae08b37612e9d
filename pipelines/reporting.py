"""The reports: for each date a page, `summary.json`, and of each drop with rejections a bounce; a page over all dates.

A report says what the working warehouse says, and which expected drops are missing, and nothing else: no clock and no run, so
that the same decisions give the same bytes. Held drops without a date stand in `reports/undated/summary.json`. A date of which
nothing is known loses its report.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import Executor, Future, wait
from dataclasses import dataclass
from datetime import date
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, ParamSpec, TypeVar

import duckdb

from pipelines import threads
from pipelines.archive import Archive
from pipelines.blocks import content_length
from pipelines.bounce import (
    BOUNCE_FILE,
    REASONS_SUFFIX,
    Bounce,
    Opening,
    bounce_name,
    opening,
    put,
    set_aside_if_edited,
    write_bounce,
)
from pipelines.calendar import NOBODY_EXPECTED, Attendance
from pipelines.csvs import columns_named
from pipelines.date_summary import SUMMARY, issued_in, of_date, of_no_date, write_summary
from pipelines.discovery import drop_format, path_key
from pipelines.excerpts import columns_of
from pipelines.files import sync_folder
from pipelines.home import Home, Settings
from pipelines.issues import Issue, remember
from pipelines.mornings import Morning, Row, mornings, undated
from pipelines.rejected import InWarehouse, Original
from pipelines.sources import Sources

if TYPE_CHECKING:
    from pipelines.pages import RefusedRows

PAGE = "index.html"
UNDATED = "undated"
_MANY = 5_000
"""So many rejections of a date make its page worth a thread of its own."""
_SMALL_AT_ONCE = 2
"""So many dates with fewer are written at once: half the time of one goes by until the disk has it."""

P = ParamSpec("P")
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class _Refused:
    """A drop with rejections: how it is bounced, and what the page needs to know of it."""

    original: Original
    name: str
    """Of its bounce."""
    begins: Opening
    header: bytes
    """Of a CSV drop, without its line end."""
    columns: dict[str, int]
    """Column of a CSV drop -> its place."""


def write_reports(
    con: duckdb.DuckDBPyConnection,
    home: Home,
    dates: Iterable[date],
    settings: Settings | None = None,
    *,
    calendar: Attendance = NOBODY_EXPECTED,
    advance: Callable[[], None] = lambda: None,
) -> list[Path]:
    """Write the report of each date, that of the held drops without one, and the page over all dates.

    `con` has the working warehouse open, `settings` say who sends what, `calendar` what was expected and came; `advance` is
    called after each date. Returns the files that are now there. Each is replaced at once and `summary.json` last, so that
    whoever reads it finds the bounces it names.
    """
    folder = home.reports
    folder.mkdir(mode=0o750, parents=True, exist_ok=True)
    files: list[Path] = []
    days = sorted(set(dates))
    with con.cursor() as cursor, threads.pool(1) as beside, threads.pool(1) as aside, threads.pool(_SMALL_AT_ONCE) as others:
        desk = _Desk(con, home, settings or Settings(), calendar, beside, aside)
        without_date = undated(con)
        index = aside.submit(_index, cursor, folder / PAGE, without_date, calendar, new=bool(days))
        under_way: deque[Future[list[Path]]] = deque()
        for morning in mornings(con, days):
            small = len(morning.rejections) < _MANY
            under_way.append(others.submit(desk.write_small_date, morning) if small else desk.write_date(morning))
            while len(under_way) > (2 * _SMALL_AT_ONCE if small else 1):
                files += under_way.popleft().result()
                advance()
        for written in under_way:
            files += written.result()
            advance()
        page = index.result()
    files += _write_undated(without_date, folder / UNDATED)
    if page is None:
        (folder / PAGE).unlink(missing_ok=True)
    else:
        files.append(put(folder / PAGE, page))
    sync_folder(folder)
    return files


def make_ready() -> None:
    """Load and compile what reports are made of: a quarter of a second, and nothing beside what DuckDB does."""
    from pipelines import charts, pages

    pages.make_ready()
    charts.make_ready()


@dataclass(frozen=True, slots=True)
class _Desk:
    """Where the reports of all dates are made. Bounces are the work of one thread and pages that of another: about half each."""

    con: duckdb.DuckDBPyConnection
    home: Home
    settings: Settings
    calendar: Attendance
    beside: Executor
    """One thread: of two pages the second waits for the first."""
    aside: Executor
    """One thread, for what is waited for last: the page over all dates, and what large bounces are issued with."""

    def write_small_date(self, morning: Morning) -> list[Path]:
        """Write all of a date in this thread, beside others; return what is there."""
        return self.write_date(morning, alone=True).result()

    def write_date(self, morning: Morning, *, alone: bool = False) -> Future[list[Path]]:
        """Write the bounces of a date; return what is there once its page and summary are too, which others may wait for.

        `alone`: these are not worth another thread.
        """
        folder = self.home.reports / morning.day.isoformat()
        issued = issued_in(folder)
        if not morning.drops and not list(self.calendar.on(morning.day)):
            _clear(folder, issued, keep=frozenset())
            return _done_at_once(list)
        from pipelines.pages import refused_rows

        folder.mkdir(mode=0o750, exist_ok=True)
        drops = _refused_drops(Archive(self.home.archive), morning, self.settings.sources)
        columns = {drop.original.path: drop.columns for drop in drops}
        start = _done_at_once if alone else self.beside.submit
        rows = start(refused_rows, morning, columns, self.settings.sources)
        bounces = self._write_bounces(folder, morning, drops, issued)
        kept = {name for bounce in bounces.values() for name in (bounce.name, bounce.name + REASONS_SUFFIX)}
        _clear(folder, issued, keep=kept | {SUMMARY, PAGE})
        return start(self._finish, folder, morning, bounces, rows)

    def _write_bounces(
        self, folder: Path, morning: Morning, drops: list[_Refused], issued: dict[str, str]
    ) -> dict[tuple[str, str], Bounce]:
        """Write the bounces, each remembered before anybody can take it; return them by path and SHA-256 of the originals."""
        archive, in_hand = Archive(self.home.archive), morning.in_hand()
        bounces = {}
        for drop in drops:
            day, path, sha256 = drop.original.business_date, drop.original.path, drop.original.sha256
            issue = Issue(drop.name, day, path, sha256, drop.header)
            write = partial(write_bounce, folder, begins=drop.begins, name=drop.name, issued=issued.get(drop.name))
            if path in in_hand:
                remember(self.home, issue, in_hand[path].slots)
                bounces[path, sha256] = write(in_hand[path])
            else:
                bounces[path, sha256] = self._write_from_warehouse(drop.original, archive, issue, write)
        return bounces

    def _write_from_warehouse(self, original: Original, archive: Archive, issue: Issue, write: Callable[..., Bounce]) -> Bounce:
        """Write a bounce while what it is issued with is kept; nobody can take it before that is."""
        with self.con.cursor() as asked:
            refused = InWarehouse(asked, original, archive)
            remembered = self.aside.submit(remember, self.home, issue, refused.slots)
            try:
                return write(refused, before=remembered.result)
            finally:
                wait([remembered])

    def _finish(
        self,
        folder: Path,
        morning: Morning,
        bounces: dict[tuple[str, str], Bounce],
        rows: Future[RefusedRows | None],
    ) -> list[Path]:
        """Write a date's page and summary; return all its files."""
        from pipelines.pages import date_page

        expected = list(self.calendar.on(morning.day))
        page = date_page(morning, bounces, rows.result(), sources=self.settings.sources, expected=expected)
        names = (name for bounce in bounces.values() for name in (bounce.name, bounce.name + REASONS_SUFFIX))
        files = [*(folder / name for name in names), put(folder / PAGE, page)]
        files.append(write_summary(folder, of_date(morning, bounces, self.calendar)))
        sync_folder(folder)
        return files


def _done_at_once(work: Callable[P, T], *arguments: P.args, **options: P.kwargs) -> Future[T]:
    """Do what is too little to be done beside something else."""
    done: Future[T] = Future()
    done.set_result(work(*arguments, **options))
    return done


def _write_undated(drops: list[Row], folder: Path) -> list[Path]:
    if not drops:
        _clear(folder, {}, keep=frozenset())
        return []
    folder.mkdir(mode=0o750, exist_ok=True)
    summary = write_summary(folder, of_no_date(drops))
    sync_folder(folder)
    return [summary]


def _index(
    con: duckdb.DuckDBPyConnection, place: Path, without_date: list[Row], calendar: Attendance, *, new: bool
) -> bytes | None:
    """Return the page over all dates; it stays while no date was written and nothing else it tells of came or went."""
    from pipelines.calendar_page import calendar_page, is_of

    if not new and place.exists() and is_of(page := place.read_bytes(), without_date, calendar):
        return page
    return calendar_page(con, without_date, calendar)


def _refused_drops(archive: Archive, morning: Morning, sources: Sources) -> list[_Refused]:
    """Return the drops to bounce, by position."""
    rejected = {row["path"] for row in morning.paths}
    # A rejected correction is in a file of its own: the bounce is that of the drop it corrects.
    originals = {(d["path"], d["sha256"]) for d in morning.drops if d["status"] == "applied" and d["path"] in rejected}
    drops: list[_Refused] = []
    for path, sha256 in sorted(originals, key=lambda original: (path_key(original[0]), original[1])):
        original, dialect = Original(morning.day, path, sha256), sources.dialect_of(path)
        name = bounce_name(path, sha256, taken={drop.name for drop in drops})
        begins = opening(original, archive, dialect.delimiter)
        header = begins.header[: content_length(begins.header)]
        columns = columns_of(columns_named(header, dialect)) if drop_format(path.rpartition("/")[2]) and header else {}
        drops.append(_Refused(original, name, begins, header, columns))
    return drops


def _clear(folder: Path, issued: dict[str, str], *, keep: frozenset[str] | set[str]) -> None:
    """Remove the files of an earlier decision, and the folder when nothing is left; what a person made stays."""
    if not folder.is_dir():
        return
    for file in list(folder.iterdir()):
        if file.name in keep or not (file.name in (SUMMARY, PAGE) or BOUNCE_FILE.fullmatch(file.name)):
            continue
        if file.name in issued:
            set_aside_if_edited(file, issued[file.name])
        file.unlink(missing_ok=True)
    if not keep:
        if any(folder.iterdir()):
            sync_folder(folder)
        else:
            folder.rmdir()
