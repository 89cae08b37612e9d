"""How the judge reads a drop: the contract's sections 2 and 3, one record at a time, nothing clever. Pure.

It shares no code with the pipeline on purpose.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date

import zstandard
from oracle_values import ALIASES, Json, JsonArray, Num, Value, spellings, text_of, type_of

LONGEST_LINE = 1_048_576
DEEPEST = 64
BOM = b"\xef\xbb\xbf"
csv.field_size_limit(2**31 - 1)

CATEGORY_WORDS = ("client", "loan", "payment", "deposit", "disbursement")
ID_COLUMNS = {"client_id", "loan_id", "disbursement_id", "payment_id", "deposit_id"}


class Pairs(list[tuple[str, object]]):
    """A JSON object with all its keys, doubled ones too."""


class Held(Exception):
    """The file cannot be read as it is."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True)
class LineReason:
    """Why a record could not be read as an event."""

    code: str
    category: str | None = None
    value: str | None = None


@dataclass(frozen=True)
class Event:
    """One record of a drop: either `reason` says why it is no event, or `category` and what was sent."""

    line: int
    byte_offset: int
    byte_length: int
    raw: bytes
    reason: LineReason | None = None
    category: str | None = None
    data: dict[str, Value] = field(default_factory=dict)
    """By spelling; an explicit null is None, an absent field is not there."""
    unknown: tuple[tuple[str, str | None], ...] = ()
    through_api: bool = False


@dataclass(frozen=True)
class _Sent:
    """What a record says, once it is read."""

    category: str
    data: dict[str, Value]
    unknown: tuple[tuple[str, str | None], ...]
    through_api: bool = False


# --- paths -----------------------------------------------------------------------------------------------------------


def is_drop(path: str) -> bool:
    """Tell whether a file of the inbox is a drop at all."""
    no_drops = (".tmp", ".part", ".crdownload", ".filepart", ".md5", ".done", ".ok", ".md", ".manifest.json")
    return not any(segment[0] in "._" for segment in path.split("/")) and not path.endswith(no_drops)


def business_date(path: str) -> date | None:
    """Return the first valid date in a path that touches no other digit."""
    for found in re.finditer(r"(?<![0-9])(?=(\d{4})-(\d\d)-(\d\d)(?![0-9])|(\d{4})(\d\d)(\d\d)(\d{6})?(?![0-9]))", path, re.A):
        year, month, day = [int(part) for part in found.groups()[:6] if part is not None]
        try:
            return date(year, month, day)
        except ValueError:
            continue
    return None


def path_key(path: str) -> tuple[tuple[tuple[int, int, str], ...], ...]:
    """Return what paths are compared by: segments, each cut into numbers and other runs."""
    last = (((2, 0, ""),),) if is_journal(path) else ()
    return last + tuple(
        tuple((0, int(run), run) if run[0] in "0123456789" else (1, 0, run) for run in re.findall("[0-9]+|[^0-9]+", segment))
        for segment in path.split("/")
    )


def is_journal(path: str) -> bool:
    """Tell whether a path is that of the API's journal: the reserved name under a date."""
    return re.fullmatch(r"\d{4}-\d\d-\d\d/api\.jsonl", path, re.A) is not None and business_date(path) is not None


def delivered(path: str, data: bytes) -> bytes:
    """Return what counts of a file: of the journal, which grows, its whole lines."""
    return data[: data.rfind(b"\n") + 1] if is_journal(path) else data


# --- a file ----------------------------------------------------------------------------------------------------------


def read(path: str, data: bytes) -> list[Event]:
    """Read one drop, compressed or not; raise Held when it is to be held."""
    form = re.search(r"\.(jsonl|ndjson|csv)(\.gz|\.zst)?$", path)
    if not form:
        raise Held("unknown_format")
    plain = expand(form.group(2) or "", data)
    return list(_csv_events(plain) if form.group(1) == "csv" else _jsonl_events(plain, is_journal(path)))


def expand(compression: str, data: bytes) -> bytes:
    """Return the uncompressed bytes; a stream that is not whole is unreadable."""
    try:
        if compression and not data:
            raise EOFError
        if compression == ".gz":
            return gzip.decompress(data)
        parts = []
        while compression == ".zst" and data:
            frame = zstandard.ZstdDecompressor().decompressobj()
            parts.append(frame.decompress(data))
            if not frame.eof:
                raise EOFError
            data = frame.unused_data
        return b"".join(parts) if compression else data
    except (OSError, EOFError, zlib.error, zstandard.ZstdError):
        raise Held("unreadable") from None


