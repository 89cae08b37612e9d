"""The rejection reports: `reports/<date>/summary.json`, and a bounce with its reasons for each drop with rejections.

A report says what the working warehouse says and nothing else, no clock and no run, so that the same decisions give the same
bytes. Held drops without a date stand in `reports/undated/summary.json`. A date of which nothing is known loses its report.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Set
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
    Original,
    bounce_name,
    opening,
    set_aside_if_edited,
    write_bounce,
    write_whole,
)
from pipelines.calendar import expected_on
from pipelines.discovery import path_key
from pipelines.files import sync_folder
from pipelines.home import Home, Settings
from pipelines.resubmitting import Issue, remember
from pipelines.sources import Sources
from pipelines.summary import WHAT_NEXT

SUMMARY = "summary.json"
UNDATED = "undated"
ROOT_CAUSES_SHOWN = 100

_DROPS = """
    SELECT path, sha256, bytes, records, applied, rejected, warned, status, reason, detail
    FROM drops WHERE business_date IS NOT DISTINCT FROM $day AND ($day IS NOT NULL OR status = 'held')
"""
_TOTALS = """
    SELECT count(*) AS drops, coalesce(sum(records), 0)::BIGINT AS records, coalesce(sum(applied), 0)::BIGINT AS applied,
           coalesce(sum(rejected), 0)::BIGINT AS rejected, coalesce(sum(warned), 0)::BIGINT AS warned
    FROM drops WHERE business_date = $day AND status = 'applied'
"""
# A record may have the same code under several fields, so reasons and records are counted apart.
_REASONS = """
    SELECT code, count(*) AS reasons, count(DISTINCT (path, line)) AS records,
           count(*) FILTER (cause_line IS NULL) AS root_causes, count(*) FILTER (cause_line IS NOT NULL) AS followers
    FROM rejections WHERE business_date = $day GROUP BY code ORDER BY root_causes DESC, reasons DESC, code
"""
_FIELDS = """
    SELECT field, code, count(*) AS reasons
    FROM rejections WHERE business_date = $day GROUP BY field, code ORDER BY field NULLS FIRST, reasons DESC, code
"""
# A rejected correction is in a file of its own: the bounce is that of the drop it corrects.
_ORIGINALS = """
    SELECT DISTINCT path, d.sha256 FROM rejected_lines JOIN drops AS d USING (business_date, path)
    WHERE business_date = $day AND d.status = 'applied'
"""
_FOLLOWED = """
    SELECT count(DISTINCT (cause_date, cause_path, cause_line)) AS causes, count(*) AS followers
    FROM rejections WHERE business_date = $day AND cause_line IS NOT NULL
"""
_ROOT_CAUSES = f"""
    WITH causes AS (
        SELECT cause_date AS business_date, cause_path AS path, cause_line AS line, count(*) AS followers
        FROM rejections WHERE business_date = $day AND cause_line IS NOT NULL GROUP BY ALL
        ORDER BY followers DESC, cause_date, cause_path, cause_line LIMIT {ROOT_CAUSES_SHOWN}
    )
    SELECT business_date, path, line, any_value(r.category) AS category, any_value(r.entity_id) AS id,
           list(DISTINCT r.code ORDER BY r.code) AS codes, any_value(followers) AS followers
    FROM causes JOIN rejections AS r USING (business_date, path, line)
    GROUP BY business_date, path, line ORDER BY followers DESC, business_date, path, line
"""
_FLIPS = """
    SELECT path, line, was, now, because_path FROM verdict_changes WHERE business_date = $day
    QUALIFY row_number() OVER (PARTITION BY path, line ORDER BY rowid DESC) = 1 ORDER BY path, line LIMIT 1000
"""
"""The last change of each verdict that is now another than it once was."""
_WARNINGS = """
    SELECT code, count(*) AS warnings, count(DISTINCT (path, line)) AS records
    FROM warnings WHERE business_date = $day GROUP BY code ORDER BY warnings DESC, code
