"""Who is told what a run came to: the log, the hooks, a file of metrics. A hook that fails is noted and fails no run."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any

from flows.hooks import call_hooks
from flows.logs import told
from flows.metrics import write_metrics
from flows.settings import load_hooks, load_settings
from flows.terminal import counted, jsonable, plain, write_note
from pipelines.home import Home, Hooks, Settings
from pipelines.problems import HomeBusyError, NightdropError, UsageError
from pipelines.summary import WHAT_NEXT, Night

_LISTED = 50
"""Held and missing drops that a message names; it counts all."""
_NAMED = 3
"""Those that its sentence names."""


class Teller:
    """Takes what a run came to."""

    def __init__(self) -> None:
        self.night: Night | None = None
        self.problems: Sequence[tuple[str, str]] = ()

    def came_to(self, night: Night, problems: Sequence[tuple[str, str]] = ()) -> None:
        """Note the night that is to be told of, and what could not be brought from elsewhere."""
        self.night, self.problems = night, problems


def settings_of(home: Home, command: str) -> Settings:
    """Return the settings of a run that nobody watches.

    Raises UsageError when they are wrong, and tells of it as of a failure: no run will begin until somebody mends them.
    """
    try:
        return load_settings(home.root)
    except UsageError as error:
        _tell_of_failure(home, load_hooks(home.root), command, error)
        raise


@contextmanager
def telling(home: Home, settings: Settings, command: str) -> Iterator[Teller]:
    """Tell what the block comes to once it has ended: a night that it hands over, or its failure."""
    teller = Teller()
    told("begin", home=str(home.root))
    with telling_failures(home, settings, command):
        yield teller
    if teller.night is not None:
        _tell_of_night(home, settings.hooks, command, teller.night, teller.problems)


@contextmanager
def telling_failures(home: Home, settings: Settings, command: str) -> Iterator[None]:
    """Tell of the block's failure, if it fails.

    A home that another run has, or a question that cannot be meant, is no failure: its caller is told, nobody else.
    """
    try:
        yield
    except (UsageError, HomeBusyError) as error:
        told("refused", level=logging.WARNING, why=type(error).__name__)
        raise
    except BaseException as error:
        _tell_of_failure(home, settings.hooks, command, error)
        raise


def _tell_of_night(home: Home, hooks: Hooks, command: str, night: Night, problems: Sequence[tuple[str, str]]) -> None:
    told("end", **_numbers(night), held=len(night.held), missing=len(night.missing), seconds=round(night.seconds, 3))
    for drop in night.held:
        told("held", level=logging.WARNING, path=drop.path, reason=drop.reason)
    for late in night.missing:
        told("missing", level=logging.WARNING, **jsonable(asdict(late)))
    _write_metrics(home, night)
    if about := [*_about(night, hooks), *(["inbox"] if problems else [])]:
        unreached = [{"what": what, "why": why} for what, why in problems]
        _call(hooks, {"about": about, **_of_night(home, command, night), "unreached": unreached})


def _tell_of_failure(home: Home, hooks: Hooks, command: str, error: BaseException) -> None:
    told("failed", level=logging.ERROR, why=type(error).__name__)
    _write_metrics(home, None)
    _call(hooks, _of_failure(home, command, error))


def _about(night: Night, hooks: Hooks) -> list[str]:
    """Return what of a night somebody is to be told."""
    share = night.rejected / night.events if night.events else 0.0
    found = {
        "held": bool(night.held),
        "missing": bool(night.missing),
        "rejects": hooks.rejects_above is not None and share > hooks.rejects_above,
    }
    return [name for name, is_so in found.items() if is_so]


def _numbers(night: Night) -> dict[str, Any]:
    names = ("run_id", "events", "applied", "rejected", "flipped", "changed")
    return {name: getattr(night, name) for name in names}


def _of_night(home: Home, command: str, night: Night) -> dict[str, Any]:
    """Return what a hook gets of a night: counts, codes and paths."""
    held = [
        {
            "path": drop.path,
            "business_date": drop.business_date,
            "reason": drop.reason,
            "what_next": WHAT_NEXT.get(drop.reason or ""),
        }
        for drop in night.held[:_LISTED]
    ]
    said = {"text": f"nightdrop {home.root.name}: {_in_words(night)}", "home": str(home.root), "command": command}
    lists = {"held": held, "missing": [asdict(late) for late in night.missing[:_LISTED]], "reasons": night.reasons}
    counts = {"held_drops": len(night.held), "missing_drops": len(night.missing)}
    told: dict[str, Any] = jsonable({**said, **_numbers(night), **counts, **lists})
    return told


def _in_words(night: Night) -> str:
    """Return the one sentence that a chat shows."""
    held = _some([f"{drop.path}: {drop.reason}" for drop in night.held])
    missing = _some([f"{late.source} of {late.business_date}" for late in night.missing])
    share = f" ({night.rejected / night.events:.1%})" if night.rejected else ""
    parts = [f"{counted(night.events, 'event')}, {night.rejected:,} rejected{share}"]
    parts += [f"{len(night.held):,} held ({held})"] * bool(night.held)
    parts += [f"{len(night.missing):,} missing ({missing})"] * bool(night.missing)
    return "; ".join(parts) + "."


def _some(names: list[str]) -> str:
    more = [f"and {len(names) - _NAMED:,} more"] if len(names) > _NAMED else []
    return ", ".join([*map(plain, names[:_NAMED]), *more])


def _of_failure(home: Home, command: str, error: BaseException) -> dict[str, Any]:
    # What we say ourselves names files and what to do; what others say may quote anything.
    if isinstance(error, NightdropError):
        words = str(error)
    elif isinstance(error, Exception):
        words = f"{type(error).__name__}; see data/state/failures.log"
    else:
        words = "It was stopped before its end. Run again to go on."
    text = f"nightdrop {home.root.name}: `{command}` failed. {words}"
    return {"about": ["failed"], "text": text, "home": str(home.root), "command": command, "error": words}


def _call(hooks: Hooks, message: dict[str, Any]) -> None:
    for name, problem in call_hooks(hooks, message):
        told("hook", level=logging.WARNING if problem else logging.INFO, hook=name, about=message["about"], problem=problem)
        if problem:
            write_note(f"the hook {name} could not be told: {problem}. The run is as it is.")


def _write_metrics(home: Home, night: Night | None) -> None:
    try:
        write_metrics(home, night)
    except OSError as error:
        told("metrics", level=logging.WARNING, problem=error.strerror)
