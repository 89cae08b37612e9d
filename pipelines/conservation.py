"""Nothing lost, nothing doubled: each step's rows are counted against the step's before it, and the tables against both.

Counts and sums of whole columns only, over what a run touched. Where they differ the run ends and nothing is committed.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import TYPE_CHECKING, NamedTuple

import duckdb
import polars as pl

from pipelines.database import handed_over
from pipelines.decision import Decision, Living, Stage
from pipelines.positions import Positions
from pipelines.problems import NightdropError
from pipelines.settled import Settled
from pipelines.tables import past
from validation.entities import ENTITIES
from validation.fields import Entity, FieldType
from validation.rules import flagged

if TYPE_CHECKING:  # it asks this module
    from pipelines.checking import Checked

_POSITION = ("business_date", "path", "line")
_SUM = "DECIMAL(38, 4)"
"""What sums of money are, in DuckDB."""
_BY_EVENT = ("events", "rejections", "warnings", "loan_changes")
"""Tables that a decision tells how many rows they get."""
_TABLES = (*_BY_EVENT, *(table for entity in ENTITIES.values() for table in (entity.table, past(entity))))
"""Tables that are counted; a history has the rows of a record's table and of its ended versions."""


def same(where: str, one: str, first: object, other: str, second: object) -> None:
    """Raise NightdropError when two counts or sums of the same thing differ."""
    if first != second:
        raise NightdropError(
            f"{where}: {first} {one}, {second} {other}: they must be the same, so nothing of this run was kept or published. "
            "Readers have the warehouse of before. Run again; if this comes back it is a fault of nightdrop: please report it "
            "with these words, and the drops that came since the last run."
        )


def of_checking(checked: Checked) -> None:
    """Assert that checking gave every sound event, reason and warning that its index of records tells of."""
    index = checked.index
    same("checking", "sound records", int(index["sound"].sum()), "sound events", sum(map(len, checked.events.values())))
    for name, rows in (("reasons", checked.reasons), ("warnings", checked.warnings)):
        same("checking", f"{name} told", int(index[name].sum()), f"{name} given", len(rows))
    unexplained = index.select((pl.col("sound") == (pl.col("reasons") > 0)).sum()).item()
    same("checking", "records with a reason though sound, or with none though not", unexplained, "allowed", 0)


def of_the_log(found: int, records: int) -> None:
    """Assert that the log gave back every record that reading counted."""
    same("event log", "records read", records, "records found again", found)


def of_the_findings(index: pl.DataFrame, reasons: pl.DataFrame, warnings: pl.DataFrame) -> None:
    """Assert that the log gave back every reason and warning of those records."""
    for name, rows in (("reasons", reasons), ("warnings", warnings)):
        same("event log", f"{name} written", int(index[name].sum()), f"{name} found again", len(rows))


def of_settling(entity: Entity, before: pl.DataFrame, events: pl.DataFrame, settled: Settled) -> None:
    """Assert that settling gave one verdict an event, and all it found."""
    where = f"settling {entity.table}"
    same(where, "events", len(events), "verdicts", len(settled.verdicts))
    same(where, "verdicts", len(settled.verdicts), "events with one", _distinct(settled.verdicts["pos"]))
    found = (settled.reasons, settled.warnings, settled.changes, settled.lives)
    for name, counted, frame in zip(("reasons", "warnings", "changes", "lives"), settled.counted, found, strict=True):
        same(where, f"{name} found", counted, f"{name} given", len(frame))
    ever, lives = pl.concat([before[entity.id], settled.versions[entity.id]]), settled.lives["id"]
    # Mostly both have the records in the same order; then nothing has to be hashed.
    if not ever.filter(ever.ne_missing(ever.shift(1))).equals(lives):
        same(where, "records with a version", ever.n_unique(), "lives", lives.n_unique())


def _distinct(numbers: pl.Series) -> int:
    """Return how many different numbers there are: where they ascend, all are."""
    values = numbers.to_numpy()
    return len(values) if (values[1:] > values[:-1]).all() else numbers.n_unique()


def of_deciding(decision: Decision) -> None:
    """Assert that a decision has the events, reasons and warnings that checking and settling found, and no others."""
    events, stages = decision.events, decision.stages
    sound = sum(len(stage.money) for stage in stages)
    settled = Positions(_positions(stages)).hold(events.lazy().filter("sound").select("pos").collect().to_series())
    same("deciding", "events settled", sound, "events decided", int(settled.sum()))
    added = int(events.select(pl.col("reasons").filter("added").sum()).item())
    reasons = added + sum(stage.settled.counted[0] for stage in stages)
    same("deciding", "reasons found", reasons, "reasons to be written", len(decision.reasons))
    warnings = int(events.select(pl.col("warnings").filter("applied").sum()).item()) + sum(
        stage.settled.counted[1] for stage in stages
    )
    same("deciding", "warnings found", warnings, "warnings to be written", len(decision.warnings))


