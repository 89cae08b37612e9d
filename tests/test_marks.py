from __future__ import annotations

import json
import re
from datetime import date
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines import rows
from pipelines.excerpts import place_in_json
from pipelines.marks import places_in_json, plain_texts
from pipelines.sources import ANYBODY

FIELDS = ["name", "amount", "payment_total"]
"""Few, so that what is asked for is often there, and more than once; the last is another spelling of the second."""
CODES = ["invalid_phone", "missing_field", "unknown_category", "malformed_json", "duplicate_key", "wrong_type"]
NAMES = st.sampled_from([*FIELDS, "category"])
SIGNS = st.text(st.sampled_from([*'ab09 :,"\\{}[]-.é中\u00ad\u2028\t\x1c\xa0\U0001f600']), max_size=8)
VALUES = st.recursive(
    SIGNS | st.sampled_from(['a"b', "a\\", '"}']) | st.none() | st.booleans() | st.integers() | st.floats(),
    lambda deeper: st.lists(deeper, max_size=2) | st.dictionaries(NAMES, deeper, max_size=3),
    max_leaves=4,
)


@st.composite
def lines(draw: st.DrawFn) -> str:
    """A line of JSON in one of its ways of writing, whole or with something put in or taken out."""
    between = draw(st.sampled_from([(",", ":"), (", ", ": "), (" , ", " : "), (",", ":\t")]))
    text = json.dumps(
        draw(st.dictionaries(NAMES, VALUES, max_size=3)), separators=between, ensure_ascii=draw(st.booleans()), allow_nan=True
    )
    if draw(st.booleans()):
        start, end = sorted(draw(st.tuples(*[st.integers(0, len(text))] * 2)))
        put_in = draw(SIGNS | NAMES.map('"{}":'.format) | NAMES.map('"{}"'.format))
        text = text[:start] + put_in + text[draw(st.sampled_from([start, end])) :]
    return text


@settings(max_examples=400)
@given(st.lists(st.tuples(lines(), st.sampled_from(CODES), st.none() | st.just("") | NAMES, st.none() | SIGNS), max_size=8))
def test_what_is_found_in_whole_columns_is_what_is_found_line_by_line(
    told: list[tuple[str, str, str | None, str | None]],
) -> None:
    texts = plain_texts(pl.Series([text.encode() for text, *_ in told], dtype=pl.Binary))
    codes, fields = ([row[at] for row in told] for at in (1, 2))
    frame = pl.DataFrame(
        {"text": texts, "code": codes, "field": fields}, schema=dict.fromkeys(("text", "code", "field"), pl.String)
    )
    for (text, code, field, value), place in zip(told, places_in_json(frame).iter_rows(), strict=True):
        if place != (None, None):
            assert place == place_in_json(text, code, field or None, value)


def test_a_text_as_most_are_is_not_left_to_be_looked_at_by_itself() -> None:
    line = json.dumps(
        {"category": "client", "data": {"name": "Jörg", "phone": "12", "amount": -1.5, "email": None}}, ensure_ascii=False
    )
    asked = [
        ("x", "name"),
        ("x", "phone"),
        ("x", "amount"),
        ("x", "email"),
        ("x", "dob"),
        ("unknown_category", None),
        ("x", None),
    ]
    texts = plain_texts(pl.Series([line.encode()] * len(asked)))
    places = places_in_json(pl.DataFrame({"text": texts, "code": [c for c, _ in asked], "field": [f for _, f in asked]}))
    shown = [line[start:end] for start, end in places.iter_rows()]
    assert shown == ['"Jörg"', '"12"', "-1.5", "null", "", '"client"', ""]


def test_a_sign_of_a_plain_text_can_be_seen_and_only_the_space_is_white() -> None:
    every = [chr(code) for code in range(0x110000) if not 0xD800 <= code < 0xE000]
    plain = plain_texts(pl.Series([char.encode() for char in every])).drop_nulls().to_list()
    assert len(plain) > 30_000
    assert [char for char in plain if not char.isprintable() or (re.match(r"\s", char) and char != " ")] == []


LINES = st.lists(
    st.tuples(
        lines().map(str.encode) | st.binary(max_size=20) | lines().map(lambda text: (text + "x" * 700).encode()),
        st.lists(
            st.tuples(st.sampled_from([*CODES, "invalid_encoding"]), st.none() | NAMES, st.none() | SIGNS), min_size=1, max_size=2
        ),
        st.sampled_from(["a.jsonl", "b.csv"]),
        st.sampled_from([0, 0, 9]),
    ),
    min_size=1,
    max_size=6,
)


def shown(told: list[Any]) -> list[tuple[Any, ...]]:
    """What a page shows of each reason: path, line, text, mark, and what is left out."""
    found = [
        (path, number, raw, len(raw) + lost, code, field, value)
        for number, (raw, reasons, path, lost) in enumerate(sorted(told, key=lambda row: row[2]), start=1)
        for code, field, value in reasons
    ]
    names = ("path", "line", "raw", "length", "code", "field", "value")
    types = (pl.String, pl.Int64, pl.Binary, pl.Int64, pl.String, pl.String, pl.String)
    frame = pl.DataFrame(found, schema=dict(zip(names, types, strict=True)), orient="row")
    empty = {name: pl.lit(None, dtype=pl.String) for name in ("category", "step", "id", "cause_path")}
    frame = frame.with_columns(
        **empty, message=pl.lit("m"), cause_date=pl.lit(None, dtype=pl.Date), cause_line=pl.lit(None, dtype=pl.Int64)
    )
    first = pl.struct("path", "line").rle_id().diff().fill_null(1) > 0
    frame = frame.with_columns(is_first=first)
    data = rows.rejection_rows(date(2026, 1, 1).isoformat(), frame, {"b.csv": {"name": 0}}, {}, ANYBODY)
    places = zip(data["record"], data["raw"], data["from"], data["to"], strict=True)
    return [(data["line"][rec], data["raws"][raw], start, end, data["cut"].get(str(raw))) for rec, raw, start, end in places]


@given(LINES)
def test_a_page_shows_the_same_whether_lines_are_looked_at_together_or_one_by_one(told: list[Any]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rows, "_MANY", 1)
        together = shown(told)
        patch.setattr(rows, "_MANY", 1_000)
        assert together == shown(told)
