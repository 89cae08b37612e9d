from __future__ import annotations

import json

import pytest

from pipelines.excerpts import WHOLE, columns_of, excerpt, place_in_csv, place_in_json, place_of_bad_bytes
from pipelines.visible import visible


def marked(text: str, code: str, field: str | None, value: str | None) -> str:
    start, end = place_in_json(text, code, field, value)
    return text[start:end]


@pytest.mark.parametrize(
    ("line", "code", "field", "value", "found"),
    [
        ('{"data": {"country": "UK", "name": "UK"}}', "invalid_country", "country", "UK", '"UK"'),
        ('{"data": {"amount": 0, "fee": 0}}', "invalid_amount", "fee", "0", "0"),
        ('{"data": {"disbursement_amount":-1.50}}', "invalid_amount", "amount", "-1.50", "-1.50"),
        ('{"data": {"name": "J\\u00f6rg \\"x\\""}}', "invalid_id", "name", 'Jörg "x"', '"J\\u00f6rg \\"x\\""'),
        ('{"data": {"info": {"country": "DE"}, "country": "UK"}}', "invalid_country", "country", "UK", '"UK"'),
        ('{"data": {"email": null}}', "missing_field", "email", None, "null"),
        ('{"data": {"name": "x"}}', "missing_field", "email", None, ""),
        ('{"data": {"name": {"a": [1, 2]}, "x": 1}}', "wrong_type", "name", '{"a":[1,2]}', '{"a": [1, 2]}'),
        ('{"category": "clients", "data": {}}', "unknown_category", None, "clients", '"clients"'),
        ('{"data": {"name": "A", "name": "B"}}', "duplicate_key", None, "name", '"name":'),
        ('{"category": "client",', "malformed_json", None, None, ","),
        ('{"a" 1}', "malformed_json", None, None, "1"),
        ("", "malformed_json", None, None, ""),
        (
            '{"data": {"maturity_date": "2026-01-01"}}',
            "maturity_before_disbursement",
            "maturity_date",
            "2026-01-01",
            '"2026-01-01"',
        ),
    ],
)
def test_the_offending_value_is_found_in_its_line(line: str, code: str, field: str | None, value: str | None, found: str) -> None:
    assert marked(line, code, field, value) == found


def test_a_csv_cell_is_found_by_its_column() -> None:
    columns = columns_of(["step", "client_id", "name", "country", "disbursement_amount"])
    line = 'create,C1,"Doe, ""J""\nJr",UK,"1,5"'
    for field, cell in (("name", '"Doe, ""J""\nJr"'), ("country", "UK"), ("amount", '"1,5"'), ("step", "create"), ("email", "")):
        start, end = place_in_csv(line, "invalid_id", field, columns)
        assert line[start:end] == cell, field
    assert place_in_csv("create,C1", "ragged_row", None, columns) == (0, 0)
    assert place_in_csv("create,C1", "invalid_country", "country", columns) == (0, 0)


def test_bytes_that_are_no_utf8_are_shown_as_escapes_and_marked() -> None:
    raw = '{"name": "é'.encode() + b"\xff\xfe" + b'"}'
    text = raw.decode("utf-8", "backslashreplace")
    start, end = place_of_bad_bytes(raw)
    assert text[start:end] == "\\xff"
    assert place_of_bad_bytes(b"fine") == (0, 0)


def test_what_cannot_be_seen_or_turns_the_writing_is_shown_as_an_escape() -> None:
    assert visible("a\x00b\tc\u202ed\u200fe\u2028f\ufeff") == "a\\x00b\\tc\\u202ed\\u200fe\\u2028f\\ufeff"
    assert visible("שלום, Jörg 漢字 🙂") == "שלום, Jörg 漢字 🙂"


def test_a_mark_stays_on_its_value_when_what_stands_before_it_is_escaped() -> None:
    line = json.dumps({"name": "\u202e\x00", "country": "UK\u200f"}, ensure_ascii=False)
    shown = excerpt(line, place_in_json(line, "invalid_country", "country", "UK\u200f"))
    assert shown.text[shown.start : shown.end] == '"UK\\u200f"'
    assert (shown.before, shown.after) == (0, 0)


def test_a_long_line_is_cut_around_its_value_and_says_how_much_is_left_out() -> None:
    line = '{"info": "' + "x" * 400_000 + '", "country": "UK", "name": "' + "y" * 500_000 + '"}'
    shown = excerpt(line, place_in_json(line, "invalid_country", "country", "UK"))
    assert shown.text[shown.start : shown.end] == '"UK"'
    assert len(shown.text) <= WHOLE
    assert shown.before + len(shown.text) + shown.after == len(line)


def test_a_value_of_a_mebibyte_is_marked_at_its_beginning_only() -> None:
    line = '{"name": "' + "x" * 1_000_000 + '"}'
    shown = excerpt(line, place_in_json(line, "invalid_id", "name", "x" * 1_000_000))
    assert shown.text[shown.start :].startswith('"xxx')
    assert len(shown.text) <= WHOLE
    assert shown.before + len(shown.text) + shown.after == len(line)
