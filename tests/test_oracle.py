"""The judge itself is held to the contract's text, case by case, before anything is held to the judge."""

from __future__ import annotations

import csv
import gzip
import io
import json
from collections import Counter
from datetime import date
from decimal import Decimal
from typing import Any

import oracle
import pytest
import zstandard
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from oracle import Tables, expected
from oracle_reading import Held, business_date, is_drop, path_key
from oracle_rules import invalid_amount
from oracle_values import NAMES, date_of, number_of
from scenarios import drops, sample

CLIENT: dict[str, Any] = {
    "step": "create",
    "client_id": "c1",
    "name": "John Doe",
    "email": "john.doe@example.com",
    "phone": "+1234567890",
    "address": "1 Main St, Springfield, IL",
    "country": "US",
    "is_company": False,
    "registration_number": "ID-1",
    "gender": "male",
}
LOAN: dict[str, Any] = {
    "step": "create",
    "loan_id": "l1",
    "client_id": "c1",
    "amount": 100,
    "currency": "EUR",
    "disbursement_date": "2025-01-01",
    "maturity_date": "2026-01-01",
}
PAYMENT: dict[str, Any] = {
    "step": "create",
    "payment_id": "p1",
    "loan_id": "l1",
    "amount": 10,
    "currency": "EUR",
    "status": "expected",
    "due_date": "2025-02-01",
}
ID = {"client": "client_id", "loan": "loan_id", "payment": "payment_id"}


def _gzip(data: bytes) -> bytes:
    """Compress without a clock: parameters of a test must be the same in every process."""
    return gzip.compress(data, mtime=0)


def client(**change: Any) -> tuple[str, dict[str, Any]]:
    return ("client", CLIENT | change)


def loan(**change: Any) -> tuple[str, dict[str, Any]]:
    return ("loan", LOAN | change)


def payment(**change: Any) -> tuple[str, dict[str, Any]]:
    return ("payment", PAYMENT | change)


def update(category: str, own_id: str, **change: Any) -> tuple[str, dict[str, Any]]:
    return (category, {"step": "update", ID[category]: own_id, **change})


def delete(category: str, own_id: str) -> tuple[str, dict[str, Any]]:
    return (category, {"step": "delete", ID[category]: own_id})


def lines(*events: tuple[str, dict[str, Any]]) -> bytes:
    return b"".join(json.dumps({"category": word, "data": data}).encode() + b"\n" for word, data in events)


def one_day(*events: tuple[str, dict[str, Any]]) -> Tables:
    return expected({"2025-01-06/a.jsonl": lines(*events)})


def column(tables: Tables, table: str, name: str) -> list[Any]:
    return [row[oracle.COLUMNS[table].index(name)] for row in tables[table]]


def verdicts(tables: Tables) -> list[Any]:
    return column(tables, "events", "verdict")


def codes(tables: Tables) -> list[Any]:
    return column(tables, "rejections", "code")


# --- the law ---------------------------------------------------------------------------------------------------------


def test_mondays_loan_is_applied_once_tuesday_brings_sundays_client_file() -> None:
    monday = {"2025-01-06/a.jsonl": lines(loan())}
    assert codes(expected(monday)) == ["client_unknown"]
    assert verdicts(expected(monday | {"2025-01-05/late.jsonl": lines(client())})) == ["applied", "applied"]


def test_what_was_accepted_only_because_a_delete_was_missing_is_rejected_once_it_is_there() -> None:
    before = {"2025-01-05/a.jsonl": lines(client()), "2025-01-07/a.jsonl": lines(loan())}
    assert codes(expected(before)) == []
    assert codes(expected(before | {"2025-01-06/a.jsonl": lines(delete("client", "c1"))})) == ["client_deleted"]


def test_ids_are_never_reused() -> None:
    assert codes(one_day(client(), delete("client", "c1"), client())) == ["client_exists"]


def test_a_rejected_create_leaves_its_id_free() -> None:
    assert verdicts(one_day(client(country="UK"), client())) == ["rejected", "applied"]


