"""The judge's rules: one small function each, named by its code, over one event or one record. Pure.

It shares no code with the pipeline on purpose.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from functools import lru_cache
from typing import Any, NamedTuple

import phonenumbers
import pycountry
from email_validator import EmailNotValidError, validate_email
from oracle_reading import Event, LineReason
from oracle_values import (
    ALIASES,
    API_REQUIRED,
    ID,
    NAMES,
    REQUIRED,
    Json,
    JsonArray,
    Num,
    Typed,
    Value,
    as_text,
    date_of,
    number_of,
    string_or_none,
    text_of,
    type_of,
    typed,
)

Record = dict[str, Typed]
Key = tuple[str, str]
Position = tuple[date, str, int]
Row = tuple[Any, ...]

PARENT = {"loan": ("client", "client_id"), "payment": ("loan", "loan_id"), "deposit": ("client", "client_id")}
DEFAULTS: dict[str, dict[str, str]] = {
    "client": {},
    "loan": {"status": "active"},
    "payment": {"source": "client"},
    "deposit": {"status": "active"},
}
CHOICES: dict[str, dict[str, tuple[str, ...]]] = {
    "client": {"gender": ("male", "female", "company")},
    "loan": {"status": ("pending", "active", "closed", "written_off")},
    "payment": {"status": ("expected", "paid", "canceled"), "source": ("client", "insurer", "other")},
    "deposit": {"status": ("active", "dormant", "closed")},
}
IMMUTABLE: dict[str, tuple[str, ...]] = {
    "client": (),
    "loan": ("client_id", "currency"),
    "payment": ("loan_id", "currency"),
    "deposit": ("client_id", "currency"),
}
WHITE_SPACE = frozenset(
    map(
        chr,
        [*range(0x09, 0x0E), 0x20, 0x85, 0xA0, 0x1680, *range(0x2000, 0x200B), 0x2028, 0x2029, 0x202F, 0x205F, 0x3000],
    )
)
"""Unicode White_Space, which is not quite what `str.isspace` says."""


class Reason(NamedTuple):
    """One reason why an event is rejected, or one warning."""

    code: str
    field: str | None = None
    value: str | None = None
    cause: Position | None = None


@dataclass
class Life:
    """One record and when it came, changed and went."""

    record: Record
    created_on: date
    updated_on: date
    deleted_on: date | None = None

    def row(self, category: str) -> Row:
        """Return it as its table's row."""
        fields = (self.record.get(name) for name in NAMES[category])
        return (*fields, self.created_on, self.updated_on, self.deleted_on)


@dataclass
class Said:
    """What an event says, under plain names."""

    category: str
    step: str | None
    id: str | None
    sent: dict[str, Value]
    conflicts: set[str]
    """Names whose two spellings differ."""
    unknown: tuple[tuple[str, str | None], ...]
    unread: LineReason | None
    through_api: bool = False

    @property
    def key(self) -> Key:
        """Return what its record is found by."""
        return (self.category, self.id or "")


def said_by(event: Event) -> Said:
    """Return what an event says; a field counts under its plain name, and the plain spelling wins."""
    category, sent, conflicts = event.category or "", dict(event.data), set()
    for alias, name in ALIASES.get(category, {}).items():
        if alias in sent:
            other = sent.pop(alias)
            if text_of(sent.setdefault(name, other)) != text_of(other):
                conflicts.add(name)
    step, own_id = sent.get("step"), sent.get(ID.get(category, ""))
    return Said(
        category, string_or_none(step), string_or_none(own_id), sent, conflicts, event.unknown, event.reason, event.through_api
    )


def fields_sent(said: Said, skip: set[str] | frozenset[str] = frozenset()) -> Record:
    """Return the typed fields that an event brings; a create brings defaults too, a delete changes none."""
    if said.step == "delete":
        return {}
    defaults = DEFAULTS[said.category] if said.step == "create" else {}
    sent = {name: typed(name, value) for name, value in said.sent.items() if name not in skip | {"step"}}
    return {**defaults, **sent}


# --- event rules --------------------------------------------------------------------------------------------


def event_rules(said: Said) -> list[Reason]:
    """Return all that is wrong with an event by itself, a create's record rules included; a line reason stands alone."""
    if said.unread:
        return [Reason(said.unread.code, None, said.unread.value)]
    names = NAMES[said.category][:1] if said.step == "delete" else NAMES[said.category]
    found = {"step": step_rule(said.sent.get("step"))}
    found |= {name: "conflicting_alias" if name in said.conflicts else field_rule(said, name) for name in names}
    reasons = [Reason(code, name, text_of(said.sent.get(name))) for name, code in found.items() if code]
    broken = {reason.field for reason in reasons if reason.field}
    if said.step == "create":
        reasons += dependency_rules(said.category, fields_sent(said, skip=broken), skip=broken)
    return reasons


def step_rule(value: Value) -> str | None:
    """Return what is wrong with `step`."""
    if value is None:
        return "missing_field"
    if type(value) is not str:
        return "wrong_type"
    return None if value in ("create", "update", "delete") else "unknown_step"


