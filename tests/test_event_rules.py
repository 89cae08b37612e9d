"""Every event rule at its borders: what it lets through, what it refuses, and under which field."""

from __future__ import annotations

from typing import Any

import polars as pl
import pytest
from checked import Raw, checked, create, line, reasons, warnings

from validation.entities import ENTITIES

EVERY_FIELD = [(entity.category, field) for entity in ENTITIES.values() for field in entity.fields]
TEXTS = [(category, field.name) for category, field in EVERY_FIELD if field.type.is_string]


@pytest.mark.parametrize("category", ENTITIES)
def test_a_complete_create_has_no_reason_and_no_warning(category: str) -> None:
    assert reasons(category, create(category)) == set()
    assert warnings(category, create(category)) == set()


@pytest.mark.parametrize(("category", "field"), [(c, f) for c, f in EVERY_FIELD if f.required], ids=lambda x: str(x)[:40])
def test_a_required_field_may_not_be_absent_on_create_nor_null_on_update(category: str, field: Any) -> None:
    key = ENTITIES[category].id
    missing = {("missing_field", field.name)}
    assert reasons(category, create(category, **{field.name: ...})) == missing
    assert reasons(category, create(category, **{field.name: None})) == missing
    assert reasons(category, {"step": "update", key: "X", field.name: None}) == missing
    assert reasons(category, {"step": "update", key: "X"}) == set()


@pytest.mark.parametrize("category", ENTITIES)
def test_an_optional_field_may_be_absent_or_null(category: str) -> None:
    entity = ENTITIES[category]
    optional = {field.name: None for field in entity.fields if not field.required and field.name != entity.id}
    assert reasons(category, create(category, **optional)) == set()
    assert reasons(category, {"step": "update", entity.id: "X", **optional}) == set()


@pytest.mark.parametrize("category", ENTITIES)
@pytest.mark.parametrize("step", ["create", "update", "delete"])
def test_step_and_id_are_required_always(category: str, step: str) -> None:
    key = ENTITIES[category].id
    assert ("missing_field", key) in reasons(category, {**create(category), "step": step, key: None})
    assert ("missing_field", "step") in reasons(category, {**create(category), "step": None})
    assert reasons(category, create(category, step=...)) == {("missing_field", "step")}


@pytest.mark.parametrize("step", ["Create", "upsert", "", " ", "create "])
def test_an_unknown_step_is_that_and_nothing_else(step: str) -> None:
    assert reasons("client", create("client", step=step)) == {("unknown_step", "step")}


def test_a_step_that_is_no_text_is_a_wrong_type() -> None:
    assert reasons("client", create("client", step=1)) == {("wrong_type", "step")}
    assert reasons("client", create("client", step=["create"])) == {("wrong_type", "step")}


WRONG = {
    "string": (5, True, {"a": 1}, ["x"]),
    "boolean": ("true", 1, 0, {}),
    "object": ("{}", [], 1),
    "number": ("5", True, [], {}),
}


@pytest.mark.parametrize(("category", "field"), EVERY_FIELD, ids=lambda x: str(x)[:40])
def test_another_json_type_is_wrong_and_stands_alone(category: str, field: Any) -> None:
    for value in WRONG[field.type.json]:
        assert reasons(category, create(category, **{field.name: value})) == {("wrong_type", field.name)}


@pytest.mark.parametrize(
    ("data", "says"),
    [
        ({"amount": "5"}, "amount is 5, sent as text; probably 5 without quotes; wanted a number"),
        ({"amount": "-007.50"}, "amount is -007.50, sent as text; probably -7.50 without quotes; wanted a number"),
        ({"amount": "1,500.00"}, "amount is 1,500.00; probably 1500.00; wanted a number"),
        ({"amount": "1.500,00"}, "amount is 1.500,00; wanted a number"),
        ({"amount": "9" * 50}, f"amount is {'9' * 50}; wanted a number"),
        ({"amount": True}, "amount is true; wanted a number"),
        ({"amount": ""}, "amount is ; wanted a number"),
        ({"client_id": 5}, "client_id is 5, sent without quotes; wanted a text"),
        ({"client_id": [5]}, "client_id is [5]; wanted a text"),
        ({"step": True}, "step is true, sent without quotes; wanted a text"),
        ({"maturity_date": 20271116}, "maturity_date is 20271116, sent without quotes; wanted a date as text"),
        ({"info": "{}"}, "info is {}; wanted an object"),
    ],
)
def test_a_value_of_another_type_is_told_with_what_was_sent(data: dict[str, Any], says: str) -> None:
    assert checked([line("loan", create("loan", **data))]).reasons["message"].to_list() == [says]


