"""The OpenAPI document: what the calls take and answer, as a machine reads it."""

from __future__ import annotations

from typing import Any

from api.composing import ACCEPTED, CREATE_NEEDS, REFERENCE, UPDATE_NEEDS
from api.errors import CODES
from api.presenting import SHOWN, camel, columns
from validation.entities import ENTITIES
from validation.fields import Field, FieldType

Json = dict[str, Any]
_TEXT = {"type": "string", "format": "text", "minLength": 1}
_OPTIONAL = {"type": ["string", "null"], "format": "text", "minLength": 1}
_TYPES: dict[FieldType, Json] = {
    FieldType.TEXT: {"type": ["string", "null"]},
    FieldType.DATE: {"type": ["string", "null"], "format": "date"},
    FieldType.MONEY: {"type": ["number", "null"]},
    FieldType.RATE: {"type": ["number", "null"]},
    FieldType.INTEGER: {"type": ["integer", "null"]},
    FieldType.BOOLEAN: {"type": ["boolean", "null"]},
    FieldType.OBJECT: {"type": ["object", "null"]},
}
_ACCEPTED: dict[str, Json] = {
    "firstName": _TEXT,
    "lastName": _TEXT,
    "middleName": _OPTIONAL,
    "dob": {"type": "string", "format": "past-date", "description": "Date of birth, YYYY-MM-DD, before today"},
    "address": _TEXT,
    "city": _OPTIONAL,
    "state": _TEXT,
    "country": {"type": "string", "format": "country", "description": "ISO 3166-1 alpha-2 code or the country's name"},
    "phoneNumber": {"type": ["string", "null"], "pattern": r"^\+[1-9][0-9]{6,14}$"},
    "email": {"type": ["string", "null"], "format": "email"},
    "image": {"type": ["string", "null"], "format": "image", "description": "A URL, or a PNG, JPEG, GIF or WebP as base64"},
    "customData": {
        "anyOf": [{"type": "object"}, {"type": "string", "format": "json-object"}, {"type": "null"}],
        "description": "An object, or a string holding a JSON object",
    },
}
ONCE_FORM = "^[!-~]([ -~]{0,253}[!-~])?$"
_REFERENCE = {"type": "string", "format": "reference", "minLength": 1, "maxLength": 128}


def _body(needed: tuple[str, ...], *, with_reference: bool) -> Json:
    properties = {name: _ACCEPTED[name] for name in ACCEPTED}
    if with_reference:
        properties[REFERENCE] = {
            **_REFERENCE,
            "type": ["string", "null"],
            "description": "Your own reference; one is made when absent. Never used twice.",
        }
    schema = {"type": "object", "required": list(needed), "properties": properties, "additionalProperties": False}
    return {"required": True, "content": {"application/json": {"schema": schema}}}


def _client() -> Json:
    types = {shown: _TYPES[ENTITIES["client"].field(name).type] for name, shown in SHOWN.items()}
    known: Json = {"id": {"type": "string"}, "clientRef": {"type": "string"}, **types}
    known |= {
        "status": {"type": "string", "enum": ["active", "deleted"]},
        "created_at": {"type": "string", "format": "date"},
        "updated_at": {"type": "string", "format": "date"},
    }
    return {"type": "object", "required": list(known), "properties": known}


def _row(category: str) -> Json:
    fields: dict[str, Field] = {field.name: field for field in ENTITIES[category].fields}
    known = {camel(name): _TYPES[fields[name].type if name in fields else FieldType.DATE] for name in columns(category)}
    return {"type": "object", "required": list(known), "properties": known}


def _answer(data: Json, *, paged: bool) -> Json:
    properties: Json = {"responseCode": {"const": "00"}, "message": {"type": "string"}, "data": data}
    if paged:
        properties["pagination"] = {"$ref": "#/components/schemas/Pagination"}
    return {"type": "object", "required": list(properties), "properties": properties, "additionalProperties": False}


def _ref(name: str) -> Json:
    return {"$ref": f"#/components/schemas/{name}"}


def _list(name: str) -> Json:
    return _answer({"type": "array", "items": _ref(name)}, paged=True)


def _responses(told: str, schema: Json, *errors: int, status: int = 200) -> Json:
    found: Json = {str(status): {"description": told, "content": {"application/json": {"schema": schema}}}}
    headers = {405: "Allow", 429: "Retry-After"}
    for code in sorted({403, 405, 408, 429, 500, 503, 504, *errors}):
        number, meaning = CODES[code]
        found[str(code)] = {
            "description": f"code {number}: {meaning}",
            "content": {"application/json": {"schema": _ref("Error")}},
            **({"headers": {headers[code]: {"schema": {"type": "string"}}}} if code in headers else {}),
        }
    return found


