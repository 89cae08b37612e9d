"""The nightly job as a Prefect flow: one flow a night, a task a step, and a summary to look at.

Prefect watches and retries; the work is `pipelines.night.run_night`, which needs none of it. What a step gives never
passes through Prefect, so no frame is kept, pickled or hashed. Safety rests on the lock and on DuckDB's transactions.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, TypeVar

import duckdb
from prefect import flow, tags, task
from prefect.artifacts import create_markdown_artifact
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.runtime import flow_run

from flows.failures import without_values
from flows.lock import hold
from flows.telling import settings_of, telling
from flows.terminal import plain, progress_bar
from pipelines.home import Home
from pipelines.problems import NightdropError
from pipelines.summary import DropResult, Night

T = TypeVar("T")

RETRIES = 2
RETRY_DELAYS: list[float] = [5, 30]
"""Seconds before the first and the second retry."""
ARTIFACT = "nightdrop-night"
_ROWS_SHOWN = 200


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
def nightly(home: str = ".", only_date: date | None = None) -> Night:
    """Do the nightly job in the home at `home`; with `only_date` pick up the drops of that business date alone.

    Raises HomeBusyError when another run has the home.
    """
    from pipelines.night import run_night

    place = Home(Path(home).absolute())
    command = "nightdrop run --prefect"
    settings = settings_of(place, command)
    with telling(place, settings, command) as teller, tags("nightdrop"), hold(place, command=command), progress_bar() as progress:

        def around(name: str, work: Callable[[], T]) -> T:
            return as_task(name, lambda: without_values(place, work))

        night = without_values(place, lambda: run_night(place, settings, only_date=only_date, progress=progress, around=around))
        teller.came_to(night)
        create_markdown_artifact(key=ARTIFACT, markdown=artifact(night), description="What the night came to")
    return night


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
        columns = ("date", "drop", "status", "records", "applied", "rejected", "warned", "reason")
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
        drop.records,
        drop.applied,
        drop.rejected,
        drop.warned,
        drop.reason,
    )


def _markdown(columns: tuple[str, ...], rows: list[Any]) -> str:
    lines = ["| " + " | ".join(columns) + " |", "|" + " --- |" * len(columns)]
    return "\n".join([*lines, *("| " + " | ".join(map(_cell, row)) + " |" for row in rows)])


def _cell(value: object) -> str:
    if value is None:
        return ""
    text = f"{value:,}" if isinstance(value, int) else plain(value)
    return "".join(f"\\{char}" if char in "\\|`*<>[]" else char for char in text)
