"""`reports/index.html`: the dates side by side. How much came, which share was refused for what, what is missing."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Sequence
from datetime import date, timedelta
from typing import Any

import duckdb
import orjson

from pipelines.calendar import NOBODY_EXPECTED, Attendance, Missing
from pipelines.charts import stacked
from pipelines.headline import headline
from pipelines.lineblocks import block, count_lines
from pipelines.mornings import Row
from pipelines.pages import rendered, with_what_next

CHARTED = 60
"""The last dates with drops stand in the charts; the table has all."""
_SERIES = 5
"""Reasons with a colour of their own; the others are drawn as one."""
_REASONS_SHOWN = 4
"""Of each date in the table; one never seen before is always told of."""
_WEEKEND = (5, 6)
_MOST_GAPS = 400
"""Days without a drop that are listed one by one; a longer gap is one line."""

_DATES = """
    SELECT business_date AS day,
        count(*) FILTER (status = 'applied') AS drops, count(*) FILTER (status = 'held') AS held,
        coalesce(sum(records) FILTER (status = 'applied'), 0)::BIGINT AS records,
        coalesce(sum(rejected) FILTER (status = 'applied'), 0)::BIGINT AS rejected,
        coalesce(sum(warned) FILTER (status = 'applied'), 0)::BIGINT AS warned
    FROM drops WHERE business_date IS NOT NULL GROUP BY 1 ORDER BY 1
"""
# What is told apart before it is counted is told apart by all threads. Of a long past most drops have few lines of a code.
_REASONS = """
    SELECT business_date, code, count(*) AS records, business_date = min(business_date) OVER (PARTITION BY code) AS first
    FROM (SELECT DISTINCT business_date, path, code, line FROM rejections)
    GROUP BY business_date, code ORDER BY business_date, records DESC, code
"""
_ROOTS = f"""
    SELECT business_date, sum(roots)::BIGINT
    FROM (
        SELECT business_date, coalesce(cause_date, business_date) AS of_date, coalesce(cause_path, path) AS of_path,
               {block("root")} AS lines, {count_lines("root")} AS roots
        FROM (SELECT *, coalesce(cause_line, line) AS root FROM rejections) GROUP BY ALL
    )
    GROUP BY business_date
