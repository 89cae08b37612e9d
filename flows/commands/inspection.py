"""`status`, `drops`, `runs`: what the published warehouse says. They take no lock and change nothing."""

from __future__ import annotations

import hashlib
import os
import stat
from collections import Counter
from contextlib import nullcontext, suppress
from dataclasses import asdict
from datetime import UTC, date, datetime
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import RenderableType

from flows.commands.night import held_text, missing_text
from flows.lock import holder_of
from flows.settings import load_settings
from flows.terminal import Answer, counted, line, size, table
from pipelines.arriving import Seen
from pipelines.calendar import Missing, attendance
from pipelines.database import connect
from pipelines.discovery import Candidate, discover, path_key, paths_in
from pipelines.home import Home
from pipelines.inbox import open_file
from pipelines.problems import DropHeldError, NightdropError, UsageError
from pipelines.summary import WHAT_NEXT, DropResult

_PENDING_SHOWN = 20


def status(home: Home) -> Answer:
    """Tell what is in, held, pending and at work, and how much disk it takes."""
    if not home.root.is_dir():
        raise NightdropError(
            f"{home.root}: there is no such folder. Look whether --home is right, or make it with `nightdrop init`."
        )
    drops = _table(home, "drops") if home.warehouse.exists() else []
    runs = _runs(home) if home.warehouse.exists() else []
    held = [_result(drop) for drop in drops if drop["status"] == "held"]
    pending, inbox_problem = _pending(home, drops)
    holder = holder_of(home)
    disk = {name: _disk(path) for name, path in _places(home).items()}
    missing, settings_problem = _missing(home)
    data = {
        "home": str(home.root),
        "running": str(holder) if holder else None,
        "last_run": runs[-1] if runs else None,
        "drops": dict(Counter(drop["status"] for drop in drops)),
        "held": [_held(drop) for drop in held],
        "missing": [asdict(late) for late in missing],
        "settings_problem": settings_problem,
        "pending": pending,
        "inbox_problem": inbox_problem,
        "disk": disk,
        "warehouse": str(home.warehouse) if home.warehouse.exists() else None,
    }
    return Answer(data, [*_status_text(data, held), *missing_text(missing)])


def drops(home: Home) -> Answer:
    """List every edition of every drop, by position, and whose it is."""
    rows = sorted(
        _table(home, "drops"), key=lambda drop: (drop["business_date"] or date.max, path_key(drop["path"]), drop["picked_at"])
    )
    sources = load_settings(home.root).sources
    for row in rows:
        row["source"] = sources.name_of(row["path"])
    # Without settings of its own a drop's path says whose it is.
    source = ("source",) if sources.declared else ()
    shown = ("business_date", "path", *source, "status", "records", "applied", "rejected", "warned", "reason", "detail")
    return Answer({"drops": rows}, [_of(rows, shown) if rows else line("No drop was picked up yet.")])


def runs(home: Home) -> Answer:
    """List the diary of runs, the last at the end."""
    rows = _runs(home)
    shown = ("run_id", "started_at", "state", "drops", "events", "applied", "rejected", "flipped", "seconds")
    return Answer({"runs": rows}, [_of(rows, shown) if rows else line("There was no run yet.")])


def _table(home: Home, name: str) -> list[dict[str, Any]]:
    with connect(home.warehouse, read_only=True) as con:
        found = con.execute(f"SELECT * FROM {name}")
        columns = [column[0] for column in found.description or ()]
        return [dict(zip(columns, row, strict=True)) for row in found.fetchall()]


def _runs(home: Home) -> list[dict[str, Any]]:
    return sorted(_table(home, "runs"), key=lambda run: (run["started_at"], run["run_id"]))


def _of(rows: list[dict[str, Any]], columns: tuple[str, ...]) -> RenderableType:
    return table([column.replace("_", " ") for column in columns], [[row[column] for column in columns] for row in rows])


def _result(drop: dict[str, Any]) -> DropResult:
    return DropResult(**{name: drop[name] for name in DropResult.__dataclass_fields__})


def _held(drop: DropResult) -> dict[str, Any]:
    return {
        "path": drop.path,
        "business_date": drop.business_date,
        "reason": drop.reason,
        "detail": drop.detail,
        "what_next": WHAT_NEXT.get(drop.reason or ""),
    }


