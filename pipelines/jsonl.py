"""One line of JSONL read exactly: an event as sent, or the line reason it has. Pure."""

from __future__ import annotations

from functools import cache

from pipelines.journals import API, CHANNEL
from pipelines.jsontext import Members, Number, Value, is_json, parse, text_of
from pipelines.sheets import MAX_RECORD, Event, Unread
from validation.entities import ENTITIES
from validation.fields import Entity

CATEGORIES = {entity.category: entity for entity in ENTITIES.values()}
OTHER_CATEGORIES = {entity.other_category: entity for entity in ENTITIES.values() if entity.other_category}
KIND_FIELD = "kind"
_JSON_TYPES: dict[type, str] = {str: "string", Number: "number", bool: "boolean", Members: "object", list: "array"}


def read_line(line: bytes, *, journal: bool = False) -> Event | Unread:
    """Return what a line, given without its line end, says; the first line reason that applies (contract section 3).

    In the API's `journal` the envelope of a client's event may name its channel.
    """
    if len(line) > MAX_RECORD:
        return Unread("line_too_long")
    try:
        text = line.decode()
    except UnicodeDecodeError:
        return Unread("invalid_encoding")
    try:
        envelope = parse(text)
    except ValueError:
        return Unread("malformed_json")
    if not isinstance(envelope, Members):
        return Unread("not_an_object")
    return _read_envelope(envelope, journal)


def is_whole(line: bytes) -> bool:
    """Tell whether an unterminated last line is valid JSON, and so not cut off."""
    if len(line) > MAX_RECORD:
        return is_json(line)
    read = read_line(line)
    return isinstance(read, Event) or read.code not in ("invalid_encoding", "malformed_json")


def _read_envelope(envelope: Members, journal: bool) -> Event | Unread:
    top = dict(envelope)
    data = top.get("data")
    doubled = _doubled_key(envelope)
    if doubled is None and isinstance(data, Members):
        doubled = _doubled_key(data)
    if doubled is not None:
        return Unread("duplicate_key", value=doubled)

    sent_category = top.get("category")
    kinds = [top.get(KIND_FIELD), dict(data).get(KIND_FIELD) if isinstance(data, Members) else None]
    entity = entity_of(sent_category, kinds)
    if entity is None:
        return Unread("unknown_category", value=_category_as_sent(top))
    if not isinstance(data, Members):
        return Unread("missing_data", category=entity.category)

    kind = {KIND_FIELD} if sent_category in OTHER_CATEGORIES else set()
    channel = API if journal and entity.api_required and top.get(CHANNEL) == API else None
    read_here = {"category", "data", *kind, *({CHANNEL} if channel else ())}
    unknown = [(key, text_of(value)) for key, value in envelope if key not in read_here]
    wanted = json_types(entity.category)
    texts, wrong = {}, []
    for key, value in data:
        if key in wanted:
            texts[key] = text_of(value)
            if value is not None and _JSON_TYPES[type(value)] != wanted[key]:
                wrong.append(key)
        elif key not in kind:
            unknown.append((key, text_of(value)))
    return Event(entity.category, texts, tuple(wrong), tuple(unknown), channel)


@cache
def json_types(category: str) -> dict[str, str]:
    """Return per spelling of a category the JSON type that its field wants."""
    entity = ENTITIES[category]
    return {name: entity.field(name).type.json for name in entity.spellings}


def entity_of(category: Value, kinds: list[Value]) -> Entity | None:
    """Return the entity that a category names; a `disbursement` is a loan unless some kind says otherwise."""
    if type(category) is not str:
        return None
    if category in OTHER_CATEGORIES:
        is_loan = all(kind is None or (type(kind) is str and kind == "loan") for kind in kinds)
        return OTHER_CATEGORIES[category] if is_loan else None
    return CATEGORIES.get(category)


def _category_as_sent(top: dict[str, Value]) -> str | None:
    sent = top.get("category")
    return text_of(sent) if sent is not None or "category" not in top else "null"


def _doubled_key(members: Members) -> str | None:
    """Return the first key that comes a second time."""
    seen = set()
    for key, _ in members:
        if key in seen:
            return key
        seen.add(key)
    return None