def field_rule(said: Said, name: str) -> str | None:
    """Return what is wrong with one field: no field can break two rules at once."""
    value, kind = said.sent.get(name), type_of(name)
    if value is None:
        return "missing_field" if missing_field(said, name) else None
    if wrong_type(kind, value):
        return "wrong_type"
    if kind in ("text", "date"):
        if blank_value(str(value)):
            return "blank_value"
        if invalid_characters(str(value)):
            return "invalid_characters"
    rule = form_rule(said.category, name)
    return rule.__name__ if rule and rule(name, str(value)) else None


def form_rule(category: str, name: str) -> Callable[[str, str], bool] | None:
    """Return the rule about the form of a field's text."""
    if name == ID[category] or name == PARENT.get(category, ("", ""))[1]:
        return invalid_id
    if name in CHOICES[category]:
        choices = CHOICES[category][name]

        def invalid_choice(_: str, text: str) -> bool:
            return text not in choices

        return invalid_choice
    by_type: dict[str, Callable[[str, str], bool]] = {
        "date": invalid_date,
        "money": invalid_amount,
        "rate": invalid_amount,
        "integer": invalid_amount,
    }
    by_name: dict[str, Callable[[str, str], bool]] = {
        "email": invalid_email,
        "phone": invalid_phone,
        "country": invalid_country,
        "currency": invalid_currency,
    }
    return by_type.get(type_of(name)) or by_name.get(name)


def missing_field(said: Said, name: str) -> bool:
    """A required field is absent or null, or an update clears it."""
    if name == ID[said.category]:
        return True
    null = name in said.sent
    required = API_REQUIRED if said.through_api else REQUIRED[said.category]
    return name in required and (said.step == "create" or (said.step == "update" and null))


def wrong_type(kind: str, value: Value) -> bool:
    """The JSON type differs."""
    wanted = {"text": str, "date": str, "boolean": bool, "object": Json}.get(kind, Num)
    assert type(value) in (str, bool, Num, Json, JsonArray)
    return type(value) is not wanted


def blank_value(text: str) -> bool:
    """Empty, or only white space."""
    return all(character in WHITE_SPACE for character in text)


def invalid_characters(text: str) -> bool:
    """A control character other than tab, CR, LF."""
    return any(character not in "\t\r\n" and unicodedata.category(character) == "Cc" for character in text)


def invalid_id(_: str, text: str) -> bool:
    """White space at either end, or over 128 characters."""
    return text[0] in WHITE_SPACE or text[-1] in WHITE_SPACE or len(text) > 128


@lru_cache(maxsize=4096)
def invalid_email(_: str, text: str) -> bool:
    """The library refuses it."""
    try:
        validate_email(text, check_deliverability=False)
    except EmailNotValidError:
        return True
    return False


def invalid_phone(_: str, text: str) -> bool:
    """Not + and 7 to 15 digits, the first not 0."""
    return re.fullmatch(r"\+[1-9][0-9]{6,14}", text) is None


@lru_cache(maxsize=4096)
def invalid_country(_: str, text: str) -> bool:
    """No alpha-2 code."""
    return text not in {country.alpha_2 for country in pycountry.countries}


@lru_cache(maxsize=4096)
def invalid_currency(_: str, text: str) -> bool:
    """No ISO 4217 code."""
    return text not in {currency.alpha_3 for currency in pycountry.currencies}


def invalid_date(_: str, text: str) -> bool:
    """No date in one of the forms."""
    return date_of(text) is None


def invalid_amount(name: str, text: str) -> bool:
    """Out of its range, or more digits than its type takes."""
    kind = type_of(name)
    if kind == "integer":
        digits = text.lstrip("0")
        return re.fullmatch("[0-9]+", text) is None or not (0 < len(digits) <= 10 and int(digits) <= 2147483647)
    sign, digits, point = number_of(text)
    before, after = (14, 4) if kind == "money" else (10, 8)
    if name in ("amount", "principal") and (sign or not digits):
        return True
    if name in ("expected_margin", "interest_rate", "fee") and sign and digits:
        return True
    return bool(digits) and (point > before or len(digits) - point > after)


# --- lifecycle rules -------------------------------------------------------------------------------------------------


def lifecycle_rules(said: Said, rows: dict[Key, Life], refused: dict[Key, Position]) -> list[Reason]:
    """Return the first lifecycle rule that an event breaks."""
    own = ID[said.category]
    if said.step != "create":
        if said.key not in rows:
            return [Reason(f"{said.category}_unknown", own, said.id, refused.get(said.key))]
        return [Reason(f"{said.category}_deleted", own, said.id)] if rows[said.key].deleted_on else []
    if said.key in rows:
        return [Reason(f"{said.category}_exists", own, said.id)]
    if said.category in PARENT:
        parent, name = PARENT[said.category]
        parent_key = (parent, str(said.sent[name]))
        if parent_key not in rows:
            return [Reason(f"{parent}_unknown", name, parent_key[1], refused.get(parent_key))]
        if rows[parent_key].deleted_on:
            return [Reason(f"{parent}_deleted", name, parent_key[1])]
    return []


