"""Pandera names what is broken: held to Pandera over every row, and asked once for every set of rules broken together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import numpy as np
import pandera.polars as pa
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from validation import naming
from validation.naming import named
from validation.rules import Rule


@pytest.fixture(autouse=True)
def _nothing_known() -> Iterator[None]:
    naming._known.clear()
    yield
    naming._known.clear()


def rules(count: int) -> list[Rule]:
    """Return rules, some with the code of another on another field."""
    return [Rule(f"code {place % 7}", f"field {place}", pl.col(f"field {place}"), "", "", "") for place in range(count)]


def of_every_row(fired: list[Rule], broken: pl.DataFrame) -> Counter[tuple[int, str, str]]:
    """Return row, code, field as Pandera tells them of every row, each rule's check at its own column."""
    schema = pa.DataFrameSchema({rule.field: pa.Column(pl.Boolean, rule.check()) for rule in fired})
    try:
        schema.validate(broken, lazy=True)
    except pa.errors.SchemaErrors as errors:
        cases = errors.failure_cases
        return Counter(cases.select("index", "check", "column").iter_rows())
    return Counter()


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 70), st.integers(1, 40), st.integers(0, 2**32 - 1), st.sampled_from([0.02, 0.3, 0.9]))
def test_what_is_named_set_by_set_is_what_pandera_names_row_by_row(count: int, rows: int, seed: int, share: float) -> None:
    naming._known.clear()
    table = np.random.default_rng(seed).random((rows, count)) < share
    every = rules(count)
    fired = [place for place in range(count) if table[:, place].any()]
    if not fired:
        return
    found = named(
        "test", [every[place] for place in fired], [np.flatnonzero(table[:, place]).astype(np.uint32) for place in fired]
    )
    broken = pl.DataFrame({every[place].field: table[:, place] for place in fired})
    assert Counter(found.select("row", "code", "field").iter_rows()) == of_every_row([every[place] for place in fired], broken)


def test_pandera_is_asked_once_for_every_set_of_rules_that_rows_break_together(monkeypatch: pytest.MonkeyPatch) -> None:
    looked: list[int] = []
    validate = pa.Column.validate

    def counted(self: pa.Column, frame: pl.DataFrame, **options: bool) -> object:
        looked.append(len(frame))
        return validate(self, frame, **options)

    monkeypatch.setattr(pa.Column, "validate", counted)
    one, two, three = rules(3)
    rows = np.arange(10_000, dtype=np.uint32)
    for _ in range(3):
        found = named("test", [one, two], [rows, rows[::2]])
        assert len(found) == 15_000
    assert looked == [2]
    named("test", [three, one], [rows[:1], rows[1:]])  # the first by itself is new
    assert looked == [2, 1]


def test_what_is_known_is_forgotten_before_it_is_a_burden(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(naming, "_MOST_KNOWN", 4)
    every = rules(10)
    for rule in every:
        named("test", [rule], [np.array([0], dtype=np.uint32)])
        assert len(naming._known) <= 4
