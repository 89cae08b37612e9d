"""What a sound value of a field looks like: ids, choices, dates, amounts, and the fields known by their name. Pure.

Source of every rule: the contract's section 3, "Event rules".
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import polars as pl

from validation import phones, reference
from validation.emails import is_email, why_not
from validation.fields import Entity, Field, FieldType
from validation.rules import TYPED, Rule, flagged
from validation.values import DIGITS, LARGEST_INTEGER

LONGEST_ID = 128
ABOVE_ZERO = ("amount", "principal")
NOT_BELOW_ZERO = ("expected_margin", "interest_rate", "fee")
ODD = pl.col("odd")
"""False only where no text is empty or longer than `LONGEST_ID`, has white space at either end or a control character."""
_KEPT_WHEN_SURE = ("invalid_email", "invalid_phone", "incomplete_address")
"""The rules that no text breaks whose bit in `sure` is set."""
_EDGE_SPACE = r"^\p{White_Space}|\p{White_Space}$"


def form_rules(entity: Entity, field: Field) -> Iterable[Rule]:
    """Yield the rules about what a field's value may be, for a frame of events as sent."""
    name, text = field.name, pl.col(field.name)
    if name in (entity.id, entity.parent_id):
        yield Rule(
            "invalid_id",
            name,
            text.str.contains(_EDGE_SPACE) | (text.str.len_chars() > LONGEST_ID),
            f"white space at either end, or over {LONGEST_ID} characters",
            f'{{"{name}": " X1"}}',
            f'{name} "{{value}}" has white space at an end or over {LONGEST_ID} characters; wanted it without',
            suspect=ODD,
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
    unsure = text.is_not_null() & ~flagged("sure", entity.names.index(name) + 1)
    for rule in _FORMS.get(name, ()):
        yield replace(rule, suspect=unsure) if rule.code in _KEPT_WHEN_SURE else rule


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
            ~pl.col("address").str.contains(r"\p{Nd}") | ~pl.col("address").str.contains(",[^,]*,"),
            "no digit, or fewer than two commas",
            '{"address": "Main Street, Nairobi"}',
            'address "{value}" looks incomplete; wanted a number, and street, town, country with commas between; kept as it is',
            severity="warning",
        ),
    ),
}
"""The forms of fields that are known by their name."""
