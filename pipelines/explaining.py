"""Tell the story of one record: every event about it, what was decided and why, and which line each field's value came from.

Reads the published warehouse, the event log and the archive. Takes no lock, changes nothing, so it may run beside a night.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence, Set
from contextlib import suppress
from dataclasses import dataclass
from datetime import date, datetime
from itertools import takewhile
from typing import Any, Literal, NamedTuple

import duckdb
import polars as pl

from pipelines.archive import Archive
from pipelines.checking import check
from pipelines.database import connect, query
from pipelines.discovery import drop_format, path_key
from pipelines.eventlog import CHOSEN, FIXES, EventLog
from pipelines.home import Home, Settings
from pipelines.problems import DropHeldError, NightdropError, UsageError
from pipelines.reading import read_chunks
from pipelines.sources import ANYBODY, Sources
from validation.entities import ENTITIES
from validation.fields import Entity
from validation.rulebook import RuleBook

How = Literal["sent", "default", "absent", "unknown"]
"""How a record came to a value: a line sent it (null too), its create left the field out and it took the default or stayed
null, or neither log nor archive has the line any more."""
_SIMILAR_SHOWN = 5
_ANY_FORM = RuleBook.of({"individual": "(?s).*", "company": "(?s).*"})
"""To read values that were judged before: what settings say of registration numbers does not matter."""


class Position(NamedTuple):
    """Where an event stands."""

    business_date: date
    path: str
    line: int

    def __str__(self) -> str:
        return f"line {self.line} of {self.path} ({self.business_date})"


@dataclass(frozen=True, slots=True)
class Finding:
    """One reason or warning. `cause` is the rejected create that a refusal follows from, with what was wrong with that."""

    code: str
    field: str | None
    value: str | None
    message: str
    cause: Position | None = None
    cause_message: str | None = None


@dataclass(frozen=True, slots=True)
class Flip:
    """A verdict that a later run changed, and the drop whose coming or going changed it."""

    run_id: str
    was: str | None
    now: str | None
    because_path: str | None


@dataclass(frozen=True, slots=True)
class Correction:
    """The line of a resubmitted file that stands in for the original one."""

    sha256: str
    its_line: int
    submitted_at: datetime


@dataclass(frozen=True, slots=True)
class Told:
    """One event of the story. Not known: `sent` None."""

    position: Position
    step: str | None
    verdict: str
    decided_at: datetime
    sent: dict[str, Any] | None
    """Field -> value, its id aside; of an event that passes the event rules."""
    raw: bytes | None
    """The exact line of a rejected event."""
    reasons: tuple[Finding, ...]
    warnings: tuple[Finding, ...]
    why_not: str | None
    flips: tuple[Flip, ...]
    replaced_by: Correction | None


@dataclass(frozen=True, slots=True)
class FieldStory:
    """A field's value and where it came from. `how` unknown: the business date since when it holds, without path and line."""

    name: str
    value: Any
    how: How
    business_date: date | None
    path: str | None
    line: int | None


@dataclass(frozen=True, slots=True)
class Relative:
    """A record that this one hangs on (`parent`) or that hangs on this one; one that was never created has no dates."""

    parent: bool
    category: str
    id: str
    created_on: date | None
    deleted_on: date | None


@dataclass(frozen=True, slots=True)
class Refused:
    """An event about another record that was rejected because this one was unknown or deleted."""

    position: Position
    category: str
    step: str
    id: str
    code: str


@dataclass(frozen=True, slots=True)
class Chapter:
    """The story of the id in one category. No `fields`: it was never created (by then)."""

    category: str
    created_on: date | None
    updated_on: date | None
    deleted_on: date | None
    fields: tuple[FieldStory, ...]
    events: tuple[Told, ...]
    later: int
    """Events after the business date that was asked for."""
    relatives: tuple[Relative, ...]
    refused: tuple[Refused, ...]


