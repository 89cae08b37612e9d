"""What a person does about drops: withdraw, rerun, release; and to see before, plan; to be sure, verify and rebuild.

Every act changes the book of editions and then is a shift like a night: decided by the same code, published at once. The
caller has the home's lock.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from pipelines import corrections, database, diary, difference, living, schema
from pipelines.book import Book, Correction, Edition, newest, read_book
from pipelines.copying import Stored
from pipelines.difference import Difference
from pipelines.discovery import business_date as date_of
from pipelines.home import Home, Settings
from pipelines.issues import Issue
from pipelines.night import work_a_shift
from pipelines.problems import DropHeldError, NightdropError, UsageError
from pipelines.resubmitting import match
from pipelines.scratch import scratch_copy
from pipelines.shift import Shift
from pipelines.steps import Steps
from pipelines.summary import Night, Progress


@dataclass(frozen=True, slots=True)
class Acted:
    """What came of an act."""

    night: Night
    drops: tuple[str, ...]
    """The drops it was done to."""
    left_out: tuple[tuple[str, str], ...] = ()
    """What it was not done to, and why."""


def withdraw(home: Home, settings: Settings, target: date | str, *, progress: Progress | None = None) -> Acted:
    """Take drops out: of a path, or all of a date. They stay out until `rerun PATH`; a hold ends with it."""
    done: list[str] = []
    left_out: list[tuple[str, str]] = []

    def task(shift: Shift) -> None:
        for edition in _targets(shift.book, target, living.judge(shift.book, settings.hold_above_for)):
            if edition.withdrawn:
                left_out.append((edition.path, "it is withdrawn already"))
            else:
                edition.withdrawn = True
                done.append(edition.path)
        if not done:
            raise UsageError(f"{target}: all of it is withdrawn already; nothing was changed.")

    night = work_a_shift(home, settings, Steps(progress), task)
    return Acted(night, tuple(done), tuple(left_out))


def rerun(home: Home, settings: Settings, target: date | str, *, progress: Progress | None = None) -> Acted:
    """Decide drops again from their archived bytes; a path's withdrawal is undone, withdrawn drops of a date are left out."""
    done: list[str] = []
    left_out: list[tuple[str, str]] = []

    def task(shift: Shift) -> None:
        standing = living.judge(shift.book, settings.hold_above_for)
        for edition in _targets(shift.book, target, standing):
            out = [e for e in shift.book.editions if e.path == edition.path and standing[e.key].status == "withdrawn"]
            if out and isinstance(target, date):
                left_out.append((edition.path, f"it is withdrawn; `nightdrop rerun {edition.path}` takes it back in"))
                continue
            for other in shift.book.editions:
                if any(other is e or _same_drop(other, e) for e in out):
                    other.withdrawn = False
            edition.read_under = None
            done.append(edition.path)
        if not done:
            raise UsageError(f"{target}: every drop of that date is withdrawn; name one by its path to take it back in.")

    night = work_a_shift(home, settings, Steps(progress), task)
    return Acted(night, tuple(done), tuple(left_out))


def release(
    home: Home,
    settings: Settings,
    path: str,
    *,
    business_date: date | None = None,
    progress: Progress | None = None,
) -> Acted:
    """Accept a held drop as it is; `business_date` gives one without a date its own."""

    def task(shift: Shift) -> None:
        standing = living.judge(shift.book, settings.hold_above_for)
        held = [e for e in shift.book.editions if e.path == path and standing[e.key].status == "held"]
        if not held:
            raise UsageError(_not_held(shift.book, standing, path))
        edition, reason = held[-1], standing[held[-1].key].reason
        if reason not in living.RELEASABLE:
            raise UsageError(
                f"{path}: a drop held for {reason} cannot be released: nothing of it can be read. Nothing was changed. "
                "Have it sent again, or `nightdrop withdraw` it to end the hold."
            )
        if (date_of(path) is None) != (business_date is not None):
            raise UsageError(
                f"{path}: give the drop its business date with --date YYYY-MM-DD; its path has none. Nothing was changed."
                if business_date is None
                else f"{path}: its path says {date_of(path)}; --date is for drops without a date. Nothing was changed."
            )
        edition.released = True
        edition.read_under = None
        if business_date is not None:
            edition.business_date = business_date

    return Acted(work_a_shift(home, settings, Steps(progress), task), (path,))


