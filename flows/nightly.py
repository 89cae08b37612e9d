"""The nightly job as a Prefect flow: one flow a night, a task a step, and a summary to look at.

Prefect watches and retries; the work is `pipelines.night.run_night`, which needs none of it. What a step gives never
passes through Prefect, so no frame is kept, pickled or hashed. Safety rests on the lock and on DuckDB's transactions.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Annotated, Any, TypeVar

import duckdb
from prefect import flow, tags, task
from prefect.artifacts import create_markdown_artifact
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.runtime import deployment, flow_run
from pydantic import Field

from flows.commands.night import require_inbox, unreached
from flows.failures import without_values
from flows.fetching import Brought, bring
from flows.lock import waiting
from flows.logs import kept
from flows.orchestrated import at_work
from flows.settings import LOG_VARIABLE
from flows.telling import settings_of, telling, telling_failures
from flows.terminal import plain, progress_bar
from pipelines.home import Home, Settings
from pipelines.problems import NightdropError
from pipelines.summary import DropResult, Night

T = TypeVar("T")

RETRIES = 2
RETRY_DELAYS: list[float] = [5, 30]
"""Seconds before the first and the second retry."""
PATIENCE_SECONDS = 4 * 3600.0
"""How long a flow that nobody watches waits for the home."""
ARTIFACT = "nightdrop-night"
_ROWS_SHOWN = 200

HomeFolder = Annotated[str, Field(min_length=1)]
# The server that looks at parameters knows no dates, but patterns.
DayOrNone = Annotated[date | None, Field(json_schema_extra={"pattern": r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$"})]


def is_broken_world(error: BaseException | None) -> bool:
    """Tell whether an error may pass by itself: the disk, the network, a file that somebody has open.

    Bad data never comes as an error. What we say ourselves (NightdropError) is of the world when such an error lies under it.
    """
    if isinstance(error, NightdropError):
        return type(error) is NightdropError and is_broken_world(error.__cause__)
    return isinstance(error, OSError | duckdb.IOException)


def _may_pass(_task: Any, _task_run: Any, state: State[Any]) -> bool:
    outcome = state.result(raise_on_failure=False)
    return isinstance(outcome, BaseException) and is_broken_world(outcome)


@task(
    name="step",
    description="One step of the night. Tried again when the world is broken, never for bad data.",
    retries=RETRIES,
    retry_delay_seconds=RETRY_DELAYS,
    retry_condition_fn=_may_pass,
    cache_policy=NO_CACHE,
    persist_result=False,
)
def _step(work: Callable[[], None]) -> None:
    work()


def as_task(name: str, work: Callable[[], T]) -> T:
    """Run one step as a task run of that name; what it gives stays between the step and its caller."""
    given: list[T] = []
    kind = re.sub(r" (\d{4}-\d\d-\d\d|undated)( to .*)?$", "", name)
    # Prefect would fill in what stands in braces.
    run_name = plain(name).replace("{", "(").replace("}", ")")
    _step.with_options(name=kind, task_run_name=run_name)(lambda: given.append(work()))
    return given[-1]


def _run_name() -> str:
    day = flow_run.parameters.get("only_date")
    return f"drops of {day}" if day else f"night of {datetime.now(UTC):%Y-%m-%d %H:%M} UTC"


@flow(
    name="nightly",
    description="Pick up the night's drops, decide every event, publish the warehouse, write the rejection reports.",
    flow_run_name=_run_name,
    persist_result=False,
)
def nightly(home: HomeFolder = ".", only_date: DayOrNone = None) -> Night:
    """Do the nightly job; raises HomeBusyError when another run has the home.

    Args:
        home: The home: the folder that holds data/ and reports/.
        only_date: Pick up the drops of this business date (YYYY-MM-DD) alone.

    """
    from pipelines.night import run_night

    place = Home(Path(home).absolute())
    command = "nightdrop run --prefect"
    settings = settings_of(place, command)
    with telling_failures(place, settings, command):
        require_inbox(place)

    def whole_night() -> tuple[Night, Brought]:
        brought = around("fetch", lambda: bring(place, settings)) if settings.inboxes else Brought()
        with progress_bar() as progress:
            return run_night(place, settings, only_date=only_date, progress=progress, around=around), brought

    def around(name: str, work: Callable[[], T]) -> T:
        return as_task(name, lambda: without_values(place, work))

    night, brought = acted(place, settings, command, whole_night)
    create_markdown_artifact(key=ARTIFACT, markdown=artifact(night), description="What the night came to")
    if brought.problems:
        raise NightdropError(unreached(brought))
    return night


def acted(home: Home, settings: Settings, command: str, work: Callable[[], tuple[Night, Brought]]) -> tuple[Night, Brought]:
    """Do a flow's work with the home to oneself, and tell who is to be told.

    A flow that a deployment started waits for the home: nobody is there to start it again. One of the command line
    raises HomeBusyError at once. What Prefect may not keep of an error stays in the home (`flows.failures`).
    """
    patience = PATIENCE_SECONDS if deployment.id else 0.0
    log_file = os.environ.get(LOG_VARIABLE)
    with (
        kept(home, command, to=Path(log_file) if log_file else None),
        telling(home, settings, command) as teller,
        tags("nightdrop"),
        waiting(home, command, patience),
        at_work(str(home.root)),
    ):
        night, brought = without_values(home, work)
        teller.came_to(night, brought.problems)
    return night, brought


def artifact(night: Night) -> str:
    """Return the summary of a night as Markdown: counts, codes and paths, nothing out of a file."""
    outcome = (
        f"{night.events:,} events: **{night.applied:,} applied, {night.rejected:,} rejected**, {night.flipped:,} flipped"
        if night.changed
        else "Nothing new: the warehouse is as it was"
    )
    parts = [f"# Night {night.run_id}", f"{outcome}, in {night.seconds:.1f} s."]
    if night.held:
        parts.append(f"**{len(night.held):,} held**: nothing of them is in the warehouse until somebody looks at them.")
    if night.missing:
        late = [(late.business_date, late.source, f"{late.by:%Y-%m-%d %H:%M} UTC") for late in night.missing[:_ROWS_SHOWN]]
        parts.append(f"**{len(night.missing):,} missing**: expected by now, and not in the inbox.")
        parts.append(_markdown(("date", "source", "was to be there by"), late))
    if night.drops:
        # The held ones first: they are why a person looks.
        drops = [*night.held, *(drop for drop in night.drops if drop.status != "held")]
        columns = ("date", "drop", "status", "reason", "records", "applied", "rejected", "warned")
        parts += ["## Drops", _markdown(columns, [_row(drop) for drop in drops[:_ROWS_SHOWN]])]
        if len(drops) > _ROWS_SHOWN:
            parts.append(f"and {len(drops) - _ROWS_SHOWN:,} more: `nightdrop drops` lists all.")
    if night.reasons:
        parts += ["## Reasons", _markdown(("reason", "times"), list(night.reasons.items()))]
    return "\n\n".join(parts) + "\n"


def _row(drop: DropResult) -> tuple[object, ...]:
    return (
        drop.business_date,
        drop.path,
        drop.status,
        drop.reason,
        drop.records,
        drop.applied,
        drop.rejected,
        drop.warned,
    )


def _markdown(columns: tuple[str, ...], rows: list[Any]) -> str:
    lines = ["| " + " | ".join(columns) + " |", "|" + " --- |" * len(columns)]
    return "\n".join([*lines, *("| " + " | ".join(map(cell, row)) + " |" for row in rows)])


def cell(value: object) -> str:
    """Return a value as text in which nothing is markup."""
    if value is None:
        return ""
    text = f"{value:,}" if isinstance(value, int) else plain(value)
    return "".join(f"\\{char}" if char in "\\|`*<>[]" else char for char in text)
