"""Tell the story of one record: every event about it, what was decided and why, and which line each field's value came from.

Reads the published warehouse, the event log and the archive. Takes no lock, changes nothing, so it may run beside a night.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from datetime import date
from itertools import takewhile
from typing import Any

import duckdb
import polars as pl

from pipelines.database import connect, query
from pipelines.discovery import path_key
from pipelines.home import Home
from pipelines.problems import NightdropError, UsageError
from pipelines.senders import Senders, Sending
from pipelines.sources import ANYBODY, Sources
from pipelines.stories import (
    Chapter,
    Correction,
    FieldStory,
    Finding,
    Flip,
    How,
    Position,
    Refused,
    Relative,
    Story,
    Told,
    position_of,
)
from validation.entities import ENTITIES
from validation.fields import Entity

_SIMILAR_SHOWN = 5


def explain(
    home: Home, entity_id: str, *, category: str | None = None, as_of: date | None = None, sources: Sources = ANYBODY
) -> Story:
    """Tell all that the published warehouse knows of an id, a chapter a category; `as_of`: by the end of that business date.

    Raises NightdropError when no living drop ever named the id, UsageError when there is no such category.
    """
    if category not in (None, *ENTITIES):
        raise UsageError(f"--category must be one of {', '.join(ENTITIES)} (got {category!r}).")
    with connect(home.warehouse, read_only=True) as con:
        return _Teller(home, con, entity_id, as_of, sources).story(category)


class _Teller:
    """One id, and everything the warehouse has on it."""

    def __init__(self, home: Home, con: duckdb.DuckDBPyConnection, entity_id: str, as_of: date | None, sources: Sources) -> None:
        self.sources = sources
        self.home, self.con, self.id, self.as_of = home, con, entity_id, as_of
        found = self._rows(
            "SELECT business_date, path, line, category, step, client_id, verdict, decided_at FROM events WHERE entity_id = $id"
        )
        self.events = sorted(found, key=_order)
        self.reasons = _by_position(self._rows("SELECT * FROM rejections WHERE entity_id = $id ORDER BY code, field, value"))
        self.warnings = _by_position(self._rows("SELECT * FROM warnings WHERE entity_id = $id ORDER BY code, field, value"))
        about = "SEMI JOIN (SELECT * FROM events WHERE entity_id = $id) AS e USING (business_date, path, line)"
        self.raw = _by_position(self._rows(f"SELECT business_date, path, line, raw FROM rejected_lines {about}"))
        self.corrections = _by_position(self._rows(f"SELECT * FROM corrections {about} ORDER BY submitted_at"))
        self.flips = _by_position(self._rows(f"SELECT * FROM verdict_changes {about} ORDER BY rowid"))
        self.refused = sorted(
            self._rows(
                "SELECT business_date, path, line, category, step, entity_id, code FROM rejections WHERE value = $id "
                "AND list_contains($codes, code) AND NOT starts_with(code, category)",
                codes=[f"{entity.parent}_{kind}" for entity in ENTITIES.values() for kind in ("unknown", "deleted")],
            ),
            key=_order,
        )

    def story(self, category: str | None) -> Story:
        chapters = tuple(
            self._chapter(entity)
            for entity in ENTITIES.values()
            if category in (None, entity.category) and entity.category in self._categories()
        )
        if not chapters:
            raise NightdropError(self._nothing(category))
        return Story(self.id, self.as_of, chapters)

    def _categories(self) -> set[str]:
        """Return the categories in which the id was ever named."""
        return {event["category"] for event in self.events} | set(map(_parent_of, self.refused))

    def _chapter(self, entity: Entity) -> Chapter:
        every = [event for event in self.events if event["category"] == entity.category]
        events = [event for event in every if self._by_then(event)]
        sendings = Senders(self.home, self.con, entity, self.id, self.sources).sendings(events, self.corrections)
        record = next(self._records(entity, entity.id, self.id).iter_rows(named=True), None)
        causes = self._reasons_of_causes(events)
        told = tuple(self._told(entity, event, sendings.get(position_of(event)), causes) for event in events)
        refused = [row for row in self.refused if _parent_of(row) == entity.category and self._by_then(row)]
        return Chapter(
            entity.category,
            created_on=record["created_on"] if record else None,
            updated_on=record["updated_on"] if record else None,
            deleted_on=record["deleted_on"] if record else None,
            fields=self._fields(entity, record, events, sendings) if record else (),
            events=told,
            later=len(every) - len(events),
            relatives=tuple(self._relatives(entity, self._parent_id(entity, record, events, told))),
            refused=tuple(Refused(position_of(r), r["category"], r["step"], r["entity_id"], r["code"]) for r in refused),
        )

    def _by_then(self, row: dict[str, Any]) -> bool:
        return self.as_of is None or row["business_date"] <= self.as_of

    def _told(self, entity: Entity, event: dict[str, Any], sending: Sending | None, causes: dict[Position, str]) -> Told:
        here = position_of(event)
        reasons = tuple(_finding(row, causes) for row in self.reasons[here])
        corrections = self.corrections[here]
        return Told(
            here,
            event["step"],
            event["verdict"],
            event["decided_at"],
            sent={name: value for name, value in sending.sent.items() if name != entity.id} if sending else None,
            raw=next((row["raw"] for row in self.raw[here]), None),
            reasons=reasons,
            warnings=tuple(_finding(row, {}) for row in self.warnings[here]),
            why_not=_why_not(reasons),
            flips=tuple(Flip(row["run_id"], row["was"], row["now"], row["because_path"]) for row in self.flips[here]),
            replaced_by=_correction(corrections[-1]) if corrections else None,
        )

    def _reasons_of_causes(self, events: Sequence[dict[str, Any]]) -> dict[Position, str]:
        """Return what was wrong with the rejected creates that refusals follow from."""
        rows = [row for event in events for row in self.reasons[position_of(event)]]
        places = [cause for cause in map(_cause, rows) if cause]
        if not places:
            return {}
        found = query(
            self.con,
            "SELECT r.business_date, r.path, r.line, string_agg(r.message, '; ' ORDER BY r.code, r.field) AS words "
            "FROM rejections AS r SEMI JOIN causes USING (business_date, path, line) GROUP BY ALL",
            causes=pl.DataFrame(places, schema=["business_date", "path", "line"], orient="row").unique(),
        )
        return {position_of(row): row["words"] for row in found.iter_rows(named=True)}

    def _fields(
        self, entity: Entity, record: dict[str, Any], events: Sequence[dict[str, Any]], sendings: dict[Position, Sending]
    ) -> tuple[FieldStory, ...]:
        """Return each field with the last applied line that sent it."""
        sources: dict[str, tuple[How, Position, Any]] = {}
        for event in events:
            if event["verdict"] != "applied" or event["step"] == "delete":
                continue
            here, sending = position_of(event), sendings.get(position_of(event))
            if sending is None:  # it may have sent any of them
                sources.clear()
                continue
            sources |= {name: ("sent", here, value) for name, value in sending.sent.items()}
            if event["step"] == "create":
                sources |= {name: ("default", here, value) for name, value in sending.defaults.items()}
                absent = [name for name in entity.names if name not in {**sending.sent, **sending.defaults}]
                sources |= dict.fromkeys(absent, ("absent", here, None))
        return tuple(self._field(entity, name, record[name], sources.get(name)) for name in entity.names)

    def _field(self, entity: Entity, name: str, value: Any, source: tuple[How, Position, Any] | None) -> FieldStory:
        # The warehouse has the last word: a source that gives another value is none.
        if source is not None and source[2] == value:
            return FieldStory(name, value, source[0], *source[1])
        return FieldStory(name, value, "unknown", self._since(entity, name, value), None, None)

    def _since(self, entity: Entity, name: str, value: Any) -> date | None:
        """Return since when the record has held that value without a break."""
        versions = self._rows(
            f"SELECT valid_from, {name} AS value FROM {entity.history} WHERE {entity.id} = $id AND valid_from <= $by "
            "ORDER BY valid_from DESC",
            by=self.as_of or date.max,
        )
        held = list(takewhile(lambda version: version["value"] == value, versions))
        return held[-1]["valid_from"] if held else None

    def _parent_id(
        self, entity: Entity, record: dict[str, Any] | None, events: Sequence[dict[str, Any]], told: Sequence[Told]
    ) -> str | None:
        """Return the parent of the record, or the one that the last event about a record never made names."""
        if entity.parent_id is None or record:
            return record[entity.parent_id] if record and entity.parent_id else None
        named = [event["client_id"] for event in events if entity.parent_id == "client_id"]
        named += [event.sent.get(entity.parent_id) for event in told if event.sent]
        return next((own_id for own_id in reversed(named) if own_id is not None), None)

    def _relatives(self, entity: Entity, parent_id: str | None) -> Iterator[Relative]:
        """Yield the parent, then what hangs on this record."""
        if entity.parent and parent_id is not None:
            parent = ENTITIES[entity.parent]
            found = self._lives(parent, parent.id, parent_id) or [(parent.category, parent_id, None, None)]
            yield from (Relative(True, *row) for row in found)
        for child in ENTITIES.values():
            if child.parent == entity.category:
                yield from (Relative(False, *row) for row in self._lives(child, str(child.parent_id), self.id))

    def _lives(self, entity: Entity, field: str, value: str) -> list[tuple[str, str, date | None, date | None]]:
        records = self._records(entity, field, value).sort(entity.id)
        columns = records.select(entity.id, "created_on", "deleted_on")
        return [(entity.category, own_id, created_on, deleted_on) for own_id, created_on, deleted_on in columns.iter_rows()]

    def _records(self, entity: Entity, field: str, value: str) -> pl.DataFrame:
        """Return the records with that value, as they stand or stood."""
        table = entity.table if self.as_of is None else f"{entity.table}_as_of($by)"
        by = {} if self.as_of is None else {"by": self.as_of}
        types = pl.Schema({field.name: field.type.dtype for field in entity.fields})
        return query(self.con, f"SELECT * FROM {table} AS t WHERE t.{field} = $value", {"value": value, **by}).cast(types)

    def _nothing(self, category: str | None) -> str:
        """Say what to look for when the id was never named."""
        where = f"as a {category}" if category else "as a client, loan, payment or deposit"
        words = f"nothing is known of {self.id!r} {where}: no line of a drop in the warehouse names it so."
        if self._categories():
            return f"{words} It is known as a {' and a '.join(sorted(self._categories()))}: leave --category out."
        similar = self._rows(
            "SELECT DISTINCT entity_id FROM events WHERE length(entity_id) <= 200 AND "
            "jaro_winkler_similarity(lower(trim(entity_id)), lower(trim($id))) >= 0.9 "
            f"ORDER BY jaro_winkler_similarity(lower(trim(entity_id)), lower(trim($id))) DESC, entity_id LIMIT {_SIMILAR_SHOWN}"
        )
        if similar:
            words += f" Much like it: {', '.join(repr(row['entity_id']) for row in similar)}."
        return (
            f"{words} Look whether the id is written as its sender writes it (capitals and spaces count), and with "
            "`nightdrop drops` whether its drop came, or is held, duplicate or withdrawn."
        )

    def _rows(self, sql: str, **parameters: Any) -> list[dict[str, Any]]:
        return query(self.con, sql, {"id": self.id, **parameters}).rows(named=True)


def _order(row: dict[str, Any]) -> tuple[Any, ...]:
    return row["business_date"], path_key(row["path"]), row["line"]


def _by_position(rows: Sequence[dict[str, Any]]) -> dict[Position, list[dict[str, Any]]]:
    found: dict[Position, list[dict[str, Any]]] = defaultdict(list)
    for row in rows:
        found[position_of(row)].append(row)
    return found


def _parent_of(refused: dict[str, Any]) -> str:
    """Return the category that a refusal like `client_unknown` is about."""
    return str(refused["code"].rpartition("_")[0])


def _cause(row: dict[str, Any]) -> Position | None:
    line = row.get("cause_line")
    return None if line is None else Position(row["cause_date"], row["cause_path"], line)


def _finding(row: dict[str, Any], causes: dict[Position, str]) -> Finding:
    cause = _cause(row)
    return Finding(row["code"], row["field"], row["value"], row["message"], cause, causes.get(cause) if cause else None)


def _correction(row: dict[str, Any]) -> Correction:
    return Correction(row["sha256"], row["its_line"], row["submitted_at"])


def _why_not(reasons: Sequence[Finding]) -> str | None:
    """Say in a sentence or two why an event was rejected."""
    if not reasons:
        return None
    told = dict.fromkeys(f" It follows from {r.cause}, which was rejected: {r.cause_message}." for r in reasons if r.cause)
    return "; ".join(reason.message for reason in reasons) + "." + "".join(told)