def test_true_in_quotes_is_told_as_text() -> None:
    found = checked([line("client", create("client", is_company="True"))]).reasons["message"].to_list()
    assert found == ["is_company is True, sent as text; probably true without quotes; wanted true or false"]


def test_a_cell_of_csv_is_never_called_a_text() -> None:
    rows = [
        b"category,step,loan_id,amount,installment_count\n",
        *(b"loan,create,L,%b,%b\n" % (cell, cell) for cell in (b"+5", b".5", b"5.", b"x")),
    ]
    messages = checked(rows, "csv").reasons.filter(pl.col("code") == "wrong_type")["message"].to_list()
    assert len(messages) == 8
    assert not [message for message in messages if "text" in message or "quotes" in message]


@pytest.mark.parametrize(("category", "field"), TEXTS)
@pytest.mark.parametrize("blank", ["", " ", "\t\r\n", "\u00a0\u2003\u3000", "\u0085", "\x0b"])
def test_a_blank_text_or_date_stands_alone(category: str, field: str, blank: str) -> None:
    assert reasons(category, create(category, **{field: blank})) == {("blank_value", field)}


@pytest.mark.parametrize(("category", "field"), TEXTS)
@pytest.mark.parametrize("control", ["\x00", "\x0b", "\x1f", "\x7f", "\x9f"])
def test_a_control_character_stands_alone(category: str, field: str, control: str) -> None:
    assert reasons(category, create(category, **{field: f"a{control}b"})) == {("invalid_characters", field)}


def test_tab_cr_lf_and_every_other_character_may_stand_in_a_text() -> None:
    assert reasons("client", create("client", name="Ann\tLee\r\nStraße 💡 \u200b \u00ad ")) == set()


@pytest.mark.parametrize("category", ENTITIES)
def test_ids_have_no_space_at_their_ends_and_at_most_128_characters(category: str) -> None:
    entity = ENTITIES[category]
    for name in filter(None, (entity.id, entity.parent_id)):
        for bad in (" X", "X ", "\u00a0X", "X\n", "X" * 129):
            assert reasons(category, create(category, **{name: bad})) == {("invalid_id", name)}
        for good in ("X", "a b", "X" * 128, "é" * 128):
            assert reasons(category, create(category, **{name: good})) == set()


@pytest.mark.parametrize("value", ["john.doe@example.com", "a@b.co", "o'neil+x@mail.example.org", "ü@exämple.com"])
def test_an_address_that_email_validator_takes_is_valid(value: str) -> None:
    assert reasons("client", create("client", email=value)) == set()


@pytest.mark.parametrize("value", ["john.doe@", "x@example.test", "user@localhost", "a b@example.com", "a@b", "a..b@example.com"])
def test_an_address_that_email_validator_refuses_is_invalid(value: str) -> None:
    assert reasons("client", create("client", email=value)) == {("invalid_email", "email")}


@pytest.mark.parametrize("value", ["+1234567890", "+2345678", "+123456789012345"])
def test_a_phone_is_plus_and_seven_to_fifteen_digits(value: str) -> None:
    assert reasons("client", create("client", phone=value)) == set()


@pytest.mark.parametrize("value", ["1234567890", "+0234567890", "+123456", "+1234567890123456", "+1 234567890", "+१२३४५६७८"])
def test_any_other_phone_is_invalid(value: str) -> None:
    assert reasons("client", create("client", phone=value)) == {("invalid_phone", "phone")}


@pytest.mark.parametrize(("value", "meant"), [("UK", "GB"), ("ke", "KE"), ("KEN", "KE"), ("Kenya", "KE"), ("XX", None)])
def test_a_country_is_an_alpha_2_code_in_capitals_and_the_message_says_what_was_meant(value: str, meant: str | None) -> None:
    found = checked([line("client", create("client", country=value))]).reasons.row(0, named=True)
    assert (found["code"], found["field"], found["value"]) == ("invalid_country", "country", value)
    assert (f'probably "{meant}"' in found["message"]) if meant else "probably" not in found["message"]