# --- JSONL -----------------------------------------------------------------------------------------------------------


def _jsonl_events(data: bytes, journal: bool) -> Iterator[Event]:
    offset = len(BOM) if data.startswith(BOM) else 0
    for line, ended in enumerate(io.BytesIO(data[offset:]), start=1):
        raw = _without_end(ended)
        if raw and not raw.isspace():
            if not ended.endswith(b"\n") and not _is_json(raw):
                raise Held("truncated")
            yield _event(line, offset, raw, _read_json_line(raw, journal))
        offset += len(ended)


def _without_end(line: bytes) -> bytes:
    if line.endswith(b"\r\n"):
        return line[:-2]
    return line[:-1] if line.endswith(b"\n") else line


def _event(line: int, offset: int, raw: bytes, said: LineReason | _Sent) -> Event:
    if isinstance(said, LineReason):
        return Event(line, offset, len(raw), raw, reason=said)
    return Event(
        line, offset, len(raw), raw, category=said.category, data=said.data, unknown=said.unknown, through_api=said.through_api
    )


def _is_json(raw: bytes) -> bool:
    try:
        parse_json(raw.decode())
    except ValueError:
        return False
    return True


def _read_json_line(raw: bytes, journal: bool) -> LineReason | _Sent:
    if len(raw) > LONGEST_LINE:
        return LineReason("line_too_long")
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        return LineReason("invalid_encoding")
    try:
        envelope = parse_json(text)
    except ValueError:
        return LineReason("malformed_json")
    if not isinstance(envelope, Pairs):
        return LineReason("not_an_object")
    return _read_envelope(envelope, journal)


def _read_envelope(envelope: Pairs, journal: bool) -> LineReason | _Sent:
    data = dict(envelope).get("data")
    fields = data if isinstance(data, Pairs) else Pairs()
    for pairs in (envelope, fields):
        keys = [key for key, _ in pairs]
        for i, key in enumerate(keys):
            if key in keys[:i]:
                return LineReason("duplicate_key", value=key)
    outer, inner = dict(envelope), dict(fields)
    word = outer.get("category")
    sent_category = value_of(word) if word is not None or "category" not in outer else "null"
    kinds_ok = all(kind is None or kind == "loan" for kind in (outer.get("kind"), inner.get("kind")))
    if type(word) is not str or word not in CATEGORY_WORDS or (word == "disbursement" and not kinds_ok):
        return LineReason("unknown_category", value=text_of(sent_category))
    category = "loan" if word == "disbursement" else word
    if not isinstance(data, Pairs):
        return LineReason("missing_data", category=category)
    read_here = ("kind",) if word == "disbursement" else ()
    through_api = journal and category == "client" and value_of(outer.get("channel")) == "api"
    honoured = ("channel",) if through_api else ()
    strangers = [(key, value) for key, value in envelope if key not in ("category", "data", *read_here, *honoured)]
    strangers += [(key, value) for key, value in fields if key not in (*spellings(category), *read_here)]
    return _Sent(
        category,
        {key: value_of(value) for key, value in fields if key in spellings(category)},
        tuple((key, text_of(value_of(value))) for key, value in strangers),
        through_api,
    )


def parse_json(text: str) -> object:
    """Parse JSON strictly: ValueError for anything the contract calls malformed. Objects become Pairs, numbers Num."""
    try:
        value = json.loads(text, object_pairs_hook=Pairs, parse_int=Num, parse_float=Num, parse_constant=_refuse)
    except RecursionError:
        raise ValueError("too deep") from None
    containers, depth = [value], 0
    while containers := [each for each in containers if isinstance(each, list)]:
        depth += 1
        containers = [child for each in containers for child in _children(each)]
    if depth > DEEPEST:
        raise ValueError("too deep")
    dump_json(value).encode()  # an unpaired surrogate raises UnicodeEncodeError, a ValueError
    return value


def _refuse(word: str) -> object:
    raise ValueError(word)


def _children(container: list[object]) -> list[object]:
    return [value for _, value in container] if isinstance(container, Pairs) else container


def dump_json(value: object) -> str:
    """Write JSON without white space, numbers, order and doubled keys as they were."""
    if isinstance(value, Pairs):
        return "{" + ",".join(f"{dump_json(key)}:{dump_json(each)}" for key, each in value) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(dump_json, value)) + "]"
    return str(value) if isinstance(value, Num) else json.dumps(value, ensure_ascii=False)