def _missing(home: Home) -> tuple[tuple[Missing, ...], str | None]:
    """Return the expected drops that did not come by now, and what is wrong with the settings if they cannot be read."""
    try:
        settings = load_settings(home.root)
    except UsageError as error:  # no run would begin: all the more reason to tell what there is
        return (), str(error)
    with connect(home.warehouse, read_only=True) if home.warehouse.exists() else nullcontext() as con:
        now, inbox = datetime.now(UTC), partial(paths_in, home.inbox)
        return attendance(con, settings.calendar, settings.sources.name_of, now, inbox=inbox).missing(), None


def _pending(home: Home, drops: list[dict[str, Any]]) -> tuple[list[str], str | None]:
    """Return the files that the next run would look at anew, and what is wrong with the inbox if it cannot be listed."""
    known: dict[str, list[dict[str, Any]]] = {}
    for drop in drops:
        known.setdefault(drop["path"], []).append(drop)
    seen = Seen(home.state / "seen.json")
    try:
        return [found.path for found in discover(home.inbox) if _is_new(home, found, known.get(found.path, []), seen)], None
    except NightdropError as error:
        return [], str(error)


def _is_new(home: Home, found: Candidate, editions: list[dict[str, Any]], seen: Seen) -> bool:
    if found.hold or not editions:
        return not editions
    # What a newer edition replaced is new when it comes again.
    current = [edition for edition in editions if edition["status"] != "superseded"]
    if found.bytes not in {edition["bytes"] for edition in current}:
        return True
    try:
        return (seen.hash_of(found) or _hash(home, found)) not in {edition["sha256"] for edition in current}
    except (OSError, DropHeldError):  # known already when it could not be read then either
        return all(edition["sha256"] for edition in current)


def _hash(home: Home, found: Candidate) -> str:
    with os.fdopen(open_file(home.inbox, found.location), "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _disk(path: Path) -> int:
    """Return how many bytes a file has, or the files in a folder; what a run removes meanwhile counts nothing."""
    total = 0
    for file in path.rglob("*") if path.is_dir() else [path]:
        with suppress(OSError):
            status = file.lstat()
            total += status.st_size if stat.S_ISREG(status.st_mode) else 0
    return total


def _places(home: Home) -> dict[str, Path]:
    return {
        "archive": home.archive,
        "log": home.log,
        "working": home.working,
        "warehouse": home.warehouse,
        "reports": home.reports,
        "prefect": home.state / "prefect",
    }


def _status_text(data: dict[str, Any], held: list[DropResult]) -> list[RenderableType]:
    text: list[RenderableType] = [line(f"Home       {data['home']}")]
    if data["settings_problem"]:
        text.append(line(f"Settings   {data['settings_problem']}", "bold red"))
    if data["running"]:
        text.append(line(f"Running    {data['running']}", "bold"))
    text.append(line(f"Last run   {_run_words(data['last_run'])}"))
    counts = ", ".join(f"{count:,} {status}" for status, count in sorted(data["drops"].items()))
    text.append(line(f"Drops      {counts or 'none yet'}"))
    text += _pending_words(data)
    text.append(line("Disk       " + ", ".join(f"{name} {size(count)}" for name, count in data["disk"].items())))
    if held:
        text += held_text(held)
    return text


def _pending_words(data: dict[str, Any]) -> list[RenderableType]:
    if data["inbox_problem"]:
        return [line(f"Pending    unknown: {data['inbox_problem']}", "red")]
    pending = data["pending"]
    more = [f"and {len(pending) - _PENDING_SHOWN:,} more"] if len(pending) > _PENDING_SHOWN else []
    words = "none" if not pending else f"{len(pending):,} for the next run: {', '.join(pending[:_PENDING_SHOWN] + more)}"
    return [line(f"Pending    {words}")]


def _run_words(run: dict[str, Any] | None) -> str:
    if run is None:
        return "none yet: `nightdrop run` makes the warehouse"
    ended = f"{run['finished_at']:%Y-%m-%d %H:%M:%S} UTC" if run["finished_at"] else "not ended"
    return f"{run['state']}, {ended}, {counted(run['events'] or 0, 'event')} ({run['run_id']})"
