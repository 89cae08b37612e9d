"""A loan: money lent to a client. Pure."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

from validation.event_rules import event_schema
from validation.fields import Entity, Field, FieldType
from validation.record_rules import immutable, names
from validation.rules import BEFORE, EVENT, record_rule, schema
from validation.words import differs, is_missing

if TYPE_CHECKING:
    import pandera.polars as pa


LOAN = Entity(
    category="loan",
    table="loans",
    parent="client",
    parent_id="client_id",
    other_category="disbursement",
    watched=("amount", "expected_margin", "maturity_date"),
    fields=(
        Field("loan_id", FieldType.TEXT, "The lender's reference of the loan", alias="disbursement_id"),
        Field("client_id", FieldType.TEXT, "The client who borrowed", required=True),
        Field("amount", FieldType.MONEY, "Amount disbursed", required=True, alias="disbursement_amount"),
        Field("currency", FieldType.TEXT, "ISO 4217 code", required=True),
        Field("disbursement_date", FieldType.DATE, "Day the money left", required=True),
        Field("maturity_date", FieldType.DATE, "Day the loan is due", required=True),
        Field("expected_margin", FieldType.MONEY, "Margin expected over the whole term", alias="total_expected_margin"),
        Field("interest_rate", FieldType.RATE, "Interest rate, as agreed"),
        Field("installment_count", FieldType.INTEGER, "Number of installments"),
        Field(
            "status",
            FieldType.TEXT,
            "pending, active, closed or written_off",
            choices=("pending", "active", "closed", "written_off"),
            default="active",
        ),
        Field("change_date", FieldType.DATE, "Day of the last change of terms"),
        Field("change_reason", FieldType.TEXT, "Why the terms changed", identifies=True),
        Field("info", FieldType.OBJECT, "What the sender adds, as JSON", identifies=True),
    ),
)


@cache
def event() -> pa.DataFrameSchema:
    """Return the schema of loan events as sent."""
    return event_schema(LOAN)


@cache
def record() -> pa.DataFrameSchema:
    """Return the schema of a loan as a record: its field dependencies."""
    changes = tuple(prefix + name for name in LOAN.watched for prefix in (BEFORE, ""))
    brings = (EVENT + "change_date", EVENT + "change_reason")
    wanted = "change_date and change_reason in the same event"
    rules = (
        record_rule(
            "maturity_before_disbursement",
            "maturity_date",
            ("maturity_date", "disbursement_date"),
            lambda maturity, disbursement: maturity < disbursement,
            when="maturity_date < disbursement_date",
            example='{"disbursement_date": "2026-11-16", "maturity_date": "2026-11-15"}',
            message="maturity_date {maturity_date} is before disbursement_date {disbursement_date}; wanted that day or later",
        ),
        record_rule(
            "change_reason_required",
            "change_reason",
            (*changes, *brings),
            lambda *values: _changed(values) & is_missing(values[-1]),
            nullable=(*changes, *brings),
            on_create=False,
            when="amount, expected_margin or maturity_date changes and change_date or change_reason is not in the event",
            example='{"step": "update", "amount": 900, "change_date": "2026-11-17"}',
            message=f"the loan's terms change and the event brings no change_reason; wanted {wanted}",
        ),
        record_rule(
            "change_reason_required",
            "change_date",
            (*changes, *brings),
            lambda *values: _changed(values) & is_missing(values[-2]) & (is_missing(values[-1]) ^ True),
            nullable=(*changes, *brings),
            on_create=False,
            when="amount, expected_margin or maturity_date changes and change_date or change_reason is not in the event",
            example='{"step": "update", "amount": 900, "change_reason": "restructured"}',
            message=f"the loan's terms change and the event brings no change_date; wanted {wanted}",
        ),
        *immutable("client_id", "currency"),
    )
    return schema("loan record", names(LOAN), rules)


def _changed(values: tuple[Any, ...]) -> Any:
    """Tell whether one of the watched terms changes; values are (before, after) in turn."""
    return differs(*values[0:2]) | differs(*values[2:4]) | differs(*values[4:6])
