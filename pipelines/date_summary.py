"""`summary.json`: what a date's report says, for machines, and what the one that is there has said."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import date
from pathlib import Path
from typing import Any

import orjson

from pipelines.bounce import Bounce, put
from pipelines.calendar import Attendance, Missing
from pipelines.home import Home
from pipelines.mornings import Morning, Row
from pipelines.summary import WHAT_NEXT

SUMMARY = "summary.json"


def of_date(morning: Morning, bounces: Mapping[tuple[str, str], Bounce], calendar: Attendance) -> dict[str, Any]:
    """Return what is said of a date; `bounces` by path and SHA-256."""
    drops = []
    for drop in morning.drops:
        bounce = bounces.get((drop["path"], drop["sha256"])) if drop["status"] == "applied" else None
        told = bounce and {"file": bounce.name, "sha256": bounce.sha256, "lines": bounce.lines}
        drops.append(drop | {"bounce": told})
    causes = {"causes": morning.followed["causes"], "followers": morning.followed["followers"]}
    return {
        "business_date": morning.day,
        "totals": morning.totals,
        "drops": drops,
        "held": _held(morning.drops),
        "reasons": _without(morning.reasons, "example"),
        "fields": morning.fields,
        "root_causes": {**causes, "most_followed": _without(morning.causes, "some", "messages")},
        "flips": _without(morning.flips, "of"),
        "warnings": _without(morning.warnings, "some"),
        "missing": _as_told(calendar.missing_on(morning.day)),
        "expected": [asdict(due) | {"by": due.by.isoformat()} for due in calendar.on(morning.day)],
    }


def of_no_date(drops: list[Row]) -> dict[str, Any]:
    """Return what is said of held drops without a date."""
    return {"business_date": None, "held": _held(drops)}


def _without(rows: list[Row], *names: str) -> list[Row]:
    return [{name: value for name, value in row.items() if name not in names} for row in rows]


def _held(drops: list[Row]) -> list[Row]:
    held = [drop for drop in drops if drop["status"] == "held"]
    names = ("path", "sha256", "bytes", "reason", "detail")
    return [{name: drop[name] for name in names} | {"what_next": WHAT_NEXT.get(drop["reason"])} for drop in held]


def write_summary(folder: Path, summary: dict[str, Any]) -> Path:
    """Write it; return the file."""
    return put(folder / SUMMARY, orjson.dumps(summary, option=orjson.OPT_INDENT_2) + b"\n")


def issued_in(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of each bounce that the report there now has issued, by name."""
    try:
        drops = orjson.loads((folder / SUMMARY).read_bytes())["drops"]
        return {drop["bounce"]["file"]: drop["bounce"]["sha256"] for drop in drops if drop["bounce"]}
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        # No report yet, or not ours any more: then nothing there was issued by it.
        return {}


def days_told_otherwise(home: Home, calendar: Attendance) -> set[date]:
    """Return the dates whose report says of missing drops something else than the calendar does now."""
    return {day for day in calendar.days() if _as_told(calendar.missing_on(day)) != _told_missing(home.reports / str(day))}


def _as_told(missing: Sequence[Missing]) -> list[Row]:
    return [{"source": late.source, "by": late.by.isoformat()} for late in missing]


def _told_missing(folder: Path) -> Any:
    try:
        return orjson.loads((folder / SUMMARY).read_bytes()).get("missing", [])
    except (OSError, ValueError, AttributeError):
        return []  # no report, or not ours any more
