"""How scenarios are written: events and broken lines as JSONL or CSV, compressed or not. Pure."""

from __future__ import annotations

import csv
import gzip
import io
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import zstandard
from scenario_values import BROKEN_LINES, BROKEN_ROWS, DROP, ID, PLAIN_ENVELOPE, Raw

LIMIT = 1_048_576


@dataclass(frozen=True)
class Sent:
    """One event as it will be written."""

    category: str
    data: dict[str, Any]
    envelope: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Broken:
    """A line or row that is no event: which of the pool (each format has its own)."""

    number: int


@dataclass(frozen=True)
class Blank:
    """A line of nothing but white space."""

    text: str


@dataclass(frozen=True)
class Long:
    """An event whose line is stretched to the longest allowed, or one byte more."""

    event: Sent
    size: int


Entry = Sent | Broken | Blank | Long

# --- JSONL -----------------------------------------------------------------------------------------------------------


def dump(value: Any, *, ascii_only: bool = False, gap: str = "") -> str:
    """Write JSON, numbers and fragments as they stand."""
    if isinstance(value, Raw):
        return str(value)
    if isinstance(value, dict):
        items = (
            f"{dump(key, ascii_only=ascii_only)}{gap}:{gap}{dump(each, ascii_only=ascii_only, gap=gap)}"
            for key, each in value.items()
        )
        return "{" + gap + f"{gap},".join(items) + gap + "}"
    if isinstance(value, list):
        return "[" + ",".join(dump(each, ascii_only=ascii_only, gap=gap) for each in value) + "]"
    return json.dumps(value, ensure_ascii=ascii_only)


def _escaped_keys(value: Any) -> str:
    names = (f'"\\u{ord(key[0]):04x}{key[1:]}"' if key.isidentifier() else dump(key) for key in value)
    return "{" + ",".join(f"{name}:{dump(each)}" for name, each in zip(names, value.values(), strict=True)) + "}"


JSON_STYLES: list[Callable[[dict[str, Any], dict[str, Any]], str]] = [
    lambda envelope, data: dump({**envelope, "data": data}),
    lambda envelope, data: dump({**envelope, "data": data}),
    lambda envelope, data: dump({"data": data, **envelope}, gap=" "),
    lambda envelope, data: dump({**envelope, "data": dict(reversed(data.items()))}, ascii_only=True),
    lambda envelope, data: "\t" + dump({**envelope, "data": data}, gap="\t") + "  ",
    lambda envelope, data: dump({**envelope, "data": Raw(_escaped_keys(data))}),
    lambda envelope, data: " " + dump({"data": data, **envelope}, gap=" \r"),
]


def _json_line(event: Sent, style: int) -> bytes:
    envelope = event.envelope or PLAIN_ENVELOPE[event.category]
    envelope = {name: value for name, value in envelope.items() if value is not DROP}
    return JSON_STYLES[style % len(JSON_STYLES)](envelope, event.data).encode()


def jsonl(lines: Sequence[Entry], style: int, end: bytes) -> bytes:
    """Write a JSONL file; every line ends with `end`."""
    written = []
    for number, entry in enumerate(lines):
        if isinstance(entry, Broken):
            written.append(BROKEN_LINES[entry.number % len(BROKEN_LINES)])
        elif isinstance(entry, Blank):
            written.append(entry.text.encode())
        elif isinstance(entry, Long):
            written.append(_json_line(entry.event, style).ljust(entry.size))
        else:
            written.append(_json_line(entry, style + number))
    return b"".join(line + end for line in written)


# --- CSV -------------------------------------------------------------------------------------------------------------


def _cell(value: Any) -> str:
    if value is None:
        return r"\N"
    if isinstance(value, bool):
        return "true" if value else "false"
    return dump(value) if isinstance(value, dict | list | int) else str(value)


def _row(cells: list[str], quoting: int) -> bytes:
    text = io.StringIO()
    csv.writer(text, quoting=quoting).writerow(cells)  # type: ignore[arg-type]  # the stub wants a literal
    return text.getvalue().removesuffix("\r\n").encode()


def _word(event: Sent) -> str:
    word = event.envelope.get("category", event.category)
    return "" if word is DROP else _cell(word)


def csv_file(lines: Sequence[Entry], style: int, end: bytes, change_columns: Callable[[list[str]], list[str]]) -> bytes:
    """Write a CSV file with the columns that its events need; every row ends with `end`."""
    sent = [entry.event if isinstance(entry, Long) else entry for entry in lines if isinstance(entry, Sent | Long)]
    names = list(dict.fromkeys(["category", "step", *(name for event in sent for name in event.data), "client_id"]))
    if any("kind" in event.envelope for event in sent):
        names = list(dict.fromkeys([*names, "kind"]))
    if any(isinstance(entry, Long) for entry in lines):
        names = [*(name for name in names if name != "image"), "image"]
    columns = change_columns(names)
    quoting = (csv.QUOTE_MINIMAL, csv.QUOTE_ALL, csv.QUOTE_MINIMAL)[style % 3]
    written = [_row(columns, quoting)]
    for entry in lines:
        if isinstance(entry, Broken):
            written.append(BROKEN_ROWS[entry.number % len(BROKEN_ROWS)](len(columns)))
        elif isinstance(entry, Blank):
            written.append(entry.text.encode())
        else:
            event = entry.event if isinstance(entry, Long) else entry
            brought = {**event.data, "category": _word(event)}
            if "kind" in event.envelope:
                brought["kind"] = event.envelope["kind"]
            row = _row([_cell(brought[name]) if name in brought else "" for name in columns], quoting)
            written.append(_stretched(row, entry.size) if isinstance(entry, Long) else row)
    return b"".join(line + end for line in written)


def _stretched(row: bytes, size: int) -> bytes:
    """Make a row that long by its last cell."""
    padding = b"x" * (size - len(row))
    return row[:-1] + padding + b'"' if row.endswith(b'"') else row + padding


COLUMN_CHANGES: list[Callable[[list[str]], list[str]]] = [
    *[lambda names: names] * 10,
    lambda names: list(reversed(names)),
    lambda names: [*names, "extra"],
    lambda names: [*names[:3], "", *names[3:], 'Ünï,"code\n', "kind2"],
    lambda names: [name for name in names if name != "category"],
    lambda names: [name for name in names if name not in ("name", "amount")],
    lambda names: [*names, "step"],
    lambda names: [name for name in names if name != "step"],
    lambda names: [name for name in names if name not in (*ID.values(), "disbursement_id")],
    *[lambda names: names] * 10,
]

# --- compression -----------------------------------------------------------------------------------------------------


def compressed(plain: bytes, *, zst: bool, damage: str) -> bytes:
    """Compress, in two members or frames now and then, or so that it cannot be read."""
    cut = len(plain) // 2 if damage == "two parts" else len(plain)
    parts = [plain[:cut], plain[cut:]] if damage == "two parts" else [plain]
    packed = [zstandard.compress(part) if zst else gzip.compress(part, 1, mtime=0) for part in parts]
    if damage == "cut":
        return packed[0][:-3]
    return b"oops" + packed[0] if damage == "no magic" else b"".join(packed)
