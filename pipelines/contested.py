"""Decide one by one the events of records where an earlier refusal changes what a later event meets. Pure.

Only records with a refused update come here; the rules are the tests of the record schemas, over single values.
"""

from __future__ import annotations

from collections.abc import Sequence
from operator import itemgetter
from typing import Any

import numpy as np
import polars as pl

from pipelines.timeline import Bools, Ints, Timeline
from validation.rules import BEFORE, EVENT, PARENT, SOURCE, Rule

_AFTER = ""


def decide_one_by_one(
    timeline: Timeline, rules: Sequence[Rule], at: Ints, updates: Bools, parents: dict[str, pl.Series]
) -> Bools:
    """Return which of the rows `at` are applied.

    `at` holds whole records from their creation (or state before) on, in order; `updates` tells which of these rows
    are updates to decide: the others count as applied when they set the state, and are ignored when they do not.
    `parents` has, per field the rules read of the parent (and for `drop.source`), its value at each of the rows.
    """
    fields = sorted({name for rule in rules for name in _own_fields(rule)})
    place = {field: number for number, field in enumerate(fields)}
    bits = [timeline.sends(field)[at].astype(np.int64) << number for field, number in place.items()]
    masks = sum(bits, start=np.zeros(len(at), np.int64)).tolist()
    columns = [timeline.values(field, at).to_list() for field in fields]
    parent_names = sorted(parents)
    parent_columns = [parents[name].to_list() for name in parent_names]
    tests = [_Test(rule, place, parent_names) for rule in rules]
    by_mask: dict[int, tuple[list[int], list[_Test]]] = {}

    groups = timeline.group[at].tolist()
    applied = np.ones(len(at), dtype=np.bool_)
    nothing: list[Any] = [None] * len(fields)
    state: list[Any] = []
    current = None
    for row, is_update in enumerate(updates.tolist()):
        if groups[row] != current:
            current = groups[row]
            state = [column[row] for column in columns]
            continue
        if not is_update:
            continue
        mask = masks[row]
        if mask not in by_mask:
            numbers = [number for number in place.values() if mask >> number & 1]
            by_mask[mask] = numbers, [test for test in tests if test.set_off_by.intersection(numbers)]
        sent, affected = by_mask[mask]
        merged, event = state.copy(), nothing.copy()
        for number in sent:
            merged[number] = event[number] = columns[number][row]
        known = [*merged, *state, *event, *[column[row] for column in parent_columns]]
        for test in affected:
            if test.is_broken(known):
                applied[row] = False
                break
        else:
            state = merged
    return applied


def _own_fields(rule: Rule) -> set[str]:
    return {_split(name)[1] for name in rule.reads if _split(name)[0] not in (PARENT, SOURCE)}


def _split(name: str) -> tuple[str, str]:
    if name == SOURCE:
        return SOURCE, name
    for prefix in (BEFORE, EVENT, PARENT):
        if name.startswith(prefix):
            return prefix, name.removeprefix(prefix)
    return _AFTER, name


class _Test:
    """A rule over single values: where its arguments lie among those of record, record before, event and parent."""

    def __init__(self, rule: Rule, place: dict[str, int], parents: list[str]) -> None:
        if rule.test is None:
            raise TypeError(f"{rule.code} of {rule.field} is no record rule")
        begins = {_AFTER: 0, BEFORE: len(place), EVENT: 2 * len(place), PARENT: 3 * len(place), SOURCE: 3 * len(place)}
        places = {}
        for name in rule.reads:
            prefix, field = _split(name)
            places[name] = begins[prefix] + (parents.index(field) if prefix in (PARENT, SOURCE) else place[field])
        self.function = rule.test
        self.arguments = itemgetter(*places.values())
        self.needed = [number for name, number in places.items() if name not in rule.nullable]
        self.set_off_by = frozenset(place[field] for field in _own_fields(rule))

    def is_broken(self, known: list[Any]) -> bool:
        """Tell whether these values break the rule; it is silent without one that it needs."""
        for number in self.needed:
            if known[number] is None:
                return False
        return bool(self.function(*self.arguments(known)))
