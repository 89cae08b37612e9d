"""The kinds of event a sample is mixed from: how often each comes, what it sends, and the reason it is made to earn. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pipelines import sample_values as values
from pipelines.sample_columns import Column, always
from pipelines.sample_lives import Whom


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of event of one category."""

    step: str
    weight: int
    """Against the other good kinds, or against the other refused ones."""
    sends: str
    """The spellings sent besides step and id, in this order; an absent value is left out of its event."""
    code: str | None = None
    """The reason it is refused for; none when it is good."""
    on: Whom = Whom.LIVING
    under: Whom = Whom.LIVING
    says: Mapping[str, Column] = field(default_factory=dict)
    """What some of the spellings say instead of their usual values."""
    quoted: frozenset[str] = frozenset()
    """Sent as a JSON string though the field is none."""
    nulls: tuple[str, ...] = ()
    """Sent as explicit nulls."""
    category: str | None = None
    """The other name of the category."""
    broken: str | None = None
    """How its line is broken: cut, wrapped, doubled, misnamed or hollow."""

    @property
    def refused(self) -> bool:
        """Tell whether the rules refuse it."""
        return self.code is not None


def _create(weight: int, sends: str, code: str | None = None, **more: Any) -> Kind:
    return Kind("create", weight, sends, code, **{"on": Whom.FRESH, **more})


def _update(weight: int, sends: str, code: str | None = None, **more: Any) -> Kind:
    return Kind("update", weight, sends, code, **more)


def _without(sends: str, *left_out: str) -> str:
    return " ".join(name for name in sends.split() if name not in left_out)


def _lifecycle(category: str, create: str, update: str, parent: str | None) -> tuple[Kind, ...]:
    """Return the refusals that every category knows."""
    under_whom = (
        ()
        if parent is None
        else (
            _create(8, create, f"{parent}_unknown", under=Whom.GHOST),
            _create(4, create, f"{parent}_deleted", under=Whom.DEAD),
        )
    )
    return (
        _create(4, create, f"{category}_exists", on=Whom.MADE),
        _update(5, update, f"{category}_unknown", on=Whom.GHOST),
        _update(3, update, f"{category}_deleted", on=Whom.DEAD),
        Kind("delete", 1, "", f"{category}_deleted", on=Whom.DEAD),
        *under_whom,
    )


def _lines(create: str) -> tuple[Kind, ...]:
    """Return the broken lines that every category knows."""
    return (
        _create(2, create, "malformed_json", broken="cut"),
        _create(1, create, "not_an_object", broken="wrapped"),
        _create(1, create, "duplicate_key", broken="doubled"),
        _create(1, create, "unknown_category", broken="misnamed"),
        _create(1, create, "missing_data", broken="hollow"),
    )


_PERSON = "name email phone address country is_company registration_number gender contact_person info"
_COMPANY = {
    "is_company": always("true"),
    "gender": always("company"),
    "registration_number": values.company_registration,
    "contact_person": values.contact,
}

CLIENT = (
    _create(54, _PERSON),
    _create(5, f"{_PERSON} dob"),
    _create(1, _PERSON, says={"address": always("Main Street")}),  # incomplete_address
    _update(14, "address"),
    _update(9, "phone"),
    _update(7, "email"),
    _update(3, " ".join(_COMPANY), says=_COMPANY),
    _update(1, "info", nulls=("info",)),
    _update(1, "phone newsletter", says={"newsletter": always("weekly")}),  # unknown_field
    Kind("delete", 5, ""),
    _create(8, _without(_PERSON, "country"), "missing_field"),
    _create(10, _PERSON, "invalid_email", says={"email": values.bad_email}),
    _create(12, _PERSON, "invalid_phone", says={"phone": values.bad_phone}),
    _create(8, _PERSON, "invalid_country", says={"country": always("UK")}),
    _create(4, _PERSON, "wrong_type", says={"is_company": always("yes")}, quoted=frozenset({"is_company"})),
    _create(4, _PERSON, "blank_value", says={"name": always("  ")}),
    _create(3, f"{_PERSON} dob", "invalid_date", says={"dob": always("31/12/1980")}),
    _update(2, "email", "missing_field", nulls=("email",)),
    _update(4, "phone", "invalid_phone", says={"phone": always("n/a")}),
    Kind("upsert", 3, "phone", "unknown_step"),
    _create(5, _PERSON, "gender_company_mismatch", says={"gender": values.other_gender}),
    _create(5, _without(_PERSON, "contact_person"), "contact_person_required", says=_COMPANY),
    _create(6, _PERSON, "registration_number_type", says={"registration_number": values.other_registration}),
    *_lifecycle("client", _PERSON, "phone", None),
    *_lines(_PERSON),
)

