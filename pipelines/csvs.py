"""CSV read exactly as Python's `csv` module reads it: the header, where records end, what a row says. Pure.

The module itself is not used where records are cut: it would hold a stray quote's whole file in memory, and its limit on
the size of a cell is one setting for the whole process.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from functools import cache, cached_property

from pipelines.dialects import PLAIN, Dialect, forms
from pipelines.jsonl import KIND_FIELD, OTHER_CATEGORIES, entity_of
from pipelines.jsontext import Members, json_text, parse
from pipelines.problems import DropHeldError
from pipelines.sheets import MAX_RECORD, Event, Unread
from validation.entities import ENTITIES
from validation.fields import STEP, Entity, FieldType

NULL_CELL = "\\N"
NUMBER_CELL = r"-?[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?"
_NUMBER = re.compile(NUMBER_CELL)
DEFAULT_CATEGORY = "client"
_CATEGORY = "category"


@dataclass(slots=True)
class Scan:
    """How far a record has been followed, line by line."""

    open_quote: bool = False
    cells: int = 1
    lone_cr: bool = False
    delimiter: str = ","


def scan_line(line: bytes, scan: Scan) -> None:
    """Follow a record through one more physical line, its line end included; it ends there unless a quote stays open.

    Python's reader refuses a CR that ends no line outside quotes: here it is part of its cell, and makes the record ragged.
    """
    if not scan.open_quote and b'"' not in line and b"\r" not in line:
        scan.cells += line.count(scan.delimiter.encode())
        return
    delimiter, form = scan.delimiter.encode(), forms(scan.delimiter)
    cell = form.closing.match(line) if scan.open_quote else form.cell.match(line)
    while cell is not None:
        position = cell.end()
        goes_on = line.startswith(delimiter, position)
        rest = cell["rest"] if goes_on or position == len(line) else cell["rest"].removesuffix(b"\r")
        scan.lone_cr |= b"\r" in rest
        if not goes_on:
            break
        scan.cells += 1
        cell = form.cell.match(line, position + 1)
    scan.open_quote = cell is None


def cells_of(record: str, delimiter: str = ",") -> list[str]:
    """Return the cells of a whole record, given without its line end."""
    if '"' not in record:
        return record.split(delimiter)
    cells = []
    position = 0
    form = forms(delimiter).text
    while True:
        cell = form.match(record, position)
        if cell is None:
            raise ValueError("a quote stays open")
        quoted, after, plain = cell.groups()
        cells.append(plain if quoted is None else quoted.replace('""', '"') + after)
        position = cell.end() + 1
        if position > len(record):
            return cells


@dataclass(frozen=True)
class Header:
    """The columns of a CSV drop."""

    columns: tuple[str, ...]
    """By our names."""
    dialect: Dialect = PLAIN

    @cached_property
    def cells(self) -> tuple[str, ...]:
        """Return the names of a row's cells: the columns, and after them what the dialect says of every row."""
        return (*self.columns, *(name for name, _ in self.dialect.constants))

    @cached_property
    def constants(self) -> list[str]:
        """Return the cells that follow those of a row."""
        return [cell for _, cell in self.dialect.constants]

    @cached_property
    def spelled(self) -> dict[str, dict[str, tuple[int, FieldType]]]:
        """Return per category its spellings among the columns: where they stand, and their fields' types."""
        return {
            category: {name: (at, entity.field(name).type) for at, name in enumerate(self.cells) if name in entity.spellings}
            for category, entity in ENTITIES.items()
        }

    @cached_property
    def unknown(self) -> dict[str, dict[str, int]]:
        """Return per category the columns that it does not know, `kind` among them, and where they stand."""
        return {
            category: {name: at for at, name in enumerate(self.columns) if name not in (_CATEGORY, *spelled)}
            for category, spelled in self.spelled.items()
        }

    @cached_property
    def places(self) -> dict[str, int]:
        """Return where each column stands."""
        return {name: at for at, name in enumerate(self.cells)}