def value_of(value: object) -> Value:
    """Return a parsed JSON value as an event keeps it."""
    if isinstance(value, list):
        return Json(dump_json(value)) if isinstance(value, Pairs) else JsonArray(dump_json(value))
    assert value is None or isinstance(value, str | bool)
    return value


# --- CSV -------------------------------------------------------------------------------------------------------------

_CELL = re.compile(rb'(?P<quoted>"(?:[^"]++|"")*+(?P<closed>"?))?(?P<rest>[^,\n]*+)')


@dataclass(frozen=True)
class _Row:
    """The extent of one CSV record."""

    line: int
    offset: int
    raw: bytes
    cells: int
    lone_cr: bool
    open_quote: bool
    terminated: bool


def _csv_rows(data: bytes) -> Iterator[_Row]:
    """Yield the records as Python's `csv` would cut them, with a CR that ends no line taken as part of its cell."""
    position, line = len(BOM) if data.startswith(BOM) else 0, 1
    while position < len(data):
        line_end = data.find(b"\n", position)
        first_line = data[position : line_end if line_end >= 0 else None]
        if not first_line.strip(b" \t\n\r\v\f"):
            position, line = position + len(first_line) + 1, line + 1
            continue
        start, cells, lone_cr, open_quote = position, 0, False, False
        while True:
            cell = _CELL.match(data, position)
            assert cell is not None
            cells, position = cells + 1, cell.end()
            rest = cell["rest"].removesuffix(b"\r") if data[position : position + 1] == b"\n" else cell["rest"]
            lone_cr |= b"\r" in rest
            open_quote = cell["quoted"] is not None and not cell["closed"]
            if data[position : position + 1] != b",":
                break
            position += 1
        terminated = position < len(data)
        position += terminated
        raw = _without_end(data[start:position]) if terminated else data[start:]
        yield _Row(line, start, raw, cells, lone_cr, open_quote, terminated)
        line += data.count(b"\n", start, position)


def _csv_events(data: bytes) -> Iterator[Event]:
    rows = _csv_rows(data)
    header = next(rows, None)
    columns = _header(header)
    for row in rows:
        if row.open_quote or (not row.terminated and row.cells < len(columns)):
            raise Held("truncated")
        yield _event(row.line, row.offset, row.raw, _read_row(row, columns))


def _header(row: _Row | None) -> list[str]:
    if row is not None and row.open_quote:
        raise Held("truncated")
    try:
        columns = _cells(row.raw) if row is not None and not row.lone_cr else []
    except UnicodeDecodeError:
        columns = []
    if len(set(columns)) < len(columns) or "step" not in columns or not ID_COLUMNS.intersection(columns):
        raise Held("csv_header")
    return columns


def _cells(raw: bytes) -> list[str]:
    return next(csv.reader([raw.decode()]))


def _read_row(row: _Row, columns: list[str]) -> LineReason | _Sent:
    if len(row.raw) > LONGEST_LINE:
        return LineReason("line_too_long")
    try:
        row.raw.decode()
    except UnicodeDecodeError:
        return LineReason("invalid_encoding")
    if row.lone_cr or row.cells != len(columns):
        return LineReason("ragged_row")
    cells = {column: cell for column, cell in zip(columns, _cells(row.raw), strict=True) if cell != ""}
    word = cells.pop("category", "client")
    word = "client" if word == r"\N" else word
    if word not in CATEGORY_WORDS or (word == "disbursement" and cells.pop("kind", "loan") not in ("loan", r"\N")):
        return LineReason("unknown_category", value=word)
    category = "loan" if word == "disbursement" else word
    return _Sent(
        category,
        {
            column: None if cell == r"\N" else _cell_value(ALIASES[category].get(column, column), cell)
            for column, cell in cells.items()
            if column in spellings(category)
        },
        tuple((column, None if cell == r"\N" else cell) for column, cell in cells.items() if column not in spellings(category)),
    )


def _cell_value(name: str, cell: str) -> Value:
    """Return the value a cell stands for; one of the wrong form stays a string, which its type then refuses."""
    match type_of(name):
        case "text" | "date":
            return cell
        case "boolean":
            return cell.lower() == "true" if cell.lower() in ("true", "false") else cell
        case "object":
            try:
                parsed = parse_json(cell)
            except ValueError:
                return cell
            return Json(dump_json(parsed)) if isinstance(parsed, Pairs) else cell
        case _:
            number = re.fullmatch(r"-?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+)?", cell)
            return Num(cell) if number else cell
