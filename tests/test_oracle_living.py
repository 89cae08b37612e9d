"""The judge of living editions is itself held to the contract's section 2, case by case."""

from __future__ import annotations

import gzip
import hashlib
import json
from datetime import date
from typing import Any

import pytest
from checked import create, line
from oracle import business_date, expected
from oracle_living import History, Refused, read_as_it_is

CLIENT = line("client", create("client"))
OTHER = line("client", create("client", name="Jo"))
BROKEN = CLIENT[:-9]
MANY = b"".join(line("client", create("client", client_id=f"C{number}")) for number in range(20))
REFUSED = b"{}\n" * 11 + MANY[: 9 * (len(MANY) // 20)]
A, B, LATER = "2026-11-16/a.jsonl", "2026-11-16/b.jsonl", "2026-11-17/a.jsonl"
UNDATED = "clients.jsonl"
APPLIED, WITHDRAWN = ("applied", None), ("withdrawn", None)
SUPERSEDED, DUPLICATE = ("superseded", "superseded_by"), ("duplicate", "duplicate_of")


def held(reason: str) -> tuple[str, str]:
    return ("held", reason)


def manifest(data: bytes, **changes: Any) -> bytes:
    return json.dumps({"sha256": hashlib.sha256(data).hexdigest(), "lines": data.count(b"\n"), **changes}).encode()


@pytest.fixture
def history() -> History:
    return History()


def test_drops_alone_live_as_the_loop_takes_them(history: History) -> None:
    drops = {A: CLIENT, B: BROKEN, "x.txt": CLIENT, UNDATED: CLIENT, "_no.jsonl": CLIENT}
    for path, data in drops.items():
        history.deliver(path, data)
    assert history.living() == {A: (date(2026, 11, 16), CLIENT)}
    assert history.tables() == expected(drops)
    assert history.rows() == expected(drops)["drops"]


def test_a_new_edition_takes_the_place_of_the_older_one_and_earlier_bytes_come_back(history: History) -> None:
    history.deliver(A, CLIENT)
    history.deliver(A, OTHER)
    assert history.statuses()[A] == [SUPERSEDED, APPLIED]
    history.deliver(A, CLIENT)
    assert history.living()[A][1] == CLIENT
    assert history.statuses()[A] == [SUPERSEDED, APPLIED]


def test_a_held_edition_leaves_the_older_in_place_and_only_the_last_one_is_held(history: History) -> None:
    for data in (CLIENT, BROKEN, BROKEN[:-3]):
        history.deliver(A, data)
    assert history.statuses()[A] == [APPLIED, SUPERSEDED, held("truncated")]


def test_a_withdrawn_edition_does_not_give_way_to_an_older_but_to_new_bytes(history: History) -> None:
    history.deliver(A, OTHER)
    history.deliver(A, CLIENT)
    history.withdraw(A)
    assert history.statuses()[A] == [SUPERSEDED, WITHDRAWN]
    history.deliver(A, BROKEN)
    assert history.statuses()[A] == [SUPERSEDED, WITHDRAWN, held("truncated")]
    history.deliver(A, MANY)
    assert history.living()[A][1] == MANY
    history.deliver(A, CLIENT)
    assert history.living() == {}
    history.rerun(A)
    assert history.living()[A][1] == CLIENT


def test_withdraw_ends_a_hold_and_the_older_edition_with_it(history: History) -> None:
    history.deliver(A, CLIENT)
    history.deliver(A, BROKEN)
    history.withdraw(A)
    assert history.statuses()[A] == [SUPERSEDED, WITHDRAWN]
    history.rerun(A)
    assert history.statuses()[A] == [APPLIED, held("truncated")]


def test_the_lowest_of_the_same_bytes_lives_and_withdrawing_one_takes_out_all(history: History) -> None:
    history.deliver(B + ".gz", gzip.compress(CLIENT, mtime=0))
    assert list(history.living()) == [B + ".gz"]
    history.deliver(A, CLIENT)
    assert history.statuses() == {B + ".gz": [DUPLICATE], A: [APPLIED]}
    history.withdraw(B + ".gz")
    assert history.statuses() == {B + ".gz": [WITHDRAWN], A: [WITHDRAWN]}
    history.rerun(A)
    assert history.statuses() == {B + ".gz": [DUPLICATE], A: [APPLIED]}


def test_paths_are_compared_by_their_numbers(history: History) -> None:
    history.deliver("2026-11-16/part-10.jsonl", CLIENT)
    history.deliver("2026-11-16/part-2.jsonl", CLIENT)
    assert list(history.living()) == ["2026-11-16/part-2.jsonl"]


def test_the_same_bytes_of_a_later_date_are_held_from_twenty_records_up(history: History) -> None:
    history.deliver(LATER, MANY)
    assert list(history.living()) == [LATER]
    history.deliver(A, MANY)
    assert history.statuses() == {LATER: [held("same_bytes_other_date")], A: [APPLIED]}
    history.withdraw(A)
    assert list(history.living()) == [LATER]
    few = History()
    few.deliver(LATER, CLIENT)
    few.deliver(A, CLIENT)
    assert list(few.living()) == [LATER, A]


def test_who_loses_to_an_earlier_date_falls_back_to_the_older_edition(history: History) -> None:
    history.deliver(LATER, CLIENT)
    history.deliver(LATER, MANY)
    history.deliver(A, MANY)
    assert history.statuses() == {LATER: [APPLIED, held("same_bytes_other_date")], A: [APPLIED]}
    history.release(LATER)
    assert history.statuses() == {LATER: [SUPERSEDED, APPLIED], A: [APPLIED]}


def test_a_fallback_may_lose_in_its_turn(history: History) -> None:
    other = MANY + CLIENT
    for path, data in ((A, MANY), (B, other), (LATER, CLIENT), (LATER, other), (LATER, MANY)):
        history.deliver(path, data)
    assert history.statuses()[LATER] == [APPLIED, SUPERSEDED, held("same_bytes_other_date")]


def test_a_manifest_that_is_not_kept_holds_and_one_that_is_put_right_ends_the_hold(history: History) -> None:
    history.deliver(A, CLIENT)
    history.manifest(A, manifest(CLIENT, lines=2))
    assert history.statuses()[A] == [held("manifest_mismatch")]
    history.manifest(A, b"{")
    assert history.statuses()[A] == [held("manifest_mismatch")]
    history.manifest(A, manifest(CLIENT))
    assert history.statuses()[A] == [APPLIED]
    history.deliver(A, OTHER)
    assert history.statuses()[A] == [APPLIED, held("manifest_mismatch")]
    history.manifest(A, manifest(OTHER))
    assert history.statuses()[A] == [SUPERSEDED, APPLIED]


def test_a_manifest_may_be_there_first_and_counts_lines_of_the_uncompressed_bytes(history: History) -> None:
    packed = gzip.compress(CLIENT + OTHER, mtime=0)
    history.manifest(A + ".gz", manifest(packed, lines=3))
    history.deliver(A + ".gz", packed)
    assert history.statuses()[A + ".gz"] == [held("manifest_mismatch")]
    history.manifest(A + ".gz", manifest(packed, lines=2))
    assert history.statuses()[A + ".gz"] == [APPLIED]


def test_more_than_half_of_twenty_records_refused_hold_a_drop(history: History) -> None:
    history.deliver(A, REFUSED)
    assert history.statuses()[A] == [held("too_many_rejects")]
    history.deliver(A, REFUSED.removeprefix(b"{}\n") + CLIENT)
    assert history.statuses()[A] == [SUPERSEDED, APPLIED]
    history.deliver(A, REFUSED.removeprefix(b"{}\n"))
    assert history.statuses()[A][-1] == APPLIED  # ten of nineteen
    history.hold_above = 0.6
    history.deliver(A, REFUSED)
    assert history.statuses()[A][-1] == APPLIED


def test_record_rules_do_not_count_as_refused(history: History) -> None:
    odd = b"".join(line("client", create("client", client_id=f"C{n}", registration_number="X")) for n in range(30))
    history.deliver(A, odd)
    assert history.statuses()[A] == [APPLIED]
    assert history.rows()[0][4:8] == (30, 0, 30, 0)


def test_a_drop_that_expands_beyond_the_limit_is_held() -> None:
    history = History(max_expanded=len(MANY) - 1)
    history.deliver(A + ".gz", gzip.compress(MANY, mtime=0))
    assert history.statuses()[A + ".gz"] == [held("too_large")]
    history.release(A + ".gz")
    assert history.statuses()[A + ".gz"] == [APPLIED]


@pytest.mark.parametrize(
    ("path", "data", "reason"),
    [
        ("clients.txt", CLIENT, "unknown_format"),
        ("clients.jsonl.gz", b"no gzip", "no_business_date"),
        ("2026-11-16.jsonl.gz", b"no gzip", "unreadable"),
        ("2026-11-16.csv", b'step,step\nx,"', "csv_header"),
        ("2026-11-16.jsonl", b"{}\n" * 30 + b"{", "truncated"),
        ("2026-11-16.jsonl", b"[" * 99 + b"\n" + b"{}\n" * 30, "too_large"),
        ("2026-11-16.jsonl", b"{}\n" * 30, "manifest_mismatch"),
    ],
)
def test_the_first_reason_of_several_is_told(path: str, data: bytes, reason: str) -> None:
    history = History(max_expanded=95)
    history.manifest(path, manifest(data, lines=-1))
    history.deliver(path, data)
    assert history.statuses()[path] == [held(reason)]


def test_a_release_gives_the_undated_its_date_and_new_bytes_are_judged_afresh(history: History) -> None:
    history.deliver(UNDATED, CLIENT)
    history.release(UNDATED, date(2026, 11, 16))
    assert history.living() == {UNDATED: (date(2026, 11, 16), CLIENT)}
    assert history.tables()["clients"][0][-3] == date(2026, 11, 16)
    history.deliver(UNDATED, OTHER)
    assert history.statuses()[UNDATED] == [APPLIED, held("no_business_date")]
    history.deliver(A, CLIENT)
    assert history.statuses()[UNDATED] == [DUPLICATE, held("no_business_date")]


def test_a_date_names_the_drops_that_have_it(history: History) -> None:
    for path, data in ((A, CLIENT), (B, BROKEN), (LATER, OTHER), (UNDATED, MANY)):
        history.deliver(path, data)
    history.release(UNDATED, date(2026, 11, 16))
    history.withdraw(date(2026, 11, 16))
    history.rerun(date(2026, 11, 16))
    assert history.statuses() == {A: [WITHDRAWN], B: [WITHDRAWN], LATER: [APPLIED], UNDATED: [WITHDRAWN]}


def test_what_cannot_be_acted_on_is_refused(history: History) -> None:
    for path, data in ((A, CLIENT), ("2026-11-16.txt", CLIENT), ("2026-11-16.csv", b"step\n"), (UNDATED, CLIENT), (B, BROKEN)):
        history.deliver(path, data)
    before = history.tables()
    for refused in (A, "2026-11-16.txt", "2026-11-16.csv", UNDATED, "nowhere"):
        with pytest.raises(Refused):
            history.release(refused)
    with pytest.raises(Refused):
        history.release(B, date(2026, 11, 16))
    with pytest.raises(Refused):
        history.withdraw(date(2026, 11, 15))
    with pytest.raises(Refused):
        history.rerun("nowhere")
    assert history.tables() == before


@pytest.mark.parametrize(
    ("plain", "found"),
    [
        (CLIENT + b'{"a', (2, "malformed_json", b'{"a')),
        (b'\xef\xbb\xbf{"a\r', (1, "malformed_json", b'{"a\r')),
        (b"\n\n\xff", (3, "invalid_encoding", b"\xff")),
        (b"\n" + b"{" * 1048577, (2, "line_too_long", b"{" * 1048577)),
    ],
)
def test_the_last_line_of_a_truncated_jsonl_is_one_record_that_cannot_be_read(
    plain: bytes, found: tuple[int, str, bytes]
) -> None:
    last = read_as_it_is("x.jsonl", plain)[-1]
    assert last.reason is not None
    assert (last.line, last.reason.code, last.raw) == found
    assert plain[last.byte_offset :] == last.raw
    assert last.byte_length == len(last.raw)


@pytest.mark.parametrize(
    ("rows", "found"),
    [
        (b"update,C1,Jo\nupdate,C1", (3, "ragged_row", b"update,C1")),
        (b'update,C1,Jo\nupdate,C1,"Jo\n\nupdate,C1,Jo\n', (3, "ragged_row", b'update,C1,"Jo\n\nupdate,C1,Jo')),
        (b'\nupdate,"C\n1"', (3, "ragged_row", b'update,"C\n1"')),
        (b'"\r\n\r\n', (2, "ragged_row", b'"\r\n')),
        (b'"\xff', (2, "invalid_encoding", b'"\xff')),
    ],
)
def test_the_last_record_of_a_truncated_csv_is_ragged(rows: bytes, found: tuple[int, str, bytes]) -> None:
    events = read_as_it_is("x.csv", b"step,client_id,name\n" + rows)
    assert events[-1].reason is not None
    assert (events[-1].line, events[-1].reason.code, events[-1].raw) == found
    assert len(events) == 1 + rows.startswith(b"update")


def test_a_truncated_header_stays_held_when_released(history: History) -> None:
    history.deliver("2026-11-16.csv", b'step,"client_id')
    assert history.statuses()["2026-11-16.csv"] == [held("truncated")]
    history.release("2026-11-16.csv")
    assert history.statuses()["2026-11-16.csv"] == [held("csv_header")]


def test_dates_are_found_where_the_contract_finds_them() -> None:
    assert business_date(UNDATED) is None
    assert business_date(A) == date(2026, 11, 16)
