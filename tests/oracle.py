"""The judge: the contract's loop over dicts, run literally, and every table of the warehouse as it must be. Pure.

It shares no code with the pipeline on purpose. `expected(drops)` is all a test of single drops needs; `oracle_living` says
which editions live and hands them to `law`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date

from oracle_reading import Event, Held, business_date, delivered, is_drop, path_key, read
from oracle_rules import (
    Key,
    Life,
    Position,
    Reason,
    Record,
    Row,
    Said,
    changed_terms,
    event_rules,
    fields_sent,
    lifecycle_rules,
    record_rules,
    said_by,
    warnings,
)
from oracle_values import NAMES, as_text, string_or_none

__all__ = ["COLUMNS", "Drop", "Event", "Held", "Tables", "business_date", "expected", "law", "path_key", "read"]

TABLE = {"client": "clients", "loan": "loans", "payment": "payments", "deposit": "deposits"}
POSITION = ("business_date", "path", "line")
COLUMNS: dict[str, tuple[str, ...]] = {
    **{TABLE[each]: (*NAMES[each], "created_on", "updated_on", "deleted_on") for each in TABLE},
    **{f"{each}_history": (*NAMES[each], "created_on", "updated_on", "deleted_on", "valid_from", "valid_to") for each in TABLE},
    "active_clients": (*NAMES["client"], "created_on", "updated_on", "deleted_on"),
    "loan_changes": ("loan_id", "change_date", "field", "old_value", "new_value", "change_reason", *POSITION),
    "events": (*POSITION, "category", "step", "entity_id", "client_id", "verdict"),
    "rejections": (
        *(*POSITION, "category", "step", "entity_id", "code", "field", "value"),
        *("cause_date", "cause_path", "cause_line"),
    ),
    "warnings": (*POSITION, "category", "entity_id", "code", "field", "value"),
    "rejected_lines": (*POSITION, "sha256", "byte_offset", "byte_length", "raw"),
    "drops": (*("business_date", "path", "sha256", "bytes", "records", "applied", "rejected", "warned", "status", "reason"),),
}
"""The contract's columns of each table, without message, detail, decided_at, picked_at and run_id."""


@dataclass
class Drop:
    """One edition of a drop and what became of it. One that does not live counts nothing (None)."""

    path: str
    data: bytes
    date: date | None
    status: str
    reason: str | None = None
    events: list[Event] = field(default_factory=list)
    applied: int = 0
    rejected: int = 0
    warned: int = 0

    @property
    def sha256(self) -> str:
        """Return the digest of the bytes as delivered."""
        return hashlib.sha256(self.data).hexdigest()

    def row(self) -> Row:
        """Return it as a row of `drops`."""
        counts = (len(self.events), self.applied, self.rejected, self.warned)
        counted = counts if self.status == "applied" else (None, None, None, None)
        return (self.date, self.path, self.sha256, len(self.data), *counted, self.status, self.reason)


class Tables(dict[str, list[Row]]):
    """Every table by name: its rows, sorted (nulls first), in the order of `COLUMNS`."""

    def as_of(self, category: str, day: date) -> list[Row]:
        """Return a category's table as it stood at the end of a business date."""
        versions = self[f"{category}_history"]
        return [row[:-2] for row in versions if row[-2] <= day and (row[-1] is None or day < row[-1])]

    def note_changes(self, here: Position, said: Said, record: Record, before: Record) -> None:
        """Note the watched terms that an applied update of a loan changed."""
        if said.category == "loan" and said.step == "update":
            for name in changed_terms(record, before):
                values = (as_text(before.get(name)), as_text(record.get(name)))
                # A changed term means that the event brought a date and a reason: they are the event's.
                about = (said.id, record["change_date"], name, *values, record["change_reason"])
                self["loan_changes"].append((*about, *here))

    def note_verdict(
        self, here: Position, said: Said, client_id: str | None, reasons: list[Reason], warned: list[Reason]
    ) -> None:
        """Note what is told about an event."""
        category = (said.unread.category if said.unread else said.category) or None
        verdict = "rejected" if reasons else "applied"
        self["events"].append((*here, category, said.step, said.id, client_id, verdict))
        for reason in reasons:
            cause = reason.cause or (None, None, None)
            self["rejections"].append((*here, category, said.step, said.id, *reason[:3], *cause))
        for warning in warned:
            self["warnings"].append((*here, category, said.id, *warning[:3]))

    def finish(self, rows: dict[Key, Life], versions: dict[Key, dict[date, Row]]) -> None:
        """Put the records as they ended, let each version end where the next begins, and sort."""
        for (category, _), life in rows.items():
            self[TABLE[category]].append(life.row(category))
        self["active_clients"] = [row for row in self["clients"] if row[-1] is None]
        for (category, _), by_day in versions.items():
            days = sorted(by_day)
            for day, next_day in zip(days, [*days[1:], None], strict=True):
                self[f"{category}_history"].append((*by_day[day], day, next_day))
        for table in self.values():
            table.sort(key=nulls_first)


