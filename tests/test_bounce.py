from __future__ import annotations

import csv
import gzip
import hashlib
import io
import tempfile
from datetime import date
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pytest
from homes import with_tables
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines import rejected, schema
from pipelines.archive import Archive
from pipelines.bounce import Bounce, bounce_name, defused, opening, set_aside_if_edited, write_bounce
from pipelines.database import connect
from pipelines.home import Home
from pipelines.mornings import mornings
from pipelines.problems import NightdropError
from pipelines.rejected import InWarehouse, Original

DAY = date(2026, 11, 16)
SHA = "0123456789abcdef" * 4


@pytest.fixture
def con(tmp_path: Path):
    connection = connect(tmp_path / "working.duckdb")
    schema.create(connection)
    yield connection
    connection.close()


def archived(tmp_path: Path, path: str, content: bytes) -> tuple[Archive, Original]:
    source = tmp_path / "source"
    source.write_bytes(gzip.compress(content) if path.endswith(".gz") else content)
    archive = Archive(tmp_path / "archive")
    return archive, Original(DAY, path, archive.store(source).sha256)


def reject(con: duckdb.DuckDBPyConnection, original: Original, line: int, raw: bytes, *reasons: dict[str, object]) -> None:
    con.execute(
        "INSERT INTO rejected_lines VALUES (?, ?, ?, ?, 0, ?, ?)",
        [original.business_date, original.path, line, original.sha256, len(raw), raw],
    )
    con.execute(
        "INSERT INTO events VALUES (?, ?, ?, 'client', 'create', 'C-1', 'C-1', 'rejected', now())",
        [original.business_date, original.path, line],
    )
    for reason in reasons or ({},):
        row = {"code": "invalid_email", "field": "email", "value": "x", "message": "not an address", **reason}
        con.execute(
            "INSERT INTO rejections VALUES (?, ?, ?, 'client', 'create', 'C-1', ?, ?, ?, ?, ?, ?, ?)",
            [
                DAY,
                original.path,
                line,
                row["code"],
                row["field"],
                row["value"],
                row["message"],
                row.get("cause_date"),
                None,
                None,
            ],
        )


def bounced(con: duckdb.DuckDBPyConnection, folder: Path, drop: Original, archive: Archive, **options: Any) -> Bounce:
    return write_bounce(folder, InWarehouse(con, drop, archive), opening(drop, archive), **options)


def reasons_of(folder: Path, name: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO((folder / f"{name}.reasons.csv").read_bytes().decode(), newline="")))


def test_rejected_lines_come_back_byte_for_byte(con, tmp_path):
    bad = b'{"category": "client", "data": {"name": "\xff\xfe"}} \t'
    archive, drop = archived(tmp_path, "2026-11-16/c.jsonl", b"{}\n" + bad + b"\n{}")
    reject(con, drop, 3, b"{}")
    reject(con, drop, 2, bad)
    bounce = bounced(con, tmp_path, drop, archive, name="b.jsonl")
    content = (tmp_path / "b.jsonl").read_bytes()
    assert content == bad + b"\n{}\n"
    assert (bounce.lines, bounce.sha256) == (2, hashlib.sha256(content).hexdigest())
    assert [(row["bounce_line"], row["line"]) for row in reasons_of(tmp_path, "b.jsonl")] == [("1", "2"), ("2", "3")]


def test_a_drop_with_crlf_bounces_with_crlf(con, tmp_path):
    archive, drop = archived(tmp_path, "2026-11-16.jsonl.gz", b"{}\r\n{}")
    reject(con, drop, 2, b"{}")
    bounced(con, tmp_path, drop, archive, name="b.jsonl")
    assert (tmp_path / "b.jsonl").read_bytes() == b"{}\r\n"


def test_a_csv_bounces_with_its_header_and_counts_the_lines_of_quoted_cells(con, tmp_path):
    header = b'step,"client\nid",name\r\n'
    archive, drop = archived(tmp_path, "2026-11-16.csv", b"\xef\xbb\xbf\r\n" + header + b"x\r\n")
    reject(con, drop, 4, b'create,C-1,"two\nlines"', {}, {"code": "invalid_phone"})
    reject(con, drop, 9, b"x")
    bounced(con, tmp_path, drop, archive, name="b.csv")
    assert (tmp_path / "b.csv").read_bytes() == header + b'create,C-1,"two\nlines"\r\nx\r\n'
    assert [(row["bounce_line"], row["line"], row["code"]) for row in reasons_of(tmp_path, "b.csv")] == [
        ("3", "4", "invalid_email"),
        ("3", "4", "invalid_phone"),
        ("5", "9", "invalid_email"),
    ]


