"""A payment: an installment expected or paid on a loan. Pure."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from validation.event_rules import event_schema
from validation.fields import Entity, Field, FieldType
from validation.record_rules import immutable, names
from validation.rules import PARENT, record_rule, schema

if TYPE_CHECKING:
    import pandera.polars as pa

PAYMENT = Entity(
    category="payment",
    table="payments",
    parent="loan",
    parent_id="loan_id",
    fields=(
        Field("payment_id", FieldType.TEXT, "The lender's reference of the payment"),
        Field("loan_id", FieldType.TEXT, "The loan it pays", required=True, alias="disbursement_id"),
        Field("amount", FieldType.MONEY, "Amount of the payment", required=True, alias="payment_total"),
        Field("currency", FieldType.TEXT, "ISO 4217 code, its loan's", required=True),
        Field(
            "status",
            FieldType.TEXT,
            "expected, paid or canceled",
            required=True,
            choices=("expected", "paid", "canceled"),
        ),
        Field("due_date", FieldType.DATE, "Day the payment is due", required=True),
        Field("payment_date", FieldType.DATE, "Day it was paid"),
        Field("principal", FieldType.MONEY, "Part that repays the loan", alias="payment_principal"),
        Field("fee", FieldType.MONEY, "Part that is interest and fees", alias="payment_fee"),
        Field("installment_number", FieldType.INTEGER, "Which installment it is, from 1"),
        Field(
            "source",
            FieldType.TEXT,
            "client, insurer or other",
            choices=("client", "insurer", "other"),
            default="client",
        ),
        Field("bank_ref", FieldType.TEXT, "Reference at the bank", identifies=True),
        Field("info", FieldType.OBJECT, "What the sender adds, as JSON", identifies=True),
    ),
)


@cache
def event() -> pa.DataFrameSchema:
    """Return the schema of payment events as sent."""
    return event_schema(PAYMENT)


@cache
def record() -> pa.DataFrameSchema:
    """Return the schema of a payment as a record: its field dependencies."""
    rules = (
        record_rule(
            "split_mismatch",
            "amount",
            ("amount", "principal", "fee"),
            lambda amount, principal, fee: principal + fee != amount,
            when="principal and fee both known and principal + fee is not amount",
            example='{"amount": 100, "principal": 90, "fee": 5}',
            message="principal {principal} and fee {fee} do not make amount {amount}; wanted principal + fee = amount",
        ),
        *immutable("loan_id"),
        record_rule(
            "currency_mismatch",
            "currency",
            ("currency", f"{PARENT}currency"),
            lambda currency, loans: currency != loans,
            waits_for_parent=True,
            when="differs from its loan's",
            example='{"currency": "USD"}',
            message='currency "{currency}" differs from its loan\'s; wanted "{parent.currency}"',
        ),
        *immutable("currency"),
    )
    return schema("payment record", names(PAYMENT), rules)
