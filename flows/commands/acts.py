"""`withdraw`, `rerun`, `release`, `resubmit`, `verify`, `rebuild`, and `plan` before them: done on a home, told to a person."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

from rich.console import RenderableType

from flows.commands.changes import difference_data, difference_text, in_a_sentence
from flows.commands.night import HELD, held_text, night_data, night_text, require_inbox
from flows.lock import hold
from flows.settings import load_settings
from flows.telling import telling
from flows.terminal import Answer, line, progress_bar, table
from pipelines import acts
from pipelines.acts import Acted
from pipelines.database import connect
from pipelines.home import Home, Settings
from pipelines.problems import NightdropError, UsageError
from pipelines.summary import Night, Progress

DIFFERS = 1
"""Exit code of `verify` when the warehouse is not what the archive gives."""
_SHOWN = 20
_FLIPS = "SELECT business_date, path, line, was, now, because_path FROM verdict_changes WHERE run_id = ? ORDER BY ALL"

Act = Callable[[Settings, Progress | None], Acted]


def withdraw(home: Home, target: str) -> Answer:
    """Take drops out."""
    named = target_of(home, target)
    next_step = "`nightdrop rerun PATH` takes one in again. The files in the inbox may stay or go: it makes no difference."
    return _act(home, "withdraw", lambda s, p: acts.withdraw(home, s, named, progress=p), "Taken out", next_step)


def rerun(home: Home, target: str) -> Answer:
    """Decide drops again."""
    named = target_of(home, target)
    return _act(home, "rerun", lambda s, p: acts.rerun(home, s, named, progress=p), "Decided again from their archived bytes")


def release(home: Home, path: str, *, business_date: date | None) -> Answer:
    """Accept a held drop."""
    named = inbox_path(home, path)
    next_step = "`nightdrop withdraw PATH` takes it out again. New bytes under its name are judged afresh."

    def accept(settings: Settings, progress: Progress | None) -> Acted:
        return acts.release(home, settings, named, business_date=business_date, progress=progress)

    return _act(home, "release", accept, "Accepted as it is", next_step)


def resubmit(home: Home, file: Path) -> Answer:
    """Take a fixed bounce file back."""
    place = _given(home, file)
    next_step = "What is still rejected has its line in the new bounce file of its date."
    return _act(home, "resubmit", lambda s, p: acts.resubmit(home, s, place, progress=p), "Corrected", next_step)


def rebuild(home: Home) -> Answer:
    """Make the warehouse anew."""
    require_home(home)
    settings = load_settings(home.root)
    with telling(home, settings, "nightdrop rebuild") as teller, hold(home, command="nightdrop rebuild"):
        with progress_bar() as progress:
            night = acts.rebuild(home, settings, progress=progress)
        teller.came_to(night)
    text = [line("The warehouse was made anew out of the archive and published.", "bold"), line(f"Warehouse  {home.warehouse}")]
    return Answer(night_data(night, home), [*text, *held_text(night.held)], HELD if night.held else 0)


def verify(home: Home) -> Answer:
    """Say whether the warehouse is what the archive gives."""
    require_home(home)
    settings = load_settings(home.root)
    with hold(home, command="nightdrop verify"):
        found = acts.verify(home, settings)
    if not found.tables:
        return Answer(difference_data(found), [line("Every table is what the archive gives, row by row.", "bold")])
    text = [
        line(f"The warehouse is not what the archive gives: it differs in {in_a_sentence(found)}.", "bold red"),
        *difference_text(found, before="in the warehouse", after="out of the archive"),
        line(""),
        line("Nothing was changed. `nightdrop rebuild` puts the one out of the archive in its place."),
    ]
    return Answer(difference_data(found), text, DIFFERS)


def plan_run(home: Home, *, only_date: date | None) -> Answer:
    """Say what the nightly job would change."""
    require_inbox(home)
    from pipelines.night import run_night

    return _plan(home, "run", lambda copy, settings: run_night(copy, settings, only_date=only_date))


def plan_withdraw(home: Home, target: str) -> Answer:
    """Say what taking out would change."""
    named = target_of(home, target)
    return _plan(home, "withdraw", lambda copy, settings: acts.withdraw(copy, settings, named))


def plan_rerun(home: Home, target: str) -> Answer:
    """Say what deciding again would change."""
    named = target_of(home, target)
    return _plan(home, "rerun", lambda copy, settings: acts.rerun(copy, settings, named))


def plan_release(home: Home, path: str, *, business_date: date | None) -> Answer:
    """Say what accepting a held drop would change."""
    named = inbox_path(home, path)
    return _plan(home, "release", lambda copy, settings: acts.release(copy, settings, named, business_date=business_date))


def plan_resubmit(home: Home, file: Path) -> Answer:
    """Say what taking a fixed bounce file back would change."""
    place = _given(home, file)
    return _plan(home, "resubmit", lambda copy, settings: acts.resubmit(copy, settings, place))


def target_of(home: Home, text: str) -> date | str:
    """Return the business date or the path in the inbox that a person means."""
    if re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", text):
        try:
            return date.fromisoformat(text)
        except ValueError:
            raise UsageError(f"{text}: there is no such date. Nothing was changed.") from None
    return inbox_path(home, text)


def inbox_path(home: Home, text: str) -> str:
    """Return a drop's path relative to the inbox, also when it is given from the home, from here, or from the root."""
    inbox = os.path.abspath(home.inbox)  # noqa: PTH100  # resolve() would follow a link out of the inbox
    if not os.path.isabs(text) and os.path.lexists(os.path.join(inbox, text)):  # noqa: PTH117, PTH118  # as it was written
        return _shown(os.path.normpath(text))
    for start in (home.root, Path.cwd()):
        place = Path(os.path.abspath(start / text))  # noqa: PTH100  # as above
        for folder in (Path(inbox), home.inbox.resolve()):
            if place.is_relative_to(folder):
                return _shown(place.relative_to(folder).as_posix())
    if os.path.isabs(text):  # noqa: PTH117  # as it was written
        raise UsageError(f"{text}: it does not lie in the inbox {home.inbox}. Nothing was changed. See `nightdrop drops`.")
    return _shown(os.path.normpath(text))


