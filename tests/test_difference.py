"""How two warehouses differ, held to homes that were really worked on and to tables written by hand."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from datetime import date
from decimal import Decimal
from pathlib import Path

import duckdb
import polars as pl
import pytest
from checked import create, line
from homes import deliver, home_in, night

from pipelines import schema
from pipelines.database import connect, seal
from pipelines.difference import Difference, compare
from pipelines.home import Home
from pipelines.problems import NightdropError

MONDAY = date(2026, 11, 16)
CLIENT = line("client", create("client"))
LOAN = line("loan", create("loan"))


def kept(home: Home, name: str) -> Path:
    """Return a copy of the working warehouse as it is now."""
    return Path(shutil.copyfile(home.working, home.root / f"{name}.duckdb"))


def made(file: Path, *statements: str) -> Path:
    con = connect(file)
    schema.create(con)
    for statement in statements:
        con.execute(statement)
    seal(con)
    return file


def told(frame: pl.DataFrame) -> list[tuple[object, ...]]:
    return frame.rows()


@pytest.fixture
def between(tmp_path: Path) -> Callable[[dict[str, bytes], dict[str, bytes]], Difference]:
    def work(first: dict[str, bytes], then: dict[str, bytes]) -> Difference:
        home = home_in(tmp_path / "home")
        night(home, first)
        before = kept(home, "before")
        night(home, then)
        return compare(before, home.working)

    return work


def test_a_warehouse_does_not_differ_from_itself_whatever_the_clock_says(tmp_path: Path) -> None:
    drops = {"2026-11-16.jsonl": CLIENT + LOAN + b"{}\n", "2026-11-17.csv": b"step\n", "2026-11-18/x.txt": b""}
    files = []
    for name in ("one", "other"):
        home = home_in(tmp_path / name)
        for path, data in drops.items():
            night(home, {path: data} if name == "one" else None)
            deliver(home, drops)
        night(home)
        files.append(home.working)
    found = compare(*files)
    assert found.is_empty
    assert (found.tables, found.records.height, found.verdicts.height, found.drops.height) == ({}, 0, 0, 0)


def test_a_late_client_file_shows_the_records_it_makes_and_the_verdicts_it_turns(between) -> None:
    found = between({"2026-11-17.jsonl": LOAN}, {"2026-11-16.jsonl": CLIENT})
    assert told(found.records) == [
        ("client", "C1", "created", None, None, None),
        ("loan", "L1", "created", None, None, None),
    ]
    assert told(found.verdicts) == [
        (MONDAY, "2026-11-16.jsonl", 1, None, "applied"),
        (date(2026, 11, 17), "2026-11-17.jsonl", 1, "rejected", "applied"),
    ]
    assert [(row[1], row[3], row[5]) for row in told(found.drops)] == [("2026-11-16.jsonl", None, "applied")]
    entities = {"clients", "loans", "client_history", "loan_history"}
    assert set(found.tables) == entities | {"events", "rejections", "rejected_lines", "drops"}
    assert (found.tables["rejections"].only_before.height, found.tables["rejections"].only_after.height) == (1, 0)
    assert not found.is_empty


def test_a_record_that_changed_is_told_field_by_field_in_the_order_of_its_columns(between) -> None:
    update = {"step": "update", "client_id": "C1", "name": "Jane", "is_company": True, "info": {"a": [1, 1.50]}}
    update |= {"gender": "company", "contact_person": "Jo", "registration_number": "CR-1", "phone": "+254712345679"}
    found = between({"2026-11-16.jsonl": CLIENT}, {"2026-11-17.jsonl": line("client", update)})
    assert told(found.records) == [
        ("client", "C1", "changed", "name", "John Doe", "Jane"),
        ("client", "C1", "changed", "phone", "+254712345678", "+254712345679"),
        ("client", "C1", "changed", "is_company", "false", "true"),
        ("client", "C1", "changed", "registration_number", "ID-123456", "CR-1"),
        ("client", "C1", "changed", "gender", "male", "company"),
        ("client", "C1", "changed", "contact_person", None, "Jo"),
        ("client", "C1", "changed", "info", None, '{"a":[1,1.5]}'),
        ("client", "C1", "changed", "updated_on", "2026-11-16", "2026-11-17"),
    ]


def test_money_is_told_with_all_its_places(between) -> None:
    update = {"step": "update", "loan_id": "L1", "amount": 1000.5, "change_date": "2026-11-17", "change_reason": "asked for"}
    found = between({"2026-11-16.jsonl": CLIENT + LOAN}, {"2026-11-17.jsonl": line("loan", update)})
    assert ("loan", "L1", "changed", "amount", "1000.0000", "1000.5000") in told(found.records)
    assert found.tables["loans"].only_after["amount"].to_list() == [Decimal("1000.5000")]


def test_what_was_taken_out_is_told_the_other_way_round(tmp_path: Path) -> None:
    home = home_in(tmp_path / "home")
    night(home, {"2026-11-17.jsonl": LOAN})
    less = kept(home, "less")
    night(home, {"2026-11-16.jsonl": CLIENT})
    found = compare(home.working, less)
    assert [row[:3] for row in told(found.records)] == [("client", "C1", "removed"), ("loan", "L1", "removed")]
    assert [row[3:] for row in told(found.verdicts)] == [("applied", None), ("applied", "rejected")]
    assert [row[3:] for row in told(found.drops)] == [("applied", None, None, None)]


def test_a_drop_that_is_only_held_shows_in_the_drops_and_in_no_table(between) -> None:
    found = between({"2026-11-16.jsonl": CLIENT}, {"2026-11-17.txt": b"x"})
    assert (found.tables, found.is_empty) == ({}, False)
    assert [row[1:2] + row[3:] for row in told(found.drops)] == [("2026-11-17.txt", None, None, "held", "unknown_format")]


def test_a_row_that_stands_once_more_on_one_side_is_seen(tmp_path: Path) -> None:
    row = "INSERT INTO warnings VALUES ('2026-11-16', 'a.jsonl', 1, 'client', 'C1', 'unknown_field', 'x', '1', 'm')"
    once, twice = made(tmp_path / "once", row), made(tmp_path / "twice", row, row)
    assert [
        compare(once, twice).tables["warnings"].only_after.height,
        compare(twice, once).tables["warnings"].only_before.height,
    ] == [1, 1]
    assert compare(twice, once).tables["warnings"].only_after.is_empty()


@pytest.mark.parametrize("change", ["raw = 'aa'::BLOB", "byte_offset = 1", "sha256 = 'g'", "line = 2", "path = 'b.jsonl'"])
def test_no_column_that_the_law_decides_is_overlooked(tmp_path: Path, change: str) -> None:
    row = "INSERT INTO rejected_lines VALUES ('2026-11-16', 'a.jsonl', 1, 'f', 0, 2, '\\xFF\\x00'::BLOB)"
    one, other = made(tmp_path / "one", row), made(tmp_path / "other", row, f"UPDATE rejected_lines SET {change}")
    found = compare(one, other)
    assert [(name, rows.only_before.height, rows.only_after.height) for name, rows in found.tables.items()] == [
        ("rejected_lines", 1, 1)
    ]
    assert found.tables["rejected_lines"].only_before["raw"].to_list() == [b"\xff\x00"]


def test_warehouses_of_another_version_are_not_compared(tmp_path: Path) -> None:
    now, other = made(tmp_path / "now"), tmp_path / "other"
    with duckdb.connect(str(other)) as con:
        con.execute("CREATE TABLE clients (client_id VARCHAR)")
    with pytest.raises(NightdropError, match="other: its tables are those of another version"):
        compare(now, other)
    with pytest.raises(NightdropError, match="there is no database file"):
        compare(now, tmp_path / "none")