"""


def calendar_page(
    con: duckdb.DuckDBPyConnection, without_date: Sequence[Row], calendar: Attendance = NOBODY_EXPECTED
) -> bytes | None:
    """Return the page over all dates, the held drops without one and what is missing; None when there is nothing of these."""
    dates, missing = _rows(con, _DATES), calendar.missing()
    if not dates and not without_date and not missing:
        return None
    last = dates[-1] if dates else None
    roots = dict(con.execute(_ROOTS).fetchall())
    reasons: dict[date, list[Row]] = defaultdict(list)
    for row in _rows(con, _REASONS):
        # On the very first date everything is new.
        row["new"] = row.pop("first") and row["business_date"] != dates[0]["day"]
        reasons[row["business_date"]].append(row)
    dates = _with_missing(dates, missing)
    for row in dates:
        row["missing"] = [late.source for late in calendar.missing_on(row["day"])]
        row["told"] = _told(row, roots.get(row["day"], 0))
        row["reasons"] = reasons[row["day"]]
        row["told_of"] = [r for place, r in enumerate(row["reasons"]) if r["new"] or place < _REASONS_SHOWN]
    held = sum(row["held"] for row in dates) + len(without_date)
    return rendered(
        "calendar.html",
        told=headline(
            drops=last["drops"] if last else 0,
            records=last["records"] if last else 0,
            rejected=last["rejected"] if last else 0,
            roots=roots.get(last["day"], 0) if last else 0,
            held=held,
            missing=len(missing),
        ),
        last=last,
        most=max((row["records"] for row in dates), default=0) or 1,
        rows=_with_gaps(dates),
        gaps=[row for row in _with_gaps(dates) if "gap" in row],
        missing=missing,
        all_held=held,
        held=with_what_next(without_date),
        mark=_mark(without_date, calendar),
        **_charts(_with_empty_days(dates[-CHARTED:])),
    )


def is_of(page: bytes, without_date: Sequence[Row], calendar: Attendance = NOBODY_EXPECTED) -> bool:
    """Tell whether a page tells of exactly those held drops without a date, and of exactly what is missing."""
    return f'data-mark="{_mark(without_date, calendar)}"'.encode() in page[:4096]


def _with_missing(dates: list[Row], missing: Sequence[Missing]) -> list[Row]:
    """Return the dates with those of which nothing came though something was expected."""
    counts = dict.fromkeys(("drops", "held", "records", "rejected", "warned"), 0)
    absent = {late.business_date for late in missing} - {row["day"] for row in dates}
    return sorted([*dates, *({"day": day} | counts for day in absent)], key=lambda row: row["day"])


def _told(row: Row, roots: int) -> Any:
    numbers = {name: row[name] for name in ("drops", "records", "rejected", "held")}
    return headline(**numbers, roots=roots, missing=len(row["missing"]))


def _with_gaps(dates: Sequence[Row]) -> list[Row]:
    """Return the dates, the last one first, and between them the days on which nothing came."""
    rows: list[Row] = []
    after: date | None = None
    for row in reversed(dates):
        if after is not None:
            rows += _gap(row["day"], after)
        rows.append(row)
        after = row["day"]
    return rows


def _gap(before: date, after: date) -> list[Row]:
    missing = (after - before).days - 1
    if missing > _MOST_GAPS:
        return [{"gap": before + timedelta(1), "to": after - timedelta(1), "days": missing, "weekend": False}]
    days = [after - timedelta(number) for number in range(1, missing + 1)]
    return [{"gap": day, "to": day, "days": 1, "weekend": day.weekday() in _WEEKEND} for day in days]


def _with_empty_days(dates: Sequence[Row]) -> list[Row]:
    """Return the dates with the days on which nothing came as empty places, unless these were more than the dates."""
    if not dates or (dates[-1]["day"] - dates[0]["day"]).days > 2 * CHARTED:
        return list(dates)
    by_day = {row["day"]: row for row in dates}
    days = [dates[0]["day"] + timedelta(number) for number in range((dates[-1]["day"] - dates[0]["day"]).days + 1)]
    return [by_day.get(day, {"day": day, "records": 0, "rejected": 0, "reasons": []}) for day in days]


def _charts(dates: Sequence[Row]) -> dict[str, Any]:
    if not dates:
        return {"volume": None, "shares": None, "series": []}
    labels = [f"{row['day']:%m-%d}" for row in dates]
    counts: dict[str, int] = defaultdict(int)
    for row in dates:
        for reason in row["reasons"]:
            counts[reason["code"]] += reason["records"]
    most = sorted(counts, key=lambda code: (-counts[code], code))[:_SERIES]
    shares: dict[str, list[float | None]] = {code: [] for code in most}
    others: list[float | None] = []
    for row in dates:
        found = {reason["code"]: reason["records"] for reason in row["reasons"]}
        total = row["records"] or 1
        for code in most:
            shares[code].append(round(100 * found[code] / total, 4) if code in found else None)
        left = sum(count for code, count in found.items() if code not in most)
        others.append(round(100 * left / total, 4) if left else None)
    if any(others):
        shares["other reasons"] = others
    volume = {
        "applied": [row["records"] - row["rejected"] for row in dates],
        "refused": [row["rejected"] for row in dates],
    }
    return {
        "volume": stacked(f"Records a date, {labels[0]} to {labels[-1]}", labels, volume),
        "shares": stacked("Share of records refused, by reason", labels, shares, unit=" %") if most else None,
        "series": list(shares),
    }


def _mark(without_date: Sequence[Row], calendar: Attendance) -> str:
    held = [(drop["path"], drop["sha256"], drop["reason"], drop["detail"]) for drop in without_date]
    told = [held, [(late.business_date, late.source, late.by) for late in calendar.missing()]]
    return hashlib.sha256(orjson.dumps(told)).hexdigest()[:16]


def _rows(con: duckdb.DuckDBPyConnection, sql: str) -> list[Row]:
    found = con.execute(sql)
    names = [column[0] for column in found.description or ()]
    return [dict(zip(names, row, strict=True)) for row in found.fetchall()]
