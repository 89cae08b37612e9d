"""Settle events given as dicts: the short way for tests of settling."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

import polars as pl
from checked import RULES, checked, line

from pipelines.settled import Settled, lives_schema
from pipelines.settling import settle
from validation.entities import ENTITIES

DAY = date(2026, 11, 16)


def sound(category: str, events: Sequence[Mapping[str, Any]], day: date = DAY) -> pl.DataFrame:
    """Return sound events as settling takes them: position = line."""
    found = checked(line(category, event) for event in events)
    assert found.reasons.is_empty(), found.reasons
    return found.events[category].with_columns(pos="line", date=pl.lit(day)).drop("drop", "line")


def no_records(category: str) -> pl.DataFrame:
    fields = {field.name: field.type.dtype for field in ENTITIES[category].fields}
    positions = {"created_pos": pl.Int64(), "deleted_pos": pl.Int64()}
    return pl.DataFrame(schema={**fields, "created_on": pl.Date(), **positions})


def lives(category: str, *rows: tuple[Any, ...]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=lives_schema(ENTITIES[category]), orient="row")


CLIENT_LIVES = lives("client", ("C1", -1, None))
LOAN_LIVES = lives("loan", ("L1", -1, None, "C1", "KES"))
PARENTS = {"client": lives("client"), "loan": CLIENT_LIVES, "deposit": CLIENT_LIVES, "payment": LOAN_LIVES}


def settled(category: str, events: Sequence[Mapping[str, Any]], parents: pl.DataFrame | None = None) -> Settled:
    frame = sound(category, events)
    known = PARENTS[category] if parents is None else parents
    return settle(ENTITIES[category], RULES.record_rules[category], no_records(category), frame, known)


def verdicts(category: str, events: Sequence[Mapping[str, Any]], parents: pl.DataFrame | None = None) -> list[Any]:
    """Return per event True, or the (code, field) pairs for which it is refused."""
    result = settled(category, events, parents)
    reasons: dict[int, list[tuple[str, str]]] = {}
    for pos, code, field in result.reasons.select("pos", "code", "field").iter_rows():
        reasons.setdefault(pos, []).append((code, field))
    rows = result.verdicts.sort("pos").select("pos", "applied").iter_rows()
    return [True if applied else sorted(reasons[pos]) for pos, applied in rows]
