"""A client: a person or a company that borrows or deposits. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache, partial
from typing import TYPE_CHECKING, Any

from validation.event_rules import event_schema
from validation.fields import Entity, Field, FieldType
from validation.record_rules import names
from validation.rules import SOURCE, Rule, record_rule, schema
from validation.words import is_missing, lacks_form, of_source

if TYPE_CHECKING:
    import pandera.polars as pa

REGISTRATION_PATTERNS = {"individual": r"(?s:(ID|PASS)-.+)", "company": r"(?s:CR-.+)"}
"""Wanted form of a registration number per client type; settings may replace it."""

CLIENT = Entity(
    category="client",
    table="clients",
    fields=(
        Field("client_id", FieldType.TEXT, "The lender's reference of the client"),
        Field("name", FieldType.TEXT, "Full name of the person or company", required=True, identifies=True),
        Field("email", FieldType.TEXT, "E-mail address", required=True, identifies=True),
        Field("phone", FieldType.TEXT, "Telephone number in E.164 form", required=True, identifies=True),
        Field("address", FieldType.TEXT, "Postal address", required=True, identifies=True),
        Field("country", FieldType.TEXT, "ISO 3166-1 alpha-2 code", required=True),
        Field("is_company", FieldType.BOOLEAN, "True for a company, false for an individual", required=True),
        Field(
            "registration_number", FieldType.TEXT, "Identity document or company register number", required=True, identifies=True
        ),
        Field("gender", FieldType.TEXT, "male, female or company", required=True, choices=("male", "female", "company")),
        Field("contact_person", FieldType.TEXT, "Who speaks for the company", identifies=True),
        Field("info", FieldType.OBJECT, "What the sender adds, as JSON", identifies=True),
        Field("first_name", FieldType.TEXT, "First name", identifies=True),
        Field("middle_name", FieldType.TEXT, "Middle name", identifies=True),
        Field("last_name", FieldType.TEXT, "Last name", identifies=True),
        Field("dob", FieldType.DATE, "Date of birth", identifies=True),
        Field("image", FieldType.TEXT, "Picture: URL or reference", identifies=True),
        Field("city", FieldType.TEXT, "City"),
        Field("state", FieldType.TEXT, "State or province"),
    ),
    api_required=frozenset({"name", "dob", "address", "state", "country", "is_company"}),
)


@cache
def event() -> pa.DataFrameSchema:
    """Return the schema of client events as sent."""
    return event_schema(CLIENT)


def record(
    registration_patterns: Mapping[str, str] = REGISTRATION_PATTERNS, of_sources: Mapping[str, Mapping[str, str]] | None = None
) -> pa.DataFrameSchema:
    """Return the schema of a client as a record: its field dependencies; sources may have registration patterns of their own."""
    rules = (
        record_rule(
            "gender_company_mismatch",
            "gender",
            ("gender", "is_company"),
            lambda gender, is_company: (gender == "company") ^ is_company,
            when='gender is "company" and is_company is not true, or the reverse',
            example='{"gender": "company", "is_company": false}',
            message='gender is "{gender}" though is_company is {is_company}; wanted "company" for a company and only there',
        ),
        record_rule(
            "contact_person_required",
            "contact_person",
            ("is_company", "contact_person"),
            lambda is_company, contact_person: is_company & is_missing(contact_person),
            nullable=("contact_person",),
            when="is_company is true, contact_person null, absent or blank",
            example='{"is_company": true, "contact_person": null}',
            message="a company has no contact_person; wanted the name of one",
        ),
        _registration_number_type(registration_patterns, of_sources or {}),
        record_rule(
            "unused_contact_person",
            "contact_person",
            ("is_company", "contact_person"),
            lambda is_company, contact_person: (is_company ^ True) & (is_missing(contact_person) ^ True),
            severity="warning",
            when="an individual with a contact_person; kept",
            example='{"is_company": false, "contact_person": "Ann Lee"}',
            message="an individual has a contact_person; wanted one only on a company; kept as it is",
        ),
    )
    return schema("client record", names(CLIENT), rules)


def _registration_number_type(everywhere: Mapping[str, str], of_sources: Mapping[str, Mapping[str, str]]) -> Rule:
    """Return the rule of the wanted forms; those of its source count for an event that sends the number or the type."""

    def broken(is_company: Any, number: Any, source: Any = None) -> Any:
        options = {name: partial(_misfits, is_company, number, own) for name, own in of_sources.items()}
        return of_source(source, options, partial(_misfits, is_company, number, everywhere))

    forms = [f"individual: not of the form {everywhere['individual']}; company: not {everywhere['company']}"]
    forms += [f"from {name}, {own['individual']} and {own['company']}" for name, own in of_sources.items()]
    return record_rule(
        "registration_number_type",
        "registration_number",
        ("is_company", "registration_number", *([SOURCE] if of_sources else [])),
        broken,
        nullable=(SOURCE,),
        when="; ".join(forms),
        example='{"is_company": false, "registration_number": "CR-1"}',
        message=_form_message(everywhere),
        by_source={name: _form_message(own) for name, own in of_sources.items()},
    )


def _misfits(is_company: Any, number: Any, wanted: Mapping[str, str]) -> Any:
    company, individual = lacks_form(number, wanted["company"]), lacks_form(number, wanted["individual"])
    return (is_company & company) | ((is_company ^ True) & individual)


def _form_message(wanted: Mapping[str, str]) -> str:
    individual, company = (_braced(_FORM_WORDS.get(wanted[kind], wanted[kind])) for kind in ("individual", "company"))
    return (
        'registration_number "{registration_number}" does not fit is_company {is_company}; '
        f"wanted the form {individual} for an individual, {company} for a company"
    )


def _braced(pattern: str) -> str:
    return pattern.replace("{", "{{").replace("}", "}}")


_FORM_WORDS = {
    REGISTRATION_PATTERNS["individual"]: "ID-… or PASS-…",
    REGISTRATION_PATTERNS["company"]: "CR-…",
}
"""How a person reads the built-in patterns."""