def resubmit(home: Home, settings: Settings, file: Path, *, progress: Progress | None = None) -> Acted:
    """Take a fixed bounce file back: each of its lines stands in for its original at the original's position.

    A line left empty stays rejected; one whose original has been applied since is left out.
    """
    done: list[str] = []
    left_out: list[tuple[str, str]] = []

    def task(shift: Shift) -> None:
        matched = match(home, file, settings.sources)
        path, sha256 = matched.issue.path, matched.issue.sha256
        stored = _archived(shift, file)
        applied = _applied_lines(shift, matched.issue)
        edition = _corrected(shift, matched.issue, file)
        stand = shift.book.standing_corrections(edition)
        for line, its_line in matched.slots.filter("fixed").drop_nulls().select("line", "its_line").iter_rows():
            before = stand.get(line)
            if before is None and line in applied:
                left_out.append((f"{path} line {line}", "its original has been applied since"))
            elif before is None or (before.file, before.its_line) != (stored.sha256, its_line):
                at = shift.moment.at
                shift.book.corrections.append(Correction(path, sha256, line, stored.sha256, its_line, at))
                done.append(f"{path} line {line}")
        for newer in (e for e in shift.book.editions if e.path == path):
            corrections.carry_over(shift.book, newer, shift.archive)

    return Acted(work_a_shift(home, settings, Steps(progress), task), tuple(done), tuple(left_out))


def _archived(shift: Shift, file: Path) -> Stored:
    try:
        return shift.archive.take(file)
    except DropHeldError as held:
        raise UsageError(f"{file}: {held.detail}. Nothing was changed.") from held


def _corrected(shift: Shift, issue: Issue, file: Path) -> Edition:
    """Return the edition that a bounce was issued for; refuse when what lives now does not have its lines."""
    editions = shift.book.of_path().get(issue.path, [])
    standing = living.judge(shift.book, shift.settings.hold_above_for)
    found = next((edition for edition in editions if edition.sha256 == issue.sha256), None)
    lives = next((edition for edition in editions if standing[edition.key].status == "applied"), None)
    if found is None or lives is None:
        raise UsageError(
            f"{file}: {issue.path}, which it corrects, is not in the warehouse now. Nothing was changed. See `nightdrop drops`."
        )
    if lives is not found and not corrections.begins_with(lives, found.sha256, shift.archive):
        raise UsageError(
            f"{file}: it corrects an edition of {issue.path} that a newer one has replaced. Nothing was changed. "
            "Fix the bounce of the newer edition instead; it is in the report of its date."
        )
    return found


def _applied_lines(shift: Shift, issue: Issue) -> set[int]:
    found = shift.con.execute(
        "SELECT line FROM events WHERE business_date = $day AND path = $path AND verdict = 'applied'",
        {"day": issue.business_date, "path": issue.path},
    ).fetchall()
    return {line for (line,) in found}


def plan(home: Home, settings: Settings, act: Callable[[Home], object]) -> Difference:
    """Do something on a scratch copy of the home, and say what it changed there; the home stays as it is."""
    with scratch_copy(home) as copy:
        before = copy.state / "before.duckdb"
        if copy.working.exists():
            shutil.copyfile(copy.working, before)
        else:
            _make_empty(before)
        act(copy)
        return difference.compare(before, copy.working)


def verify(home: Home, settings: Settings) -> Difference:
    """Rebuild the warehouse out of the archive beside the working one, and say how the two differ."""
    if not home.working.exists():
        raise NightdropError(f"{home.working}: there is no working warehouse to verify; `nightdrop run` or `rebuild` makes it.")
    with scratch_copy(home, with_decisions=False) as copy:
        _decide_all(copy, settings, _book_of(home))
        return difference.compare(home.working, copy.working)