_LOAN = "client_id amount currency disbursement_date maturity_date expected_margin interest_rate installment_count status info"
_PAID_OUT = "client_id disbursement_amount currency disbursement_date maturity_date total_expected_margin"

LOAN = (
    _create(52, _LOAN),
    _create(6, _PAID_OUT, category="disbursement"),
    _update(20, "status", says={"status": values.new_status}),
    _update(8, "maturity_date change_date change_reason", says={"maturity_date": values.extended}),
    _update(5, "amount expected_margin change_date change_reason"),
    _update(6, "interest_rate"),
    Kind("delete", 3, ""),
    _create(10, _LOAN, "invalid_amount", says={"amount": values.too_fine}),
    _create(8, _LOAN, "invalid_currency", says={"currency": always("EURO")}),
    _create(7, _LOAN, "invalid_date", says={"maturity_date": always("2027-02-30")}),
    _create(5, _without(_LOAN, "maturity_date"), "missing_field"),
    _create(4, _LOAN, "wrong_type", says={"amount": always("1,500.00")}, quoted=frozenset({"amount"})),
    _update(6, "status", "invalid_choice", says={"status": always("open")}),
    _create(8, _LOAN, "maturity_before_disbursement", says={"maturity_date": values.too_early}),
    _update(9, "amount", "change_reason_required", says={"amount": values.odd_amount}),
    _update(4, "currency", "immutable_field", says={"currency": values.other_currency}),
    *_lifecycle("loan", _LOAN, "status", "client"),
    *_lines(_LOAN),
)

_PAYMENT = "loan_id amount currency status due_date principal fee installment_number source bank_ref"
_TOTALS = "loan_id payment_total currency status due_date payment_principal payment_fee installment_number"
_PAID = {"status": always("paid")}

PAYMENT = (
    _create(58, _PAYMENT),
    _create(5, _TOTALS),
    _update(27, "status payment_date", says=_PAID),
    _update(5, "amount principal fee"),
    _update(3, "bank_ref"),
    Kind("delete", 2, ""),
    _create(6, _PAYMENT, "invalid_amount", says={"installment_number": always("0")}),
    _create(7, _PAYMENT, "invalid_date", says={"due_date": always("next month")}),
    _create(6, _without(_PAYMENT, "due_date"), "missing_field"),
    _create(4, _PAYMENT, "wrong_type", says={"amount": always("1,500.00")}, quoted=frozenset({"amount"})),
    _update(6, "status", "invalid_choice", says={"status": always("settled")}),
    _create(10, _PAYMENT, "currency_mismatch", says={"currency": values.other_payment_currency}),
    _create(8, _PAYMENT, "split_mismatch", says={"fee": values.short_fee}),
    *_lifecycle("payment", _PAYMENT, "bank_ref", "loan"),
    *_lines(_PAYMENT),
)

_DEPOSIT = "client_id account_number currency account_name balance product_type maturity_date info"

DEPOSIT = (
    _create(40, _DEPOSIT),
    _update(45, "balance"),
    _update(9, "status"),
    _update(4, "account_name"),
    Kind("delete", 2, ""),
    _create(8, _DEPOSIT, "invalid_currency", says={"currency": always("XXE")}),
    _create(6, _without(_DEPOSIT, "account_number"), "missing_field"),
    _create(4, _DEPOSIT, "blank_value", says={"account_number": always(" ")}),
    _update(8, "balance", "invalid_amount", says={"balance": always("12.345678")}),
    _update(5, "status", "invalid_choice", says={"status": always("frozen")}),
    _update(3, "currency", "immutable_field", says={"currency": values.other_currency}),
    *_lifecycle("deposit", _DEPOSIT, "balance", "client"),
    *_lines(_DEPOSIT),
)

KINDS: Mapping[str, tuple[Kind, ...]] = {"client": CLIENT, "loan": LOAN, "payment": PAYMENT, "deposit": DEPOSIT}
CSV_CODES = dict.fromkeys(("malformed_json", "not_an_object", "duplicate_key", "missing_data"), "ragged_row")
"""What a broken line earns in CSV."""
