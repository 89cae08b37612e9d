"""Offending values are found in whole columns where they are found one by one, or left to that."""

from __future__ import annotations

import json
from datetime import date
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines import rows
from pipelines.excerpts import place_in_json, spellings
from pipelines.marking import places_in_json

CODES = ["invalid_email", "missing_field", "unknown_category", "duplicate_key", "malformed_json", "wrong_type"]
FIELDS = ["email", "amount", "loan_id", "category", ""]
NAMES = sorted({name for field in FIELDS for name in spellings(field)} | {"x", 'a"email', "data"})
TEXTS = st.sampled_from(["", "a", "é", "email", '"', "\\", 'say "email": "a"', "12", "null", "{"]) | st.text(
    'ab\\"é:, {}', max_size=4
)
VALUES = (
    TEXTS
    | st.none()
    | st.booleans()
    | st.integers(0, 20)
    | st.lists(TEXTS, max_size=2)
    | st.dictionaries(TEXTS, TEXTS, max_size=2)
)
SPACES = st.sampled_from(["", " ", "  "])


@st.composite
def lines(draw: st.DrawFn) -> str:
    """Return a line of JSON, or something like it: names twice, in values and in objects, with and without spaces."""
    pairs = draw(st.lists(st.tuples(st.sampled_from(NAMES), VALUES, SPACES, SPACES), max_size=5))
    told = [f"{json.dumps(n)}{b}:{a}{json.dumps(v, ensure_ascii=draw(st.booleans()))}" for n, v, b, a in pairs]
    return draw(SPACES) + "{" + ",".join(told) + draw(st.sampled_from(["}", "", '"', "}}"]))


@given(st.lists(st.tuples(lines() | TEXTS, st.sampled_from(CODES), st.sampled_from(FIELDS), TEXTS | st.none()), min_size=1))
def test_whole_columns_tell_the_place_that_a_look_at_the_line_tells_or_none(
    asked: list[tuple[str, str, str, str | None]],
) -> None:
    schema = {"text": pl.String(), "code": pl.String(), "field": pl.String(), "value": pl.String()}
    found = places_in_json(pl.DataFrame(asked, schema=schema, orient="row"))
    for (text, code, field, value), place in zip(asked, found.rows(), strict=True):
        assert place in ((None, None), place_in_json(text, code, field or None, value))


def test_what_most_lines_look_like_is_found_in_whole_columns() -> None:
    asked = pl.DataFrame(
        [
            ('{"name":"Zoë","email":"no address"}', "invalid_email", "email", "no address"),
            ('{"name": "Zoë", "email": "no address"}', "invalid_email", "email", "no address"),
            ('{"disbursement_id":"L 1"}', "invalid_id", "loan_id", "L 1"),
            ('{"name":"Zoë"}', "missing_field", "email", None),
            ('{"category":"cat"}', "unknown_category", "", "cat"),
            ("[]", "not_an_object", "", None),
        ],
        schema=["text", "code", "field", "value"],
        orient="row",
    )
    found = places_in_json(asked).rows()
    assert found == [place_in_json(text, code, field or None, value) for text, code, field, value in asked.rows()]


@pytest.mark.parametrize("raws", [[], [b'{"email":"\xff"}', b'{"email":"\x07a"}', b'{"email":"a"' + b" " * 700]])
def test_a_page_is_the_same_whether_its_lines_are_marked_in_columns_or_one_by_one(
    raws: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    raws = [b'{"email":"a"}', '{"name":"é","email":"a"}'.encode(), b'{"email" : "a"}', b'{"email":"b","email":"a"}', *raws]
    told: list[tuple[Any, ...]] = []
    for line, raw in enumerate(raws, start=1):
        for path, code, field, value in (
            ("a.jsonl", "invalid_email", "email", "a"),
            ("b.csv", "invalid_email", "email", "a"),
            ("a.jsonl", "invalid_encoding", None, None),
        ):
            told.append((path, line, "client", "create", "C", code, field, value, "m", None, None, None, raw, len(raw)))
    names = [
        "path",
        "line",
        "category",
        "step",
        "id",
        "code",
        "field",
        "value",
        "message",
        "cause_date",
        "cause_path",
        "cause_line",
        "raw",
        "length",
    ]
    kinds = {"cause_date": pl.Date(), "cause_path": pl.String(), "cause_line": pl.Int64(), "raw": pl.Binary()}
    frame = pl.DataFrame(told, schema=names, schema_overrides=kinds, orient="row").sort("path", "line", maintain_order=True)
    made = []
    for many in (1, 1_000_000):
        monkeypatch.setattr(rows, "_IN_COLUMNS", many)
        made.append(rows.rejection_rows(str(date(2026, 11, 16)), frame, {"b.csv": {"email": 0}}, {}))
    assert made[0] == made[1]