def read_header(record: bytes, scan: Scan, line: int, *, length: int, dialect: Dialect = PLAIN) -> Header:
    """Return the columns that the header record, `length` bytes long without its line end, names.

    Raises DropHeldError `csv_header` when they cannot be relied on.
    """
    if length > MAX_RECORD:
        raise DropHeldError("csv_header", f"line {line}: the header is longer than {MAX_RECORD} bytes")
    if scan.lone_cr:
        raise DropHeldError("csv_header", f"line {line}: a CR that ends no line; wanted LF or CRLF line ends")
    try:
        named = cells_of(record.decode(dialect.encoding), dialect.delimiter)
    except UnicodeDecodeError:
        raise DropHeldError("csv_header", f"line {line}: the header is not {dialect.encoding.upper()}") from None
    header = Header(tuple(dialect.renamed.get(name, name) for name in named), dialect)
    [(name, times)] = Counter(header.cells).most_common(1)
    if times > 1:
        told = repr(name) if name in _ours() else f"number {header.cells.index(name) + 1}"
        also = " (with what nightdrop.toml says of its source)" if name in dialect.renamed.values() or header.constants else ""
        raise DropHeldError("csv_header", f"line {line}: column {told} is there {times} times{also}")
    if STEP.name not in header.cells or not set(id_columns()).intersection(header.cells):
        wanted = f"'{STEP.name}' and one of {', '.join(id_columns())}"
        has = ", ".join(name for name in header.columns if name in _ours()) or "none of the known ones"
        raise DropHeldError("csv_header", f"line {line}: the header must have {wanted}; of its {len(named)} columns it has {has}")
    return header


@cache
def _ours() -> frozenset[str]:
    """Return the names that may be told: of a file without header the first record stands there, a person's name in it."""
    return frozenset({_CATEGORY, KIND_FIELD, *(name for entity in ENTITIES.values() for name in entity.spellings)})


def columns_named(record: bytes, dialect: Dialect = PLAIN) -> list[str]:
    """Return the columns that a header record which was taken names, by our names."""
    cells = cells_of(record.decode(dialect.encoding, "backslashreplace"), dialect.delimiter)
    return [dialect.renamed.get(name, name) for name in cells]


def id_columns() -> tuple[str, ...]:
    """Return every spelling of an entity's own id."""
    spellings = dict.fromkeys(name for entity in ENTITIES.values() for name in (entity.id, entity.fields[0].alias) if name)
    return tuple(spellings)


def read_record(record: bytes, scan: Scan, header: Header) -> Event | Unread:
    """Return what a record of at most MAX_RECORD bytes, given without its line end, says; the first line reason that applies."""
    try:
        text = record.decode(header.dialect.encoding)
    except UnicodeDecodeError:
        return Unread("invalid_encoding")
    if scan.lone_cr or scan.cells != len(header.columns):
        return Unread("ragged_row")
    cells = cells_of(text, header.dialect.delimiter) + header.constants
    category = _cell(cells, header.places.get(_CATEGORY)) or DEFAULT_CATEGORY
    entity = entity_of(category, [_cell(cells, header.places.get(KIND_FIELD))])
    if entity is None:
        return Unread("unknown_category", value=category)
    return _event(entity, cells, header, with_kind=category in OTHER_CATEGORIES)


def _event(entity: Entity, cells: list[str], header: Header, *, with_kind: bool) -> Event:
    texts: dict[str, str | None] = {}
    wrong = []
    for name, (at, type_) in header.spelled[entity.category].items():
        cell = cells[at]
        if cell == NULL_CELL:
            texts[name] = None
        elif cell:
            value = typed_text(cell, type_)
            texts[name] = cell if value is None else value
            if value is None:
                wrong.append(name)
    sent = [(name, _cell(cells, at)) for name, at in header.unknown[entity.category].items() if cells[at]]
    unknown = tuple((name, value) for name, value in sent if not (with_kind and name == KIND_FIELD))
    return Event(entity.category, texts, tuple(wrong), unknown)


def _cell(cells: list[str], at: int | None) -> str | None:
    """Return a cell's text, None for an explicit null, an empty cell and no such column."""
    return None if at is None or cells[at] in ("", NULL_CELL) else cells[at]


def typed_text(cell: str, type_: FieldType) -> str | None:
    """Return the text of a cell's value, None when the cell is no value of that type."""
    if type_.is_string:
        return cell
    if type_.is_number:
        return cell if _NUMBER.fullmatch(cell) else None
    if type_ is FieldType.BOOLEAN:
        return cell.lower() if cell.lower() in ("true", "false") else None
    try:
        value = parse(cell)
    except ValueError:
        return None
    return json_text(value) if isinstance(value, Members) else None