# --- the law ---------------------------------------------------------------------------------------------------------


def expected(drops: Mapping[str, bytes]) -> Tables:
    """Return the warehouse that these drops (path in the inbox → bytes as delivered) must give."""
    return law([judge(path, data) for path, data in drops.items() if is_drop(path)])


def law(judged: list[Drop]) -> Tables:
    """Return the warehouse of the drops that live (`applied`), and the row of `drops` of each."""
    tables = Tables({name: [] for name in COLUMNS})
    rows: dict[Key, Life] = {}
    versions: dict[Key, dict[date, Row]] = {}
    refused: dict[Key, Position] = {}  # rejected creates: where the latest is, or its root cause
    for day, drop, event in in_order(judged):
        here, said = (day, drop.path, event.line), said_by(event)
        # The loop of the contract's section 1.
        merged: Record = {}
        before = rows[said.key].record if said.key in rows else {}
        reasons = event_rules(said)
        if not reasons:
            reasons = lifecycle_rules(said, rows, refused)
        if not reasons:
            merged = {**before, **fields_sent(said)}
            reasons = record_rules(said, merged, before, rows)
        if not reasons:
            created_on = rows[said.key].created_on if said.key in rows else day
            rows[said.key] = life = Life(merged, created_on, day, day if said.step == "delete" else None)
            versions.setdefault(said.key, {})[day] = life.row(said.category)
            tables.note_changes(here, said, merged, before)
        elif said.step == "create":
            refused[said.key] = reasons[0].cause or here
        warned = [] if reasons else warnings(said, merged)
        tables.note_verdict(here, said, client_of(said, rows), reasons, warned)
        if reasons:
            tables["rejected_lines"].append((*here, drop.sha256, event.byte_offset, event.byte_length, event.raw))
        drop.applied += not reasons
        drop.rejected += bool(reasons)
        drop.warned += bool(warned)
    tables["drops"] = [drop.row() for drop in judged]
    tables.finish(rows, versions)
    return tables


def judge(path: str, data: bytes) -> Drop:
    """Read a drop, or hold it, by its path and bytes alone."""
    data = delivered(path, data)
    day = business_date(path)
    try:
        events = read(path, data)
    except Held as held:
        undated = day is None and held.reason != "unknown_format"
        return Drop(path, data, day, "held", "no_business_date" if undated else held.reason)
    return Drop(path, data, day, "applied", events=events) if day else Drop(path, data, day, "held", "no_business_date")


def in_order(drops: list[Drop]) -> list[tuple[date, Drop, Event]]:
    """Return the events of the living drops by position."""
    living = [(drop.date, drop) for drop in drops if drop.status == "applied"]
    events = [(day, drop, event) for day, drop in living if day is not None for event in drop.events]
    return sorted(events, key=lambda each: (each[0], path_key(each[1].path), each[2].line))


def nulls_first(row: Row) -> tuple[tuple[bool, object], ...]:
    """Return a sort key for a row with nulls in it."""
    return tuple((cell is not None, cell) for cell in row)


def client_of(said: Said, rows: dict[Key, Life]) -> str | None:
    """Return the client an event is about, as its record stands after the event."""
    if said.category in ("", "client"):
        return said.id
    name = "loan_id" if said.category == "payment" else "client_id"
    life = rows.get(said.key)
    parent_id = as_text(life.record[name]) if life else string_or_none(said.sent.get(name))
    if said.category != "payment":
        return parent_id
    loan = rows.get(("loan", parent_id or ""))
    return as_text(loan.record["client_id"]) if loan else None
