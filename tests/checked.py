"""What checking says of single events: the short way for tests of rules."""

from __future__ import annotations

import io
import json
from collections.abc import Iterable, Mapping
from typing import Any

import polars as pl

from pipelines.checking import Checked, check
from pipelines.reading import read_chunks
from pipelines.sheets import UNREAD
from validation.rulebook import RuleBook

RULES = RuleBook.of()

CREATES: dict[str, dict[str, Any]] = {
    "client": {
        "step": "create",
        "client_id": "C1",
        "name": "John Doe",
        "email": "john.doe@example.com",
        "phone": "+254712345678",
        "address": "1 Main Street, Nairobi, Kenya",
        "country": "KE",
        "is_company": False,
        "registration_number": "ID-123456",
        "gender": "male",
    },
    "loan": {
        "step": "create",
        "loan_id": "L1",
        "client_id": "C1",
        "amount": 1000,
        "currency": "KES",
        "disbursement_date": "2026-11-16",
        "maturity_date": "2027-11-16",
    },
    "payment": {
        "step": "create",
        "payment_id": "P1",
        "loan_id": "L1",
        "amount": 100,
        "currency": "KES",
        "status": "paid",
        "due_date": "2026-12-16",
    },
    "deposit": {
        "step": "create",
        "deposit_id": "D1",
        "client_id": "C1",
        "account_number": "001",
        "currency": "KES",
    },
}


class Raw(str):
    """JSON text to be sent as it stands, such as `1e3`."""


def line(category: str, data: Mapping[str, Any]) -> bytes:
    """Return an event as a line of JSONL."""
    members = (f"{json.dumps(key)}: {value if isinstance(value, Raw) else json.dumps(value)}" for key, value in data.items())
    return f'{{"category": "{category}", "data": {{{", ".join(members)}}}}}\n'.encode()


def create(category: str, **changes: Any) -> dict[str, Any]:
    """Return a valid create with some fields changed; `...` takes a field out."""
    event = {**CREATES[category], **changes}
    return {key: value for key, value in event.items() if value is not ...}


def checked(lines: Iterable[bytes], format: str = "jsonl") -> Checked:
    """Check the lines of one drop."""
    sheets: dict[str, list[pl.DataFrame]] = {}
    unread = [pl.DataFrame(schema=UNREAD)]
    for chunk in read_chunks(io.BytesIO(b"".join(lines)), format, chunk_bytes=1 << 20):
        unread.append(chunk.unread)
        for category, sheet in chunk.sheets.items():
            sheets.setdefault(category, []).append(sheet)
    drop = pl.lit(0, dtype=pl.UInt32).alias("drop")
    whole = {category: pl.concat(parts).with_columns(drop) for category, parts in sheets.items()}
    return check(whole, pl.concat(unread).with_columns(drop), RULES)


def reasons(category: str, data: Mapping[str, Any]) -> set[tuple[str, str]]:
    """Return (code, field) of every reason that one event has by itself."""
    return set(checked([line(category, data)]).reasons.select("code", "field").iter_rows())


def warnings(category: str, data: Mapping[str, Any]) -> set[tuple[str, str | None]]:
    """Return (code, field) of every warning of one event by itself."""
    return set(checked([line(category, data)]).warnings.select("code", "field").iter_rows())
