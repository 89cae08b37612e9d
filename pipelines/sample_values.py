"""What the fields of sample events say: one function a field, from the numbers of the events to a column of text. Pure."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import polars as pl

from pipelines import sample_people as people
from pipelines.sample_columns import Column, Events, choice, ids, money, some, text, where
from pipelines.sample_lives import Flags, Ints, draw

COMPANIES = 12
"""How many of a hundred clients are companies from the start."""


# --- clients: who they are is a function of their number, what they change is drawn with the event


def _country(events: Events) -> Ints:
    return events.draw("country", len(people.COUNTRIES))


def _is_company(events: Events) -> Flags:
    return events.draw("is company", 100) < COMPANIES


def _given(events: Events) -> Ints:
    size = 2 * people.GIVEN_NAMES
    return _country(events) * size + events.draw("given", size)


def _family(events: Events) -> Ints:
    return _country(events) * people.FAMILY_NAMES + events.draw("family", people.FAMILY_NAMES)


def _person(events: Events) -> pl.Series:
    return text(people.GIVEN.gather(_given(events)), " ", people.FAMILY.gather(_family(events)))


def _name(events: Events) -> pl.Series:
    trade = people.TRADES.gather(events.draw("trade", len(people.TRADES)))
    form = people.COMPANY_FORMS.gather(_country(events))
    company = text(people.FAMILY.gather(_family(events)), " ", trade, " ", form)
    return where(_is_company(events), company, _person(events))


def _email(events: Events) -> pl.Series:
    house = events.draw("mail house", 1000, by="event")
    domain = where(house < 300, "example.com", text("mail-", 100 + house, ".example.com"))
    given = where(_is_company(events), "office", people.GIVEN_PLAIN.gather(_given(events)))
    return text(given, ".", people.FAMILY_PLAIN.gather(_family(events)), events.event + 1, "@", domain)


def _phone(events: Events) -> pl.Series:
    country = _country(events)
    first = 10 ** (np.array(people.PHONE_DIGITS, dtype=np.int64)[country] - 1)
    digits = first + draw(events.seed, "phone", events.event, 9 * first)
    return text(people.PHONE_PREFIXES.gather(country), digits)


def _street(events: Events) -> pl.Series:
    house = 1 + events.draw("house", 180, by="event")
    street = _country(events) * people.STREETS + events.draw("street", people.STREETS, by="event")
    return text(house, " ", people.STREET.gather(street))


def _town(events: Events) -> pl.Series:
    return people.TOWN.gather(_country(events) * people.TOWNS + events.draw("town", people.TOWNS, by="event"))


def _registration(events: Events) -> pl.Series:
    number = 100_000_000 + events.draw("registration", 900_000_000)
    person = where(events.draw("document", 10) == 0, "PASS-", "ID-")
    return text(where(_is_company(events), "CR-", person), number)


def other_registration(events: Events) -> pl.Series:
    """Return a number of the wrong form for the client's type."""
    return text(where(_is_company(events), "ID-", "CR-"), events.event)


def company_registration(events: Events) -> pl.Series:
    """Return a company's number for a client that becomes one."""
    return text("CR-", 100_000_000 + events.draw("company registration", 900_000_000, by="event"))


def _gender(events: Events) -> pl.Series:
    sex = where(_given(events) % (2 * people.GIVEN_NAMES) < people.GIVEN_NAMES, "female", "male")
    return where(_is_company(events), "company", sex)


def other_gender(events: Events) -> pl.Series:
    """Return a gender that does not go with the client's type."""
    return where(_is_company(events), "female", "company")


def contact(events: Events) -> pl.Series:
    """Return the name of a person who speaks for the client."""
    return _person(events)


def bad_email(events: Events) -> pl.Series:
    """Return an address with two @."""
    return text("office@", _email(events))


def bad_phone(events: Events) -> pl.Series:
    """Return the number without its plus sign."""
    return _phone(events).str.slice(1)


def branch(events: Events) -> pl.Series:
    """Return an `info` object."""
    segment = pl.Series(["retail", "small business", "farming"]).gather(events.draw("segment", 3))
    return text('{"branch":"B-', 100 + events.draw("branch", 80), '","segment":"', segment, '"}')


CLIENT: Mapping[str, Column] = {
    "client_id": lambda events: ids("CL-", events.entity),
    "name": _name,
    "email": _email,
    "phone": _phone,
    "address": lambda events: text(_street(events), ", ", _town(events)),
    "country": lambda events: people.CODES.gather(_country(events)),
    "is_company": lambda events: where(_is_company(events), "true", "false"),
    "registration_number": _registration,
    "gender": _gender,
    "contact_person": lambda events: where(_is_company(events), contact(events), None),
    "info": some(20, branch, "has info"),
    "dob": lambda events: where(_is_company(events), None, events.date(-8_000 - events.draw("born", 18_000))),
}


# --- loans: the currency and the dates belong to the loan, amounts are drawn with the event


