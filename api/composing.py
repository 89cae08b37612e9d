"""From the body of a request to the line of the journal it would be. What the API alone asks for is judged here. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import Any

from api.errors import ApiError, Reason
from api.images import NotAnImage, reference
from api.presenting import SHOWN
from pipelines.journals import API, CHANNEL
from pipelines.jsontext import Members, Value, json_text, parse
from validation.client import CLIENT
from validation.reference import country_named
from validation.values import DATE_FORM

CREATE_NEEDS = ("firstName", "lastName", "dob", "address", "state", "country")
UPDATE_NEEDS = ("firstName", "lastName", "dob")
ACCEPTED = (*CREATE_NEEDS, "middleName", "image", "city", "phoneNumber", "email", "customData")
REFERENCE = "clientRef"
_FIELDS = {shown: name for name, shown in SHOWN.items()}
NAME_PARTS = ("firstName", "middleName", "lastName")
_TEXTS = {"firstName": "the first name", "lastName": "the last name", "address": "the postal address", "state": "the state"}


@dataclass(slots=True)
class Composed:
    """What a request would write."""

    data: dict[str, Value]
    """The event's fields, its step and reference among them."""
    reasons: list[Reason] = field(default_factory=list)
    """What the API refuses whatever the rules say."""
    image: tuple[str, bytes] | None = None
    """A picture to store, and its place."""

    def line(self) -> bytes:
        """Return the line of the journal, with its LF."""
        envelope = Members((("category", CLIENT.category), (CHANNEL, API), ("data", Members(self.data.items()))))
        return json_text(envelope).encode() + b"\n"


def body_of(raw: bytes) -> dict[str, Value]:
    """Return the members of a body. Raises ApiError 422 when it is no JSON object, by the rules for lines."""
    try:
        text = raw.decode()
        found = parse(text)
    except UnicodeDecodeError:
        raise _refused("invalid_encoding", "the body is not UTF-8; wanted a JSON object in UTF-8") from None
    except (ValueError, RecursionError):
        raise _refused("malformed_json", "the body is not JSON; wanted an object, at most 63 levels deep") from None
    if not isinstance(found, Members):
        raise _refused("not_an_object", "the body is JSON but no object; wanted an object with the client's fields")
    members = dict(found)
    if len(members) < len(found):
        raise _refused("duplicate_key", "a key stands twice in the body; wanted each key once")
    return members


def create(body: Mapping[str, Value], client_id: str, largest_image: int) -> Composed:
    """Return what a POST would write."""
    composed = _fields_of(body, CREATE_NEEDS, largest_image)
    parts = [body.get(name) for name in NAME_PARTS]
    if all(part is None or type(part) is str for part in parts):
        composed.data["name"] = full_name(parts)
    sent = body.get(REFERENCE, client_id)
    composed.data = {"step": "create", "client_id": sent, **composed.data, "is_company": False}
    if sent is None:
        composed.data["client_id"] = client_id
    return composed


def update(body: Mapping[str, Value], client_id: str, record: Mapping[str, Any] | None, largest_image: int) -> Composed:
    """Return what a PATCH would write; a company's name is left alone."""
    composed = _fields_of(body, UPDATE_NEEDS, largest_image)
    if record is not None and not record["is_company"]:
        parts = [body.get(name, record[_FIELDS[name]]) for name in NAME_PARTS]
        if all(part is None or type(part) is str for part in parts):
            composed.data["name"] = full_name(parts)
    sent = body.get(REFERENCE, client_id)
    if sent != client_id:
        told = "clientRef is another than the address names; wanted the same, or none: a reference never changes"
        composed.reasons.append(Reason("immutable_field", REFERENCE, None, told))
    composed.data = {"step": "update", "client_id": client_id, **composed.data}
    return composed


def delete(client_id: str) -> Composed:
    """Return what a DELETE would write."""
    return Composed({"step": "delete", "client_id": client_id})


def full_name(parts: list[Any]) -> str:
    """Return first, middle and last name as one."""
    return " ".join(str(part) for part in parts if part is not None)


def _fields_of(body: Mapping[str, Value], needed: tuple[str, ...], largest_image: int) -> Composed:
    composed = Composed({_FIELDS[name]: value for name, value in body.items() if name in ACCEPTED})
    for name in needed:
        if body.get(name) is None:
            wanted = _TEXTS.get(name, "the date of birth" if name == "dob" else "a country")
            composed.reasons.append(Reason("missing_field", name, None, f"{name} is missing; wanted {wanted}"))
            composed.data.pop(_FIELDS[name], None)
    for name in body:
        if name not in (*ACCEPTED, REFERENCE):
            told = f"{name} is no field of this call; wanted any of {', '.join((REFERENCE, *ACCEPTED))}"
            composed.reasons.append(Reason("unknown_field", name, None, told))
    _read_birth(composed)
    _read_country(composed)
    _read_custom_data(composed)
    _read_image(composed, largest_image)
    return composed


def _read_birth(composed: Composed) -> None:
    sent = composed.data.get("dob")
    if type(sent) is not str:
        return
    day = _day(sent)
    if day is not None and day >= today():
        told = f"dob is {day}, which is not past; wanted a date of birth before today"
        composed.reasons.append(Reason("invalid_date", "dob", sent, told))


def _day(text: str) -> date | None:
    """Return the date that a text stands for by the rule `invalid_date`; None when it stands for none."""
    if re.search(DATE_FORM, text, re.ASCII) is None:
        return None
    try:
        return date.fromisoformat(text[:10].replace("-", "")[:8])
    except ValueError:
        return None


def today() -> date:
    """Return the date by UTC."""
    return datetime.now(UTC).date()


def _read_country(composed: Composed) -> None:
    sent = composed.data.get("country")
    if type(sent) is str:
        composed.data["country"] = country_named(sent) or sent


def _read_custom_data(composed: Composed) -> None:
    sent = composed.data.get("info")
    if type(sent) is not str:
        return
    try:
        found = parse(sent)
    except (ValueError, RecursionError):
        found = None
    if isinstance(found, Members):
        composed.data["info"] = found
        return
    told = "customData is a text that holds no JSON object; wanted an object, or a text such as '{\"a\": 1}'"
    composed.reasons.append(Reason("wrong_type", "customData", sent, told))
    del composed.data["info"]


def _read_image(composed: Composed, largest: int) -> None:
    sent = composed.data.get("image")
    if type(sent) is not str:
        return
    try:
        kept, picture = reference(sent, largest)
    except NotAnImage as error:
        composed.reasons.append(Reason("invalid_image", "image", sent[:80], str(error)))
        del composed.data["image"]
        return
    composed.data["image"] = kept
    if picture is not None:
        composed.image = kept, picture


def _refused(code: str, told: str) -> ApiError:
    return ApiError(422, "The request is refused.", [Reason(code, None, None, told)])
