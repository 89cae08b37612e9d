"""The rules that look at an event alone, made for every field from its declaration. Pure.

They stand over a frame of events as sent: `step`, each field as the text sent (null when absent or null), `typed.<field>` where a
field is no text, the `channel` that it came through, the masks `sent`, `wrong`, `sure`, `conflict`, whose bit 0 is `step` and bit
i the entity's i-th field (`sure`: its text surely has the form of its field; a bit not set says nothing), and `odd`: false only
where no text is empty or longer than 128 bytes, has white space at either end or a control character.
Source of every rule: the contract's section 3, "Event rules".
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING

import polars as pl

from validation.fields import STEP, Entity, Field, FieldType
from validation.forms import ODD, form_rules
from validation.rules import Rule, any_of, bits, flagged, schema

if TYPE_CHECKING:
    import pandera.polars as pa

_BLANK = r"^\p{White_Space}*$"
_CONTROL = r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]"
UNKNOWN = pl.List(pl.Struct({"name": pl.String, "value": pl.String}))
"""Type of the column that holds the fields a category does not know."""
_IS_DELETE = (pl.col(STEP.name) == "delete").fill_null(False)


def event_schema(entity: Entity) -> pa.DataFrameSchema:
    """Return the schema of an entity's events as sent: every event rule of every field, warnings among them."""
    rules = [*_step_rules()]
    for bit, field in enumerate(entity.fields, start=1):
        rules += _field_rules(entity, field, bit)
    rules += [_UNKNOWN_FIELD, _empty_update(entity)]
    columns: dict[str, pl.DataType] = {name: pl.String() for name in (STEP.name, *entity.names)}
    columns |= {"unknown": UNKNOWN, "sent": pl.UInt64()}
    return schema(f"{entity.category} event", columns, rules)


def _step_rules() -> Iterable[Rule]:
    step, wrong = pl.col(STEP.name), flagged("wrong", 0)
    wanted = ", ".join(STEP.choices)
    yield Rule(
        "missing_field",
        STEP.name,
        step.is_null() & ~wrong,
        "always required, absent or null",
        "{}",
        f"step is missing; wanted one of {wanted}",
    )
    yield _wrong_type(STEP, wrong)
    yield Rule(
        "unknown_step",
        STEP.name,
        ~step.is_in(STEP.choices).fill_null(True) & ~wrong,
        f"step is not one of {wanted}",
        '{"step": "upsert"}',
        f'step "{{value}}" is unknown; wanted one of {wanted}',
    )


def _field_rules(entity: Entity, field: Field, bit: int) -> Iterable[Rule]:
    is_id = field.name == entity.id
    judged = pl.lit(True) if is_id else ~_IS_DELETE
    text = pl.col(field.name)

    if is_id or field.required or field.name in entity.api_required:
        yield _missing_field(entity, field, bit)

    alone: list[pl.Expr] = []

    def standing_alone(rule: Rule, found: pl.Expr) -> Rule:
        """Make a rule that silences the field's later ones."""
        broken = judged & found & ~any_of(alone)
        alone.append(found)
        return _with(rule, broken)

    if field.alias:
        conflict = Rule(
            "conflicting_alias",
            field.name,
            pl.lit(False),
            f"{field.name} and {field.alias} are both sent with different values",
            f'{{"{field.name}": {_sample(field)}, "{field.alias}": null}}',
            f"{field.name} and its other spelling {field.alias} differ; wanted one of them, or equal values",
        )
        yield standing_alone(conflict, flagged("conflict", bit))
    yield standing_alone(_wrong_type(field, pl.lit(False)), flagged("wrong", bit))
    if field.type.is_string:
        yield standing_alone(_blank_value(field), text.str.contains(_BLANK).fill_null(False))
        yield standing_alone(_invalid_characters(field), text.str.contains(_CONTROL).fill_null(False))
    for rule in form_rules(entity, field):
        suspect = rule.broken if rule.suspect is None else rule.suspect
        yield replace(rule, broken=judged & rule.broken.fill_null(False) & ~any_of(alone), suspect=suspect)


def _with(rule: Rule, broken: pl.Expr) -> Rule:
    return replace(rule, broken=broken)