def rebuild(home: Home, settings: Settings, *, progress: Progress | None = None) -> Night:
    """Make the working warehouse anew out of the archive and the book of editions, and put it in the old one's place."""
    book = _book_of(home)
    if not book.editions:
        raise NightdropError(
            f"{home.book}: there is no book of editions to rebuild from; nothing was changed. `nightdrop run` begins one."
        )
    with scratch_copy(home, with_decisions=False) as copy:
        _decide_all(copy, settings, book)
        _keep_diary(home, copy)
        shutil.copytree(copy.log, home.log, dirs_exist_ok=True)
        shutil.copytree(copy.book, home.book, dirs_exist_ok=True)
        copy.working.with_name(copy.working.name + ".wal").unlink(missing_ok=True)
        home.working.with_name(home.working.name + ".wal").unlink(missing_ok=True)
        copy.working.replace(home.working)
    diary.note_dates_to_report(home, {e.business_date for e in book.editions if e.business_date})
    return work_a_shift(home, settings, Steps(progress), lambda shift: None)


def _decide_all(copy: Home, settings: Settings, book: Book) -> None:
    """Decide everything in the book from nothing, in a home that has only the archive."""

    def task(shift: Shift) -> None:
        shift.book = book
        for edition in book.editions:
            edition.read_under, edition.run_id = None, shift.moment.run_id

    work_a_shift(copy, settings, Steps(), task)


def _book_of(home: Home) -> Book:
    """Return the book that goes with the working warehouse; the newest one when that is lost or damaged."""
    if home.working.exists():
        try:
            with database.connect(home.working, read_only=True) as con:
                return read_book(home.book, diary.last_run(con))
        except NightdropError:
            pass  # what it says of the runs is lost; the newest book is what they left
    return read_book(home.book, newest(home.book))


def _keep_diary(home: Home, copy: Home) -> None:
    """Take the diary of the old working warehouse over into the new one, as far as it can be read."""
    if not home.working.exists():
        return
    try:
        with database.connect(home.working, read_only=True) as con:
            kept = {name: database.query(con, f"SELECT * FROM {name}") for name in ("runs", "verdict_changes")}
    except NightdropError:
        return
    with database.connect(copy.working) as con:
        with database.transaction(con):
            for name, rows in kept.items():
                with database.handed_over(con, kept=rows):
                    con.execute(f"INSERT INTO {name} BY NAME SELECT * FROM kept ANTI JOIN {name} AS n USING (run_id)")
        con.execute("CHECKPOINT")


def _make_empty(file: Path) -> None:
    with database.connect(file) as con:
        schema.create(con)
        con.execute("CHECKPOINT")


def _same_drop(one: Edition, other: Edition) -> bool:
    """Tell whether two editions are of one date and have the same uncompressed bytes."""
    return one.content is not None and (one.content, one.business_date) == (other.content, other.business_date)


def _targets(book: Book, target: date | str, standing: dict[tuple[str, str], living.Standing]) -> list[Edition]:
    """Return the editions that a target names: the last of a path; of a date, what each path has last or living there."""
    found = []
    for path, editions in book.of_path().items():
        in_force = [e for e in editions if standing[e.key].status in ("applied", "duplicate", "withdrawn")]
        of_date = [e for e in (editions[-1], *in_force) if e.business_date == target]
        if path == target or of_date:
            found.append(editions[-1] if path == target else of_date[0])
    if not found:
        known = sorted({str(e.business_date) for e in book.editions if e.business_date})
        span = f"there are drops from {known[0]} to {known[-1]}" if known else "there is no drop yet"
        raise UsageError(
            f"{target}: no drop that was picked up has this date or path; {span}. Nothing was changed. See `nightdrop drops`."
        )
    return found


def _not_held(book: Book, standing: dict[tuple[str, str], living.Standing], path: str) -> str:
    statuses = [standing[e.key].status for e in book.editions if e.path == path]
    if path in book.unread:
        return f"{path}: a drop held for {book.unread[path].hold[0]} cannot be released, it cannot be read. Nothing was changed."
    if not statuses:
        return f"{path}: no drop of this path was picked up. Nothing was changed. See `nightdrop drops`."
    return f"{path}: it is not held but {statuses[-1]}; there is nothing to release. Nothing was changed."