def test_a_deleted_client_keeps_its_loans_running_and_gets_no_new_ones() -> None:
    tables = one_day(
        client(), loan(), delete("client", "c1"), update("loan", "l1", status="closed"), loan(loan_id="l2"), payment()
    )
    assert codes(tables) == ["client_deleted"]
    assert column(tables, "loans", "status") == ["closed"]
    assert column(tables, "active_clients", "client_id") == []
    assert column(tables, "events", "client_id") == ["c1"] * 6


def test_an_update_keeps_what_it_does_not_send_and_clears_what_it_sends_as_null() -> None:
    tables = one_day(client(city="Rome", state="RM"), update("client", "c1", city=None))
    assert column(tables, "clients", "city") == [None]
    assert column(tables, "clients", "state") == ["RM"]


def test_an_update_may_not_clear_a_required_field() -> None:
    tables = one_day(client(), update("client", "c1", name=None))
    assert codes(tables) == ["missing_field"]


def test_a_default_fills_what_is_absent_and_leaves_an_explicit_null() -> None:
    tables = one_day(client(), loan(), loan(loan_id="l2", status=None), loan(loan_id="l3", status="pending"))
    assert column(tables, "loans", "status") == ["active", None, "pending"]


def test_a_chain_of_rejections_names_its_root() -> None:
    day = date(2025, 1, 6)
    tables = one_day(client(country="UK"), loan(), payment(), update("payment", "p1", amount=5), update("loan", "l9"))
    assert codes(tables) == ["invalid_country", "client_unknown", "loan_unknown", "payment_unknown", "loan_unknown"]
    causes = [row[-3:] for row in tables["rejections"]]
    root = (day, "2025-01-06/a.jsonl", 1)
    assert causes == [(None, None, None), root, root, root, (None, None, None)]


def test_the_cause_is_the_latest_earlier_rejected_create() -> None:
    tables = one_day(client(country="UK"), client(country="XX"), loan(), client(country="YY"))
    assert [row[-1] for row in tables["rejections"] if row[6] == "client_unknown"] == [2]


def test_histories_are_half_open_with_one_version_a_date() -> None:
    days = [date(2025, 1, 5), date(2025, 1, 6), date(2025, 1, 8)]
    tables = expected(
        {
            "2025-01-05/a.jsonl": lines(client(), update("client", "c1", city="Rome"), update("client", "c1", city="Bari")),
            "2025-01-06/a.jsonl": lines(update("client", "c1")),
            "2025-01-08/a.jsonl": lines(delete("client", "c1")),
        }
    )
    assert column(tables, "client_history", "city") == ["Bari"] * 3
    assert column(tables, "client_history", "updated_on") == days
    assert column(tables, "client_history", "valid_from") == days
    assert column(tables, "client_history", "valid_to") == [*days[1:], None]
    assert column(tables, "client_history", "deleted_on") == [None, None, days[2]]
    assert codes(tables) == [] and column(tables, "warnings", "code").count("empty_update") == 1


def test_a_create_is_told_its_record_rules_in_the_same_breath() -> None:
    tables = one_day(client(gender="company", email="x", registration_number="ID-"))
    assert sorted(codes(tables)) == ["gender_company_mismatch", "invalid_email", "registration_number_type"]


def test_a_record_rule_is_skipped_when_a_field_it_reads_has_a_reason() -> None:
    assert codes(one_day(client(gender="company", is_company="no"))) == ["wrong_type"]


def test_a_payment_in_another_currency_waits_for_its_loan() -> None:
    assert codes(one_day(payment(currency="USD"))) == ["loan_unknown"]
    assert codes(one_day(client(), loan(), payment(currency="USD"))) == ["currency_mismatch"]


@pytest.mark.parametrize(
    ("change", "wanted"),
    [
        ({"amount": 200}, [("change_reason_required", "change_reason", None)]),
        ({"amount": 200, "change_reason": "more"}, [("change_reason_required", "change_date", None)]),
        ({"amount": 200, "change_date": "2025-01-06", "change_reason": "more"}, []),
        ({"amount": 100}, []),
        ({"client_id": "c2", "currency": "EUR"}, [("immutable_field", "client_id", "c2")]),
        (
            {"maturity_date": "2024-12-31", "change_date": "20250106", "change_reason": "x"},
            [("maturity_before_disbursement", "maturity_date", "2024-12-31")],
        ),
    ],
)
def test_an_update_of_a_loan(change: dict[str, Any], wanted: list[tuple[str, str, str | None]]) -> None:
    tables = one_day(client(), loan(), update("loan", "l1", **change))
    assert [row[6:9] for row in tables["rejections"]] == wanted


