"""Every status of a drop and every reason code of the contract's section 2, one small example each."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import time
from datetime import date
from pathlib import Path

import pytest
from checked import create, line
from homes import JudgedHome, home_in, night, rows

from pipelines.home import Home
from pipelines.problems import UsageError

CLIENT = line("client", create("client"))
RENAMED = line("client", create("client", name="Jane Doe"))
CUT_SHORT = CLIENT + RENAMED[:-20]
MANY = b"".join(line("client", create("client", client_id=f"C{number}")) for number in range(20))
MOSTLY_REFUSED = b"{}\n" * 21 + MANY
MONDAY, TUESDAY = "2026-11-16/clients.jsonl", "2026-11-17/clients.jsonl"
AGAIN = "2026-11-16/clients-again.jsonl"


@pytest.fixture
def judged(tmp_path: Path) -> JudgedHome:
    return JudgedHome(tmp_path / "home")


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return home_in(tmp_path / "plain")


def statuses(judged: JudgedHome | Home) -> list[tuple[str, str, str | None]]:
    """Return path, status and reason of each edition, as the warehouse has them."""
    place = judged.home if isinstance(judged, JudgedHome) else judged
    return rows(place, "SELECT path, status, reason FROM drops ORDER BY path, status")


def manifest(data: bytes, lines: int) -> bytes:
    return json.dumps({"sha256": hashlib.sha256(data).hexdigest(), "lines": lines}).encode()


# --- applied, superseded, duplicate, withdrawn -----------------------------------------------------------------------


def test_applied(judged: JudgedHome) -> None:
    judged.night({MONDAY: CLIENT})
    assert statuses(judged) == [(MONDAY, "applied", None)]
    assert rows(judged.home, "SELECT records, applied, rejected, warned FROM drops") == [(1, 1, 0, 0)]


def test_superseded_when_the_bytes_of_a_file_change(judged: JudgedHome) -> None:
    judged.night({MONDAY: CLIENT})
    judged.night({MONDAY: RENAMED})
    assert statuses(judged) == [(MONDAY, "applied", None), (MONDAY, "superseded", "superseded_by")]
    assert rows(judged.home, "SELECT name FROM clients") == [("Jane Doe",)]
    judged.night({MONDAY: CLIENT})
    assert rows(judged.home, "SELECT name FROM clients") == [("John Doe",)]


def test_duplicate_of_the_same_bytes_at_a_lower_path(judged: JudgedHome) -> None:
    judged.night({MONDAY: CLIENT})
    judged.night({AGAIN: CLIENT})
    assert statuses(judged) == [(AGAIN, "applied", None), (MONDAY, "duplicate", "duplicate_of")]
    judged.night({AGAIN: RENAMED})
    assert [status for _, status, _ in statuses(judged)] == ["applied", "superseded", "applied"]


def test_duplicate_also_when_only_one_of_the_files_is_compressed(judged: JudgedHome) -> None:
    judged.night({MONDAY: CLIENT, f"{MONDAY}.gz": gzip.compress(CLIENT, mtime=0)})
    assert statuses(judged) == [(MONDAY, "applied", None), (f"{MONDAY}.gz", "duplicate", "duplicate_of")]


def test_withdrawn_stays_out_until_it_is_run_again(judged: JudgedHome) -> None:
    judged.night({MONDAY: CLIENT})
    judged.withdraw(MONDAY)
    judged.night()
    assert statuses(judged) == [(MONDAY, "withdrawn", None)]
    assert rows(judged.home, "SELECT * FROM clients") == []
    judged.rerun(MONDAY)
    assert statuses(judged) == [(MONDAY, "applied", None)]


def test_withdrawn_takes_out_the_older_edition_too_but_not_new_bytes(judged: JudgedHome) -> None:
    judged.night({MONDAY: CLIENT})
    judged.night({MONDAY: RENAMED})
    judged.withdraw(MONDAY)
    assert statuses(judged) == [(MONDAY, "superseded", "superseded_by"), (MONDAY, "withdrawn", None)]
    judged.night({MONDAY: MANY})
    assert [status for _, status, _ in statuses(judged)] == ["applied", "superseded", "superseded"]


def test_withdrawn_takes_out_all_that_have_the_same_bytes_and_date(judged: JudgedHome) -> None:
    judged.night({MONDAY: CLIENT, AGAIN: CLIENT})
    judged.withdraw(MONDAY)
    assert statuses(judged) == [(AGAIN, "withdrawn", None), (MONDAY, "withdrawn", None)]
    judged.rerun(AGAIN)
    assert statuses(judged) == [(AGAIN, "applied", None), (MONDAY, "duplicate", "duplicate_of")]


def test_withdrawn_by_date_is_named_and_left_out_when_the_date_is_run_again(judged: JudgedHome) -> None:
    from pipelines import acts

    judged.night({MONDAY: CLIENT, AGAIN: RENAMED, TUESDAY: MANY})
    judged.withdraw(date(2026, 11, 16))
    judged.rerun(MONDAY)
    again = acts.rerun(judged.home, judged.settings, date(2026, 11, 16))
    assert again.drops == (MONDAY,)
    assert [path for path, _ in again.left_out] == [AGAIN]
    assert [status for _, status, _ in statuses(judged)] == ["withdrawn", "applied", "applied"]


def test_withdrawn_ends_a_hold(judged: JudgedHome) -> None:
    judged.night({MONDAY: CUT_SHORT})
    judged.withdraw(MONDAY)
    assert statuses(judged) == [(MONDAY, "withdrawn", None)]


# --- held ------------------------------------------------------------------------------------------------------------


def test_held_for_no_business_date_until_a_release_gives_one(judged: JudgedHome) -> None:
    judged.night({"clients.jsonl": CLIENT})
    assert statuses(judged) == [("clients.jsonl", "held", "no_business_date")]
    judged.release("clients.jsonl", date(2026, 11, 16))
    assert rows(judged.home, "SELECT business_date, status FROM drops") == [(date(2026, 11, 16), "applied")]
    assert rows(judged.home, "SELECT created_on FROM clients") == [(date(2026, 11, 16),)]


def test_held_for_unknown_format(judged: JudgedHome) -> None:
    judged.night({"2026-11-16.xlsx": CLIENT})
    assert statuses(judged) == [("2026-11-16.xlsx", "held", "unknown_format")]


def test_held_as_unreadable(judged: JudgedHome) -> None:
    judged.night({"2026-11-16.jsonl.gz": gzip.compress(CLIENT, mtime=0)[:-4]})
    assert statuses(judged) == [("2026-11-16.jsonl.gz", "held", "unreadable")]


def test_held_as_not_a_file(home: Home) -> None:
    os.mkfifo(home.inbox / "2026-11-16.jsonl")
    night(home)
    assert statuses(home) == [("2026-11-16.jsonl", "held", "not_a_file")]


def test_held_as_too_large(tmp_path: Path) -> None:
    judged = JudgedHome(tmp_path / "home", max_expanded=len(MANY) - 1)
    path = f"{MONDAY}.gz"
    judged.night({path: gzip.compress(MANY, mtime=0)})
    assert statuses(judged) == [(path, "held", "too_large")]
    judged.release(path)
    assert statuses(judged) == [(path, "applied", None)]


def test_held_as_truncated_until_it_comes_whole(judged: JudgedHome) -> None:
    judged.night({MONDAY: CUT_SHORT})
    assert statuses(judged) == [(MONDAY, "held", "truncated")]
    judged.night({MONDAY: CLIENT + RENAMED})
    assert statuses(judged) == [(MONDAY, "applied", None), (MONDAY, "superseded", "superseded_by")]


def test_a_truncated_jsonl_that_is_released_ends_in_a_malformed_line(judged: JudgedHome) -> None:
    judged.night({MONDAY: CUT_SHORT})
    judged.release(MONDAY)
    assert rows(judged.home, "SELECT records, applied, rejected, status FROM drops") == [(2, 1, 1, "applied")]
    assert rows(judged.home, "SELECT line, code FROM rejections") == [(2, "malformed_json")]
    assert rows(judged.home, "SELECT raw FROM rejected_lines") == [(RENAMED[:-20],)]


@pytest.mark.parametrize("last", [b"update,C1", b'update,C1,"Jo\nupdate,C1,Jo\n', b'update,"C1"', b'"update\n\n'])
def test_a_truncated_csv_that_is_released_ends_in_a_ragged_row(judged: JudgedHome, last: bytes) -> None:
    path = "2026-11-16/clients.csv"
    judged.night({path: b"step,client_id,name\nupdate,C1,Jo\n" + last})
    assert statuses(judged) == [(path, "held", "truncated")]
    judged.release(path)
    assert rows(judged.home, "SELECT code FROM rejections WHERE line = 3") == [("ragged_row",)]
    assert rows(judged.home, "SELECT raw FROM rejected_lines WHERE line = 3") == [(last.removesuffix(b"\n"),)]


def test_held_for_manifest_mismatch_until_the_manifest_is_right(judged: JudgedHome) -> None:
    judged.put_manifest(MONDAY, manifest(CLIENT, lines=2))
    judged.night({MONDAY: CLIENT})
    assert statuses(judged) == [(MONDAY, "held", "manifest_mismatch")]
    judged.put_manifest(MONDAY, manifest(CLIENT, lines=1))
    judged.night()
    assert statuses(judged) == [(MONDAY, "applied", None)]


def test_a_manifest_that_comes_later_has_the_drop_judged_again_and_one_that_goes_changes_nothing(judged: JudgedHome) -> None:
    judged.night({MONDAY: CLIENT})
    judged.put_manifest(MONDAY, manifest(RENAMED, lines=1))
    judged.night()
    assert statuses(judged) == [(MONDAY, "held", "manifest_mismatch")]
    (judged.home.inbox / f"{MONDAY}.manifest.json").unlink()
    judged.night()
    assert statuses(judged) == [(MONDAY, "held", "manifest_mismatch")]
    judged.release(MONDAY)
    assert statuses(judged) == [(MONDAY, "applied", None)]


def test_held_for_csv_header(judged: JudgedHome) -> None:
    judged.night({"2026-11-16.csv": b"step,name\ncreate,Jo\n"})
    assert statuses(judged) == [("2026-11-16.csv", "held", "csv_header")]


def test_held_for_too_many_rejects(judged: JudgedHome) -> None:
    judged.night({MONDAY: MOSTLY_REFUSED})
    assert statuses(judged) == [(MONDAY, "held", "too_many_rejects")]
    judged.release(MONDAY)
    assert rows(judged.home, "SELECT records, applied, rejected, status FROM drops") == [(41, 20, 21, "applied")]


def test_half_of_the_records_may_be_refused_and_all_of_nineteen(judged: JudgedHome) -> None:
    judged.night({MONDAY: MOSTLY_REFUSED.removeprefix(b"{}\n"), TUESDAY: b"{}\n" * 19})
    assert [status for _, status, _ in statuses(judged)] == ["applied", "applied"]


def test_what_counts_as_too_many_rejects_is_a_setting(tmp_path: Path) -> None:
    judged = JudgedHome(tmp_path / "home", hold_above=0.9)
    judged.night({MONDAY: MOSTLY_REFUSED})
    assert statuses(judged) == [(MONDAY, "applied", None)]


def test_held_for_the_same_bytes_of_another_date(judged: JudgedHome) -> None:
    judged.night({TUESDAY: MANY})
    judged.night({MONDAY: MANY})
    assert statuses(judged) == [(MONDAY, "applied", None), (TUESDAY, "held", "same_bytes_other_date")]
    judged.release(TUESDAY)
    assert [status for _, status, _ in statuses(judged)] == ["applied", "applied"]


def test_the_same_bytes_of_another_date_fall_back_to_the_older_edition(judged: JudgedHome) -> None:
    judged.night({TUESDAY: CLIENT})
    judged.night({TUESDAY: MANY, MONDAY: MANY})
    assert statuses(judged) == [
        (MONDAY, "applied", None),
        (TUESDAY, "applied", None),
        (TUESDAY, "held", "same_bytes_other_date"),
    ]
    judged.withdraw(MONDAY)
    assert statuses(judged) == [
        (MONDAY, "withdrawn", None),
        (TUESDAY, "applied", None),
        (TUESDAY, "superseded", "superseded_by"),
    ]


def test_a_held_edition_leaves_the_older_in_place_and_withdrawing_it_takes_out_both(judged: JudgedHome) -> None:
    judged.night({MONDAY: CLIENT})
    judged.night({MONDAY: CUT_SHORT})
    assert statuses(judged) == [(MONDAY, "applied", None), (MONDAY, "held", "truncated")]
    judged.withdraw(MONDAY)
    assert statuses(judged) == [(MONDAY, "superseded", "superseded_by"), (MONDAY, "withdrawn", None)]
    assert rows(judged.home, "SELECT * FROM clients") == []


def test_a_withdrawn_edition_below_a_held_one_comes_back_when_its_path_is_run_again(judged: JudgedHome) -> None:
    judged.night({MONDAY: CLIENT})
    judged.withdraw(MONDAY)
    judged.night({MONDAY: CUT_SHORT})
    assert statuses(judged) == [(MONDAY, "held", "truncated"), (MONDAY, "withdrawn", None)]
    judged.rerun(MONDAY)
    assert statuses(judged) == [(MONDAY, "applied", None), (MONDAY, "held", "truncated")]


def test_all_that_went_out_with_such_an_edition_come_back_with_it(judged: JudgedHome) -> None:
    judged.night({MONDAY: CLIENT, AGAIN: CLIENT})
    judged.withdraw(MONDAY)
    judged.night({MONDAY: CUT_SHORT})
    assert statuses(judged) == [(AGAIN, "withdrawn", None), (MONDAY, "held", "truncated"), (MONDAY, "withdrawn", None)]
    judged.rerun(AGAIN)
    assert statuses(judged) == [(AGAIN, "applied", None), (MONDAY, "duplicate", "duplicate_of"), (MONDAY, "held", "truncated")]


def test_a_withdrawn_edition_that_a_path_falls_back_to_holds_no_later_date(judged: JudgedHome) -> None:
    sunday, other = "2026-11-15/clients.jsonl", MANY + CLIENT
    judged.night({MONDAY: MANY})
    judged.withdraw(MONDAY)
    judged.night({sunday: other, MONDAY: other, AGAIN: MANY, TUESDAY: MANY})
    assert statuses(judged) == [
        (sunday, "applied", None),
        (AGAIN, "withdrawn", None),
        (MONDAY, "held", "same_bytes_other_date"),
        (MONDAY, "withdrawn", None),
        (TUESDAY, "applied", None),
    ]


def test_a_withdrawn_date_takes_out_what_a_release_gave_that_date(judged: JudgedHome) -> None:
    judged.night({"clients.jsonl": CLIENT})
    judged.release("clients.jsonl", date(2026, 11, 16))
    judged.night({"clients.jsonl": RENAMED})
    judged.withdraw(date(2026, 11, 16))
    assert rows(judged.home, "SELECT * FROM clients") == []


# --- left, and refused -----------------------------------------------------------------------------------------------


def test_a_file_that_changed_just_now_is_left_for_the_next_run(home: Home) -> None:
    night(home, {MONDAY: CLIENT}, quiet_seconds=60)
    assert statuses(home) == []
    long_ago = time.time() - 61
    os.utime(home.inbox / MONDAY, (long_ago, long_ago))
    night(home, quiet_seconds=60)
    assert statuses(home) == [(MONDAY, "applied", None)]


def test_a_released_csv_with_an_open_quote_and_bytes_that_are_no_text_tells_the_encoding_first(judged: JudgedHome) -> None:
    judged.night({"2026-11-16.csv": b'step,client_id\nupdate,"\xff'})
    judged.release("2026-11-16.csv")
    assert rows(judged.home, "SELECT code FROM rejections") == [("invalid_encoding",)]


@pytest.mark.parametrize(
    ("path", "data"),
    [
        ("2026-11-16.xlsx", CLIENT),
        ("2026-11-16.jsonl.gz", b"no gzip"),
        ("2026-11-16.csv", b"step,name\n"),
        ("clients.jsonl", CLIENT),
        (MONDAY, CLIENT),
    ],
)
def test_what_cannot_be_released_is_refused_and_nothing_changes(judged: JudgedHome, path: str, data: bytes) -> None:
    judged.night({path: data})
    before = statuses(judged)
    with pytest.raises(UsageError):
        judged.release(path)
    judged.assert_lawful()
    assert statuses(judged) == before


def test_acts_that_name_nothing_are_refused(judged: JudgedHome) -> None:
    judged.night({MONDAY: CLIENT})
    for target in ("2026-11-16/nowhere.jsonl", date(2026, 11, 15)):
        with pytest.raises(UsageError):
            judged.withdraw(target)
        with pytest.raises(UsageError):
            judged.rerun(target)
    with pytest.raises(UsageError):
        judged.release("2026-11-16/nowhere.jsonl")
    with pytest.raises(UsageError):
        judged.release(MONDAY, date(2026, 11, 17))
    judged.assert_lawful()
