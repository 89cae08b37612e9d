"""The step list of a night: discover, archive, pick up, settle, load, report and publish. The command line and Prefect call it.

Whoever calls it has the home's lock. Killed anywhere, the next run finishes the job: the archive and the log only grow by
whole files, the working warehouse changes in one transaction, the rest is made again from it.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from contextlib import AbstractContextManager, nullcontext
from datetime import date
from functools import partial

from pipelines import database, diary, scratch, threads
from pipelines.archive import Archive
from pipelines.arriving import arriving
from pipelines.calendar import Missing, attendance
from pipelines.date_summary import days_told_otherwise
from pipelines.discovery import discover, paths_in
from pipelines.files import private_folder, secret
from pipelines.home import Home, Settings
from pipelines.moment import Moment
from pipelines.publishing import publish, publish_masked, withdraw
from pipelines.reporting import make_ready, write_reports
from pipelines.shift import Outcome, Shift, working_warehouse
from pipelines.steps import Steps, begun
from pipelines.summary import Night, Progress, StepRunner


def run_night(
    home: Home,
    settings: Settings,
    *,
    only_date: date | None = None,
    progress: Progress | None = None,
    around: StepRunner | None = None,
    archive: Archive | None = None,
) -> Night:
    """Take in what lies in the inbox (only drops of `only_date`, if given) and bring warehouse and reports up to date.

    `archive`: one into which the inbox is being copied already (`arriving`), else that begins here.
    Raises NightdropError when the world is broken: a missing inbox, a full disk, tables that do not add up. Readers then have
    the warehouse of before, and the next run starts where this one did.
    """
    steps = Steps(progress, around)
    candidates = steps.run("discover", lambda: discover(home.inbox))
    copied = nullcontext(archive) if archive else arriving(home, settings, candidates, only_date)
    return work_a_shift(home, settings, steps, lambda shift: shift.look_at(candidates, only_date), copied)


def work_a_shift(
    home: Home,
    settings: Settings,
    steps: Steps,
    task: Callable[[Shift], None],
    copied: AbstractContextManager[Archive] | None = None,
) -> Night:
    """Do a task on the book of editions, then everything that follows from it, up to the reports.

    `copied` gives the archive, into which somebody may be copying until then.
    """
    moment = Moment.now()
    for folder in (home.state, home.reports):
        private_folder(folder)
    scratch.sweep(home)
    with (
        copied or arriving(home, settings, ()) as archive,
        diary.unfinished(home, moment) as died,
        working_warehouse(home) as con,
    ):
        shift = Shift(home, settings, con, archive=archive, moment=moment, steps=steps)
        shift.log.forget(diary.never_committed(con, died))
        with shift.archive.arrivals():
            task(shift)
            shift.read_what_could_live()
        with threads.pool(1) as beside:
            ready: list[Future[None]] = []  # none when nothing changes
            outcome = shift.finish(died, meanwhile=lambda: ready.append(beside.submit(make_ready)))
            for done in ready:
                done.result()
    if settings.publish_masked:
        steps.run("publish masked", lambda: publish_masked(home.working, home.masked, secret(home.state / "mask.key")))
    else:
        withdraw(home.masked)  # or it would grow old
    with threads.pool(1) as beside:
        # Half of it is waiting for the disk, and reports need nothing of it.
        published = begun(beside, lambda: publish(home.working, home.warehouse))
        late, dates = _report(home, settings, steps, moment)
        steps.run("publish", published)
    diary.reported(home)  # not before: of a run that was killed on the way, the next says that it made good what was left
    return _night(moment, outcome, steps, dates, late)


def _report(home: Home, settings: Settings, steps: Steps, moment: Moment) -> tuple[tuple[Missing, ...], list[date]]:
    """Write the reports that are due, also those that a killed run still owed and those of dates of which a drop is missing."""
    with database.connect(home.working, read_only=True) as con:
        calendar = attendance(
            con, settings.calendar, settings.sources.name_of, moment.finished, inbox=partial(paths_in, home.inbox)
        )
        dates = sorted({*diary.dates_to_report(home, con), *days_told_otherwise(home, calendar)})
        name = "report" if not dates else f"report {dates[0]}" if len(dates) == 1 else f"report {dates[0]} to {dates[-1]}"
        work = partial(write_reports, con, home, dates, settings, calendar=calendar, advance=steps.advance)
        steps.run(name, work, total=len(dates) or None, kind="report")
    return calendar.missing(), dates


def _night(moment: Moment, outcome: Outcome, steps: Steps, dates: list[date], late: tuple[Missing, ...]) -> Night:
    finished = moment.finished
    return Night(
        run_id=moment.run_id,
        started_at=moment.at,
        finished_at=finished,
        drops=outcome.drops,
        reasons=outcome.reasons,
        causes=outcome.causes,
        missing=late,
        events=outcome.events,
        applied=outcome.applied,
        rejected=outcome.events - outcome.applied,
        flipped=outcome.flipped,
        seconds=(finished - moment.at).total_seconds(),
        steps=steps.seconds,
        changed=outcome.changed,
        dates=tuple(dates),
    )