@pytest.mark.parametrize("category", ["loan", "payment", "deposit"])
def test_a_currency_is_an_iso_4217_code(category: str) -> None:
    assert reasons(category, create(category, currency="EUR")) == set()
    for bad in ("EURO", "eur", "€", "XXZ"):
        assert reasons(category, create(category, currency=bad)) == {("invalid_currency", "currency")}


@pytest.mark.parametrize(("category", "field"), [(c, f) for c, f in EVERY_FIELD if f.choices], ids=lambda x: str(x)[:40])
def test_a_choice_is_one_of_its_words(category: str, field: Any) -> None:
    entity = ENTITIES[category]
    for word in field.choices:
        assert reasons(category, {"step": "update", entity.id: "X", field.name: word}) == set()
    for bad in (field.choices[0].upper(), "nonsense"):
        assert reasons(category, {"step": "update", entity.id: "X", field.name: bad}) == {("invalid_choice", field.name)}


@pytest.mark.parametrize(("category", "field"), [(c, f) for c, f in EVERY_FIELD if f.default], ids=lambda x: str(x)[:40])
def test_a_default_fills_an_absent_field_of_a_create_and_leaves_a_null_null(category: str, field: Any) -> None:
    absent = checked([line(category, create(category))]).events[category]
    null = checked([line(category, create(category, **{field.name: None}))]).events[category]
    update = checked([line(category, {"step": "update", ENTITIES[category].id: "X"})]).events[category]
    assert (absent[field.name][0], null[field.name][0], update[field.name][0]) == (field.default, None, None)


MONEY_VALID = ["1", "0.0001", "99999999999999.9999", "1.50000000", "1e3", "1E-4", "100000e-5", "0.00010e0"]
MONEY_INVALID = ["100000000000000", "1.00001", "1e14", "1e-5", "1e99999999999999999999", "9" * 10_000, "0.12345"]


@pytest.mark.parametrize(("category", "field"), [("loan", "amount"), ("payment", "amount"), ("payment", "principal")])
def test_amount_and_principal_are_above_0_and_fit_their_type(category: str, field: str) -> None:
    for good in MONEY_VALID:
        assert reasons(category, create(category, **{field: Raw(good)})) == set(), good
    for bad in (*MONEY_INVALID, "0", "-0", "0.0", "-1", "0e5", "-0.0001"):
        assert reasons(category, create(category, **{field: Raw(bad)})) == {("invalid_amount", field)}, bad


@pytest.mark.parametrize(("category", "field"), [("loan", "expected_margin"), ("payment", "fee")])
def test_margin_and_fee_are_not_below_0_and_fit_their_type(category: str, field: str) -> None:
    for good in (*MONEY_VALID, "0", "-0", "0e99999999999999999999"):
        assert reasons(category, create(category, **{field: Raw(good)})) == set(), good
    for bad in (*MONEY_INVALID, "-0.0001", "-1e3"):
        assert reasons(category, create(category, **{field: Raw(bad)})) == {("invalid_amount", field)}, bad


def test_a_balance_may_be_below_0() -> None:
    assert reasons("deposit", create("deposit", balance=Raw("-99999999999999.9999"))) == set()
    assert reasons("deposit", create("deposit", balance=Raw("-100000000000000"))) == {("invalid_amount", "balance")}


def test_a_rate_has_ten_digits_before_the_point_and_eight_after_it() -> None:
    for good in ("0", "9999999999.99999999", "0.00000001", "12.5"):
        assert reasons("loan", create("loan", interest_rate=Raw(good))) == set(), good
    for bad in ("10000000000", "0.000000001", "-0.1"):
        assert reasons("loan", create("loan", interest_rate=Raw(bad))) == {("invalid_amount", "interest_rate")}, bad


@pytest.mark.parametrize(("category", "field"), [("loan", "installment_count"), ("payment", "installment_number")])
def test_an_integer_is_digits_only_from_1_to_2147483647(category: str, field: str) -> None:
    for good in ("1", "2147483647"):
        assert reasons(category, create(category, **{field: Raw(good)})) == set()
    for bad in ("0", "2147483648", "-1", "1.0", "1e1", "9" * 5000):
        assert reasons(category, create(category, **{field: Raw(bad)})) == {("invalid_amount", field)}