@pytest.mark.parametrize(
    "header",
    [b'a"b,"c""d"e,f\n', b'"a""\n,b",c\n', b'"",x\n', b"a,,\n", b'"a"x"\n', b'x,"y\n\n"\n'],
)
def test_a_header_ends_where_pythons_csv_module_ends_it(con, tmp_path, header):
    archive, drop = archived(tmp_path, "2026-11-16.csv", header + b"1,2\n")
    reject(con, drop, 5, b"1,2")
    bounced(con, tmp_path, drop, archive, name="b.csv")
    assert (tmp_path / "b.csv").read_bytes() == header + b"1,2\n"
    rows = list(csv.reader(io.StringIO((header + b"1,2\n").decode(), newline="")))
    assert rows[1] == ["1", "2"]


def test_reasons_have_the_columns_of_the_contract_and_defused_cells(con, tmp_path):
    archive, drop = archived(tmp_path, "2026-11-16.jsonl", b"{}\n")
    reject(
        con,
        drop,
        1,
        b"{}",
        {"value": "=1+1", "message": "\tm"},
        {"value": "-5"},
        {"value": "\r"},
        {"value": None},
        {"value": "a=b"},
    )
    bounced(con, tmp_path, drop, archive, name="b.jsonl")
    rows = reasons_of(tmp_path, "b.jsonl")
    columns = "bounce_line line category step id code field value message cause_date cause_path cause_line"
    assert list(rows[0]) == columns.split()
    assert sorted(row["value"] for row in rows) == sorted(["'=1+1", "'-5", "'\r", "", "a=b"])
    assert {row["message"] for row in rows} == {"'\tm", "not an address"}


def test_the_files_are_private(con, tmp_path):
    archive, drop = archived(tmp_path, "2026-11-16.jsonl", b"{}\n")
    reject(con, drop, 1, b"{}")
    bounced(con, tmp_path, drop, archive, name="b.jsonl")
    for file in ("b.jsonl", "b.jsonl.reasons.csv"):
        assert (tmp_path / file).stat().st_mode & 0o137 == 0
    assert not list(tmp_path.glob("*.tmp"))


@pytest.mark.parametrize(
    ("path", "suffix"),
    [("a.jsonl", "jsonl"), ("a.ndjson.gz", "ndjson"), ("a.csv.zst", "csv")],
)
def test_a_bounce_is_named_after_its_drop(path, suffix):
    assert bounce_name(f"2026-11-16/{path}", SHA) == f"2026-11-16__{path}.01234567.rejected.{suffix}"


def test_a_name_too_long_for_the_file_system_is_cut_and_stays_its_own(tmp_path):
    names = {bounce_name("2026-11-16/" + "ä" * 100 + f"/{part}/" + "ö" * 60 + ".csv", SHA) for part in "ab"}
    assert len(names) == 2
    for name in names:
        assert name.endswith("ö.csv.01234567.rejected.csv")
        (tmp_path / f"{name}.reasons.csv.tmp").touch()


def test_two_drops_never_share_a_bounce():
    first = bounce_name("a/2026-11-16.csv", SHA)
    second = bounce_name("a__2026-11-16.csv", SHA, taken={first})
    assert first != second
    assert second.endswith("~a__2026-11-16.csv.01234567.rejected.csv")


def test_a_bounce_that_a_person_mends_is_left_alone_until_the_decisions_change(con, tmp_path):
    archive, drop = archived(tmp_path, "2026-11-16.jsonl", b"{}\n{}\n")
    reject(con, drop, 1, b"{}")
    first = bounced(con, tmp_path, drop, archive, name="b.jsonl")
    (tmp_path / "b.jsonl").write_bytes(b"mended")
    again = bounced(con, tmp_path, drop, archive, name="b.jsonl", issued=first.sha256)
    assert again == first
    assert (tmp_path / "b.jsonl").read_bytes() == b"mended"
    reject(con, drop, 2, b"{}")
    bounced(con, tmp_path, drop, archive, name="b.jsonl", issued=first.sha256)
    assert (tmp_path / "b.jsonl").read_bytes() == b"{}\n{}\n"
    assert (tmp_path / "b.jsonl.edited").read_bytes() == b"mended"


