r"""A rejected line as a person may safely look at it, with the place of the offending value in it. Pure.

Control characters, invisible ones and those that turn the direction of writing come out as escapes (`\x00`, `\u202e`), bytes
that are no UTF-8 as `\xff`; a long line is cut around the value, and what is left out is counted.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from functools import cache
from typing import NamedTuple

from pipelines.visible import visible
from validation.entities import ENTITIES

WHOLE = 600
"""A line of so many characters is shown whole."""
_BEFORE, _AFTER = 160, 320
"""How much is shown around the value of a longer one."""
_NOWHERE = (0, 0)
_MARKED_AT_MOST = 240
_SCALAR_OR_OPENING = r'("(?:[^"\\]|\\.)*+"?|[\[{]|[^\s,}\]]+)'
_JSON = json.JSONDecoder()


class Excerpt(NamedTuple):
    """What is shown of a line. Characters `start` to `end` of `text` are the offending value; equal when it is not in there."""

    text: str
    start: int
    end: int
    before: int
    """Characters of the line that are left out before `text`."""
    after: int
    """Characters that are left out after it."""


def excerpt(text: str, marked: tuple[int, int] = _NOWHERE) -> Excerpt:
    """Cut a line around its marked part, if it is long, and make it safe to look at."""
    start, end = marked[0], min(marked[1], marked[0] + _MARKED_AT_MOST)
    if len(text) <= WHOLE:
        if text.isprintable():
            return Excerpt(text, start, end, 0, 0)
        first, last = 0, len(text)
    else:
        first = max(0, min(start - _BEFORE, len(text) - WHOLE))
        last = min(len(text), max(end + _AFTER, first + WHOLE))
    ahead, value, behind = visible(text[first:start]), visible(text[start:end]), visible(text[end:last])
    return Excerpt(ahead + value + behind, len(ahead), len(ahead) + len(value), first, len(text) - last)


def place_in_json(text: str, code: str, field: str | None, value: str | None) -> tuple[int, int]:
    """Return from where to where the offending value stands in a JSON line; two equal numbers when it does not."""
    if code == "malformed_json":
        return _where_json_ends(text)
    if code == "unknown_category":
        field = "category"
    if code == "duplicate_key":
        again = [found.span() for found in re.finditer(re.escape(json.dumps(value, ensure_ascii=False)) + r"\s*:", text)]
        return again[-1] if again else _NOWHERE
    if field is None:
        return _NOWHERE
    first = None
    for found in _key(field).finditer(text):
        start, end = found.span(1)
        sent = found[1]
        if sent[0] == '"':
            if value is None or sent[1:-1] == value or _unescaped(sent) == value:
                return start, end
        elif sent == value:
            return start, end
        elif sent in "[{":
            end = _end_of_container(text, start)
        first = first or (start, end)
    return first or _NOWHERE


def place_in_csv(text: str, code: str, field: str | None, columns: Mapping[str, int], *, delimiter: str = ",") -> tuple[int, int]:
    """Return from where to where the offending cell stands in a CSV record, by its column's place in the header."""
    field = "category" if code == "unknown_category" else field
    at = next((columns[name] for name in spellings(field or "") if name in columns), None)
    if at is None:
        return _NOWHERE
    start, form = 0, _cell(delimiter)
    for number in range(at + 1):
        cell = form.match(text, start)
        end = cell.end() if cell else start
        if number == at:
            return start, end
        if end >= len(text):
            break
        start = end + 1
    return _NOWHERE


def place_of_bad_bytes(raw: bytes, encoding: str = "utf-8") -> tuple[int, int]:
    """Return where, in the decoded text, the first bytes stand that are not of the encoding."""
    try:
        raw.decode(encoding)
    except UnicodeDecodeError as error:
        start = len(raw[: error.start].decode(encoding))
        return start, start + 4 * (error.end - error.start)
    return _NOWHERE


def columns_of(cells: Sequence[str]) -> dict[str, int]:
    """Return the place of each column of a CSV header."""
    return {name: number for number, name in enumerate(cells)}


@cache
def _cell(delimiter: str) -> re.Pattern[str]:
    # As Python's csv module cuts cells: a quote opens at the start of a cell only, what follows the closing one belongs to it.
    return re.compile(rf'(?:"(?:[^"]|"")*+"?)?[^{re.escape(delimiter)}]*+')


@cache
def _key(field: str) -> re.Pattern[str]:
    names = "|".join(map(re.escape, spellings(field)))
    return re.compile(rf'"(?:{names})"\s*:\s*{_SCALAR_OR_OPENING}')


@cache
def spellings(field: str) -> tuple[str, ...]:
    """Return every name that senders may use for a field."""
    aliases = {f.alias for entity in ENTITIES.values() for f in entity.fields if f.name == field and f.alias}
    return (field, *sorted(aliases))


def _unescaped(sent: str) -> str | None:
    if "\\" not in sent:
        return None
    try:
        return str(json.loads(sent))
    except ValueError:  # cut in the middle: not the value that was read
        return None


def _end_of_container(text: str, start: int) -> int:
    try:
        return _JSON.raw_decode(text, start)[1]
    except (ValueError, RecursionError):  # a line that was cut, or too deep: its beginning is marked
        return start + 1


def _where_json_ends(text: str) -> tuple[int, int]:
    """Return the character at which a JSON reader stumbles; nothing where Python's does not (NaN, too deep)."""
    try:
        json.loads(text)
    except json.JSONDecodeError as error:
        start = min(error.pos, max(len(text) - 1, 0))
        return start, min(start + 1, len(text))
    except (ValueError, RecursionError):
        return _NOWHERE
    return _NOWHERE