def test_applied_changes_of_terms_are_listed() -> None:
    new = {"amount": 200, "expected_margin": 5, "change_date": "2025-01-06", "change_reason": "more"}
    day = date(2025, 1, 6)
    assert one_day(client(), loan(), update("loan", "l1", **new))["loan_changes"] == [
        ("l1", day, "amount", "100.0000", "200.0000", "more", day, "2025-01-06/a.jsonl", 3),
        ("l1", day, "expected_margin", None, "5.0000", "more", day, "2025-01-06/a.jsonl", 3),
    ]


def test_the_contracts_examples_are_valid_and_the_phone_is_only_implausible() -> None:
    tables = one_day(client())
    assert verdicts(tables) == ["applied"]
    assert [row[5:] for row in tables["warnings"]] == [("implausible_phone", "phone", "+1234567890")]


def test_a_delete_looks_at_step_and_id_alone() -> None:
    tables = one_day(client(), ("client", {"step": "delete", "client_id": "c1", "email": 5, "x": 1, "name": ""}))
    assert verdicts(tables) == ["applied", "applied"]
    assert column(tables, "warnings", "line") == [1]


def test_both_spellings_may_agree_and_may_not_differ() -> None:
    assert codes(one_day(client(), loan(disbursement_amount=100))) == []
    (rejection,) = one_day(client(), loan(disbursement_amount=None))["rejections"]
    assert rejection[6:9] == ("conflicting_alias", "amount", "100")


def test_a_string_where_a_number_belongs_is_told_by_its_text() -> None:
    (rejection,) = one_day(client(), loan(amount="100"))["rejections"]
    assert rejection[6:9] == ("wrong_type", "amount", "100")


def test_disbursements_are_loans_unless_they_are_of_another_kind() -> None:
    _, data = loan()
    word = {"category": "disbursement", "kind": None}
    other = {"category": "disbursement", "kind": "lease"}
    text = lines(client()) + b"".join(json.dumps({**each, "data": data}).encode() + b"\n" for each in (word, other))
    tables = expected({"20250106.jsonl": text})
    assert column(tables, "loans", "loan_id") == ["l1"]
    assert [row[6:9] for row in tables["rejections"]] == [("unknown_category", None, "disbursement")]


def test_events_go_by_date_then_path_as_people_count_then_line() -> None:
    tables = expected(
        {
            "2025-01-06/part-10.jsonl": lines(update("client", "c1", city="ten")),
            "2025-01-06/part-2.jsonl": lines(update("client", "c1", city="two")),
            "9/2025-01-05.jsonl": lines(client()),
        }
    )
    assert column(tables, "clients", "city") == ["ten"]
    paths = ["02/z", "2/a", "10/a", "a", "a/b", "a1", "a-b", "aa"]
    assert sorted(set(paths), key=path_key) == paths


def test_a_table_as_of_a_date_before_all_drops_is_empty() -> None:
    tables = one_day(client())
    assert tables.as_of("client", date(2025, 1, 5)) == []
    assert tables.as_of("client", date(2025, 1, 6)) == tables["clients"]


# --- values ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "text", "broken"),
    [
        ("amount", "0.0001", False),
        ("amount", "1e3", False),
        ("amount", "1.00000000", False),
        ("amount", "1" + "0" * 10_000 + "e-10000", False),
        ("amount", "0", True),
        ("amount", "1e-5", True),
        ("amount", "1e99999999999999999999999", True),
        ("fee", "0e99999999999999999999999", False),
        ("fee", "-0.0", False),
        ("fee", "-1", True),
        ("balance", "-99999999999999.9999", False),
        ("balance", "100000000000000", True),
        ("interest_rate", "9999999999.99999999", False),
        ("interest_rate", "10000000000", True),
        ("installment_count", "2147483647", False),
        ("installment_count", "2147483648", True),
        ("installment_count", "1.0", True),
        ("installment_count", "007", False),
    ],
)
def test_amounts_are_judged_by_their_exact_value(name: str, text: str, broken: bool) -> None:
    assert invalid_amount(name, text) is broken


