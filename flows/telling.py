"""Who is told what a run came to: the log, the hooks, a file of metrics. A hook that fails is noted and fails no run."""

from __future__ import annotations

import json
import logging
import os
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

from flows.logs import told
from flows.settings import HOOK_VARIABLE
from flows.terminal import jsonable, write_note
from pipelines.home import Home, Hooks, Settings
from pipelines.problems import HomeBusyError, NightdropError, UsageError
from pipelines.summary import WHAT_NEXT, Night

_SECONDS = 20.0
"""How long a hook may take."""
_TRIES = 3
METRICS = "metrics.prom"


class Teller:
    """Takes what a run came to."""

    def __init__(self) -> None:
        self.night: Night | None = None
        self.problems: Sequence[tuple[str, str]] = ()

    def came_to(self, night: Night, problems: Sequence[tuple[str, str]] = ()) -> None:
        """Note the night that is to be told of, and what could not be brought from elsewhere."""
        self.night, self.problems = night, problems


@contextmanager
def telling(home: Home, settings: Settings, command: str) -> Iterator[Teller]:
    """Tell what the block comes to once it has ended: a night that it hands over, or its failure.

    A home that another run has, or a question that cannot be meant, is no failure: its caller is told, nobody else.
    """
    teller = Teller()
    told("begin", home=str(home.root))
    try:
        yield teller
    except (UsageError, HomeBusyError) as error:
        told("refused", level=logging.WARNING, why=type(error).__name__)
        raise
    except BaseException as error:
        told("failed", level=logging.ERROR, why=type(error).__name__)
        _write_metrics(home, None)
        _call_hooks(settings.hooks, _failed(home, command, error))
        raise
    if teller.night is not None:
        night = teller.night
        told("end", **_numbers(night), seconds=round(night.seconds, 3))
        for drop in night.held:
            told("held", level=logging.WARNING, path=drop.path, reason=drop.reason)
        for late in night.missing:
            told("missing", level=logging.WARNING, **jsonable(asdict(late)))
        _write_metrics(home, night)
        about = [*_about(night, settings.hooks), *(["inbox"] if teller.problems else [])]
        if about:
            unreached = [{"what": what, "why": why} for what, why in teller.problems]
            _call_hooks(settings.hooks, {"about": about, **_of_night(home, command, night), "unreached": unreached})


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
    return {name: getattr(night, name) for name in names} | {"held": len(night.held), "missing": len(night.missing)}


def _of_night(home: Home, command: str, night: Night) -> dict[str, Any]:
    """Return what a hook gets of a night: counts, codes and paths."""
    held = [
        {
            "path": drop.path,
            "business_date": drop.business_date,
            "reason": drop.reason,
            "what_next": WHAT_NEXT.get(drop.reason or ""),
        }
        for drop in night.held
    ]
    sentence = f"{night.events:,} events, {night.rejected:,} rejected, {len(held):,} held, {len(night.missing):,} missing"
    said = {"text": f"nightdrop {home.root.name}: {sentence}.", "home": str(home.root), "command": command, **_numbers(night)}
    return jsonable({**said, "held": held, "missing": [asdict(late) for late in night.missing], "reasons": night.reasons})  # type: ignore[no-any-return]


def _failed(home: Home, command: str, error: BaseException) -> dict[str, Any]:
    # What we say ourselves names files and what to do; what others say may quote anything.
    words = str(error) if isinstance(error, NightdropError) else f"{type(error).__name__}; see data/state/failures.log"
    text = f"nightdrop {home.root.name}: `{command}` failed. {words}"
    return {"about": ["failed"], "text": text, "home": str(home.root), "command": command, "error": words}


def _call_hooks(hooks: Hooks, message: dict[str, Any]) -> None:
    body = json.dumps(message, ensure_ascii=False).encode("utf-8", "backslashreplace")
    calls = [(hooks.url, _post), (hooks.command, _run)]
    for where, call in calls:
        if where:
            problem = call(where, body, message["about"])  # type: ignore[operator]
            name = urlsplit(where).hostname if isinstance(where, str) else where[0]  # the rest of a URL may be a secret
            told("hook", level=logging.WARNING if problem else logging.INFO, hook=name, about=message["about"], problem=problem)
            if problem:
                write_note(f"the hook {name} could not be told: {problem}. The run is as it is; nobody else was told.")


def _post(url: str, body: bytes, _about: list[str]) -> str | None:
    """Send the message; return what went wrong, if it did, after some tries."""
    import httpx

    problem = None
    for _ in range(_TRIES):
        try:
            answer = httpx.post(url, content=body, headers={"Content-Type": "application/json"}, timeout=_SECONDS / _TRIES)
            problem = None if answer.is_success else f"it answered {answer.status_code}"
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            problem = type(error).__name__
        if problem is None:
            break
    return problem


def _run(command: tuple[str, ...], body: bytes, about: list[str]) -> str | None:
    """Run the command with the message on its standard input; return what went wrong, if it did."""
    environment = os.environ | {HOOK_VARIABLE: " ".join(about)}
    try:
        done = subprocess.run(command, input=body, env=environment, timeout=_SECONDS, capture_output=True, check=False)  # noqa: S603  # the operator's own
    except (OSError, subprocess.TimeoutExpired) as error:
        return type(error).__name__
    return f"it ended with {done.returncode}" if done.returncode else None


def _write_metrics(home: Home, night: Night | None) -> None:
    """Write what a node exporter's text file collector reads; a failure leaves the counts of the last night as they are."""
    from prometheus_client import CollectorRegistry, Gauge, write_to_textfile

    registry = CollectorRegistry()

    def gauge(name: str, words: str, value: float) -> None:
        Gauge(f"nightdrop_{name}", words, registry=registry).set(value)

    gauge("last_run_failed", "1 when the last run failed", night is None)
    gauge("last_run_timestamp_seconds", "When the last run ended", datetime.now(UTC).timestamp())
    if night is not None:
        gauge("last_run_seconds", "How long the last run took", night.seconds)
        gauge("last_run_events", "Events the last run decided", night.events)
        gauge("last_run_rejected", "Events the last run rejected", night.rejected)
        gauge("last_run_flipped", "Earlier verdicts the last run turned", night.flipped)
        gauge("held_drops", "Drops that wait for a person", len(night.held))
        gauge("missing_drops", "Expected drops that did not come", len(night.missing))
    try:
        write_to_textfile(str(home.state / METRICS), registry)
    except OSError as error:
        told("metrics", level=logging.WARNING, problem=error.strerror)