@dataclass(frozen=True, slots=True)
class Story:
    """All that is known of an id."""

    id: str
    as_of: date | None
    chapters: tuple[Chapter, ...]


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

    def __init__(self, home: Home, con: duckdb.DuckDBPyConnection, entity_id: str, as_of: date | None, senders: Sources) -> None:
        self.senders = senders
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
        self.flips = _by_position(self._rows(f"SELECT * FROM verdict_changes {about} ORDER BY run_id"))
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
        sendings = _Senders(self.home, self.con, entity, self.id, self.senders).sendings(events, self.corrections)
        record = next(self._records(entity, entity.id, self.id).iter_rows(named=True), None)
        causes = self._reasons_of_causes(events)
        told = tuple(self._told(entity, event, sendings.get(_position(event)), causes) for event in events)
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
            refused=tuple(Refused(_position(r), r["category"], r["step"], r["entity_id"], r["code"]) for r in refused),
        )

    def _by_then(self, row: dict[str, Any]) -> bool:
        return self.as_of is None or row["business_date"] <= self.as_of

    def _told(self, entity: Entity, event: dict[str, Any], sending: _Sending | None, causes: dict[Position, str]) -> Told:
        here = _position(event)
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
        rows = [row for event in events for row in self.reasons[_position(event)]]
        places = [cause for cause in map(_cause, rows) if cause]
        if not places:
            return {}
        found = query(
            self.con,
            "SELECT r.business_date, r.path, r.line, string_agg(r.message, '; ' ORDER BY r.code, r.field) AS words "
            "FROM rejections AS r SEMI JOIN causes USING (business_date, path, line) GROUP BY ALL",
            causes=pl.DataFrame(places, schema=["business_date", "path", "line"], orient="row").unique(),
        )
        return {_position(row): row["words"] for row in found.iter_rows(named=True)}

    def _fields(
        self, entity: Entity, record: dict[str, Any], events: Sequence[dict[str, Any]], sendings: dict[Position, _Sending]
    ) -> tuple[FieldStory, ...]:
        """Return each field with the last applied line that sent it."""
        sources: dict[str, tuple[How, Position, Any]] = {}
        for event in events:
            if event["verdict"] != "applied" or event["step"] == "delete":
                continue
            here, sending = _position(event), sendings.get(_position(event))
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


@dataclass(frozen=True, slots=True)
class _Sending:
    """What one sound event sent, and the defaults that fill a create."""

    sent: dict[str, Any]
    defaults: dict[str, Any]

    @classmethod
    def of(cls, entity: Entity, row: dict[str, Any]) -> _Sending:
        """Read it out of a row of the log (columns `event_schema`)."""
        if row["step"] == "delete":  # it ignores what else it sends
            return cls({entity.id: row[entity.id]}, {})
        sent = {name: row[name] for bit, name in enumerate(entity.names, start=1) if row["sent"] >> bit & 1}
        unsent = [field for field in entity.fields if field.default is not None and field.name not in sent]
        return cls(sent, {field.name: field.default for field in unsent} if row["step"] == "create" else {})


