"""Records as the API shows them: the contract's names, exact numbers, JSON as it was sent. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import orjson

from validation.entities import ENTITIES
from validation.fields import Entity, FieldType

SHOWN = {
    "name": "name",
    "first_name": "firstName",
    "middle_name": "middleName",
    "last_name": "lastName",
    "dob": "dob",
    "image": "image",
    "address": "address",
    "city": "city",
    "state": "state",
    "country": "country",
    "phone": "phoneNumber",
    "email": "email",
    "is_company": "isCompany",
    "registration_number": "registrationNumber",
    "gender": "gender",
    "contact_person": "contactPerson",
    "info": "customData",
}
"""Field of a client -> its name in the API."""
_SPAN = ("created_on", "updated_on", "deleted_on")


def client(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return a client as the API shows it."""
    reference = record["client_id"]
    fields = {shown: record[name] for name, shown in SHOWN.items()}
    info = record["info"]
    fields["customData"] = None if info is None else orjson.Fragment(info)
    return {
        "id": reference,
        "clientRef": reference,
        **fields,
        "status": "active" if record["deleted_on"] is None else "deleted",
        "created_at": record["created_on"],
        "updated_at": record["updated_on"],
    }


def row(entity: Entity, record: Mapping[str, Any]) -> dict[str, Any]:
    """Return a loan or deposit as the API shows it: its table's columns in camelCase, money with all its places."""
    shown: dict[str, Any] = {}
    for field in entity.fields:
        value = record[field.name]
        if value is not None and field.type is FieldType.OBJECT:
            value = orjson.Fragment(value)
        elif isinstance(value, Decimal):
            value = orjson.Fragment(f"{value:f}")
        shown[camel(field.name)] = value
    return shown | {camel(name): record[name] for name in _SPAN}


def camel(name: str) -> str:
    """Return a column's name in camelCase."""
    return re.sub(r"_(.)", lambda letter: letter[1].upper(), name)


def columns(category: str) -> tuple[str, ...]:
    """Return the columns of a category's table that a record has."""
    return (*ENTITIES[category].names, *_SPAN)


def to_json(content: object) -> bytes:
    """Return the bytes of an answer."""
    return orjson.dumps(content)