@given(st.from_regex(r"\A-?[0-9]{1,12}(\.[0-9]{1,12})?([eE][+-]?[0-9]{1,2})?\Z"))
def test_a_number_is_its_sign_its_digits_and_its_point(text: str) -> None:
    sign, digits, point = number_of(text)
    assert Decimal(text) == Decimal((sign, tuple(map(int, digits)), point - len(digits) if digits else 0))


@pytest.mark.parametrize(
    ("text", "day"),
    [
        ("2024-02-29", date(2024, 2, 29)),
        ("20250301T23:59:59.5Z", date(2025, 3, 1)),
        ("20250301T235959Z", None),
        ("2025-03-01 00:00-0530", date(2025, 3, 1)),
        ("2025-02-29", None),
        ("2025-0301", None),
        ("2025-03-01\n", None),
        ("2025-03-01T24:00", None),
        ("0000-01-01", None),
    ],
)
def test_dates(text: str, day: date | None) -> None:
    assert date_of(text) == day


@pytest.mark.parametrize(
    ("path", "day"),
    [
        ("2025-01-06/a.jsonl", date(2025, 1, 6)),
        ("2025-13-45/20250106.csv", date(2025, 1, 6)),
        ("x-20250106093000.csv", date(2025, 1, 6)),
        ("120250106.csv", None),
        ("2025-01-061.csv", None),
        ("a.jsonl", None),
    ],
)
def test_the_business_date_is_the_first_valid_date_of_the_path(path: str, day: date | None) -> None:
    assert business_date(path) == day


def test_what_is_no_drop_is_not_told() -> None:
    assert [path for path in ("a.csv", ".a/b.csv", "_a.csv", "a.csv.tmp", "a.csv.manifest.json") if is_drop(path)] == ["a.csv"]


# --- reading ---------------------------------------------------------------------------------------------------------


def reasons(path: str, data: bytes) -> list[str | None]:
    return [event.reason.code if event.reason else None for event in oracle.read(path, data)]


@pytest.mark.parametrize(
    ("line", "code"),
    [
        (b" " * 1_048_575 + b"{}", "line_too_long"),
        (b'{"category":"\xe9"}', "invalid_encoding"),
        (b'{"category":"client","data":{"name":"\\ud800"}}', "malformed_json"),
        (b'{"category":"client","data":{"x":NaN}}', "malformed_json"),
        (b"[" * 65 + b"]" * 65, "malformed_json"),
        (b"[" * 64 + b"]" * 64, "not_an_object"),
        (b'{"category":"x","data":{"a":1,"\\u0061":1}}', "duplicate_key"),
        (b'{"category":"x"}', "unknown_category"),
        (b'{"category":"loan","data":[]}', "missing_data"),
        (b'{"category":"loan","data":{"info":{"a":1,"a":2}}}', None),
    ],
)
def test_the_first_line_reason_that_applies_stands_alone(line: bytes, code: str | None) -> None:
    assert reasons("a.jsonl", line + b"\n") == [code]


def test_a_record_is_found_by_its_line_and_bytes() -> None:
    data = b"\xef\xbb\xbf\r\n{}\r\n \t\n[1]"
    events = oracle.read("a.jsonl", data)
    assert [(event.line, event.raw) for event in events] == [(2, b"{}"), (4, b"[1]")]
    assert all(data[event.byte_offset :][: event.byte_length] == event.raw for event in events)


def test_a_csv_cell_may_span_lines() -> None:
    data = b'step,client_id,name\r\ncreate,c1,"a\nb"\r\n\r\n"",,\r\nx\r\ncre\rate,c2,x\r\nupdate,c3,\\N'
    events = oracle.read("a.csv", data)
    assert [event.line for event in events] == [2, 5, 6, 7, 8]
    assert [event.reason and event.reason.code for event in events] == [None, None, "ragged_row", "ragged_row", None]
    assert events[0].data == {"step": "create", "client_id": "c1", "name": "a\nb"}
    assert events[4].data == {"step": "update", "client_id": "c3", "name": None}
    assert all(data[event.byte_offset :][: event.byte_length] == event.raw for event in events)


