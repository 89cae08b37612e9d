"""For every rule an event that breaks it, and the words a night finds for it: a real run in a home of its own, no copy of them.

Each event is a sound one of its category with the example of its rule put over it.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipelines import database
from pipelines.home import Home, Settings
from pipelines.night import run_night
from validation.catalogue import RuleEntry, catalogue
from validation.entities import ENTITIES
from validation.fields import STEP, Entity
from validation.rulebook import RuleBook
from validation.rules import Rule

Fields = dict[str, Any]

_DAY = "2026-11-16"
_LINES, _CELLS, _JOURNAL = f"{_DAY}/examples.jsonl", f"{_DAY}/examples.csv", f"{_DAY}/api.jsonl"
_OF_WHOLE_EVENT = {"unknown_field", "empty_update"}
"""Their field is a key nobody knows, or none."""
_SOUND: dict[str, Fields] = {
    "client": {
        "name": "Ann Lee",
        "email": "ann.lee@example.com",
        "phone": "+254712345678",
        "address": "1 Main Street, Nairobi, Kenya",
        "country": "KE",
        "is_company": False,
        "registration_number": "ID-1",
        "gender": "female",
    },
    "loan": {
        "client_id": "PARENT",
        "amount": 1000,
        "currency": "EUR",
        "disbursement_date": "2026-11-16",
        "maturity_date": "2027-11-16",
    },
    "payment": {"loan_id": "PARENT", "amount": 100, "currency": "EUR", "status": "expected", "due_date": "2026-12-16"},
    "deposit": {"client_id": "PARENT", "account_number": "A1", "currency": "EUR"},
}
_BROKEN_LINES: dict[str, bytes] = {
    "line_too_long": b'{"category": "client", "data": {"name": "' + b"A" * 2**20 + b'"}}',
    "invalid_encoding": '{"category": "client", "data": {"name": "José"}}'.encode("latin-1"),
    "malformed_json": b'{"category": "client",',
    "not_an_object": b"[1, 2]",
    "duplicate_key": b'{"category": "client", "data": {"name": "A", "name": "B"}}',
    "unknown_category": b'{"category": "clients", "data": {}}',
    "missing_data": b'{"category": "client"}',
}
_RAGGED = b"step,client_id,name,email\ncreate,C1,Ann\n"


@dataclass(frozen=True, slots=True)
class Broken:
    """One rule and an event that breaks it."""

    code: str
    field: str | None
    example: str
    """What breaks it, for a person: the part of the event, or the line, that matters."""
    when: str
    severity: str
    message: str
    """What the night said."""


@dataclass(slots=True)
class _Drop:
    """The drop of all examples while it is written: one record a line."""

    lines: list[bytes] = field(default_factory=list)

    def add(self, category: str, data: Fields, **envelope: str) -> int:
        return self.add_line(json.dumps({"category": category, **envelope, "data": data}, ensure_ascii=False).encode())

    def add_line(self, line: bytes) -> int:
        """Return the number of the line."""
        self.lines.append(line)
        return len(self.lines)

    @property
    def content(self) -> bytes:
        """The bytes of the file."""
        return b"".join(line + b"\n" for line in self.lines)

    def create(self, entity: Entity, **other: Any) -> str:
        """Add a sound create; return its id."""
        key = f"B{len(self.lines) + 1}"
        self.add(entity.category, {STEP.name: "create", entity.id: key, **_SOUND[entity.category], **other})
        return key


Place = tuple[str, int]
"""Path and line."""
Key = tuple[str, str | None, str]
"""Code, field and example of a rule: within a category no two have them in common."""


class BrokenEvents:
    """An example for every rule, decided once by a night in a temporary home."""

    def __init__(self) -> None:
        self._drop, self._journal = _Drop(), _Drop()
        self._places: dict[tuple[str, Key], tuple[Place, ...]] = {}
        self._book, self._entries = RuleBook.of(), catalogue()
        for entity in ENTITIES.values():
            self._drop.add(entity.category, {STEP.name: "create", entity.id: "PARENT", **_SOUND[entity.category]})
        for entity in ENTITIES.values():
            for rule in (*self._book.event_rules[entity.category], *self._book.record_rules[entity.category]):
                self._places[entity.category, _key(rule)] = self._break(entity, json.loads(rule.example))
            for entry in self._life(entity):
                self._places[entity.category, _entry_key(entry)] = ((_LINES, self._break_life(entity, entry)),)
        for entry in self._of_category("any"):
            raw = _BROKEN_LINES.get(entry.code)
            place = (_CELLS, 2) if raw is None else (_LINES, self._drop.add_line(raw))
            self._places["any", _entry_key(entry)] = (place,)
        self._said = dict(_told({_LINES: self._drop.content, _CELLS: _RAGGED, _JOURNAL: self._journal.content}))

    def lines(self) -> list[Broken]:
        """Return the line reasons."""
        return [self._of_entry(entry) for entry in self._of_category("any")]

    def fields(self, entity: Entity) -> list[Broken]:
        """Return the rules about single fields, field by field, warnings among them."""
        return [self._of_rule(entity, rule) for rule in self._book.event_rules[entity.category]]

    def life(self, entity: Entity) -> list[Broken]:
        """Return the lifecycle rules."""
        return [self._of_entry(entry) for entry in self._life(entity)]

    def between(self, entity: Entity) -> list[Broken]:
        """Return the rules about fields that hang together."""
        return [self._of_rule(entity, rule) for rule in self._book.record_rules[entity.category]]

    def _of_category(self, category: str) -> list[RuleEntry]:
        return [entry for entry in self._entries if entry.category == category]

    def _life(self, entity: Entity) -> list[RuleEntry]:
        rules = {rule.code for of in (self._book.event_rules, self._book.record_rules) for rule in of[entity.category]}
        return [entry for entry in self._of_category(entity.category) if entry.code not in rules]

    def _of_rule(self, entity: Entity, rule: Rule) -> Broken:
        code, name, example = key = _key(rule)
        return Broken(code, name, example, rule.when, rule.severity, self._message(entity.category, key))

    def _of_entry(self, entry: RuleEntry) -> Broken:
        code, name, example = key = _entry_key(entry)
        return Broken(code, name, example, entry.when, entry.severity, self._message(entry.category, key))

    def _message(self, category: str, key: Key) -> str:
        """Return what the night said of an example. Raises ValueError when the example does not break its rule."""
        code, name, example = key
        for place in self._places[category, key]:
            said = self._said.get(place, {})
            found = [words for (its_code, its_field), words in said.items() if its_code == code and name in (None, its_field)]
            if len(found) == 1:
                return found[0]
        raise ValueError(f"the example {example!r} of {code} of {category}.{name} does not break it; it gives {list(said)}")

    def _break(self, entity: Entity, example: Fields) -> tuple[Place, ...]:
        """Add an event that breaks a rule; return where it stands: in a drop, and for the rules of the API in its journal too."""
        if example.get(STEP.name) == "update":
            data = {STEP.name: "update", entity.id: self._drop.create(entity), **example}
            return ((_LINES, self._drop.add(entity.category, data)),)
        step = {} if not example else {STEP.name: "create"}
        number, sound = len(self._drop.lines) + 1, {**step, **_SOUND[entity.category]}
        line = self._drop.add(entity.category, {entity.id: f"B{number}", **sound, **example})
        through_api = self._journal.add(entity.category, {entity.id: f"A{number}", **sound, **example}, channel="api")
        return (_LINES, line), (_JOURNAL, through_api)

    def _break_life(self, entity: Entity, entry: RuleEntry) -> int:
        """Add the events that lead to a lifecycle reason; return the line of the last. X1 is made and deleted, X9 never there."""
        what = entry.code.rpartition("_")[2]
        create = {STEP.name: "create", entity.id: "X1", **_SOUND[entity.category]}
        if not entry.code.startswith(f"{entity.category}_"):
            orphan = {entity.id: "NEW", str(entity.parent_id): "X1" if what == "deleted" else "X9"}
            return self._drop.add(entity.category, {**create, **orphan})
        delete = {STEP.name: "delete", entity.id: "X1"}
        twice = {"exists": create, "deleted": delete, "unknown": {STEP.name: "update", entity.id: "X9"}}[what]
        self._drop.add(entity.category, twice)
        return self._drop.add(entity.category, twice)


def _key(rule: Rule) -> Key:
    return rule.code, rule.field if rule.code not in _OF_WHOLE_EVENT else None, rule.example


def _entry_key(entry: RuleEntry) -> Key:
    return entry.code, entry.fields[0] if entry.fields else None, entry.example


def _told(drops: dict[str, bytes]) -> Iterator[tuple[Place, dict[tuple[str, str | None], str]]]:
    """Yield the place of each record of which a night says something, and its messages by code and field."""
    with tempfile.TemporaryDirectory(prefix="nightdrop-examples-") as folder:
        home = Home(Path(folder))
        (home.inbox / _DAY).mkdir(parents=True)
        for path, content in drops.items():
            (home.inbox / path).write_bytes(content)
        run_night(home, Settings(hold_above=1.0))
        con = database.connect(home.warehouse, read_only=True)
        columns = "path, line, code, field, message"
        rows = con.execute(f"SELECT {columns} FROM rejections UNION ALL SELECT {columns} FROM warnings").fetchall()
        con.close()
    said: dict[Place, dict[tuple[str, str | None], str]] = {}
    for path, line, code, name, message in rows:
        said.setdefault((path, line), {})[code, name] = message
    yield from said.items()