def test_what_was_set_aside_is_never_overwritten(tmp_path):
    for text in ("one", "two"):
        (tmp_path / "b").write_text(text)
        set_aside_if_edited(tmp_path / "b", SHA)
    assert (tmp_path / "b.edited").read_text() == "one"
    assert (tmp_path / "b.edited-2").read_text() == "two"


def test_an_original_that_is_gone_from_the_archive_is_named(con, tmp_path):
    drop = Original(DAY, "2026-11-16.jsonl", SHA)
    with pytest.raises(NightdropError, match=SHA):
        bounced(con, tmp_path, drop, Archive(tmp_path / "archive"), name="b.jsonl")
    assert not (tmp_path / "b.jsonl").exists()


ODD = st.sampled_from(["", "=1", "a,b", 'q"', "two\nlines", "é", None])
REFUSED = st.dictionaries(
    st.integers(1, 40),
    st.tuples(st.binary(max_size=12), st.lists(st.tuples(st.sampled_from("abc"), ODD, ODD), min_size=1, max_size=3, unique=True)),
    min_size=1,
    max_size=8,
)


@settings(max_examples=40, deadline=None)
@given(refused=REFUSED, bytes_at_once=st.integers(1, 40), records_at_once=st.integers(1, 5), rows_at_once=st.integers(1, 5))
def test_what_a_morning_holds_bounces_as_what_the_warehouse_has(refused, bytes_at_once, records_at_once, rows_at_once):
    with tempfile.TemporaryDirectory() as made, pytest.MonkeyPatch.context() as patch:
        folder = Path(made)
        for name, at_once in (("_BYTES", bytes_at_once), ("_RECORDS", records_at_once), ("_ROWS", rows_at_once)):
            patch.setattr(rejected, f"{name}_AT_ONCE", at_once)
        with_tables(home := Home(folder))
        with connect(home.working) as con:
            archive, drop = archived(folder, "2026-11-16.csv", b"step,client_id\r\n")
            for line, (raw, reasons) in reversed(refused.items()):
                reject(con, drop, line, raw, *({"code": c, "field": f, "value": v} for c, f, v in reasons))
            count = sum(len(reasons) for _, reasons in refused.values())
            con.execute(
                "INSERT INTO drops VALUES (?, ?, ?, 0, 0, 0, ?, 0, 'applied', NULL, NULL, now(), now(), 'r')",
                [DAY, drop.path, drop.sha256, len(refused)],
            )
            (morning,) = mornings(con, [DAY])
            assert morning.rejections.height == count
            for name, found in (("held", morning.in_hand()[drop.path]), ("asked", InWarehouse(con, drop, archive))):
                (folder / name).mkdir()
                found.slots.write_csv(folder / name / "slots")
                write_bounce(folder / name, found, opening(drop, archive), name="b.csv")
        held, asked = ({f.name: f.read_bytes() for f in (folder / name).iterdir()} for name in ("held", "asked"))
        assert held == asked
        assert len(held) == 3


@given(
    st.lists(
        st.none() | st.text(max_size=3) | st.sampled_from(["=1", "+1", "-1", "@a", "\tx", "\rx", "A", "a", "'=1", ""]), max_size=6
    )
)
def test_cells_are_defused_where_a_spreadsheet_would_run_them_and_nowhere_else(cells):
    frame = pl.DataFrame({"text": cells, "other": ["=1"] * len(cells)}, schema={"text": pl.String, "other": pl.String})
    wanted = [cell and ("'" + cell if cell[0] in "=+-@\t\r" else cell) for cell in cells]
    assert defused(frame)["text"].to_list() == wanted
    assert defused(frame, ["text"]).to_dict(as_series=False) == {"text": wanted, "other": ["=1"] * len(cells)}