def _positions(stages: Iterable[Stage]) -> pl.Series:
    return pl.concat([pl.Series(dtype=pl.Int64), *(stage.money["pos"] for stage in stages)])


def money_fields(entity: Entity) -> list[str]:
    """Return the names of an entity's fields that hold money."""
    return [field.name for field in entity.fields if field.type is FieldType.MONEY]


def no_money(entity: Entity) -> pl.DataFrame:
    """Return no event, in the columns that tell what events do to an entity's money: `pos` alone when it has none."""
    told = {name: entity.field(name).type.dtype for name in (entity.id, *money_fields(entity))}
    schema = {"pos": pl.Int64(), "step": pl.String(), "sent": pl.UInt64(), **told} if len(told) > 1 else {"pos": pl.Int64()}
    return pl.DataFrame(schema=schema)


@dataclass(slots=True)
class Ledger:
    """What the tables must hold once a decision is loaded: worked out before, from the log and the decision."""

    rows: dict[str, int]
    """Table -> how many rows."""
    sums: dict[str, dict[str, Decimal]]
    """Table -> money field -> sum over its records."""

    def expect(self, decision: Decision) -> None:
        """Add what the tables get from a decision about events that come after all that stands."""
        of_deciding(decision)
        for table, rows in _incoming(decision).items():
            self.rows[table] += rows
        for stage in decision.stages:
            entity = stage.entity
            self.rows[entity.table] += len(stage.settled.lives) - len(stage.before)
            self.rows[entity.history] += len(stage.settled.versions)
            sums = self.sums.get(entity.table, {})
            for name, added in _added_up(stage, list(sums)).items():
                sums[name] += added - Decimal(stage.before[name].sum() or 0)

    def close(self, con: duckdb.DuckDBPyConnection) -> None:
        """Raise NightdropError where a table holds other than it must."""
        there = _count(con, {name: _Asked(name, tuple(self.sums.get(name, ()))) for name in _TABLES})
        for entity in ENTITIES.values():
            there[entity.history] = _Found(there[entity.table].rows + there[past(entity)].rows, ())
        for table, rows in self.rows.items():
            same(f"table {table}", "rows must be there", rows, "rows are there", there[table].rows)
        for table, sums in self.sums.items():
            for (field, wanted), now in zip(sums.items(), there[table].sums, strict=True):
                same(f"table {table}", f"is what the applied events add up to in {field}", wanted, "is its sum", now)


def ledger_before(con: duckdb.DuckDBPyConnection, since: date) -> Ledger:
    """Return what must be in the tables once all from a business date on is taken out of them."""
    asked = {table: _Asked(f"{table} WHERE business_date < $since") for table in _BY_EVENT}
    for entity in ENTITIES.values():
        fields, ended = tuple(money_fields(entity)), past(entity)
        asked[entity.table] = _Asked(f"{entity.table} WHERE updated_on < $since", fields)
        asked[ended] = _Asked(f"{ended} WHERE valid_from < $since")
        asked[f"{ended} open"] = _Asked(f"{ended} WHERE valid_from < $since AND valid_to >= $since", fields)
    found = _count(con, asked, since=since)
    ledger = Ledger({table: found[table].rows for table in _BY_EVENT}, {})
    for entity in ENTITIES.values():
        stand, opened = found[entity.table], found[f"{past(entity)} open"]
        ledger.rows[entity.table] = stand.rows + opened.rows
        ledger.rows[entity.history] = stand.rows + found[past(entity)].rows
        if fields := tuple(money_fields(entity)):
            sums = (one + other for one, other in zip(stand.sums, opened.sums, strict=True))
            ledger.sums[entity.table] = dict(zip(fields, sums, strict=True))
    return ledger


def _incoming(decision: Decision) -> dict[str, int]:
    return {
        "events": int(decision.events["added"].sum()),
        "rejections": len(decision.reasons),
        "warnings": len(decision.warnings),
        "loan_changes": sum(stage.settled.counted[2] for stage in decision.stages),
    }


