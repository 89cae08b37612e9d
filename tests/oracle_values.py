"""The contract's fields and what their values are, in the judge's own words. Pure."""

from __future__ import annotations

import re
from datetime import date
from decimal import Decimal

# The contract's table of fields, in its own words: `*` is required on create, the id comes first.
FIELDS = {
    "client": (
        "client_id name* email* phone* address* country* is_company* registration_number* gender* contact_person info"
        " first_name middle_name last_name dob image city state"
    ),
    "loan": (
        "loan_id client_id* amount* currency* disbursement_date* maturity_date* expected_margin interest_rate"
        " installment_count status change_date change_reason info"
    ),
    "payment": (
        "payment_id loan_id* amount* currency* status* due_date* payment_date principal fee installment_number source"
        " bank_ref info"
    ),
    "deposit": ("deposit_id client_id* account_number* currency* account_name balance status product_type maturity_date info"),
}
NAMES = {category: tuple(text.replace("*", "").split()) for category, text in FIELDS.items()}
REQUIRED = {category: {name[:-1] for name in text.split() if name.endswith("*")} for category, text in FIELDS.items()}
API_REQUIRED = {"name", "dob", "address", "state", "country", "is_company"}
ID = {category: names[0] for category, names in NAMES.items()}
ALIASES: dict[str, dict[str, str]] = {
    "client": {},
    "loan": {
        "disbursement_id": "loan_id",
        "disbursement_amount": "amount",
        "total_expected_margin": "expected_margin",
    },
    "payment": {
        "disbursement_id": "loan_id",
        "payment_total": "amount",
        "payment_principal": "principal",
        "payment_fee": "fee",
    },
    "deposit": {},
}


def type_of(name: str) -> str:
    """Return the contract's type of a field, by its plain name."""
    if name in ("amount", "expected_margin", "principal", "fee", "balance"):
        return "money"
    if name == "interest_rate":
        return "rate"
    if name in ("installment_count", "installment_number"):
        return "integer"
    if name.endswith("_date") or name == "dob":
        return "date"
    return {"is_company": "boolean", "info": "object"}.get(name, "text")


class Num(str):
    """A number as it was written."""


class Json(str):
    """An object as JSON text."""


class JsonArray(str):
    """An array as JSON text."""


Value = str | bool | None  # str is a string, or one of Num, Json, JsonArray

Typed = str | bool | int | Decimal | date | None


def spellings(category: str) -> tuple[str, ...]:
    """Return every name a sender may use under `data`."""
    return ("step", *NAMES[category], *ALIASES[category])


def text_of(value: Value) -> str | None:
    """Return the text of a value; None for null."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return None if value is None else str(value)


def typed(name: str, value: Value) -> Typed:
    """Return the value that a rule-abiding text stands for."""
    if value is None or isinstance(value, bool):
        return value
    match type_of(name):
        case "date":
            return date_of(value)
        case "money" | "rate" as kind:
            sign, digits, point = number_of(value)
            number = Decimal((sign, tuple(map(int, digits)), point - len(digits))) if digits else Decimal(0)
            return number.quantize(Decimal("0.0001" if kind == "money" else "0.00000001"))
        case "integer":
            return int(value.lstrip("0"))
        case _:
            return str(value)


def number_of(text: str) -> tuple[int, str, int]:
    """Return sign, significant digits and where the point stands among them: 0.0120 is (0, "12", -1). Nought has no digits."""
    mantissa, _, exponent = text.lower().partition("e")
    whole, _, fraction = mantissa.removeprefix("-").partition(".")
    size = exponent.lstrip("+-").lstrip("0") or "0"
    power = int(size) if len(size) < 12 else 10**12  # farther than any number of digits a line can hold
    digits = (whole + fraction).lstrip("0")
    point = len(digits) - len(fraction) + (-power if exponent.startswith("-") else power)
    return int(text.startswith("-")), digits.rstrip("0"), point


def date_of(text: str) -> date | None:
    """Return the written date, or None when the text is none of the contract's forms."""
    time = r"([01]\d|2[0-3]):[0-5]\d(:[0-5]\d(\.\d+)?)?(Z|[+-]([01]\d|2[0-3])(:?[0-5]\d)?)?"
    form = re.fullmatch(rf"(\d{{4}})(?:-(\d\d)-(\d\d)|(\d\d)(\d\d))([T ]{time})?", text, re.ASCII)
    if not form:
        return None
    year, month, day = form[1], form[2] or form[4], form[3] or form[5]
    try:
        return date(int(year), int(month), int(day))
    except ValueError:
        return None


def string_or_none(value: Value) -> str | None:
    """Return a value that was sent as a JSON string."""
    return value if type(value) is str else None


def as_text(value: Typed) -> str | None:
    """Return a record's value as text."""
    if value is None or isinstance(value, bool):
        return text_of(value)
    return format(value, "f") if isinstance(value, Decimal) else str(value)
