"""Settle one lifetimes: which events are applied, why the others are not, and what the records become. Pure.

`settle` is a table for some records in, a table out: it knows nothing but the frames it is given, so it serves any set of
whole records, in any order, on any machine. It equals the law's loop (contract, section 1) on every input.

Of a record, the first sound create whose parent lives makes it, the first sound delete after that ends it; neither depends on
updates. The updates between are taken as applied, all their merged records checked at once, and only records where one
breaks a rule are decided one by one (`contested`). Cost is linear in events whatever their verdicts.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl

from pipelines import threads
from pipelines.contested import decide_one_by_one
from pipelines.lifetimes import Lifetimes, of_parent
from pipelines.settled import CHANGES, NO_REASONS, Settled, lives_schema, placed
from pipelines.timeline import BASE, CREATE, DELETE, NEVER, UPDATE, Bools, Ints, Timeline
from validation.fields import Entity
from validation.findings import as_text, describe, fill, find
from validation.rules import BEFORE, EVENT, PARENT, SOURCE, Rule

_THREADS = 2


def settle(entity: Entity, rules: Sequence[Rule], before: pl.DataFrame, events: pl.DataFrame, parents: pl.DataFrame) -> Settled:
    """Settle whole records of one entity; `events` have `drop.source` when the rules ask for it.

    `before`: the records as they stood (fields, created_on, created_pos, deleted_pos), positions before the events';
    `events`: sound events (pos, date, step, sent, fields); `parents`: lives of the parents they name (empty for a client).
    """
    timeline = Timeline.of(entity, before, events)
    errors = [rule for rule in rules if rule.severity == "error"]
    lifetimes = Lifetimes.of(timeline, errors, parents)
    applied, broken = _apply_updates(lifetimes, errors)
    reasons = [_lifecycle_reasons(lifetimes), lifetimes.mismatches, broken]
    warnings = _warnings(lifetimes, [rule for rule in rules if rule.severity == "warning"], applied)
    changes, lives = _changes(lifetimes, applied), _lives(lifetimes)
    counted = (sum(map(len, reasons)), len(warnings), len(changes), len(lives))
    versions = _versions(lifetimes, applied)
    return Settled(_verdicts(lifetimes, applied), pl.concat(reasons), warnings, changes, versions, lives, counted)


def _apply_updates(lifetimes: Lifetimes, rules: Sequence[Rule]) -> tuple[Bools, pl.DataFrame]:
    """Return which rows are applied, and the reasons of updates whose merged record breaks a rule."""
    timeline = lifetimes.timeline
    rows = np.arange(len(timeline), dtype=np.int64)
    updates = (timeline.step == UPDATE) & (lifetimes.created < rows) & (rows < lifetimes.deleted)
    applied: Bools = (rows == lifetimes.created) | (rows == lifetimes.deleted) | updates
    read = sorted({name for rule in rules for name in _fields_of_record(rule)})
    if not read:
        return applied, NO_REASONS
    risky = np.flatnonzero(updates & timeline.sends(*read))
    name = f"{timeline.entity.category} record"
    found = _set_off(timeline, rules, risky, find(name, rules, _merged(lifetimes, rules, applied, risky)))
    if found.is_empty():
        return applied, NO_REASONS

    contested = np.zeros(len(timeline.starts), dtype=np.bool_)
    contested[timeline.group[risky[found["row"].to_numpy()]]] = True
    at = np.flatnonzero(contested[timeline.group] & (lifetimes.created <= rows))
    applied[at] &= decide_one_by_one(timeline, rules, at, updates[at], _known_of_parents(lifetimes, rules, at))

    risky = risky[contested[timeline.group[risky]]]
    frame = _merged(lifetimes, rules, applied, risky)
    found = _set_off(timeline, rules, risky, find(name, rules, frame))
    refused = np.zeros(len(timeline), dtype=np.bool_)
    refused[risky[found["row"].to_numpy()]] = True
    if not np.array_equal(refused, updates & ~applied):
        raise RuntimeError(f"{name}: events decided one by one and all at once differ; nothing was changed")
    return applied, placed(describe(found, rules, frame), timeline.pos[risky])


def _fields_of_record(rule: Rule) -> set[str]:
    return {_field(name) for name in rule.reads if name != SOURCE and not name.startswith(PARENT)}


def _set_off(timeline: Timeline, rules: Sequence[Rule], at: Ints, found: pl.DataFrame) -> pl.DataFrame:
    """Return what was found by rules that ask for the source, of events that send a field they read.

    Any other event leaves the record as it was, and another source's wanted form is not held against it.
    """
    for rule in rules:
        if SOURCE in rule.reads:
            sends = pl.Series(timeline.sends(*_fields_of_record(rule))[at], dtype=pl.Boolean)
            found = found.filter((pl.col("code") != rule.code) | sends[found["row"]])
    return found


def _merged(lifetimes: Lifetimes, rules: Sequence[Rule], applied: Bools, at: Ints) -> pl.DataFrame:
    """Return the records that the rows `at` would make: the columns the rules read and speak of."""
    timeline, columns = lifetimes.timeline, []
    for name in sorted({name for rule in rules for name in (rule.field, *rule.reads)}):
        field = _field(name)
        if name.startswith(PARENT):
            continue
        if name == SOURCE:
            column = timeline.values(name, at)
        elif name.startswith(BEFORE):
            column = timeline.before(field, applied, at)
        elif name.startswith(EVENT):
            column = timeline.brought(field, at)
        else:
            column = timeline.merged(field, applied, at)
        columns.append(column.alias(name))
    if timeline.entity.parent_id is not None and any(name.startswith(PARENT) for rule in rules for name in rule.reads):
        ids = timeline.merged(timeline.entity.parent_id, applied, at)
        columns += of_parent(timeline, lifetimes.parent_lives, rules, at, ids)
    return pl.DataFrame(columns)


def _known_of_parents(lifetimes: Lifetimes, rules: Sequence[Rule], at: Ints) -> dict[str, pl.Series]:
    """Return, per field the rules read of the parent, its value for the record of each of the rows `at`; `drop.source` likewise.

    An update that names another parent is refused for that alone, so the parent of the creation serves all rows.
    """
    timeline = lifetimes.timeline
    if timeline.entity.parent_id is None:
        return {SOURCE: timeline.values(SOURCE, at)} if SOURCE in timeline.rows.columns else {}
    ids = timeline.values(timeline.entity.parent_id, lifetimes.created[at])
    columns = of_parent(timeline, lifetimes.parent_lives, rules, at, ids)
    return {column.name.removeprefix(PARENT): column for column in columns}


def _field(name: str) -> str:
    return name.rpartition(".")[2]


def _verdicts(lifetimes: Lifetimes, applied: Bools) -> pl.DataFrame:
    """Return the verdicts in the order in which the events came."""
    timeline = lifetimes.timeline
    states = int(np.count_nonzero(timeline.step == BASE))
    verdicts = np.empty(len(timeline), dtype=np.bool_)
    verdicts[timeline.order] = applied
    record_parent: pl.Series | pl.Expr = pl.lit(None, dtype=pl.String)
    if (parent_id := timeline.entity.parent_id) is not None:
        rows = np.arange(len(timeline), dtype=np.int64)
        stands = lifetimes.created <= rows
        there, of_record = np.empty(len(timeline), dtype=np.bool_), np.empty(len(timeline), dtype=np.uint32)
        there[timeline.order] = stands
        of_record[timeline.order] = timeline.order[np.where(stands, lifetimes.created, rows)]
        parents = timeline.rows[parent_id].rechunk()[pl.Series(of_record)]
        record_parent = pl.select(pl.when(pl.Series(there)).then(parents)).to_series()[states:]
    pos = timeline.rows["pos"][states:]
    return pl.DataFrame({"pos": pos, "applied": verdicts[states:]}).with_columns(parent_id=record_parent)


def _lifecycle_reasons(lifetimes: Lifetimes) -> pl.DataFrame:
    """Return the reasons `exists`, `unknown`, `deleted`, one a refused event."""
    timeline, entity = lifetimes.timeline, lifetimes.timeline.entity
    rows = np.arange(len(timeline), dtype=np.int64)
    is_create = timeline.step == CREATE
    later = np.isin(timeline.step, (UPDATE, DELETE))
    own = f"{entity.category}_{{}}"
    reasons = [
        _lifecycle(lifetimes, is_create & (lifetimes.created < rows), own.format("exists"), entity.id),
        _lifecycle(lifetimes, later & (rows < lifetimes.created), own.format("unknown"), entity.id),
        _lifecycle(lifetimes, later & (lifetimes.deleted < rows), own.format("deleted"), entity.id),
    ]
    if entity.parent_id is not None:
        free = is_create.copy()
        free[is_create] = lifetimes.created[is_create] >= rows[is_create]
        known, gone = np.zeros(len(timeline), np.bool_), np.zeros(len(timeline), np.bool_)
        known[is_create] = lifetimes.parents["parent_known"].to_numpy()
        gone[is_create] = lifetimes.parents["parent_gone"].to_numpy()
        of_parent = f"{entity.parent}_{{}}"
        reasons += [
            _lifecycle(lifetimes, free & ~known, of_parent.format("unknown"), entity.parent_id),
            _lifecycle(lifetimes, free & known & gone, of_parent.format("deleted"), entity.parent_id),
        ]
    return pl.concat(reasons)


_SAID = {
    "exists": "is taken: ids are never reused at this position; wanted an update, or a new id",
    "unknown": "was never created at this position; wanted its create at an earlier position; the event is decided again when "
    "that arrives",
    "deleted": "is deleted at this position; wanted an id that lives",
}


def _lifecycle(lifetimes: Lifetimes, where: Bools, code: str, field: str) -> pl.DataFrame:
    timeline = lifetimes.timeline
    at = np.flatnonzero(where)
    if not len(at):
        return NO_REASONS
    category, _, kind = code.rpartition("_")
    return pl.DataFrame({"pos": timeline.pos[at], "value": timeline.values(field, at)}).select(
        "pos",
        code=pl.lit(code),
        field=pl.lit(field),
        value="value",
        message=fill(f'{category} "{{value}}" {_SAID[kind]}'),
    )


def _warnings(lifetimes: Lifetimes, rules: Sequence[Rule], applied: Bools) -> pl.DataFrame:
    """Return the warnings of records that applied creates and updates make, when they send a field the rule reads."""
    timeline = lifetimes.timeline
    read = sorted({_field(name) for rule in rules for name in rule.reads})
    if not read:
        return NO_REASONS
    at = np.flatnonzero(applied & np.isin(timeline.step, (CREATE, UPDATE)) & timeline.sends(*read))
    frame = pl.DataFrame([timeline.after(field, applied, at) for field in read])
    name = f"{timeline.entity.category} record"
    return placed(describe(find(name, rules, frame), rules, frame), timeline.pos[at])


def _changes(lifetimes: Lifetimes, applied: Bools) -> pl.DataFrame:
    timeline, entity = lifetimes.timeline, lifetimes.timeline.entity
    changes = [pl.DataFrame(schema=CHANGES)]
    for field in entity.watched:
        at = np.flatnonzero(applied & (timeline.step == UPDATE) & timeline.sends(field))
        frame = pl.DataFrame(
            {
                "pos": timeline.pos[at],
                "id": timeline.values(entity.id, at),
                "old_value": timeline.before(field, applied, at),
                "new_value": timeline.after(field, applied, at),
                "change_date": timeline.brought("change_date", at),
                "change_reason": timeline.brought("change_reason", at),
            }
        )
        changes.append(
            frame.filter(pl.col("old_value").ne_missing(pl.col("new_value")))
            .select(
                "pos",
                "id",
                "change_date",
                "change_reason",
                field=pl.lit(field),
                old_value=as_text("old_value"),
                new_value=as_text("new_value"),
            )
            .select(*CHANGES)
        )
    return pl.concat(changes)


def _versions(lifetimes: Lifetimes, applied: Bools) -> pl.DataFrame:
    """Return one version a record and business date: the record after the date's last applied event."""
    timeline = lifetimes.timeline
    at = np.flatnonzero(applied & (timeline.step != BASE))
    dates, group = timeline.values("date", at), timeline.group[at]
    days = dates.to_physical().to_numpy()
    last = np.r_[(group[1:] != group[:-1]) | (days[1:] != days[:-1]), True] if len(at) else np.empty(0, np.bool_)
    at, dates, group = at[last], dates.filter(pl.Series(last)), group[last]
    same = np.r_[group[1:] == group[:-1], False] if len(at) else np.empty(0, np.bool_)
    ends = pl.select(pl.when(pl.Series(same)).then(dates.shift(-1))).to_series()
    gone = pl.Series(lifetimes.deleted[at] <= at)
    with threads.pool(_THREADS) as pool:  # NumPy works on one core, a field at a time
        fields = list(pool.map(lambda field: timeline.after(field, applied, at), timeline.entity.names))
    return pl.DataFrame(fields).with_columns(
        created_on=timeline.values("date", lifetimes.created[at]),
        updated_on=dates,
        deleted_on=pl.when(gone).then(dates),
        valid_from=dates,
        valid_to=ends,
    )


def _lives(lifetimes: Lifetimes) -> pl.DataFrame:
    timeline, entity = lifetimes.timeline, lifetimes.timeline.entity
    at = timeline.starts[lifetimes.created[timeline.starts] < NEVER] if len(timeline) else timeline.starts
    created, deleted = lifetimes.created[at], lifetimes.deleted[at]
    known = deleted < NEVER
    ended = np.where(known, deleted, 0)
    before_created = timeline.stood("created_pos", created)
    before_deleted = timeline.stood("deleted_pos", created)
    shown = [timeline.values(name, created) for name in lives_schema(entity) if name in entity.names]
    return pl.DataFrame(
        [
            timeline.values(entity.id, created).alias("id"),
            before_created.fill_null(pl.Series(timeline.pos[created], dtype=pl.Int64)).alias("created_pos"),
            pl.select(pl.coalesce(before_deleted, pl.when(pl.Series(known)).then(pl.Series(timeline.pos[ended], dtype=pl.Int64))))
            .to_series()
            .alias("deleted_pos"),
            *shown,
        ]
    ).select(*lives_schema(entity))