def open_ledger(con: duckdb.DuckDBPyConnection, decision: Decision, living: Living, since: date) -> Ledger:
    """Return what must be in the tables after `load`: what is there, less what is taken out, and what is put in."""
    of_deciding(decision)
    same("deciding", "records of new drops", _records(living), "to be written", int(decision.events["added"].sum()))
    again = decision.events.filter(pl.col("sound") & ~pl.col("added")).select("rank", "line")
    again = again.join(living.drops.select("rank", "business_date", "path"), on="rank", how="inner").select(_POSITION)
    frames = {"gone": living.gone.select("business_date", "path"), "again": again}
    frames |= {f"touched_{stage.entity.table}": stage.touched for stage in decision.stages}
    frames = {name: frame for name, frame in frames.items() if not frame.is_empty()}  # nothing is among nothing
    with handed_over(con, **frames):
        found = _count(con, _taken_out(decision, frames), since=since)
    ledger = Ledger({}, {})
    for table, incoming in _incoming(decision).items():
        taken = (found.get(f"{table} {which}", _NONE).rows for which in ("gone", "again"))
        ledger.rows[table] = found[table].rows - sum(taken) + incoming
    for stage in decision.stages:
        _expect(ledger, stage, found)
    return ledger


def _records(living: Living) -> int:
    return int(living.drops.filter("added")["records"].sum())


def _taken_out(decision: Decision, frames: Container[str]) -> dict[str, _Asked]:
    """Return how to count every table, and what is taken out of it: rows of drops that went, of events and records decided again.

    What is in no frame is not asked for.
    """
    asked = {table: _Asked(table) for table in _TABLES}
    for table in _BY_EVENT:
        if "gone" in frames:
            asked[f"{table} gone"] = _Asked(f"{table} SEMI JOIN gone USING (business_date, path)")
        if "again" in frames and table != "events":  # an event decided again stays where it is
            stays = "ANTI JOIN gone USING (business_date, path)" if "gone" in frames else ""
            asked[f"{table} again"] = _Asked(f"{table} {stays} SEMI JOIN again USING (business_date, path, line)")
    for stage in decision.stages:
        table, ended, fields = stage.entity.table, past(stage.entity), tuple(money_fields(stage.entity))
        if f"touched_{table}" in frames:
            mine = f"AS t SEMI JOIN touched_{table} AS i ON i.id = t.{stage.entity.id}"
            asked[table] = _Asked(table, fields)
            asked[f"{table} touched"] = _Asked(f"{table} {mine}", fields)
            asked[f"{ended} touched"] = _Asked(f"(FROM {ended} WHERE valid_to >= $since) {mine}")
    return asked


def _expect(ledger: Ledger, stage: Stage, found: Mapping[str, _Found]) -> None:
    table, ended = stage.entity.table, past(stage.entity)
    out, out_ended = found.get(f"{table} touched", _NONE), found.get(f"{ended} touched", _NONE)
    kept = found[table].rows - out.rows
    ledger.rows[table] = kept + len(stage.settled.lives)
    versions = len(stage.before) + len(stage.settled.versions)
    ledger.rows[stage.entity.history] = kept + found[ended].rows - out_ended.rows + versions
    if out.sums:
        added = _added_up(stage, money_fields(stage.entity))
        stood = zip(added.items(), found[table].sums, out.sums, strict=True)
        ledger.sums[table] = {name: standing - taken + sum_ for (name, sum_), standing, taken in stood}


def _added_up(stage: Stage, fields: list[str]) -> dict[str, Decimal]:
    """Return per field what the touched records hold: as they stood before, and (new - old) of every applied event on top.

    Of one record these differences add up to the last value that an applied event sent, whatever came between.
    """
    if not fields:
        return {}
    id_ = stage.entity.id
    applied = stage.settled.verdicts.filter("applied").select("pos")
    sent = stage.money.join(applied, on="pos", how="semi").filter(pl.col("step") != "delete").sort("pos")
    sums = {}
    for name in fields:
        told = sent.filter(flagged("sent", stage.entity.names.index(name) + 1)).select(id_, name)
        last = pl.concat([stage.before.select(id_, name), told]).unique(id_, keep="last", maintain_order=False)
        sums[name] = Decimal(last[name].sum() or 0)
    return sums


class _Asked(NamedTuple):
    """What to count, as it stands after FROM, and the money fields to add up."""

    source: str
    fields: Sequence[str] = ()


class _Found(NamedTuple):
    """How many rows, and the sums of the fields that were asked for."""

    rows: int
    sums: Sequence[Decimal]


_NONE = _Found(0, ())


def _count(con: duckdb.DuckDBPyConnection, asked: Mapping[str, _Asked], *, since: date | None = None) -> dict[str, _Found]:
    """Count all in one statement: to plan as many takes longer than to count. `$since` in a source stands for `since`."""
    parts = []
    for name, (source, fields) in asked.items():
        sums = ", ".join(f"coalesce(sum({field}), 0)" for field in fields)
        parts.append(f"SELECT '{name}', count(*), CAST([{sums}] AS {_SUM}[]) FROM {source}")
    sql = " UNION ALL ".join(parts)
    found = con.execute(sql, {"since": since} if "$since" in sql else {}).fetchall()
    return {name: _Found(rows, tuple(sums)) for name, rows, sums in found}
