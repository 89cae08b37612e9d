from __future__ import annotations

import re
from datetime import date, timedelta
from pathlib import Path

import pytest

from pipelines import schema
from pipelines.calendar_page import calendar_page, is_of
from pipelines.database import connect
from pipelines.mornings import mornings, undated

FRIDAY = date(2026, 11, 13)


@pytest.fixture
def con(tmp_path: Path):
    connection = connect(tmp_path / "working.duckdb")
    schema.create(connection)
    yield connection
    connection.close()


def drop(
    con, day: date | None, *, records: int = 10, rejected: int = 0, status: str = "applied", path: str | None = None
) -> None:
    counts = [records, records - rejected, rejected, 0] if status == "applied" else [None] * 4
    reason = None if status == "applied" else "no_business_date"
    con.execute(
        "INSERT INTO drops VALUES (?, ?, 'ab', 1, ?, ?, ?, ?, ?, ?, NULL, now(), now(), 'r')",
        [day, path or f"{day}/core/c.jsonl", *counts, status, reason],
    )


def reject(con, day: date, line: int, code: str) -> None:
    con.execute(
        "INSERT INTO rejections VALUES (?, ?, ?, 'client', 'create', 'C', ?, 'name', 'v', 'm', NULL, NULL, NULL)",
        [day, f"{day}/core/c.jsonl", line, code],
    )


def page(con) -> str:
    made = calendar_page(con, undated(con))
    assert made is not None
    return made.decode()


def rows(text: str) -> list[str]:
    table = text.partition('<table class="dates stack">')[2].partition("</table>")[0]
    plain = table.replace("&nbsp;", " ")
    return [re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", row)).strip() for row in re.findall(r"<tr.*?</tr>", plain, re.DOTALL)][1:]


def test_the_dates_stand_side_by_side_the_last_one_first_and_missing_days_between_them(con) -> None:
    drop(con, FRIDAY)
    drop(con, FRIDAY + timedelta(5), records=1_000, rejected=25)
    text = page(con)
    told = rows(text)
    assert (
        text.partition("<h2>Volume</h2>")[2].partition("</svg>")[0].count('class="bar"') == 2 * 6
    )  # the missing days have their places
    assert [row.split()[0] for row in told] == [str(FRIDAY + timedelta(days)) for days in (5, 4, 3, 2, 1, 0)]
    assert "1,000 25 2.50 %" in told[0]
    assert told[1].endswith("no drop")
    assert told[3].endswith("no drop, weekend")
    assert "4 days between the first and the last date without a drop, 2 of them at weekends." in re.sub(r"<[^>]*>", "", text)


def test_a_reason_never_seen_before_is_marked_on_its_first_date_only(con) -> None:
    for days in range(3):
        drop(con, FRIDAY + timedelta(days), rejected=2)
        reject(con, FRIDAY + timedelta(days), 1, "invalid_email")
    reject(con, FRIDAY + timedelta(1), 2, "invalid_phone")
    reject(con, FRIDAY + timedelta(2), 2, "invalid_phone")
    assert [row.count("new") for row in rows(page(con))] == [0, 1, 0]
    assert "invalid_phone 1 new" in rows(page(con))[1]


def test_the_top_tells_of_the_last_date_and_of_all_that_is_held(con) -> None:
    drop(con, FRIDAY, status="held", path="2026-11-13/half.csv")
    drop(con, FRIDAY + timedelta(1))
    drop(con, None, status="held", path="desk/new.csv")
    text = page(con)
    assert 'data-state="held"' in text
    assert "2 drops are held" in text
    assert "nightdrop release desk/new.csv --date YYYY-MM-DD" in text
    assert is_of(text.encode(), undated(con))
    con.execute("DELETE FROM drops WHERE business_date IS NULL")
    assert not is_of(text.encode(), undated(con))


def test_without_any_drop_there_is_no_page(con) -> None:
    assert calendar_page(con, []) is None


def test_years_apart_are_one_line_not_thousands(con) -> None:
    drop(con, date(2020, 1, 1))
    drop(con, FRIDAY)
    assert len(rows(page(con))) == 3
    assert "2020-01-02 to 2026-11-12" in rows(page(con))[1]


def test_many_dates_are_asked_for_together_and_told_apart(con) -> None:
    days = [FRIDAY + timedelta(days) for days in range(40)]
    for number, day in enumerate(days):
        drop(con, day, rejected=number)
        for line in range(number):
            reject(con, day, line + 1, "invalid_email")
    told = list(mornings(con, [*reversed(days), date(2000, 1, 1)]))
    assert [morning.day for morning in told] == [date(2000, 1, 1), *days]
    assert not told[0].drops
    assert [sum(row["reasons"] for row in morning.reasons) for morning in told[1:]] == list(range(40))
    assert [morning.rejections.height for morning in told[1:]] == list(range(40))
    assert [morning.followed["roots"] for morning in told[1:]] == list(range(40))