class _Senders:
    """Finds what events of one id sent: in the log, and in the archive what was resubmitted or what the log has lost."""

    def __init__(self, home: Home, con: duckdb.DuckDBPyConnection, entity: Entity, entity_id: str, sources: Sources) -> None:
        self.sources = sources
        self.con, self.entity, self.id = con, entity, entity_id
        self.log, self.archive = EventLog(home.log), Archive(home.archive)

    def sendings(
        self, events: Sequence[dict[str, Any]], corrections: dict[Position, list[dict[str, Any]]]
    ) -> dict[Position, _Sending]:
        """Return what each event sent; nothing of those that break an event rule or that are found nowhere."""
        editions = self._editions(events)
        found = self._logged(editions)
        for day, path, sha256, part in editions.select("business_date", "path", "sha256", "part").iter_rows():
            # A refused line is not in the log when it breaks an event rule; an applied one must be.
            mine = [_position(e) for e in events if e["path"] == path and (part is None or e["verdict"] == "applied")]
            lost = {here.line for here in mine if here not in found and not corrections[here]}
            found |= {Position(day, path, row["line"]): row for row in self._archived(sha256, path, lost)}
        for here in map(_position, events):
            for row in corrections[here][-1:]:
                found.pop(here, None)  # what the original sent does not stand
                mended = self._archived(row["sha256"], here.path, {row["its_line"]}, packed=False)
                found |= dict(zip([here], mended, strict=False))
        return {here: _Sending.of(self.entity, row) for here, row in found.items()}

    def _editions(self, events: Sequence[dict[str, Any]]) -> pl.DataFrame:
        """Return the drops of the events with the part of the log that has them (null: none), columns `CHOSEN` and more."""
        paths = pl.DataFrame({"path": sorted({event["path"] for event in events})}, schema={"path": pl.String()})
        drops = query(
            self.con,
            "SELECT business_date, path, sha256 FROM drops SEMI JOIN paths USING (path) WHERE status = 'applied' ORDER BY path",
            paths=paths,
        )
        last = "SELECT rule_set FROM runs WHERE state = 'done' AND rule_set IS NOT NULL ORDER BY started_at DESC LIMIT 1"
        rule_set = query(self.con, last)["rule_set"]
        logged = self.log.editions(rule_set[0] if len(rule_set) else "").unique(["path", "sha256"], keep="last")
        return (
            drops.join(logged, on=["path", "sha256"], how="left", maintain_order="left")
            .with_row_index("rank")
            .with_columns(pl.col("rank").cast(pl.Int64))
        )

    def _logged(self, editions: pl.DataFrame) -> dict[Position, dict[str, Any]]:
        chosen = editions.filter(pl.col("part").is_not_null())
        logged = self.log.read(chosen.select(*CHOSEN), pl.DataFrame(schema=FIXES))
        rows = logged.having(self.entity.category, self.entity.id, pl.Series([self.id])).iter_rows(named=True)
        paths = editions["path"].to_list()
        return {Position(row["business_date"], paths[row["rank"]], row["line"]): row for row in rows}

    def _archived(self, sha256: str, path: str, lines: Set[int], *, packed: bool = True) -> Iterator[dict[str, Any]]:
        """Yield the events on those lines of archived bytes that are about the id; none where the bytes cannot be read.

        They are of the drop of that path, or (`packed` false) of a file that corrects it.
        """
        shape = drop_format(path)
        if not lines or shape is None:
            return
        compression, dialect = shape[1] if packed else None, self.sources.dialect_of(path)
        with suppress(NightdropError, DropHeldError), self.archive.open_bytes(sha256, compression) as stream:
            for chunk in read_chunks(stream, shape[0], chunk_bytes=Settings().chunk_bytes, as_it_is=True, dialect=dialect):
                sheet = chunk.sheets.get(self.entity.category)
                if sheet is None or sheet.filter(pl.col("line").is_in(lines)).is_empty():
                    continue
                drop = pl.lit(0, dtype=pl.UInt32).alias("drop")
                mine = sheet.filter(pl.col("line").is_in(lines)).with_columns(drop)
                checked = check({self.entity.category: mine}, chunk.unread.clear().with_columns(drop), _ANY_FORM)
                yield from checked.events[self.entity.category].filter(pl.col(self.entity.id) == self.id).iter_rows(named=True)


def _order(row: dict[str, Any]) -> tuple[Any, ...]:
    return row["business_date"], path_key(row["path"]), row["line"]


def _position(row: dict[str, Any]) -> Position:
    return Position(row["business_date"], row["path"], row["line"])


def _by_position(rows: Sequence[dict[str, Any]]) -> dict[Position, list[dict[str, Any]]]:
    found: dict[Position, list[dict[str, Any]]] = defaultdict(list)
    for row in rows:
        found[_position(row)].append(row)
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
