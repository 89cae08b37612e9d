"""Nothing lost, nothing doubled: each step's rows are counted against the step's before it, and the tables against both.

Counts and sums of whole columns only, over what a run touched. Where they differ the run ends and nothing is committed.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import TYPE_CHECKING

import duckdb
import polars as pl

from pipelines.database import handed_over
from pipelines.decision import Decision, Living, Stage
from pipelines.positions import Positions
from pipelines.problems import NightdropError
from pipelines.settled import Settled
from validation.entities import ENTITIES
from validation.fields import Entity, FieldType

if TYPE_CHECKING:  # it asks this module
    from pipelines.checking import Checked

_POSITION = ("business_date", "path", "line")
_BY_EVENT = ("events", "rejections", "warnings", "loan_changes")
"""Tables that a decision tells how many rows they get."""


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
    same(where, "verdicts", len(settled.verdicts), "events with one", settled.verdicts["pos"].n_unique())
    found = (settled.reasons, settled.warnings, settled.changes, settled.lives)
    for name, counted, frame in zip(("reasons", "warnings", "changes", "lives"), settled.counted, found, strict=True):
        same(where, f"{name} found", counted, f"{name} given", len(frame))
    ever = pl.concat([before[entity.id], settled.versions[entity.id]]).n_unique()
    same(where, "records with a version", ever, "lives", settled.lives["id"].n_unique())


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
        for table, rows in self.rows.items():
            same(f"table {table}", "rows must be there", rows, "rows are there", _count(con, table))
        for table, sums in self.sums.items():
            for field, now in _sums(con, table, list(sums)).items():
                same(f"table {table}", f"is what the applied events add up to in {field}", sums[field], "is its sum", now)


def ledger_before(con: duckdb.DuckDBPyConnection, since: date) -> Ledger:
    """Return what must be in the tables once all from a business date on is taken out of them."""
    ledger = Ledger({}, {})
    for table in _BY_EVENT:
        ledger.rows[table] = _count(con, f"{table} WHERE business_date < $since", since=since)
    for entity in ENTITIES.values():
        stood = f"(FROM {entity.history} WHERE valid_from < $since AND (valid_to IS NULL OR valid_to >= $since))"
        ledger.rows[entity.table] = _count(con, stood, since=since)
        ledger.rows[entity.history] = _count(con, f"{entity.history} WHERE valid_from < $since", since=since)
        if fields := money_fields(entity):
            ledger.sums[entity.table] = _sums(con, stood, fields, since=since)
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
    ledger = Ledger({}, {})
    again = decision.events.filter(pl.col("sound") & ~pl.col("added")).select("rank", "line")
    again = again.join(living.drops.select("rank", "business_date", "path"), on="rank", how="inner").select(_POSITION)
    incoming = _incoming(decision)
    with handed_over(con, gone=living.gone.select("business_date", "path"), again=again):
        for table in _BY_EVENT:
            out = _count(con, f"{table} SEMI JOIN gone USING (business_date, path)")
            if table != "events":  # an event decided again stays where it is
                out += _count(
                    con, f"{table} ANTI JOIN gone USING (business_date, path) SEMI JOIN again USING (business_date, path, line)"
                )
            ledger.rows[table] = _count(con, table) - out + incoming[table]
    for stage in decision.stages:
        _expect(con, ledger, stage, since)
    return ledger


def _records(living: Living) -> int:
    return int(living.drops.filter("added")["records"].sum())


def _expect(con: duckdb.DuckDBPyConnection, ledger: Ledger, stage: Stage, since: date) -> None:
    entity = stage.entity
    if stage.touched.is_empty():
        ledger.rows |= {table: _count(con, table) for table in (entity.table, entity.history)}
        return
    with handed_over(con, touched=stage.touched):
        mine = f"SEMI JOIN touched ON touched.id = t.{entity.id}"
        after = len(stage.settled.lives)
        ledger.rows[entity.table] = _count(con, entity.table) - _count(con, f"{entity.table} AS t {mine}") + after
        young = f"(FROM {entity.history} WHERE valid_to IS NULL OR valid_to >= $since) AS t {mine}"
        kept = _count(con, entity.history) - _count(con, young, since=since)
        ledger.rows[entity.history] = kept + len(stage.before) + len(stage.settled.versions)
        fields = money_fields(entity)
        if fields:
            standing, taken = _sums(con, entity.table, fields), _sums(con, f"{entity.table} AS t {mine}", fields)
            added = _added_up(stage, fields)
            ledger.sums[entity.table] = {name: standing[name] - taken[name] + added[name] for name in fields}


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
        bit = 1 << (stage.entity.names.index(name) + 1)
        told = sent.filter((pl.col("sent") & pl.lit(bit, dtype=pl.UInt64)) != 0).select(id_, name)
        last = pl.concat([stage.before.select(id_, name), told]).unique(id_, keep="last", maintain_order=False)
        sums[name] = Decimal(last[name].sum() or 0)
    return sums


def _count(con: duckdb.DuckDBPyConnection, source: str, **parameters: object) -> int:
    ((rows,),) = con.execute(f"SELECT count(*) FROM {source}", parameters).fetchall()
    return int(rows)


def _sums(con: duckdb.DuckDBPyConnection, source: str, fields: list[str], **parameters: object) -> dict[str, Decimal]:
    asked = ", ".join(f"coalesce(sum({name}), 0)" for name in fields)
    (found,) = con.execute(f"SELECT {asked} FROM {source}", parameters).fetchall()
    return {name: Decimal(value) for name, value in zip(fields, found, strict=True)}
