"""Field dependencies and lifecycles, each at its borders; and that a rule says the same of a column and of one value."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Any

import polars as pl
import pytest
from checked import RULES, Raw, create
from hypothesis import given, settings
from hypothesis import strategies as st
from settled import lives, settled, verdicts

from validation.entities import ENTITIES
from validation.rules import BEFORE, EVENT, PARENT, Rule

COMPANY = {"is_company": True, "gender": "company", "contact_person": "Ann Lee", "registration_number": "CR-1"}


def test_an_individual_becomes_a_company_in_one_update_or_not_at_all() -> None:
    update = {"step": "update", "client_id": "C1"}
    assert verdicts("client", [create("client"), {**update, **COMPANY}]) == [True, True]
    piecemeal = [{**update, name: value} for name, value in COMPANY.items()]
    assert verdicts("client", [create("client"), *piecemeal]) == [
        True,
        [
            ("contact_person_required", "contact_person"),
            ("gender_company_mismatch", "gender"),
            ("registration_number_type", "registration_number"),
        ],
        [("gender_company_mismatch", "gender")],
        True,
        [("registration_number_type", "registration_number")],
    ]


@pytest.mark.parametrize("number", ["ID-1", "PASS-x", "ID-\n", "ID- "])
def test_an_individual_has_an_identity_document(number: str) -> None:
    assert verdicts("client", [create("client", registration_number=number)]) == [True]


@pytest.mark.parametrize("number", ["ID-", "id-1", "CR-1", "XID-1", "PASS1"])
def test_any_other_document_of_an_individual_is_refused(number: str) -> None:
    update = {"step": "update", "client_id": "C1", "registration_number": number}
    assert verdicts("client", [create("client"), update]) == [True, [("registration_number_type", "registration_number")]]


def test_a_loan_is_due_on_its_first_day_at_the_earliest() -> None:
    update = {"step": "update", "loan_id": "L1", "change_date": "2026-11-17", "change_reason": "agreed"}
    days = [{**update, "maturity_date": day} for day in ("2026-11-16", "2026-11-15")]
    assert verdicts("loan", [create("loan"), *days]) == [True, True, [("maturity_before_disbursement", "maturity_date")]]


def test_terms_change_only_with_a_date_and_a_reason_in_the_same_event() -> None:
    update = {"step": "update", "loan_id": "L1"}
    why, when = {"change_reason": "agreed"}, {"change_date": "2026-11-17"}
    found = verdicts(
        "loan",
        [
            create("loan"),
            {**update, "amount": 900},
            {**update, "amount": 900, **why},
            {**update, "amount": 900, **when},
            {**update, "amount": 900, **when, "change_reason": None},
            {**update, "amount": Raw("1000.0")},
            {**update, "amount": 900, **when, **why},
            {**update, "expected_margin": 5},
            {**update, "expected_margin": None},
            {**update, "status": "closed"},
        ],
    )
    no_reason, no_date = [("change_reason_required", "change_reason")], [("change_reason_required", "change_date")]
    assert found == [True, no_reason, no_date, no_reason, no_reason, True, True, no_reason, True, True]


def test_every_change_of_terms_is_kept_with_old_and_new_value() -> None:
    update = {"step": "update", "loan_id": "L1", "change_date": "2026-11-17", "change_reason": "agreed"}
    changes = settled(
        "loan", [create("loan"), {**update, "amount": Raw("1.5"), "expected_margin": 7, "maturity_date": "2027-11-16"}]
    ).changes
    assert changes.select("pos", "id", "field", "old_value", "new_value", "change_reason").rows() == [
        (2, "L1", "amount", "1000.0000", "1.5000", "agreed"),
        (2, "L1", "expected_margin", None, "7.0000", "agreed"),
    ]


@pytest.mark.parametrize(
    ("category", "field", "value"),
    [("loan", "client_id", "C2"), ("loan", "currency", "EUR"), ("deposit", "client_id", "C2"), ("deposit", "currency", "EUR"), ("payment", "loan_id", "L2")],
)  # fmt: skip
def test_some_fields_never_change(category: str, field: str, value: str) -> None:
    update = {"step": "update", ENTITIES[category].id: create(category)[ENTITIES[category].id]}
    same = {**update, field: create(category)[field]}
    assert verdicts(category, [create(category), same, {**update, field: value}]) == [True, True, [("immutable_field", field)]]


def test_a_payment_is_in_its_loans_currency() -> None:
    update = {"step": "update", "payment_id": "P1", "currency": "EUR"}
    both = [("currency_mismatch", "currency"), ("immutable_field", "currency")]
    assert verdicts("payment", [create("payment", currency="EUR"), create("payment"), update]) == [
        [("currency_mismatch", "currency")],
        True,
        both,
    ]


def test_principal_and_fee_make_the_amount_when_both_are_known() -> None:
    update = {"step": "update", "payment_id": "P1"}
    steps = [{"principal": 90}, {"fee": Raw("10.0001")}, {"fee": 10}, {"amount": 101}, {"fee": None}, {"amount": 101}]
    wrong = [("split_mismatch", "amount")]
    assert verdicts("payment", [create("payment"), *({**update, **s} for s in steps)]) == [
        True,
        True,
        wrong,
        True,
        wrong,
        True,
        True,
    ]


@pytest.mark.parametrize("category", ENTITIES)
def test_an_id_is_created_once_and_never_again(category: str) -> None:
    key = ENTITIES[category].id
    it = {key: create(category)[key]}
    events = [{**it, "step": "update"}, create(category), create(category), {**it, "step": "update"}, {**it, "step": "delete"}]
    events += [{**it, "step": "delete"}, {**it, "step": "update"}, create(category)]
    unknown, exists, deleted = ([(f"{category}_{what}", key)] for what in ("unknown", "exists", "deleted"))
    assert verdicts(category, events) == [unknown, True, exists, True, True, deleted, deleted, exists]


@pytest.mark.parametrize(("category", "parent"), [("loan", "client"), ("deposit", "client"), ("payment", "loan")])
def test_a_create_looks_its_parent_up_at_its_own_position(category: str, parent: str) -> None:
    field, shown = str(ENTITIES[category].parent_id), {"client": (), "loan": ("C1", "KES")}[parent]
    first, second = create(category), create(category, **{ENTITIES[category].id: "X2"})
    name = create(category)[field]
    unknown, gone = [(f"{parent}_unknown", field)], [(f"{parent}_deleted", field)]
    assert verdicts(category, [first], lives(parent)) == [unknown]
    assert verdicts(category, [first], lives(parent, (name, 2, None, *shown))) == [unknown]
    assert verdicts(category, [first, first], lives(parent, (name, 1, None, *shown))) == [unknown, True]
    assert verdicts(category, [first, first, second], lives(parent, (name, 0, 2, *shown))) == [
        True,
        [(f"{category}_exists", ENTITIES[category].id)],
        gone,
    ]


def test_a_record_stays_open_to_updates_after_its_parent_is_gone() -> None:
    update = {"step": "update", "loan_id": "L1", "status": "closed"}
    gone = lives("client", ("C1", -1, 2))
    assert verdicts("loan", [create("loan"), update, {"step": "delete", "loan_id": "L1"}], gone) == [True, True, True]


def test_a_null_clears_and_an_absent_field_stays() -> None:
    events = [create("client", contact_person="Ann", city="Oslo"), {"step": "update", "client_id": "C1", "contact_person": None}]
    version = settled("client", events).versions.row(0, named=True)
    assert (version["contact_person"], version["city"], version["name"]) == (None, "Oslo", "John Doe")


def test_an_individual_with_a_contact_person_is_warned_about_when_an_event_says_so() -> None:
    update = {"step": "update", "client_id": "C1"}
    events = [create("client", contact_person="Ann"), {**update, "city": "Oslo"}, {**update, "contact_person": "Bo"}]
    warnings = settled("client", events).warnings
    assert warnings.select("pos", "code", "field", "value").rows() == [
        (1, "unused_contact_person", "contact_person", "Ann"),
        (3, "unused_contact_person", "contact_person", "Bo"),
    ]


VALUES: dict[type[pl.DataType], list[Any]] = {
    pl.String: [None, "company", "male", "ID-1", "CR-1", "PASS-", "KES", "EUR", "X", "ID-\n", "CR-é"],
    pl.Boolean: [None, True, False],
    pl.Date: [None, date(2026, 1, 1), date(2026, 1, 2)],
    pl.Decimal: [None, Decimal("0.0000"), Decimal("1.5000"), Decimal("-1.5000"), Decimal("99999999999999.9999")],
}
RECORD_RULES = [(category, rule) for category, rules in RULES.record_rules.items() for rule in rules]


def _dtype(category: str, name: str) -> pl.DataType:
    owner = str(ENTITIES[category].parent) if name.startswith(PARENT) else category
    field = name.removeprefix(BEFORE).removeprefix(EVENT).removeprefix(PARENT)
    return ENTITIES[owner].field(field).type.dtype


@pytest.mark.parametrize(("category", "rule"), RECORD_RULES, ids=[f"{rule.code}-{rule.field}-{c}" for c, rule in RECORD_RULES])
@settings(deadline=None)
@given(data=st.data())
def test_a_record_rule_says_the_same_of_whole_columns_and_of_single_values(
    category: str, rule: Rule, data: st.DataObject
) -> None:
    dtypes = {name: _dtype(category, name) for name in rule.reads}
    rows = data.draw(st.lists(st.tuples(*(st.sampled_from(VALUES[type(d)]) for d in dtypes.values())), min_size=1, max_size=20))
    frame = pl.DataFrame(rows, schema=dtypes, orient="row")
    assert rule.test is not None
    silent = [any(v is None and name not in rule.nullable for v, name in zip(row, rule.reads, strict=True)) for row in rows]
    one_by_one = [not quiet and bool(rule.test(*row)) for row, quiet in zip(rows, silent, strict=True)]
    assert frame.select(rule.broken).to_series().to_list() == one_by_one