"""


def write_reports(
    con: duckdb.DuckDBPyConnection, home: Home, dates: Iterable[date], settings: Settings | None = None
) -> list[Path]:
    """Write the report of each date, and that of the held drops without one, out of the working warehouse.

    Returns the files that are now there. Each is replaced at once and `summary.json` last, so that whoever reads it finds the
    bounces it names.
    """
    folder = home.reports
    folder.mkdir(mode=0o750, parents=True, exist_ok=True)
    files = [file for day in sorted(set(dates)) for file in _write_date(con, home, day, settings or Settings())]
    files += _write_undated(con, folder / UNDATED)
    sync_folder(folder)
    return files


def _write_date(con: duckdb.DuckDBPyConnection, home: Home, day: date, settings: Settings) -> list[Path]:
    folder = home.reports / day.isoformat()
    drops = _drops(con, day)
    issued = _issued(folder)
    expected = list(expected_on(con, settings.calendar, settings.sources.name_of, day))
    if not drops and not expected:
        _clear(folder, issued, keep=frozenset())
        return []
    folder.mkdir(mode=0o750, exist_ok=True)
    bounces = _write_bounces(con, home, folder, day, issued=issued, sources=settings.sources)
    files = [folder / name for bounce in bounces.values() for name in (bounce.name, bounce.name + REASONS_SUFFIX)]
    _clear(folder, issued, keep={file.name for file in files} | {SUMMARY})
    return [*files, _write_summary(folder, _summary(con, day, drops, bounces) | {"expected": expected})]


def days_unreported(home: Home, days: Set[date]) -> set[date]:
    """Return those of some dates that have no report."""
    return {day for day in days if not (home.reports / day.isoformat() / SUMMARY).exists()}


def _write_undated(con: duckdb.DuckDBPyConnection, folder: Path) -> list[Path]:
    drops = _drops(con, None)
    if not drops:
        _clear(folder, {}, keep=frozenset())
        return []
    folder.mkdir(mode=0o750, exist_ok=True)
    return [_write_summary(folder, {"business_date": None, "held": _held(drops)})]


def _write_bounces(
    con: duckdb.DuckDBPyConnection, home: Home, folder: Path, day: date, *, issued: dict[str, str], sources: Sources
) -> dict[tuple[str, str], Bounce]:
    """Return the bounces by path and SHA-256 of their originals; each is remembered before anybody can take it away."""
    archive = Archive(home.archive)
    bounces: dict[tuple[str, str], Bounce] = {}
    originals = sorted(((row["path"], row["sha256"]) for row in _rows(con, _ORIGINALS, day)), key=_by_path)
    for path, sha256 in originals:
        name = bounce_name(path, sha256, taken={bounce.name for bounce in bounces.values()})
        original = Original(day, path, sha256)
        delimiter = sources.dialect_of(path).delimiter
        header, _ = opening(original, archive, delimiter)
        remember(con, home, Issue(name, day, path, sha256, header[: content_length(header)]))
        made = write_bounce(con, folder, original, archive, name=name, issued=issued.get(name), delimiter=delimiter)
        bounces[path, sha256] = made
    return bounces


def _summary(
    con: duckdb.DuckDBPyConnection, day: date, drops: list[dict[str, Any]], bounces: dict[tuple[str, str], Bounce]
) -> dict[str, Any]:
    for drop in drops:
        bounce = bounces.get((drop["path"], drop["sha256"])) if drop["status"] == "applied" else None
        drop["bounce"] = bounce and {"file": bounce.name, "sha256": bounce.sha256, "lines": bounce.lines}
    followed = _rows(con, _FOLLOWED, day)[0]
    return {
        "business_date": day,
        "totals": _rows(con, _TOTALS, day)[0],
        "drops": drops,
        "held": _held(drops),
        "reasons": _rows(con, _REASONS, day),
        "fields": _rows(con, _FIELDS, day),
        "root_causes": {**followed, "most_followed": _rows(con, _ROOT_CAUSES, day)},
        "flips": _rows(con, _FLIPS, day),
        "warnings": _rows(con, _WARNINGS, day),
    }


def _drops(con: duckdb.DuckDBPyConnection, day: date | None) -> list[dict[str, Any]]:
    return sorted(_rows(con, _DROPS, day), key=lambda drop: (path_key(drop["path"]), drop["status"], drop["sha256"] or ""))


def _held(drops: list[dict[str, Any]]) -> list[dict[str, Any]]:
    held = [drop for drop in drops if drop["status"] == "held"]
    names = ("path", "sha256", "bytes", "reason", "detail")
    return [{name: drop[name] for name in names} | {"what_next": WHAT_NEXT.get(drop["reason"])} for drop in held]


def _rows(con: duckdb.DuckDBPyConnection, query: str, day: date | None) -> list[dict[str, Any]]:
    found = con.execute(query, {"day": day})
    names = [column[0] for column in found.description or ()]
    return [dict(zip(names, row, strict=True)) for row in found.fetchall()]


def _write_summary(folder: Path, summary: dict[str, Any]) -> Path:
    text = json.dumps(summary, ensure_ascii=False, indent=2, default=str) + "\n"
    write_whole(folder / SUMMARY, [text.encode("utf-8", "backslashreplace")])
    return folder / SUMMARY


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
        if file.name in keep or not (file.name == SUMMARY or BOUNCE_FILE.fullmatch(file.name)):
            continue
        if file.name in issued:
            set_aside_if_edited(file, issued[file.name])
        file.unlink(missing_ok=True)
    if keep or any(folder.iterdir()):
        sync_folder(folder)
    else:
        folder.rmdir()


def _by_path(original: tuple[str, str]) -> Any:
    return path_key(original[0]), original[1]