def test_no_number_passes_through_a_float() -> None:
    events = checked([line("loan", create("loan", amount=Raw("12345678901234.5678"), interest_rate=Raw("0.10000001")))]).events
    assert str(events["loan"]["amount"][0]) == "12345678901234.5678"
    assert str(events["loan"]["interest_rate"][0]) == "0.10000001"


@pytest.mark.parametrize(
    "value",
    ["2024-02-29", "20240229", "2024-02-29T00:00", "2024-02-29 23:59:59", "20240229T10:00:00.123456789Z", "2024-02-29T10:00+05:30", "2024-02-29T23:59-1100", "2024-02-29T10:00+01", "0001-01-01", "9999-12-31"],
)  # fmt: skip
def test_a_date_alone_or_with_a_time_is_stored_as_written(value: str) -> None:
    events = checked([line("client", create("client", dob=value))]).events["client"]
    assert str(events["dob"][0]) == value[:10] if value[4] == "-" else "2024-02-29"


@pytest.mark.parametrize(
    "value",
    ["2023-02-29", "2024-13-01", "2024-0229", "202402-29", "29.02.2024", "2024-2-9", "0000-01-01", "2024-02-29T24:00", "2024-02-29T10:60", "2024-02-29T10:00:60", "2024-02-29T10:00:00.", "2024-02-29T10:00z", "2024-02-29 ", "2024-02-29T", "2024-02-29Z", "2024-02-29T10:00+24:00", "２０２４-02-29"],
)  # fmt: skip
def test_any_other_date_is_invalid(value: str) -> None:
    assert reasons("client", create("client", dob=value)) == {("invalid_date", "dob")}


def test_two_spellings_of_a_field_may_agree_but_not_differ() -> None:
    assert reasons("loan", create("loan", disbursement_amount=1000)) == set()
    assert reasons("loan", create("loan", amount=..., disbursement_amount=1000)) == set()
    for other in (1001, None, Raw("1000.0"), "x"):
        assert reasons("loan", create("loan", disbursement_amount=other)) == {("conflicting_alias", "amount")}
    assert reasons("payment", create("payment", disbursement_id="L2")) == {("conflicting_alias", "loan_id")}


def test_a_delete_needs_step_and_id_and_ignores_the_rest() -> None:
    junk = {"name": 5, "email": "x", "country": None, "nickname": "Jo"}
    assert reasons("client", {"step": "delete", "client_id": "C1", **junk}) == set()
    assert warnings("client", {"step": "delete", "client_id": "C1", **junk}) == set()
    conflict = {"step": "delete", "loan_id": "L1", "disbursement_id": "L2", "amount": 1, "disbursement_amount": 2}
    assert reasons("loan", conflict) == {("conflicting_alias", "loan_id")}


def test_all_reasons_are_told_at_once_with_value_and_message() -> None:
    event = create("client", email="x", phone="0712", country="UK", name=...)
    found = checked([line("client", event)]).reasons.sort("field")
    assert found["code"].to_list() == ["invalid_country", "invalid_email", "missing_field", "invalid_phone"]
    assert found["value"].to_list() == ["UK", "x", None, "0712"]
    assert all("wanted" in message for message in found["message"])


def test_a_record_rule_is_told_in_the_same_breath_but_not_over_a_field_that_has_a_reason() -> None:
    company = create("client", is_company=True, email="x")
    wanted = {("invalid_email", "email"), ("gender_company_mismatch", "gender")}
    wanted |= {("contact_person_required", "contact_person"), ("registration_number_type", "registration_number")}
    assert reasons("client", company) == wanted
    unsure = create("client", is_company="yes", gender="company")
    assert reasons("client", unsure) == {("wrong_type", "is_company")}
    half = create("client", is_company=True, contact_person=" ", gender="company", registration_number="CR-1")
    assert reasons("client", half) == {("blank_value", "contact_person")}


def test_unknown_fields_and_odd_values_are_warnings() -> None:
    event = create("client", nickname="Jo", phone="+1234567890", address="Main Street, Nairobi")
    wanted = {("unknown_field", "nickname"), ("implausible_phone", "phone"), ("incomplete_address", "address")}
    assert reasons("client", event) == set()
    assert warnings("client", event) == wanted
    assert warnings("client", {"step": "update", "client_id": "C1"}) == {("empty_update", None)}
    assert warnings("client", {"step": "update", "client_id": "C1", "x": 1}) == {("empty_update", None), ("unknown_field", "x")}
