"""Settling is a function of whole records: their order, their company and how they are cut make no difference."""

from __future__ import annotations

import random
from dataclasses import fields
from typing import Any

import polars as pl
import pytest
from checked import RULES, Raw, create, reasons
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal
from settled import PARENTS, no_records, sound

from pipelines import settling
from validation.entities import ENTITIES

CHANGES: dict[str, list[dict[str, Any]]] = {
    "client": [{}, {"gender": "company"}, {"is_company": True}, {"is_company": False}, {"contact_person": "A"}, {"contact_person": None}, {"registration_number": "CR-1"}, {"city": "Oslo"}, {"gender": "company", "is_company": True, "contact_person": "B", "registration_number": "CR-2"}],
    "loan": [{}, {"amount": 5}, {"amount": 5, "change_date": "2026-11-17", "change_reason": "x"}, {"maturity_date": "2026-01-01", "change_date": "2026-11-17", "change_reason": "x"}, {"currency": "EUR"}, {"expected_margin": 1}, {"status": None}],
    "payment": [{}, {"principal": 60}, {"fee": 40}, {"fee": 41}, {"amount": 101}, {"currency": "EUR"}, {"loan_id": "L2"}, {"principal": None}],
    "deposit": [{}, {"balance": Raw("-1.5")}, {"currency": "EUR"}, {"client_id": "C2"}, {"info": {"a": 1}}],
}  # fmt: skip


@st.composite
def histories(draw: st.DrawFn) -> tuple[str, list[dict[str, Any]]]:
    category = draw(st.sampled_from(sorted(ENTITIES)))
    key = ENTITIES[category].id
    drawn = draw(st.lists(st.tuples(st.sampled_from("ABCD"), st.integers(0, 9), st.sampled_from(CHANGES[category])), max_size=30))
    events = []
    for name, kind, change in drawn:
        step = {0: "create", 1: "create", 2: "delete"}.get(kind, "update")
        events.append({**(create(category) if step == "create" else {}), **change, "step": step, key: name})
    return category, [event for event in events if event["step"] != "create" or _is_sound(category, event)]


def _is_sound(category: str, event: dict[str, Any]) -> bool:
    return not reasons(category, event)


def settle(category: str, events: pl.DataFrame) -> tuple[pl.DataFrame, ...]:
    entity = ENTITIES[category]
    result = settling.settle(entity, RULES.record_rules[category], no_records(category), events, PARENTS[category])
    frames = (getattr(result, field.name) for field in fields(result) if field.name != "counted")
    return tuple(frame.sort(frame.columns, nulls_last=True) for frame in frames)


@settings(max_examples=40, deadline=None)
@given(histories(), st.randoms(use_true_random=False))
def test_neither_the_order_of_rows_nor_the_cut_between_records_matters(
    history: tuple[str, list[dict[str, Any]]], chance: random.Random
) -> None:
    category, events = history
    frame = sound(category, events) if events else sound(category, [create(category)]).clear()
    whole = settle(category, frame)
    key = ENTITIES[category].id
    names = sorted(set(frame[key]))
    shuffled = frame[chance.sample(range(len(frame)), len(frame))]
    for one, other in zip(whole, settle(category, shuffled), strict=True):
        assert_frame_equal(one, other)
    part = {name for name in names if chance.random() < 0.5}
    halves = [settle(category, frame.filter(pl.col(key).is_in(part) == side)) for side in (True, False)]
    for one, *parts in zip(whole, *halves, strict=True):
        assert_frame_equal(one, pl.concat(parts).sort(one.columns, nulls_last=True))


@pytest.mark.parametrize("category", ENTITIES)
def test_no_events_give_no_rows(category: str) -> None:
    assert all(frame.is_empty() for frame in settle(category, sound(category, [create(category)]).clear()))


def test_only_records_with_a_refused_update_are_decided_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    looked_at: list[int] = []
    one_by_one = settling.decide_one_by_one

    def counting(*arguments: Any) -> Any:
        looked_at.append(len(arguments[2]))
        return one_by_one(*arguments)

    monkeypatch.setattr(settling, "decide_one_by_one", counting)
    quiet = [create("client", client_id=f"Q{n}") for n in range(50)] + [
        {"step": "update", "client_id": f"Q{n}", "city": "Oslo"} for n in range(50)
    ]
    settle("client", sound("client", quiet))
    assert looked_at == []
    contested = [create("client"), {"step": "update", "client_id": "C1", "gender": "company"}]
    settle("client", sound("client", [*quiet, *contested]))
    assert looked_at == [2]