def _given(home: Home, file: Path) -> Path:
    """Return the file that a person names, from here or, as the report's page gives it, from the home."""
    return file.absolute() if file.exists() or not (home.root / file).exists() else home.root / file


def require_home(home: Home) -> None:
    """Raise NightdropError unless this is a home, before a mistyped one is filled with folders."""
    if not home.state.is_dir():
        raise NightdropError(
            f"{home.root}: no home that ever ran (there is no data/state). Nothing was changed. Look whether --home is right."
        )


def _shown(path: str) -> str:
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def _act(home: Home, command: str, work: Act, done: str, next_step: str | None = None) -> Answer:
    """Do it with the home to oneself, and tell what came of it."""
    require_home(home)
    settings = load_settings(home.root)
    with telling(home, settings, f"nightdrop {command}") as teller, hold(home, command=f"nightdrop {command}"):
        with progress_bar() as progress:
            acted = work(settings, progress)
        teller.came_to(acted.night)
    flips = _flips(home, acted.night)
    data = night_data(acted.night, home) | {
        "acted_on": acted.drops,
        "left_out": [{"what": what, "why": why} for what, why in acted.left_out],
        "flips": flips,
    }
    text = [*_done(acted, done), *_left_out(acted), line(""), *night_text(acted.night, home), *_flip_text(flips)]
    if next_step and acted.drops:
        text += [line(""), line(next_step)]
    return Answer(data, text, HELD if acted.night.held else 0)


def _plan(home: Home, command: str, act: Callable[[Home, Settings], object]) -> Answer:
    """Do it on a scratch copy, and tell what it would change."""
    require_home(home) if command != "run" else require_inbox(home)
    settings = load_settings(home.root)
    with hold(home, command=f"nightdrop plan {command}"):
        found = acts.plan(home, settings, lambda copy: act(copy, settings))
    if found.is_empty:
        return Answer(difference_data(found), [line(f"`nightdrop {command}` would change nothing.", "bold")])
    text = [
        line(f"`nightdrop {command}` would change {in_a_sentence(found)}. Nothing was changed.", "bold"),
        *difference_text(found, before="now", after="then"),
    ]
    return Answer(difference_data(found), text)


def _done(acted: Acted, done: str) -> list[RenderableType]:
    if not acted.drops:
        return [line("Nothing to do.", "bold")]
    shown = [line(f"  {path}") for path in acted.drops[:_SHOWN]]
    more = [line(f"  and {len(acted.drops) - _SHOWN:,} more", "dim")] if len(acted.drops) > _SHOWN else []
    return [line(f"{done} ({len(acted.drops):,}):", "bold"), *shown, *more]


def _left_out(acted: Acted) -> list[RenderableType]:
    if not acted.left_out:
        return []
    more = [line(f"and {len(acted.left_out) - _SHOWN:,} more", "dim")] if len(acted.left_out) > _SHOWN else []
    return [
        line(""),
        line(f"Left out ({len(acted.left_out):,})", "bold"),
        table(("what", "why"), acted.left_out[:_SHOWN]),
        *more,
    ]


def _flips(home: Home, night: Night) -> list[dict[str, Any]]:
    """Return the verdicts that this run turned."""
    if not night.flipped:
        return []
    with connect(home.warehouse, read_only=True) as con:
        found = con.execute(_FLIPS, [night.run_id])
        names = [column[0] for column in found.description or ()]
        return [dict(zip(names, row, strict=True)) for row in found.fetchall()]


def _flip_text(flips: list[dict[str, Any]]) -> list[RenderableType]:
    if not flips:
        return []
    rows = [tuple(flip.values()) for flip in flips[:_SHOWN]]
    more = [line(f"and {len(flips) - _SHOWN:,} more; they are in verdict_changes", "dim")] if len(flips) > _SHOWN else []
    head = [line(""), line(f"Verdicts that are now the other way round ({len(flips):,})", "bold")]
    return [*head, table(("date", "drop", "line", "was", "now", "because of"), rows), *more]
