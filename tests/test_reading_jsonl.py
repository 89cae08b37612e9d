"""What a line of JSONL says."""

from __future__ import annotations

import json

import pytest
from reading_frames import read

from pipelines.problems import DropHeldError
from pipelines.sheets import MAX_RECORD


def line(category: object = "client", **data: object) -> str:
    return json.dumps({"category": category, "data": data}, ensure_ascii=False)


def test_a_line_gives_its_fields_as_text_and_says_what_was_sent() -> None:
    text = '{"category": "loan", "data": {"step": "create", "loan_id": "L1", "amount": 1500.00, "change_reason": null, "info": {"b": 1.10, "a": [1, 2]}}}\n'
    [event] = read(text.encode(), "jsonl").events()
    assert event == {
        "line": 1,
        "category": "loan",
        "sent": {"step": "create", "loan_id": "L1", "amount": "1500.00", "change_reason": None, "info": '{"b":1.10,"a":[1,2]}'},
        "wrong": [],
        "unknown": [],
    }


def test_a_value_of_another_type_is_marked_and_keeps_its_text() -> None:
    text = line("client", name=5, email=True, is_company="true", info="a, b", phone=["+1", 2], address={"a b": 1}, dob=None)
    [event] = read(text.encode(), "jsonl").events()
    assert event["wrong"] == ["name", "email", "phone", "address", "is_company", "info"]
    assert event["sent"] == {
        "name": "5",
        "email": "true",
        "phone": '["+1",2]',
        "address": '{"a b":1}',
        "is_company": "true",
        "info": "a, b",
        "dob": None,
    }


def test_the_events_of_a_file_are_sorted_into_sheets_by_category() -> None:
    text = "\n".join(line(category, step="x") for category in ("payment", "client", "disbursement", "deposit", "loan", "client"))
    found = read(text.encode(), "jsonl")
    assert {category: sheet["line"].to_list() for category, sheet in found.sheets.items()} == {
        "client": [2, 6],
        "loan": [3, 5],
        "payment": [1],
        "deposit": [4],
    }


def test_unknown_keys_of_the_envelope_and_the_data_are_kept_with_their_text() -> None:
    text = '{"trace": {"a": 1.0}, "category": "client", "kind": "x", "data": {"foo": null, "category": "loan", "loan_id": 7}}'
    [event] = read(text.encode(), "jsonl").events()
    assert event["unknown"] == [("trace", '{"a":1.0}'), ("kind", "x"), ("foo", None), ("category", "loan"), ("loan_id", "7")]


@pytest.mark.parametrize("kind", ['"kind": "loan", ', '"kind": null, ', ""])
def test_a_disbursement_of_kind_loan_or_none_is_a_loan(kind: str) -> None:
    for text in (
        f'{{"category": "disbursement", {kind}"data": {{"step": "create"}}}}',
        f'{{"category": "disbursement", "data": {{{kind}"step": "create"}}}}',
    ):
        [event] = read(text.encode(), "jsonl").events()
        assert (event["category"], event["sent"], event["unknown"]) == ("loan", {"step": "create"}, [])


@pytest.mark.parametrize(
    ("text", "code", "category", "value"),
    [
        ("{", "malformed_json", None, None),
        ('{"category": "client", "data": {"amount": NaN}}', "malformed_json", None, None),
        ('{"category": "client", "data": {"name": "\\ud800"}}', "malformed_json", None, None),
        ('{"category": "client", "data": {"a": 1,}}', "malformed_json", None, None),
        ('{"category": "client", "data": {"name": "\x00"}}', "malformed_json", None, None),
        ("\x00", "malformed_json", None, None),
        ("\xa0", "malformed_json", None, None),
        ('{"category": "client", "data": {"info": ' + "[" * 63 + "]" * 63 + "}}", "malformed_json", None, None),
        ("[]", "not_an_object", None, None),
        ("null", "not_an_object", None, None),
        ('"{}"', "not_an_object", None, None),
        ('{"category": "nope", "a": 1, "\\u0061": 2}', "duplicate_key", None, "a"),
        ('{"category": "client", "data": {"name": "a", "na\\u006de": "a"}}', "duplicate_key", None, "name"),
        ('{"category": "client", "data": {"foo": 1, "foo": 1}}', "duplicate_key", None, "foo"),
        ('{"category": "disbursement", "data": {"kind": "loan", "kind": "loan"}}', "duplicate_key", None, "kind"),
        ('{"category": "client", "data": {}, "data": {}}', "duplicate_key", None, "data"),
        ("{}", "unknown_category", None, None),
        ('{"category": null, "data": {}}', "unknown_category", None, "null"),
        ('{"category": "", "data": {}}', "unknown_category", None, ""),
        ('{"category": "Client", "data": {}}', "unknown_category", None, "Client"),
        ('{"category": ["client"]}', "unknown_category", None, '["client"]'),
        ('{"category": 5.0}', "unknown_category", None, "5.0"),
        ('{"category": "disbursement", "data": {"kind": "card"}}', "unknown_category", None, "disbursement"),
        ('{"category": "disbursement", "kind": true, "data": {"kind": "loan"}}', "unknown_category", None, "disbursement"),
        ('{"category": "client"}', "missing_data", "client", None),
        ('{"category": "disbursement", "data": []}', "missing_data", "loan", None),
        ('{"category": "client", "data": null}', "missing_data", "client", None),
    ],
)
def test_the_first_line_reason_stands_alone(text: str, code: str, category: str | None, value: str | None) -> None:
    found = read(text.encode() + b"\n", "jsonl")
    assert found.unread.select("line", "byte_offset", "byte_length", "code", "category", "value").rows() == [
        (1, 0, len(text.encode()), code, category, value)
    ]
    assert not found.sheets