def _currency(seed: int, loans: Ints) -> pl.Series:
    return people.CURRENCIES.gather(draw(seed, "currency", loans, len(people.COUNTRIES)))


def _other(currency: pl.Series) -> pl.Series:
    return where((currency == "USD").to_numpy(), "CHF", "USD")


def _disbursed(events: Events) -> Ints:
    return events.born - events.draw("disbursed", 10)


def _matures(events: Events) -> Ints:
    return _disbursed(events) + 30 * (3 + events.draw("term", 57))


def _loan_cents(events: Events) -> Ints:
    return 5_000 * (4 + events.draw("loan amount", 1_000, by="event"))


def extended(events: Events) -> pl.Series:
    """Return a day after the loan's day of maturity."""
    return events.date(_matures(events) + 15 + events.draw("extension", 300, by="event"))


def too_early(events: Events) -> pl.Series:
    """Return a day before the loan's disbursement."""
    return events.date(_disbursed(events) - 1 - events.draw("too early", 30))


def odd_amount(events: Events) -> pl.Series:
    """Return an amount that no loan of the sample has, as theirs are round."""
    return money(_loan_cents(events) + 1)


def too_fine(events: Events) -> pl.Series:
    """Return an amount with five places."""
    return text(money(_loan_cents(events)), "125")


def other_currency(events: Events) -> pl.Series:
    """Return a currency that the loan or deposit does not have."""
    return _other(_currency(events.seed, events.entity))


new_status = choice("new loan status", "active", "active", "closed", "written_off")


def business_date(events: Events) -> pl.Series:
    """Return the event's own day."""
    return events.date(events.day)


LOAN: Mapping[str, Column] = {
    "loan_id": lambda events: ids("LN-", events.entity),
    "client_id": lambda events: ids("CL-", events.parent),
    "amount": lambda events: money(_loan_cents(events)),
    "currency": lambda events: _currency(events.seed, events.entity),
    "disbursement_date": lambda events: events.date(_disbursed(events)),
    "maturity_date": lambda events: events.date(_matures(events)),
    "expected_margin": lambda events: money(_loan_cents(events) // 8),
    "interest_rate": lambda events: text("0.", 1_000 + events.draw("rate", 2_500, by="event")),
    "installment_count": lambda events: text(3 + events.draw("term", 57)),
    "status": choice("loan status", "active", "active", "active", "pending"),
    "change_date": business_date,
    "change_reason": choice("change reason", "rescheduled on request", "harvest delayed", "top-up", "hardship plan"),
    "info": some(10, branch, "has info"),
}


# --- payments: amount = principal + fee, in the currency of the loan


def _principal_cents(events: Events) -> Ints:
    return 1_000 + events.draw("principal", 90_000, by="event")


def _fee_cents(events: Events) -> Ints:
    return events.draw("fee", 9_000, by="event")


def _due(events: Events) -> Ints:
    return events.born + events.draw("due", 40)


def short_fee(events: Events) -> pl.Series:
    """Return a fee with which the parts do not add up."""
    return money(_fee_cents(events) + 1)


def other_payment_currency(events: Events) -> pl.Series:
    """Return a currency that the payment's loan does not have."""
    return _other(_currency(events.seed, events.parent))


PAYMENT: Mapping[str, Column] = {
    "payment_id": lambda events: ids("PM-", events.entity),
    "loan_id": lambda events: ids("LN-", events.parent),
    "amount": lambda events: money(_principal_cents(events) + _fee_cents(events)),
    "currency": lambda events: _currency(events.seed, events.parent),
    "status": choice("payment status", "expected", "expected", "paid", "paid", "canceled"),
    "due_date": lambda events: events.date(_due(events)),
    "payment_date": business_date,
    "principal": lambda events: money(_principal_cents(events)),
    "fee": lambda events: money(_fee_cents(events)),
    "installment_number": lambda events: text(1 + events.draw("installment", 36)),
    "source": some(30, choice("source", "client", "client", "insurer", "other"), "has source"),
    "bank_ref": lambda events: text("TRX", 10_000_000 + events.draw("bank ref", 90_000_000, by="event")),
}


# --- deposits

DEPOSIT: Mapping[str, Column] = {
    "deposit_id": lambda events: ids("DP-", events.entity),
    "client_id": lambda events: ids("CL-", events.parent),
    "account_number": lambda events: text("40", 10_000_000 + events.entity),
    "currency": lambda events: _currency(events.seed, events.entity),
    "account_name": choice("account name", "Savings", "Rainy day", "Term deposit", "Main account"),
    "balance": lambda events: money(events.draw("balance", 5_000_000, by="event")),
    "status": choice("deposit status", "active", "active", "dormant", "closed"),
    "product_type": choice("product", "savings", "term", "current"),
    "maturity_date": some(30, lambda events: events.date(events.born + 365), "has maturity"),
    "info": some(10, branch, "has info"),
}

COLUMNS: Mapping[str, Mapping[str, Column]] = {"client": CLIENT, "loan": LOAN, "payment": PAYMENT, "deposit": DEPOSIT}