def _number(name: str, default: int, most: int) -> Json:
    schema = {"type": "integer", "minimum": 1, "maximum": most, "default": default}
    return {"name": name, "in": "query", "schema": schema}


_PAGE = [_number("page", 1, 2_147_483_647), _number("perPage", 15, 500)]
_AT = {"name": "clientRef", "in": "path", "required": True, "schema": _REFERENCE}
_AT_OR_TERM = {**_AT, "schema": {"type": "string", "format": "reference", "minLength": 1}}
_ONCE = {
    "name": "Idempotency-Key",
    "in": "header",
    "description": "The same request with the same key is done once and answered alike, for 30 days",
    "schema": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": ONCE_FORM},
}
_SEARCH = {
    "name": "search",
    "in": "query",
    "description": "Part of a name, email, phone, number or reference",
    "schema": {"type": "string"},
}
_NUMBERED: Json = {"type": ["integer", "null"]}
_PAGINATION = ("currentPage", "perPage", "totalCount", "totalPages")
_ONE_CLIENT = _answer(_ref("Client"), paged=False)

DOCUMENT: Json = {
    "openapi": "3.1.0",
    "info": {
        "title": "nightdrop Clients API",
        "version": "1",
        "description": "Clients, their loans and deposits out of the published warehouse; writes are events of a journal.",
    },
    "security": [{"key": []}],
    "paths": {
        "/v1/clients": {
            "get": {
                "summary": "List clients, or search them",
                "operationId": "listClients",
                "parameters": [*_PAGE, _SEARCH],
                "responses": _responses("The clients, deleted ones left out, by reference", _list("Client"), 422),
            },
            "post": {
                "summary": "Create a client: an individual",
                "operationId": "createClient",
                "parameters": [_ONCE],
                "requestBody": _body(CREATE_NEEDS, with_reference=True),
                "responses": _responses("The client", _ONE_CLIENT, 409, 413, 415, 422, status=201),
            },
        },
        "/v1/clients/{clientRef}": {
            "get": {
                "summary": "One client by reference; else a search for that term",
                "operationId": "getClient",
                "parameters": [_AT_OR_TERM, *_PAGE],
                "responses": _responses("The client, or a list", {"anyOf": [_ONE_CLIENT, _list("Client")]}, 404, 422),
            },
            "patch": {
                "summary": "Update a client",
                "operationId": "updateClient",
                "parameters": [_AT, _ONCE],
                "requestBody": _body(UPDATE_NEEDS, with_reference=False),
                "responses": _responses("The client as it now stands", _ONE_CLIENT, 404, 409, 413, 415, 422),
            },
            "delete": {
                "summary": "Delete a client; its loans and deposits stay",
                "operationId": "deleteClient",
                "parameters": [_AT, _ONCE],
                "responses": _responses("The client, deleted", _ONE_CLIENT, 404, 409, 422),
            },
        },
        **{
            f"/v1/clients/{{clientRef}}/{ENTITIES[category].table}": {
                "get": {
                    "summary": f"The {category}s of a client, also of a deleted one",
                    "operationId": f"list{name}s",
                    "parameters": [_AT, *_PAGE],
                    "responses": _responses(f"The {category}s, deleted ones too, by id", _list(name), 404, 422),
                }
            }
            for category, name in (("loan", "Loan"), ("deposit", "Deposit"))
        },
    },
    "components": {
        "securitySchemes": {"key": {"type": "http", "scheme": "bearer", "description": "`nightdrop key new` makes one"}},
        "schemas": {
            "Client": _client(),
            "Loan": _row("loan"),
            "Deposit": _row("deposit"),
            "Pagination": {
                "type": "object",
                "required": [*_PAGINATION, "previousPage", "nextPage"],
                "properties": {
                    **{name: {"type": "integer"} for name in _PAGINATION},
                    "previousPage": _NUMBERED,
                    "nextPage": _NUMBERED,
                },
            },
            "Error": {
                "type": "object",
                "required": ["message", "code", "errors"],
                "properties": {
                    "message": {"type": "string"},
                    "code": {"type": "string", "enum": sorted(number for number, _ in CODES.values())},
                    "errors": {"type": "array", "items": _ref("Reason")},
                },
                "additionalProperties": False,
            },
            "Reason": {
                "type": "object",
                "required": ["code", "field", "value", "message"],
                "properties": {
                    "code": {
                        "type": "string",
                        "description": "As `nightdrop rules` lists them; also unknown_field, invalid_image",
                    },
                    "field": {"type": ["string", "null"]},
                    "value": {"type": ["string", "null"]},
                    "message": {"type": "string"},
                },
            },
        },
    },
}