def _missing_field(entity: Entity, field: Field, bit: int) -> Rule:
    sent, conflict = flagged("sent", bit), flagged("conflict", bit)
    missing = pl.col(field.name).is_null() & ~flagged("wrong", bit) & ~conflict
    step = pl.col(STEP.name)
    if field.name == entity.id:
        broken, when = missing, "always required, absent or null"
    else:
        broken = missing & ((step == "create") | ((step == "update") & sent)).fill_null(False) & _is_required(entity, field)
        when = "required on create, absent or null; or an update sets it to null"
        if field.required != (field.name in entity.api_required) and entity.api_required:
            when += "; not through the API" if field.required else "; through the API only"
    return Rule(
        "missing_field",
        field.name,
        broken,
        when,
        f'{{"{field.name}": null}}',
        f"{field.name} is missing; wanted {_article(field)} ({field.comment})",
    )


def _is_required(entity: Entity, field: Field) -> pl.Expr:
    """Return whether events ask for a field: those that came through the API have a required set of their own."""
    if not entity.api_required or field.required == (field.name in entity.api_required):
        return pl.lit(True)
    through_api = pl.col("channel").is_not_null()
    return pl.when(through_api).then(field.name in entity.api_required).otherwise(field.required)


def _wrong_type(field: Field, broken: pl.Expr) -> Rule:
    sample = "5" if field.type.is_string else '"5"'
    return Rule(
        "wrong_type",
        field.name,
        broken,
        f"the JSON type is not {field.type.json}",
        f'{{"{field.name}": {sample}}}',
        f"{field.name} is {{value}}{{suggestion}}; wanted {_article(field)}",
        suggest=lambda value: _other_type(field, value),
    )


_NUMBER = re.compile(r"(-?)0*([0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?)", re.ASCII)
_LONGEST_PROPOSED = 40
_IN_GROUPS = re.compile(r"-?[0-9]{1,3}(?:,[0-9]{3})+(?:\.[0-9]+)?", re.ASCII)


def _other_type(field: Field, value: str) -> str:
    """Return what can be told of a wrong type from the value's text: a text that has the right form came in quotes."""
    if field.type.is_string:
        return "" if value.startswith(("{", "[")) else ", sent without quotes"
    number = _NUMBER.fullmatch(value) if len(value) <= _LONGEST_PROPOSED else None
    if field.type.is_number:
        if number:
            return f", sent as text; probably {number[1]}{number[2]} without quotes"
        return f"; probably {value.replace(',', '')}" if _IN_GROUPS.fullmatch(value) else ""
    if field.type.json == "boolean" and value.lower() in ("true", "false"):
        return f", sent as text; probably {value.lower()} without quotes"
    return ""


def _blank_value(field: Field) -> Rule:
    return Rule(
        "blank_value",
        field.name,
        pl.lit(False),
        "empty or only white space",
        f'{{"{field.name}": " "}}',
        f'{field.name} is blank ("{{value}}"); wanted {_article(field)} with something in it, or no field',
        suspect=ODD,
    )


def _invalid_characters(field: Field) -> Rule:
    return Rule(
        "invalid_characters",
        field.name,
        pl.lit(False),
        "holds a control character other than tab, CR, LF",
        f'{{"{field.name}": "a\\u0000b"}}',
        f"{field.name} holds a control character; wanted text with none but tab, CR and LF",
        suspect=ODD,
    )


_UNKNOWN_FIELD = Rule(
    "unknown_field",
    "unknown",
    pl.col("unknown").is_not_null() & ~_IS_DELETE,
    "a field its category does not know; kept in the archive, not in the warehouse",
    '{"nickname": "Jo"}',
    "{field} is no field of this category; kept in the archive, not in the warehouse",
    severity="warning",
)


def _empty_update(entity: Entity) -> Rule:
    beyond_id = ((1 << (len(entity.fields) + 1)) - 1) & ~0b11
    return Rule(
        "empty_update",
        "sent",
        (pl.col(STEP.name) == "update").fill_null(False) & ((pl.col("sent") & bits(beyond_id)) == bits(0)),
        "an update that sends nothing but step and id",
        '{"step": "update"}',
        "the update changes nothing; wanted at least one field beside step and id",
        severity="warning",
    )


def _article(field: Field) -> str:
    return {
        "string": "a text" if field.type is FieldType.TEXT else "a date as text",
        "boolean": "true or false",
        "object": "an object",
        "number": "a number",
    }[field.type.json]


def _sample(field: Field) -> str:
    return "100" if field.type.is_number else '"L1"'
