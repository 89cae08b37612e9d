"""Decide one by one the events of records where an earlier refusal changes what a later event meets. Pure.

Only records with a refused update come here; the rules are the tests of the record schemas, over single values.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from pipelines.timeline import Bools, Ints, Timeline
from validation.rules import BEFORE, EVENT, PARENT, Rule

_AFTER = ""
_PREFIXES = (_AFTER, BEFORE, EVENT, PARENT)


def decide_one_by_one(
    timeline: Timeline, rules: Sequence[Rule], at: Ints, updates: Bools, parents: dict[str, pl.Series]
) -> Bools:
    """Return which of the rows `at` are applied.

    `at` holds whole records from their creation (or state before) on, in order; `updates` tells which of these rows
    are updates to decide: the others count as applied when they set the state, and are ignored when they do not.
    `parents` has, per field the rules read of the parent, its value at each of the rows.
    """
    fields = sorted({name for rule in rules for name in _own_fields(rule)})
    place = {field: number for number, field in enumerate(fields)}
    bits = [timeline.sends(field)[at].astype(np.int64) << number for field, number in place.items()]
    masks = sum(bits, start=np.zeros(len(at), np.int64)).tolist()
    columns = [timeline.values(field, at).to_list() for field in fields]
    parent_names = sorted(parents)
    parent_columns = [parents[name].to_list() for name in parent_names]
    tests = [_Test.of(rule, place, parent_names) for rule in rules]
    by_mask: dict[int, tuple[list[int], list[_Test]]] = {}

    groups = timeline.group[at].tolist()
    applied = np.ones(len(at), dtype=np.bool_)
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
        merged = state.copy()
        event: list[Any] = [None] * len(fields)
        for number in sent:
            merged[number] = event[number] = columns[number][row]
        sources = (merged, state, event, [column[row] for column in parent_columns])
        if any(test.is_broken(sources) for test in affected):
            applied[row] = False
        else:
            state = merged
    return applied


def _own_fields(rule: Rule) -> set[str]:
    return {_split(name)[1] for name in rule.reads if _split(name)[0] != PARENT}


def _split(name: str) -> tuple[str, str]:
    for prefix in (BEFORE, EVENT, PARENT):
        if name.startswith(prefix):
            return prefix, name.removeprefix(prefix)
    return _AFTER, name


@dataclass(frozen=True, slots=True)
class _Test:
    """A rule over single values: where its arguments lie, and which fields set it off."""

    function: Callable[..., Any]
    needed: tuple[int, ...]
    """Places of the arguments without which the rule is silent."""
    arguments: tuple[tuple[int, int], ...]
    set_off_by: frozenset[int]

    @classmethod
    def of(cls, rule: Rule, place: dict[str, int], parents: list[str]) -> _Test:
        if rule.test is None:
            raise TypeError(f"{rule.code} of {rule.field} is no record rule")
        arguments = []
        for name in rule.reads:
            prefix, field = _split(name)
            arguments.append((_PREFIXES.index(prefix), parents.index(field) if prefix == PARENT else place[field]))
        needed = tuple(place for place, name in enumerate(rule.reads) if name not in rule.nullable)
        return cls(rule.test, needed, tuple(arguments), frozenset(place[field] for field in _own_fields(rule)))

    def is_broken(self, sources: tuple[list[Any], ...]) -> bool:
        """Tell whether the merged record, the one before, the event and the parent break the rule."""
        values = [sources[source][number] for source, number in self.arguments]
        if any(values[place] is None for place in self.needed):
            return False
        return bool(self.function(*values))
