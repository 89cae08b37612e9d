"""The rules that look at an event alone, made for every field from its declaration. Pure.

They stand over a frame of events as sent: `step`, each field as the text sent (null when absent or null), `typed.<field>` where a
field is no text, the `channel` that it came through, the masks `sent`, `wrong`, `conflict`, whose bit 0 is `step` and bit i the
entity's i-th field, and `odd`: false only where no text is empty or longer than 128 bytes, has white space at either end or a
control character.
Source of every rule: the contract's section 3, "Event rules".
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING

import polars as pl

from validation import phones, reference
from validation.emails import is_email, why_not
from validation.fields import STEP, Entity, Field, FieldType
from validation.rules import TYPED, Rule, any_of, schema
from validation.values import DIGITS, LARGEST_INTEGER

if TYPE_CHECKING:
    import pandera.polars as pa

LONGEST_ID = 128
_ZERO = pl.lit(0, dtype=pl.UInt64)
_BLANK = r"^\p{White_Space}*$"
_CONTROL = r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]"
_EDGE_SPACE = r"^\p{White_Space}|\p{White_Space}$"
_ODD = pl.col("odd")
UNKNOWN = pl.List(pl.Struct({"name": pl.String, "value": pl.String}))
"""Type of the column that holds the fields a category does not know."""
_IS_DELETE = (pl.col(STEP.name) == "delete").fill_null(False)

ABOVE_ZERO = ("amount", "principal")
NOT_BELOW_ZERO = ("expected_margin", "interest_rate", "fee")


def flagged(mask: str, bit: int) -> pl.Expr:
    """Return whether that bit of a mask column is set."""
    return (pl.col(mask) & pl.lit(1 << bit, dtype=pl.UInt64)) != _ZERO


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
    for rule in _form_rules(entity, field):
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
        f"{field.name} is {{value}}; wanted {_article(field)}",
    )


def _blank_value(field: Field) -> Rule:
    return Rule(
        "blank_value",
        field.name,
        pl.lit(False),
        "empty or only white space",
        f'{{"{field.name}": " "}}',
        f'{field.name} is blank ("{{value}}"); wanted {_article(field)} with something in it, or no field',
        suspect=_ODD,
    )


def _invalid_characters(field: Field) -> Rule:
    return Rule(
        "invalid_characters",
        field.name,
        pl.lit(False),
        "holds a control character other than tab, CR, LF",
        f'{{"{field.name}": "a\\u0000b"}}',
        f"{field.name} holds a control character; wanted text with none but tab, CR and LF",
        suspect=_ODD,
    )


def _form_rules(entity: Entity, field: Field) -> Iterable[Rule]:
    """Yield the rules about what a field's value may be."""
    name, text = field.name, pl.col(field.name)
    if name in (entity.id, entity.parent_id):
        yield Rule(
            "invalid_id",
            name,
            text.str.contains(_EDGE_SPACE) | (text.str.len_chars() > LONGEST_ID),
            f"white space at either end, or over {LONGEST_ID} characters",
            f'{{"{name}": " X1"}}',
            f'{name} "{{value}}" has white space at an end or over {LONGEST_ID} characters; wanted it without',
            suspect=_ODD,
        )
    if field.choices:
        wanted = ", ".join(field.choices)
        yield Rule(
            "invalid_choice",
            name,
            ~text.is_in(field.choices),
            f"not one of {wanted}" + (f" (default {field.default})" if field.default else ""),
            f'{{"{name}": "nonsense"}}',
            f'{name} "{{value}}" is no choice; wanted one of {wanted}',
        )
    if field.type is FieldType.DATE:
        yield Rule(
            "invalid_date",
            name,
            text.is_not_null() & pl.col(TYPED + name).is_null(),
            "not YYYY-MM-DD or YYYYMMDD, alone or with a time",
            f'{{"{name}": "31.12.2026"}}',
            f'{name} "{{value}}" is no date; wanted YYYY-MM-DD, such as 2026-12-31',
        )
    if field.type.is_number:
        yield _invalid_amount(field)
    yield from _FORMS.get(name, ())


