from __future__ import annotations

import csv
import json
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from homes import with_tables

from pipelines import mornings
from pipelines.archive import Archive
from pipelines.database import connect
from pipelines.home import Home
from pipelines.reporting import write_reports

MONDAY, TUESDAY = date(2026, 11, 16), date(2026, 11, 17)
MONDAYS = ["2026-11-16/index.html", "2026-11-16/summary.json", "index.html"]


class Warehouse:
    """A working warehouse into which decisions are written by hand."""

    def __init__(self, home: Home, source: Path) -> None:
        with_tables(home)
        self.home, self.source = home, source
        self.con = connect(home.working)

    def drop(
        self, path: str, content: bytes = b"", *, day: date | None = MONDAY, status: str = "applied", reason: str | None = None
    ) -> str:
        self.source.write_bytes(content)
        sha256 = Archive(self.home.archive).store(self.source).sha256
        counts = [3, 1, 2, 1] if status == "applied" else [None] * 4
        self.con.execute(
            "INSERT INTO drops VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, now(), now(), 'r')",
            [day, path, sha256, len(content), *counts, status, reason, reason and "in words"],
        )
        return sha256

    def reject(
        self,
        path: str,
        sha256: str,
        line: int,
        code: str,
        field: str,
        *,
        day: date = MONDAY,
        cause: Any = (None,) * 3,
        raw: bytes = b"{}",
    ) -> None:
        self.con.execute(
            "INSERT INTO rejections VALUES (?, ?, ?, 'loan', 'create', ?, ?, ?, 'v', 'm', ?, ?, ?)",
            [day, path, line, f"L-{line}", code, field, *cause],
        )
        if not self.con.execute(
            "SELECT 1 FROM rejected_lines WHERE (business_date, path, line) = (?, ?, ?)", [day, path, line]
        ).fetchall():
            self.con.execute("INSERT INTO rejected_lines VALUES (?, ?, ?, ?, 0, ?, ?)", [day, path, line, sha256, len(raw), raw])

    def report(self, *days: date) -> list[str]:
        return [str(file.relative_to(self.home.reports)) for file in write_reports(self.con, self.home, days)]

    def summary(self, folder: str) -> dict[str, Any]:
        return json.loads((self.home.reports / folder / "summary.json").read_bytes())


@pytest.fixture
def warehouse(tmp_path: Path):
    made = Warehouse(Home(tmp_path / "home"), tmp_path / "source")
    yield made
    made.con.close()


def test_a_report_counts_by_drop_reason_field_and_root_cause(warehouse):
    path = "2026-11-16/loans.jsonl"
    sha = warehouse.drop(path, b"{}\n{}\n{}\n")
    warehouse.reject(path, sha, 1, "invalid_amount", "amount")
    warehouse.reject(path, sha, 1, "invalid_amount", "expected_margin")
    warehouse.reject(path, sha, 2, "loan_unknown", "loan_id", cause=(MONDAY, path, 1))
    warehouse.con.execute("INSERT INTO warnings VALUES (?, ?, 3, 'loan', 'L-3', 'unknown_field', 'x', '1', 'm')", [MONDAY, path])
    files = warehouse.report(MONDAY)
    bounce = f"2026-11-16__loans.jsonl.{sha[:8]}.rejected.jsonl"
    assert files == [f"2026-11-16/{bounce}", f"2026-11-16/{bounce}.reasons.csv", *MONDAYS]
    summary = warehouse.summary("2026-11-16")
    assert summary["totals"] == {"drops": 1, "records": 3, "applied": 1, "rejected": 2, "warned": 1}
    assert summary["drops"][0]["bounce"] | {"sha256": ""} == {"file": bounce, "sha256": "", "lines": 2}
    assert summary["reasons"] == [
        {"code": "invalid_amount", "reasons": 2, "records": 1, "root_causes": 2, "followers": 0},
        {"code": "loan_unknown", "reasons": 1, "records": 1, "root_causes": 0, "followers": 1},
    ]
    assert summary["fields"] == [
        {"field": "amount", "code": "invalid_amount", "reasons": 1},
        {"field": "expected_margin", "code": "invalid_amount", "reasons": 1},
        {"field": "loan_id", "code": "loan_unknown", "reasons": 1},
    ]
    cause = {
        "business_date": "2026-11-16",
        "path": path,
        "line": 1,
        "category": "loan",
        "id": "L-1",
        "codes": ["invalid_amount"],
        "followers": 1,
    }
    assert summary["root_causes"] == {"causes": 1, "followers": 1, "most_followed": [cause]}
    assert summary["warnings"] == [{"code": "unknown_field", "warnings": 1, "records": 1}]
    assert summary["held"] == []


def test_a_held_drop_says_why_and_what_next(warehouse):
    warehouse.drop("2026-11-16/half.csv", b"x", status="held", reason="truncated")
    assert warehouse.report(MONDAY) == MONDAYS
    (held,) = warehouse.summary("2026-11-16")["held"]
    assert (held["path"], held["reason"], held["detail"]) == ("2026-11-16/half.csv", "truncated", "in words")
    assert "sent again" in held["what_next"]


def test_a_held_drop_without_a_date_is_reported_apart_and_only_while_it_is_held(warehouse):
    warehouse.drop("loans.jsonl", b"x", day=None, status="held", reason="no_business_date")
    assert warehouse.report() == ["undated/summary.json", "index.html"]
    assert [drop["path"] for drop in warehouse.summary("undated")["held"]] == ["loans.jsonl"]
    warehouse.con.execute("DELETE FROM drops")
    assert warehouse.report() == []
    assert not (warehouse.home.reports / "undated").exists()


