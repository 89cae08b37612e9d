"""A deposit: an account in which a client keeps money. Pure."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from validation.event_rules import event_schema
from validation.fields import Entity, Field, FieldType
from validation.record_rules import immutable, names
from validation.rules import schema

if TYPE_CHECKING:
    import pandera.polars as pa

DEPOSIT = Entity(
    category="deposit",
    table="deposits",
    parent="client",
    parent_id="client_id",
    fields=(
        Field("deposit_id", FieldType.TEXT, "The lender's reference of the deposit"),
        Field("client_id", FieldType.TEXT, "The client whose money it is", required=True),
        Field("account_number", FieldType.TEXT, "Number of the account", required=True, identifies=True),
        Field("currency", FieldType.TEXT, "ISO 4217 code", required=True),
        Field("account_name", FieldType.TEXT, "Name on the account", identifies=True),
        Field("balance", FieldType.MONEY, "Balance; may be below 0"),
        Field(
            "status",
            FieldType.TEXT,
            "active, dormant or closed",
            choices=("active", "dormant", "closed"),
            default="active",
        ),
        Field("product_type", FieldType.TEXT, "Kind of deposit product"),
        Field("maturity_date", FieldType.DATE, "Day a term deposit ends"),
        Field("info", FieldType.OBJECT, "What the sender adds, as JSON", identifies=True),
    ),
)


@cache
def event() -> pa.DataFrameSchema:
    """Return the schema of deposit events as sent."""
    return event_schema(DEPOSIT)


@cache
def record() -> pa.DataFrameSchema:
    """Return the schema of a deposit as a record: its field dependencies."""
    return schema("deposit record", names(DEPOSIT), immutable("client_id", "currency"))