def _invalid_amount(field: Field) -> Rule:
    name = field.name
    text, value = pl.col(name), pl.col(TYPED + name)
    broken = text.is_not_null() & value.is_null()
    if field.type is FieldType.INTEGER:
        wanted, example = f"digits only, from 1 to {LARGEST_INTEGER}", "0"
    else:
        before, after = DIGITS[field.type]
        wanted = f"at most {before} digits before the point and {after} after it"
        example = "1." + "1" * (after + 1)
        if name in ABOVE_ZERO:
            broken, wanted, example = broken | (value <= 0), f"a number above 0 with {wanted}", "0"
        elif name in NOT_BELOW_ZERO:
            broken, wanted, example = broken | (value < 0), f"a number not below 0 with {wanted}", "-1"
        else:
            wanted = f"a number with {wanted}"
    return Rule(
        "invalid_amount",
        name,
        broken,
        f"not {wanted}",
        f'{{"{name}": {example}}}',
        f"{name} is {{value}}; wanted {wanted}",
    )


def _currency_rule() -> Rule:
    return Rule(
        "invalid_currency",
        "currency",
        ~pl.col("currency").is_in(list(reference.currencies())),
        "not an ISO 4217 code",
        '{"currency": "EURO"}',
        'currency "{value}" is no ISO 4217 code{suggestion}; wanted three capitals, such as EUR',
        suggest=reference.suggest_currency,
    )


_HAS_FORM = pl.col("phone").str.contains(phones.FORM)
_IS_PLAUSIBLE = pl.col("phone").map_batches(phones.is_plausible, return_dtype=pl.Boolean())
_TWO_COMMAS = pl.col("address").str.contains(",[^,]*,")

_FORMS: dict[str, tuple[Rule, ...]] = {
    "currency": (_currency_rule(),),
    "email": (
        Rule(
            "invalid_email",
            "email",
            ~pl.col("email").map_batches(is_email, return_dtype=pl.Boolean()),
            "email-validator refuses it (default options, syntax only)",
            '{"email": "john.doe@"}',
            'email "{value}" is no address{suggestion}; wanted one such as john.doe@example.com',
            suggest=why_not,
        ),
    ),
    "phone": (
        Rule(
            "invalid_phone",
            "phone",
            ~_HAS_FORM,
            "not +, a digit 1-9, then 6 to 14 digits",
            '{"phone": "0712 345 678"}',
            'phone "{value}" is not in E.164 form; wanted +, the country code and the number, such as +254712345678',
        ),
        Rule(
            "implausible_phone",
            "phone",
            _HAS_FORM & ~_IS_PLAUSIBLE,
            "libphonenumber calls it not a valid number",
            '{"phone": "+1234567890"}',
            "phone {value} has the right form, but no such number exists by libphonenumber; kept as it is",
            severity="warning",
            suspect=~_IS_PLAUSIBLE,
        ),
    ),
    "country": (
        Rule(
            "invalid_country",
            "country",
            ~pl.col("country").is_in(list(reference.countries())),
            "not an ISO 3166-1 alpha-2 code in capitals",
            '{"country": "UK"}',
            'country "{value}" is no ISO 3166-1 alpha-2 code{suggestion}; wanted two capitals, such as GB',
            suggest=reference.suggest_country,
        ),
    ),
    "address": (
        Rule(
            "incomplete_address",
            "address",
            ~pl.col("address").str.contains(r"\p{Nd}") | ~_TWO_COMMAS,
            "no digit, or fewer than two commas",
            '{"address": "Main Street, Nairobi"}',
            'address "{value}" looks incomplete; wanted a number, and street, town, country with commas between; kept as it is',
            severity="warning",
            suspect=~pl.col("address").str.contains("[0-9]") | ~_TWO_COMMAS,
        ),
    ),
}
"""The forms of fields that are known by their name."""


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
        (pl.col(STEP.name) == "update").fill_null(False) & ((pl.col("sent") & pl.lit(beyond_id, dtype=pl.UInt64)) == _ZERO),
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
