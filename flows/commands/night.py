"""`nightdrop run`: the nightly job, directly or as a Prefect flow, and the words for what it came to."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import asdict
from datetime import date
from typing import Any

from rich.console import RenderableType

from flows.fetching import Brought, bring
from flows.lock import hold, holder_of
from flows.settings import load_settings
from flows.telling import settings_of, telling, telling_failures
from flows.terminal import Answer, counted, indented, line, plain, progress_bar, table, write_note
from pipelines.arriving import arriving
from pipelines.calendar import Missing
from pipelines.discovery import discover
from pipelines.headline import Headline, State, headline
from pipelines.home import Home
from pipelines.problems import HomeBusyError, NightdropError
from pipelines.summary import WHAT_NEXT, DropResult, Night, RootCause

FAILED = 1
HELD = 3
"""Exit code of a run that is done while some drop is held."""
_REASONS_SHOWN = 8
_DROPS_SHOWN = 40


def run(home: Home, *, only_date: date | None, prefect: bool) -> Answer:
    """Do the nightly job and tell what it came to."""
    settings = settings_of(home, "nightdrop run")
    if prefect:
        with telling_failures(home, settings, "nightdrop run --prefect"):
            require_inbox(home)
        from flows.commands.orchestration import run_nightly

        holder = holder_of(home)
        if holder:  # Prefect takes many seconds to start: no use when the flow would find the home locked
            raise HomeBusyError(f"{home.root}: another run has this home: {holder}. Nothing was changed.")
        night = run_nightly(home, settings, only_date)
    else:
        with telling(home, settings, "nightdrop run") as teller:
            require_inbox(home)
            with hold(home, command="nightdrop run"), progress_bar() as progress:
                brought = bring(home, settings)
                with arriving(home, settings, discover(home.inbox), only_date) as archive:
                    from pipelines.night import run_night  # half a second, while drops are copied

                    night = run_night(home, settings, only_date=only_date, progress=progress, archive=archive)
            teller.came_to(night, brought.problems)
        if brought.problems:
            write_note(unreached(brought))
            return Answer(night_data(night, home), night_text(night, home), FAILED)
    return Answer(night_data(night, home), night_text(night, home), HELD if night.held else 0)


def fetch(home: Home) -> Answer:
    """Bring what is new in the inboxes elsewhere, and nothing more."""
    settings = load_settings(home.root)
    require_inbox(home)
    with hold(home, command="nightdrop fetch"):
        brought = bring(home, settings)
    if brought.problems:
        raise NightdropError(unreached(brought))
    data = {"copied": list(brought.copied), "inboxes": [inbox.name for inbox in settings.inboxes]}
    return Answer(data, [line(f"brought  {path}") for path in brought.copied] or [line("Nothing new.")])


def unreached(brought: Brought) -> str:
    """Return the words for what could not be brought from elsewhere."""
    told = "; ".join(f"{what}: {why}" for what, why in brought.problems[:_DROPS_SHOWN])
    return f"{told}. Whatever came before is taken in all the same. What is missing is tried again on the next run."


def require_inbox(home: Home) -> None:
    """Raise NightdropError unless there is an inbox, before a mistyped home is filled with folders."""
    if not home.root.is_dir():
        raise NightdropError(
            f"{home.root}: there is no such folder. Look whether --home is right, or make it with `nightdrop init`."
        )
    if not home.inbox.is_dir():
        discover(home.inbox)  # says what is wrong with it


def night_data(night: Night, home: Home) -> dict[str, Any]:
    """Return what `--json` prints of a run."""
    steps = {name: round(seconds, 3) for name, seconds in night.steps.items()}
    data = asdict(night) | {"seconds": round(night.seconds, 3), "steps": steps, "held": len(night.held)}
    data["missing"] = [asdict(late) for late in night.missing]
    return data | {"warehouse": str(home.warehouse), "reports": str(home.reports)}


def night_text(night: Night, home: Home) -> list[RenderableType]:
    """Return what a person reads at the end of a run: fine or not, held, root causes, top reasons; then the drops."""
    decided = [drop for drop in night.drops if drop.status != "held"]
    text: list[RenderableType] = [_headline(night), *_came_to(night, home)]
    text += [*held_text(night.held), *missing_text(night.missing)]
    if night.causes:
        text += [line(""), line("Root causes: rejected creates that others wait for", "bold"), *map(_cause, night.causes)]
    if night.reasons:
        text += [line(""), line("Why events were rejected", "bold"), *_reasons(night.reasons)]
    if decided:
        text += [line(""), line("Drops", "bold"), _drop_table(decided)]
    return [*text, line(""), *_places(night, home)]


_COLOURS: dict[State, str] = {"fine": "bold green", "refused": "bold yellow", "missing": "bold red", "held": "bold red"}


def _headline(night: Night) -> RenderableType:
    """Say whether the night is fine, with what was decided in it and all that is held or missing."""
    drops = sum(drop.status == "applied" for drop in night.drops)
    if night.held or night.missing or night.events:
        waiting = {"held": len(night.held), "missing": len(night.missing)}
        said = headline(drops=drops, records=night.events, rejected=night.rejected, roots=0, **waiting)
    else:
        said = Headline("fine", "Nothing is held, nothing was refused.")
    return line(f"{said.state.capitalize()}: {said.sentence}", _COLOURS[said.state])


def _came_to(night: Night, home: Home) -> list[RenderableType]:
    if night.changed:
        flipped = f", {night.flipped:,} earlier verdicts now the other way round" if night.flipped else ""
        events = counted(night.events, "event")
        return [line(f"{events}: {night.applied:,} applied, {night.rejected:,} rejected{flipped}.")]
    if not night.drops and home.inbox.is_dir() and not discover(home.inbox):
        return [line(f"No drops: the inbox {home.inbox} is empty. The warehouse is as it was.")]
    if night.dates:
        reports = counted(len(night.dates), "report")
        left = "Nothing new came in. What an earlier run had left undone is done now:"
        return [line(left), line(f"the warehouse is published, {reports} written.")]
    return [line("Nothing new: the warehouse is as it was.")]


def held_text(held: Sequence[DropResult]) -> list[RenderableType]:
    """Return the held drops: of each what is wrong and what to do about it, its path in the commands."""
    if not held:
        return []
    text: list[RenderableType] = [line(""), line(f"{len(held)} held (nothing of them is in the warehouse)", "bold red")]
    for drop in held:
        text.append(line(f"{drop.path}: {drop.reason}{f', {drop.detail}' if drop.detail else ''}"))
        next_step = WHAT_NEXT.get(drop.reason or "")
        text += [indented(next_step.replace("PATH", shlex.quote(plain(drop.path))))] if next_step else []
    return text


def missing_text(missing: Sequence[Missing]) -> list[RenderableType]:
    """Return the expected drops that did not come."""
    if not missing:
        return []
    rows = [(late.business_date, late.source, f"{late.by:%Y-%m-%d %H:%M} UTC") for late in missing]
    head = f"{len(missing)} missing (expected by now, and not in the inbox)"
    return [line(""), line(head, "bold red"), table(("date", "source", "was to be there by"), rows)]


def _drop_table(drops: list[DropResult]) -> RenderableType:
    columns = ("date", "drop", "records", "applied", "rejected", "warned")
    rows: list[tuple[object, ...]] = [
        (drop.business_date, drop.path, drop.records, drop.applied, drop.rejected, drop.warned) for drop in drops[:_DROPS_SHOWN]
    ]
    if len(drops) > _DROPS_SHOWN:
        rows.append((None, f"and {len(drops) - _DROPS_SHOWN:,} more (`nightdrop drops` lists all)", None, None, None, None))
    return table(columns, rows)


def _cause(cause: RootCause) -> RenderableType:
    follow = f"{cause.followers:,} follow{'s' if cause.followers == 1 else ''}"
    return indented(f"{follow} from line {cause.line} of {cause.path} ({cause.business_date}): {cause.codes}", by=2)


def _reasons(reasons: dict[str, int]) -> list[RenderableType]:
    shown = list(reasons.items())[:_REASONS_SHOWN]
    left = len(reasons) - len(shown)
    more: list[RenderableType] = [line(f"and {left} other reasons", "dim")] if left else []
    return [table(("reason", "times"), shown), *more]


def _places(night: Night, home: Home) -> list[RenderableType]:
    reports = f"{home.reports} ({', '.join(map(str, night.dates))})" if 0 < len(night.dates) <= 4 else str(home.reports)
    steps = " · ".join(f"{name} {seconds:.1f} s" for name, seconds in night.steps.items())
    text: list[RenderableType] = [line(f"Warehouse  {home.warehouse}")] if home.warehouse.exists() else []
    if home.reports.is_dir():
        text.append(line(f"Reports    {reports}"))
    page = home.reports / "index.html" if len(night.dates) != 1 else home.reports / str(night.dates[0]) / "index.html"
    if page.exists():
        text.append(line(f"Look at    {page}"))
    return [*text, line(f"{night.seconds:.1f} s{': ' if steps else ''}{steps}", "dim")]