# --- record rules ----------------------------------------------------------------------------------------------------


def record_rules(said: Said, merged: Record, before: Record, rows: dict[Key, Life]) -> list[Reason]:
    """Return every record rule that the merged record breaks; a create met all but one before."""
    found = []
    if said.step == "update":
        found += dependency_rules(said.category, merged)
        changed = [name for name in IMMUTABLE[said.category] if merged[name] != before[name]]
        found += [Reason("immutable_field", name, as_text(merged[name])) for name in changed]
    if said.step == "update" and said.category == "loan" and changed_terms(merged, before):
        bare = [name for name in ("change_reason", "change_date") if said.sent.get(name) is None]
        found += [Reason("change_reason_required", name, as_text(merged.get(name))) for name in bare[:1]]
    loan = rows.get(("loan", str(merged["loan_id"]))) if said.category == "payment" else None
    if said.step != "delete" and loan and merged["currency"] != loan.record["currency"]:
        found.append(Reason("currency_mismatch", "currency", as_text(merged["currency"])))
    return found


def changed_terms(merged: Record, before: Record) -> list[str]:
    """Return the watched terms of a loan that an update changes."""
    watched = ("amount", "expected_margin", "maturity_date")
    return [name for name in watched if merged.get(name) != before.get(name)]


def dependency_rules(category: str, record: Record, skip: set[str] | frozenset[str] = frozenset()) -> list[Reason]:
    """Return the rules of one record alone that it breaks, but those that read a field of `skip`."""
    broken = [
        (rule.__name__, reads[0])
        for rule, reads in DEPENDENCIES[category]
        if not skip.intersection(reads) and rule(*(record.get(name) for name in reads))
    ]
    return [Reason(code, name, as_text(record.get(name))) for code, name in broken]


def gender_company_mismatch(gender: Typed, is_company: Typed) -> bool:
    """One says company, the other does not."""
    return None not in (gender, is_company) and (gender == "company") != is_company


def contact_person_required(contact_person: Typed, is_company: Typed) -> bool:
    """A company without a contact person."""
    return is_company is True and (contact_person is None or blank_value(str(contact_person)))


def registration_number_type(registration_number: Typed, is_company: Typed) -> bool:
    """Not the number of such a client."""
    if registration_number is None or is_company is None:
        return False
    number, prefixes = str(registration_number), ("CR-",) if is_company else ("ID-", "PASS-")
    return not any(number.startswith(prefix) and len(number) > len(prefix) for prefix in prefixes)


def maturity_before_disbursement(maturity: Typed, disbursement: Typed) -> bool:
    """Due before it was paid out."""
    return isinstance(maturity, date) and isinstance(disbursement, date) and maturity < disbursement


def split_mismatch(amount: Typed, principal: Typed, fee: Typed) -> bool:
    """The parts are not the whole."""
    if not (isinstance(amount, Decimal) and isinstance(principal, Decimal) and isinstance(fee, Decimal)):
        return False
    return principal + fee != amount


DEPENDENCIES: dict[str, list[tuple[Callable[..., bool], tuple[str, ...]]]] = {
    "client": [
        (gender_company_mismatch, ("gender", "is_company")),
        (contact_person_required, ("contact_person", "is_company")),
        (registration_number_type, ("registration_number", "is_company")),
    ],
    "loan": [(maturity_before_disbursement, ("maturity_date", "disbursement_date"))],
    "payment": [(split_mismatch, ("amount", "principal", "fee"))],
    "deposit": [],
}
"""Each rule and the fields it reads; it is reported under the first."""


# --- what is told ----------------------------------------------------------------------------------------------------


def warnings(said: Said, merged: Record) -> list[Reason]:
    """Return the warnings of an applied event; a delete has none."""
    if said.step == "delete":
        return []
    found = [Reason("unknown_field", name, value) for name, value in said.unknown]
    if said.step == "update" and not set(said.sent) - {"step", ID[said.category]}:
        found.append(Reason("empty_update"))
    if said.category != "client":
        return found
    phone, address, contact = said.sent.get("phone"), said.sent.get("address"), merged.get("contact_person")
    if phone is not None and implausible_phone(str(phone)):
        found.append(Reason("implausible_phone", "phone", str(phone)))
    if address is not None and incomplete_address(str(address)):
        found.append(Reason("incomplete_address", "address", str(address)))
    touched = said.sent.keys() & {"contact_person", "is_company"}
    if touched and contact is not None and merged["is_company"] is False:
        found.append(Reason("unused_contact_person", "contact_person", str(contact)))
    return found


@lru_cache(maxsize=4096)
def implausible_phone(number: str) -> bool:
    """The library does not call it a valid number."""
    try:
        return not phonenumbers.is_valid_number(phonenumbers.parse(number))
    except phonenumbers.NumberParseException:
        return True


def incomplete_address(address: str) -> bool:
    """No digit, or fewer than two commas."""
    return address.count(",") < 2 or not any(unicodedata.category(character) == "Nd" for character in address)