@pytest.mark.parametrize(
    ("path", "data", "reason"),
    [
        ("a.txt", b"", "unknown_format"),
        ("a.jsonl.gz", _gzip(b"{}\n")[:-2], "unreadable"),
        ("a.jsonl.zst", zstandard.compress(b"{}\n")[:-2], "unreadable"),
        ("a.jsonl", b'{}\n{"category":', "truncated"),
        ("a.csv", b'step,client_id\n"create,c1\n', "truncated"),
        ("a.csv", b"step,client_id\ncreate", "truncated"),
        ("a.csv", b"", "csv_header"),
        ("a.csv", b"step,name\n", "csv_header"),
        ("a.csv", b"step,client_id,step\n", "csv_header"),
        ("a.csv", b"step,client_id,\xff\n", "csv_header"),
    ],
)
def test_what_cannot_be_read_is_held(path: str, data: bytes, reason: str) -> None:
    with pytest.raises(Held) as held:
        oracle.read(path, data)
    assert held.value.reason == reason


@pytest.mark.parametrize(("suffix", "pack"), [("", bytes), (".gz", gzip.compress), (".zst", zstandard.compress)])
def test_compression_changes_nothing_and_parts_are_joined(suffix: str, pack: Any) -> None:
    assert reasons(f"a.jsonl{suffix}", pack(b'{"cat') + pack(b'egory":"x"}')) == ["unknown_category"]


@given(st.text(alphabet='ab",\r\n ', max_size=40))
def test_csv_records_are_cut_as_python_cuts_them(text: str) -> None:
    body = text.replace("\r\n", "\n").replace("\r", "") + "\n"
    assume(not any(line.isspace() or not line for line in body.split("\n")[:-1]))  # blank lines are no records
    try:
        found = oracle.read("a.csv", b"step,client_id\n" + body.encode())
    except Held:
        assume(False)  # a quote still open
    assert "".join(event.raw.decode() + "\n" for event in found) == body
    ragged = [bool(event.reason and event.reason.code == "ragged_row") for event in found]
    assert ragged == [len(row) != 2 for row in csv.reader(io.StringIO(body, newline=""))]


# --- scenarios -------------------------------------------------------------------------------------------------------

LINE_REASONS = """line_too_long invalid_encoding malformed_json not_an_object duplicate_key unknown_category missing_data
    ragged_row"""
EVENT_REASONS = """missing_field wrong_type blank_value invalid_characters invalid_id unknown_step invalid_email
    invalid_phone invalid_country invalid_choice invalid_amount invalid_currency invalid_date conflicting_alias"""
RECORD_REASONS = """gender_company_mismatch contact_person_required registration_number_type
    maturity_before_disbursement change_reason_required immutable_field currency_mismatch split_mismatch"""
WARNINGS = "unknown_field unused_contact_person implausible_phone incomplete_address empty_update"
HOLDS = "no_business_date unknown_format unreadable truncated csv_header"
LIFECYCLE = [f"{category}_{end}" for category in NAMES for end in ("exists", "unknown", "deleted")]


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(drops())
def test_a_table_as_of_a_date_is_the_table_of_the_drops_until_then(scenario: dict[str, bytes]) -> None:
    until = date(2025, 1, 6)
    earlier = expected({path: data for path, data in scenario.items() if (business_date(path) or until) <= until})
    for category in NAMES:
        assert expected(scenario).as_of(category, until) == earlier[oracle.TABLE[category]]


def test_scenarios_never_break_the_judge_and_meet_every_rule() -> None:
    seen: Counter[str] = Counter()
    for number in range(300):
        tables = expected(sample(number))
        assert all(len(row) == len(oracle.COLUMNS[name]) for name, rows in tables.items() for row in rows)
        living = [row for row in tables["drops"] if row[8] == "applied"]
        assert all(records == applied + rejected for _, _, _, _, records, applied, rejected, *_ in living)
        seen.update([*codes(tables), *column(tables, "warnings", "code"), *column(tables, "drops", "reason")])
        seen.update({"loan_changes": len(tables["loan_changes"]), "applied": verdicts(tables).count("applied")})
    wanted = " ".join([LINE_REASONS, EVENT_REASONS, RECORD_REASONS, WARNINGS, HOLDS, *LIFECYCLE, "loan_changes"]).split()
    assert [code for code in wanted if not seen[code]] == []
    assert seen["applied"] > 1_000