def test_bounces_of_an_earlier_decision_are_removed_and_other_files_stay(warehouse):
    path = "2026-11-16/loans.jsonl"
    sha = warehouse.drop(path, b"{}\n")
    warehouse.reject(path, sha, 1, "invalid_amount", "amount")
    warehouse.report(MONDAY)
    note = warehouse.home.reports / "2026-11-16" / "note.txt"
    note.write_text("mine")
    warehouse.con.execute("DELETE FROM rejections")
    warehouse.con.execute("DELETE FROM rejected_lines")
    assert warehouse.report(MONDAY) == MONDAYS
    assert {file.name for file in note.parent.iterdir()} == {"note.txt", "summary.json", "index.html"}
    assert warehouse.summary("2026-11-16")["drops"][0]["bounce"] is None


def test_a_mended_bounce_whose_drop_has_no_rejections_any_more_is_set_aside(warehouse):
    path = "2026-11-16/loans.jsonl"
    sha = warehouse.drop(path, b"{}\n")
    warehouse.reject(path, sha, 1, "invalid_amount", "amount")
    bounce = warehouse.home.reports / warehouse.report(MONDAY)[0]
    bounce.write_bytes(b"mended")
    warehouse.con.execute("DELETE FROM rejections")
    warehouse.con.execute("DELETE FROM rejected_lines")
    warehouse.report(MONDAY)
    assert not bounce.exists()
    assert bounce.with_name(f"{bounce.name}.edited").read_bytes() == b"mended"


def test_a_date_of_which_nothing_is_known_any_more_loses_its_report(warehouse):
    warehouse.drop("2026-11-16.csv", b"step\n")
    assert warehouse.report(MONDAY, TUESDAY) == MONDAYS
    warehouse.con.execute("DELETE FROM drops")
    assert warehouse.report(MONDAY) == []
    assert list(warehouse.home.reports.iterdir()) == []


def test_the_same_decisions_give_the_same_bytes(warehouse):
    for path in ("2026-11-16/b.jsonl", "2026-11-16/a.jsonl"):
        sha = warehouse.drop(path, path.encode() + b"\n")
        for line, field in ((1, "fee"), (1, "amount"), (2, "fee")):
            warehouse.reject(path, sha, line, "invalid_amount", field)
    first = {file: (warehouse.home.reports / file).read_bytes() for file in warehouse.report(MONDAY)}
    warehouse.con.execute("CREATE TEMP TABLE r AS SELECT * FROM rejections ORDER BY line DESC, path DESC, field DESC")
    warehouse.con.execute("DELETE FROM rejections")
    warehouse.con.execute("INSERT INTO rejections FROM r")
    assert {file: (warehouse.home.reports / file).read_bytes() for file in warehouse.report(MONDAY)} == first
    assert len(first) == 7


@pytest.mark.parametrize("shown", range(1, 14))
def test_of_a_date_with_too_many_reasons_the_first_ones_are_shown_whatever_drops_they_are_of(warehouse, monkeypatch, shown):
    monkeypatch.setattr(mornings, "SHOWN_AT_MOST", shown)
    told = []
    for day in (MONDAY, TUESDAY):
        for path in ("c.jsonl", "a.jsonl", "b.jsonl"):
            sha256 = warehouse.drop(path, path.encode() + str(day).encode(), day=day)
            for line, code in ((3, "one"), (1, "two"), (1, "one"), (2, "one")):
                warehouse.reject(path, sha256, line, code, "f", day=day)
                told.append((day, path, line, code))
    found = list(mornings.mornings(warehouse.con, [MONDAY, TUESDAY]))
    for morning in found:
        first = sorted(row for row in told if row[0] == morning.day)[:shown]
        assert sorted(morning.rejections.select("business_date", "path", "line", "code").iter_rows()) == first


def test_reports_are_for_their_owner_and_group_only(warehouse):
    warehouse.drop("2026-11-16.csv", b"step\n")
    warehouse.report(MONDAY)
    folder = warehouse.home.reports / "2026-11-16"
    assert folder.stat().st_mode & 0o027 == 0
    for file in (folder / "summary.json", folder / "index.html", folder.parent / "index.html"):
        assert file.stat().st_mode & 0o137 == 0


def test_a_large_drop_bounces_in_whole_columns(warehouse):
    sha = warehouse.drop("2026-11-16.csv", b"step,client_id\n")
    count = 30_000
    warehouse.con.execute(
        f"""INSERT INTO rejected_lines SELECT DATE '2026-11-16', '2026-11-16.csv', i, '{sha}', 0, 9,
        ('"a' || chr(10) || i || '"')::BLOB FROM range(2, {count + 2}) t(i)"""
    )
    warehouse.con.execute(
        f"""INSERT INTO rejections SELECT DATE '2026-11-16', '2026-11-16.csv', i, NULL, NULL, NULL, 'ragged_row', NULL, NULL, 'm',
        NULL, NULL, NULL FROM range(2, {count + 2}) t(i)"""
    )
    bounce, reasons, *_ = warehouse.report(MONDAY)
    text = (warehouse.home.reports / bounce).read_bytes()
    assert text == b"step,client_id\n" + b"".join(b'"a\n%d"\n' % line for line in range(2, count + 2))
    with (warehouse.home.reports / reasons).open(newline="") as file:
        rows = [(int(row["bounce_line"]), int(row["line"])) for row in csv.DictReader(file)]
    assert rows == [(2 * line - 2, line) for line in range(2, count + 2)]
