"""Decide and load what comes after all that stands, slice after slice in order of position. Runs in the caller's transaction.

A slice is some units of the event log; memory holds one at a time, and the warehouse is what the next one starts from. So a first
load, a night's drops and a whole past decided again cost the same an event, however many there are.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from datetime import date

import duckdb
import polars as pl

from pipelines import conservation
from pipelines.causes import find_causes
from pipelines.deciding import Living, decide_next
from pipelines.eventlog import CHOSEN, EventLog
from pipelines.loading import Loaded, Moment, RawLines, Verdicts, add, write_flips
from pipelines.rewinding import renew, rewind
from validation.rulebook import RuleBook


def comes_after_all(change: Living) -> bool:
    """Tell whether no drop that stays stands on the first date that changes, or on a later one."""
    return change.drops.filter(~pl.col("added") & (pl.col("business_date") >= change.since)).is_empty()


def wholesale(change: Living) -> Living:
    """Return a change as one that takes out all from its first date on, and puts in again what lives."""
    again = ~pl.col("added") & (pl.col("business_date") >= change.since)
    gone = pl.concat([change.gone, change.drops.filter(again).select(change.gone.columns)])
    return replace(change, drops=change.drops.with_columns(added=pl.col("added") | again), gone=gone)


def slices(units: pl.DataFrame, enough: int) -> list[pl.DataFrame]:
    """Cut units of the log into runs of about `enough` bytes."""
    before = pl.col("bytes").cum_sum() - pl.col("bytes")
    return units.with_columns(slice=before // enough).partition_by("slice", maintain_order=True, include_key=False)


def append(
    con: duckdb.DuckDBPyConnection,
    log: EventLog,
    change: Living,
    since: date,
    rules: RuleBook,
    *,
    source_of: Callable[[str], str],
    raw_lines: RawLines,
    moment: Moment,
    slice_bytes: int,
) -> tuple[Loaded, conservation.Ledger]:
    """Take in a change that `comes_after_all`, about `slice_bytes` of records at a time; also return what must then be there.

    `since`: its first business date. What stands from then on is taken out first.
    """
    every = wholesale(change)
    ledger = conservation.ledger_before(con, since)
    was = Verdicts(con, every)
    if not every.gone.is_empty():
        rewind(con, since)
    added = every.drops.filter("added")
    units = log.units(added.select(*CHOSEN))
    places = every.drops.select("rank", "business_date", "path", "sha256")
    events = applied = 0
    codes: Counter[str] = Counter()
    for part in slices(units, slice_bytes):
        ranks = places.join(part, on="rank", how="semi").select("business_date", "path", "rank")
        logged = log.of_units(part, change.fixes)
        decision = decide_next(con, logged, ranks, rules, records=int(part["records"].sum()), source_of=source_of)
        ledger.expect(decision)
        add(con, decision, places, raw_lines, moment)
        events += len(decision.events)
        applied += int(decision.events["applied"].sum())
        codes.update(dict(decision.reasons["code"].value_counts().iter_rows()))
    conservation.same("event log", "records of new drops", int(added["records"].sum()), "decided", events)
    renew(con, since)
    find_causes(con, since, places.select("business_date", "path", "rank"))
    flipped = write_flips(con, was.changed(places), change, moment)
    return Loaded(flipped, added.select("business_date", "path"), events, applied, codes), ledger