def test_sixty_four_levels_are_read_and_doubled_keys_below_data_stand() -> None:
    deep = "[" * 61 + "]" * 61
    text = f'{{"category": "client", "data": {{"info": {{"a": {deep}, "a": 1}}}}}}'
    [event] = read(text.encode(), "jsonl").events()
    assert event["sent"] == {"info": f'{{"a":{deep},"a":1}}'}


def test_a_line_of_exactly_one_mebibyte_is_read_and_one_byte_more_is_too_long() -> None:
    room = MAX_RECORD - len(line(name=""))
    fits, longer = line(name="x" * room), line(name="x" * (room + 1))
    found = read(f"{fits}\r\n{longer}\n\xff{longer}".encode("latin-1").replace(b"\xff", b""), "jsonl")
    assert found.reasons() == [(2, "line_too_long"), (3, "line_too_long")]
    assert [event["line"] for event in found.events()] == [1]


def test_too_long_comes_before_every_other_reason_and_invalid_bytes_before_malformed() -> None:
    found = read(b"\xff" * (MAX_RECORD + 1) + b'\n{"\xff\n', "jsonl")
    assert found.reasons() == [(1, "line_too_long"), (2, "invalid_encoding")]


def test_line_ends_blank_lines_and_the_byte_order_mark_belong_to_no_event() -> None:
    event = line(name="a").encode()
    data = b"\xef\xbb\xbf" + event + b"\r\n\n \t\x0b\x0c\r\n" + event + b"\n\r\r\n" + event
    found = read(data, "jsonl")
    assert [row["line"] for row in found.events()] == [1, 4, 6]
    assert found.filler.rows() == [
        (0, 3, "bom"),
        (3 + len(event) + 2, 1, "blank"),
        (3 + len(event) + 3, 6, "blank"),
        (len(data) - len(event) - 3, 3, "blank"),
    ]


def test_a_byte_order_mark_anywhere_but_at_the_start_is_no_json() -> None:
    found = read("\ufeff\ufeff{}\n\ufeff{}\n".encode(), "jsonl")
    assert found.unread.select("byte_offset", "code").rows() == [(3, "malformed_json"), (9, "malformed_json")]


def test_a_lone_cr_is_white_space_of_the_line_it_stands_in() -> None:
    found = read(b"\r" + line(name="a").encode() + b"\r\r\n", "jsonl")
    assert found.sheets["client"].select("line", "byte_length", "byte_span").rows() == [
        (1, len(line(name="a")) + 2, len(line(name="a")) + 4)
    ]


@pytest.mark.parametrize("data", [b"", b"\n", b"\xef\xbb\xbf", b" "])
def test_a_file_without_records_is_fine(data: bytes) -> None:
    found = read(data, "jsonl")
    assert not found.sheets
    assert found.unread.is_empty()


@pytest.mark.parametrize("end", [b'{"category": "cl', b"{}{", b'{"a":NaN}', b'"\xff"', b"[" + b" " * MAX_RECORD])
def test_an_unfinished_last_line_holds_the_drop(end: bytes) -> None:
    good = line(name="a").encode() + b"\n"
    for chunk_bytes in (7, 1 << 20):
        with pytest.raises(DropHeldError, match="line 2") as held:
            read(good + end, "jsonl", chunk_bytes)
        assert held.value.reason == "truncated"
    read(good + end + b"\n", "jsonl")


def test_a_last_line_without_a_line_end_that_is_valid_json_is_a_line_like_another() -> None:
    found = read(line(name="a").encode() + b"\n[]", "jsonl")
    assert found.reasons() == [(2, "not_an_object")]
    long = b"[" + b" " * MAX_RECORD + b"1]"
    assert read(long, "jsonl").reasons() == [(1, "line_too_long")]
