"""The reports: for each date a page, `summary.json`, and of each drop with rejections a bounce; a page over all dates.

A report says what the working warehouse says, and which expected drops are missing, and nothing else: no clock and no run, so
that the same decisions give the same bytes. Held drops without a date stand in `reports/undated/summary.json`. A date of which
nothing is known loses its report.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

import duckdb

from pipelines.archive import Archive
from pipelines.blocks import content_length
from pipelines.bounce import (
    BOUNCE_FILE,
    REASONS_SUFFIX,
    Bounce,
    bounce_name,
    opening,
    set_aside_if_edited,
    write_bounce,
    write_whole,
)
from pipelines.calendar import NOBODY_EXPECTED, Attendance, Missing
from pipelines.csvs import columns_named
from pipelines.discovery import drop_format, path_key
from pipelines.excerpts import columns_of
from pipelines.files import sync_folder
from pipelines.home import Home, Settings
from pipelines.issues import Issue, remember
from pipelines.mornings import Morning, Row, mornings, undated
from pipelines.rejected import InWarehouse, Original
from pipelines.sources import Sources
from pipelines.summary import WHAT_NEXT

SUMMARY = "summary.json"
PAGE = "index.html"
UNDATED = "undated"


@dataclass(slots=True)
class _Issued:
    """The bounces of a date, and what the page needs to know of their originals."""

    bounces: dict[tuple[str, str], Bounce] = field(default_factory=dict)
    """By path and SHA-256 of the originals."""
    columns: dict[str, dict[str, int]] = field(default_factory=dict)
    """Path of a CSV drop -> column -> its place."""


def write_reports(
    con: duckdb.DuckDBPyConnection,
    home: Home,
    dates: Iterable[date],
    settings: Settings | None = None,
    *,
    calendar: Attendance = NOBODY_EXPECTED,
    advance: Callable[[], None] = lambda: None,
) -> list[Path]:
    """Write the report of each date, that of the held drops without one, and the page over all dates.

    `con` has the working warehouse open, `settings` say who sends what, `calendar` what was expected and came; `advance` is
    called after each date. Returns the files that are now there. Each is replaced at once and `summary.json` last, so that
    whoever reads it finds the bounces it names.
    """
    folder = home.reports
    folder.mkdir(mode=0o750, parents=True, exist_ok=True)
    files: list[Path] = []
    days = sorted(set(dates))
    for morning in mornings(con, days):
        files += _write_date(con, home, morning, settings or Settings(), calendar)
        advance()
    without_date = undated(con)
    files += _write_undated(without_date, folder / UNDATED)
    files += _write_index(con, folder, without_date, calendar, new=bool(days))
    sync_folder(folder)
    return files


def make_ready() -> None:
    """Load and compile what reports are made of: a quarter of a second, and nothing beside what DuckDB does."""
    from pipelines import charts, pages

    pages.make_ready()
    charts.make_ready()


def _write_date(
    con: duckdb.DuckDBPyConnection, home: Home, morning: Morning, settings: Settings, calendar: Attendance
) -> list[Path]:
    folder = home.reports / morning.day.isoformat()
    issued = _issued(folder)
    expected = list(calendar.on(morning.day))
    if not morning.drops and not expected:
        _clear(folder, issued, keep=frozenset())
        return []
    from pipelines.pages import date_page

    folder.mkdir(mode=0o750, exist_ok=True)
    now = _write_bounces(con, home, folder, morning, issued=issued, sources=settings.sources)
    files = [folder / name for bounce in now.bounces.values() for name in (bounce.name, bounce.name + REASONS_SUFFIX)]
    _clear(folder, issued, keep={file.name for file in files} | {SUMMARY, PAGE})
    page = put(folder / PAGE, date_page(morning, now.bounces, now.columns, sources=settings.sources, expected=expected))
    told = {
        "missing": _as_told(calendar.missing_on(morning.day)),
        "expected": [asdict(due) | {"by": due.by.isoformat()} for due in expected],
    }
    files += [page, _write_summary(folder, _summary(morning, now.bounces) | told)]
    sync_folder(folder)
    return files


def days_told_otherwise(home: Home, calendar: Attendance) -> set[date]:
    """Return the dates whose report says of missing drops something else than the calendar does now."""
    return {day for day in calendar.days() if _as_told(calendar.missing_on(day)) != _told_missing(home.reports / str(day))}


def _as_told(missing: Sequence[Missing]) -> list[Row]:
    return [{"source": late.source, "by": late.by.isoformat()} for late in missing]


def _told_missing(folder: Path) -> Any:
    try:
        return json.loads((folder / SUMMARY).read_bytes()).get("missing", [])
    except (OSError, ValueError, AttributeError):
        return []  # no report, or not ours any more


def _write_undated(drops: list[Row], folder: Path) -> list[Path]:
    if not drops:
        _clear(folder, {}, keep=frozenset())
        return []
    folder.mkdir(mode=0o750, exist_ok=True)
    summary = _write_summary(folder, {"business_date": None, "held": _held(drops)})
    sync_folder(folder)
    return [summary]


def _write_index(
    con: duckdb.DuckDBPyConnection, folder: Path, without_date: list[Row], calendar: Attendance, *, new: bool
) -> list[Path]:
    """Write the page over all dates; it stays while no date was written and nothing else it tells of came or went."""
    place = folder / PAGE
    from pipelines.calendar_page import calendar_page, is_of

    if not new and place.exists() and is_of(place.read_bytes(), without_date, calendar):
        return [place]
    page = calendar_page(con, without_date, calendar)
    if page is None:
        place.unlink(missing_ok=True)
        return []
    return [put(place, page)]


def _write_bounces(
    con: duckdb.DuckDBPyConnection, home: Home, folder: Path, morning: Morning, *, issued: dict[str, str], sources: Sources
) -> _Issued:
    """Write the bounces; each is remembered before anybody can take it away."""
    archive = Archive(home.archive)
    now = _Issued()
    in_hand = morning.in_hand()
    rejected = {row["path"] for row in morning.paths}
    # A rejected correction is in a file of its own: the bounce is that of the drop it corrects.
    originals = {(d["path"], d["sha256"]) for d in morning.drops if d["status"] == "applied" and d["path"] in rejected}
    for path, sha256 in sorted(originals, key=lambda original: (path_key(original[0]), original[1])):
        name = bounce_name(path, sha256, taken={bounce.name for bounce in now.bounces.values()})
        original, dialect = Original(morning.day, path, sha256), sources.dialect_of(path)
        begins = opening(original, archive, dialect.delimiter)
        header = begins.header[: content_length(begins.header)]
        refused = in_hand.get(path) or InWarehouse(con, original, archive)
        remember(home, Issue(name, morning.day, path, sha256, header), refused.slots())
        now.bounces[path, sha256] = write_bounce(folder, refused, begins, name=name, issued=issued.get(name))
        if drop_format(path.rpartition("/")[2]) and header:
            now.columns[path] = columns_of(columns_named(header, dialect))
    return now


def put(place: Path, content: bytes) -> Path:
    """Put a file in its place; one that is there with these bytes is left alone."""
    if not place.is_file() or place.read_bytes() != content:
        write_whole(place, [content])
    return place


def _summary(morning: Morning, bounces: dict[tuple[str, str], Bounce]) -> dict[str, Any]:
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
    }


def _without(rows: list[Row], *names: str) -> list[Row]:
    return [{name: value for name, value in row.items() if name not in names} for row in rows]


def _held(drops: list[Row]) -> list[Row]:
    held = [drop for drop in drops if drop["status"] == "held"]
    names = ("path", "sha256", "bytes", "reason", "detail")
    return [{name: drop[name] for name in names} | {"what_next": WHAT_NEXT.get(drop["reason"])} for drop in held]


def _write_summary(folder: Path, summary: dict[str, Any]) -> Path:
    text = json.dumps(summary, ensure_ascii=False, indent=2, default=str) + "\n"
    return put(folder / SUMMARY, text.encode("utf-8", "backslashreplace"))


def _issued(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of each bounce that the report there now has issued, by name."""
    try:
        drops = json.loads((folder / SUMMARY).read_bytes())["drops"]
        return {drop["bounce"]["file"]: drop["bounce"]["sha256"] for drop in drops if drop["bounce"]}
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        # No report yet, or not ours any more: then nothing there was issued by it.
        return {}


def _clear(folder: Path, issued: dict[str, str], *, keep: frozenset[str] | set[str]) -> None:
    """Remove the files of an earlier decision, and the folder when nothing is left; what a person made stays."""
    if not folder.is_dir():
        return
    for file in list(folder.iterdir()):
        if file.name in keep or not (file.name in (SUMMARY, PAGE) or BOUNCE_FILE.fullmatch(file.name)):
            continue
        if file.name in issued:
            set_aside_if_edited(file, issued[file.name])
        file.unlink(missing_ok=True)
    if not keep:
        if any(folder.iterdir()):
            sync_folder(folder)
        else:
            folder.rmdir()
