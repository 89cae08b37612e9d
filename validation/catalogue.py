"""The catalogue of all rules, read out of the schemas, so that rules and their documentation cannot part. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from validation.entities import ENTITIES
from validation.fields import Entity
from validation.rulebook import RuleBook
from validation.rules import Rule


@dataclass(frozen=True, slots=True)
class RuleEntry:
    """One reason code of one category."""

    code: str
    category: str
    """`any` for the line reasons, which come before the category is known."""
    fields: tuple[str, ...]
    when: str
    severity: str
    example: str
    """What breaks it: the part of an event, or the line, that matters."""


_LINE_REASONS = (
    ("line_too_long", "the record is over 1 MiB", '{"category": "client", "data": {"name": "AAAA…"}}'),
    ("invalid_encoding", "the record is not UTF-8", "a name in Latin-1"),
    (
        "malformed_json",
        "no JSON: NaN, Infinity, half a surrogate pair and more than 64 levels included",
        '{"category": "client",',
    ),
    ("not_an_object", "JSON, but no object", "[1, 2]"),
    (
        "duplicate_key",
        "a key twice in the envelope or in data, compared after unescaping",
        '{"data": {"name": "A", "name": "B"}}',
    ),
    ("unknown_category", "category is not client, loan, payment, deposit or disbursement", '{"category": "clients"}'),
    ("missing_data", "no object under data", '{"category": "client"}'),
    ("ragged_row", "CSV: cells not as many as the header's, or a lone CR outside quotes", "create,C1,Ann"),
)


def catalogue(rules: RuleBook | None = None) -> list[RuleEntry]:
    """Return every rule, in the order in which an event meets them; one entry a code, category and wording."""
    book = rules or RuleBook.of()
    entries = [RuleEntry(code, "any", (), when, "error", example) for code, when, example in _LINE_REASONS]
    for entity in ENTITIES.values():
        entries += _folded(entity, book.event_rules[entity.category])
        entries += _lifecycle(entity)
        entries += _folded(entity, book.record_rules[entity.category])
    return entries


def _folded(entity: Entity, rules: tuple[Rule, ...]) -> list[RuleEntry]:
    """Fold the rules of several fields that have code and words in common into one entry."""
    entries: dict[tuple[str, str], RuleEntry] = {}
    for rule in rules:
        fields = (rule.field,) if rule.field in ("step", *entity.names) else ()
        known = entries.get((rule.code, rule.when))
        if known:
            fields = (*known.fields, *fields)
        example = known.example if known else rule.example
        entries[rule.code, rule.when] = RuleEntry(rule.code, entity.category, fields, rule.when, rule.severity, example)
    return list(entries.values())


def _lifecycle(entity: Entity) -> list[RuleEntry]:
    category, key = entity.category, entity.id
    entries = [
        RuleEntry(
            f"{category}_exists",
            category,
            (key,),
            "create of an id that was ever created, deleted ones included: ids are never reused",
            "error",
            f'{{"step": "create", "{key}": "X1"}} twice',
        ),
        RuleEntry(
            f"{category}_unknown",
            category,
            (key,),
            "update or delete of an id never created",
            "error",
            f'{{"step": "update", "{key}": "X9"}}',
        ),
    ]
    if entity.parent and entity.parent_id:
        example = f'{{"step": "create", "{entity.parent_id}": "X9"}}'
        after = f'{{"step": "create", "{entity.parent_id}": "X1"}} after the delete of X1'
        unknown, gone = f"{entity.parent}_unknown", f"{entity.parent}_deleted"
        names = (entity.parent_id,)
        entries.append(RuleEntry(unknown, category, names, f"create whose {entity.parent} was never created", "error", example))
        entries.append(RuleEntry(gone, category, names, f"create under a deleted {entity.parent}", "error", after))
    entries.append(
        RuleEntry(
            f"{category}_deleted",
            category,
            (key,),
            f"update or delete of a deleted {category}",
            "error",
            f'{{"step": "delete", "{key}": "X1"}} twice',
        )
    )
    return entries
