"""Plain lines of JSONL and CSV read in whole columns by `_lines.c`; the lines it leaves are for the exact reader. Pure.

A plain line of JSONL is an envelope of `category` and `data` in this order; one of CSV is one whole record without a lone CR or
a quote within a cell that has none around it. That a CSV line does not lie within a cell that began on an earlier line is for
the caller to know.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, partial
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

from pipelines import _lines, threads
from pipelines.blocks import LONG, Block
from pipelines.csvs import Header
from pipelines.jsonl import CATEGORIES, OTHER_CATEGORIES, json_types
from pipelines.nulls import nulls
from pipelines.sheets import UNKNOWN
from validation.entities import ENTITIES

Ints = npt.NDArray[np.int64]
Words = npt.NDArray[np.uint64]

_THREADS = 2
_MAX_TEXT = 2**31 - 1
_VIEW = 16
_UNKNOWN_A_LINE = 4
_KINDS = {"string": 0, "number": 1, "boolean": 2, "object": 3}
_FORMS = {"email": 1, "phone": 2, "address": 3}
"""As `_lines.c` numbers them; a form is known by the field's name, as in `validation.forms`."""
_SHEETS = tuple(ENTITIES)


@dataclass(frozen=True, slots=True)
class Plain:
    """What was read of a block in whole columns."""

    block: Block
    starts: Ints
    """Where each line of the block starts, and where it ends with its line end."""
    nexts: Ints
    left: Ints
    """The lines that are left to the exact reader, counted from 0."""
    parts: dict[str, list[pl.DataFrame]]

    def line(self, row: int) -> tuple[int, int, bytes]:
        """Return number, offset in the file and bytes of a line, its line end included."""
        start, end = int(self.starts[row]), int(self.nexts[row])
        return self.block.line + row, self.block.offset + start, self.block.data[start:end]

    def sheets(self, *, without: Sequence[int] = ()) -> dict[str, pl.DataFrame]:
        """Return the sheets of the plain lines, but for those of some numbers in the file."""
        sheets = {category: pl.concat(parts) for category, parts in self.parts.items()}
        if without:
            sheets = {category: sheet.filter(~pl.col("line").is_in(without)) for category, sheet in sheets.items()}
        return {category: sheet for category, sheet in sheets.items() if len(sheet)}


def read_plain(block: Block, header: Header | None = None) -> Plain | None:
    """Return what the plain lines of a block say, CSV under a header, else JSONL; None for a block too large to point into.

    None too for a block that is one long line: no such line is plain, and it would be copied.
    """
    if len(block.data) > LONG and block.data.find(b"\n", 0, -1) < 0:
        return None
    names = b"" if header is None else "".join(header.columns).encode()
    if len(block.data) + len(names) > _MAX_TEXT or (header and len(header.columns) > _lines.MAX_COLUMNS):
        return None
    # A bytearray would be made with the interpreter's lock held.
    text = np.frombuffer(block.data + names, dtype=np.uint8).copy()
    columns = None if header is None else _columns(header, len(block.data))
    edges = _edges(block.data)
    with threads.pool(_THREADS) as pool:
        read = pool.map(partial(_read, block, text, columns), edges[:-1], edges[1:])
        parts = list(read)
    sheets: dict[str, list[pl.DataFrame]] = {}
    lefts, first = [], 0
    for part in parts:
        lefts.append(part.left + first)
        for category, sheet in part.sheets.items():
            sheets.setdefault(category, []).append(sheet.with_columns(pl.col("line") + (block.line + first)))
        first += part.lines.shape[1]
    starts, _, nexts = np.concatenate([part.lines for part in parts], axis=1)
    return Plain(block, starts, nexts, np.concatenate(lefts), sheets)


def _edges(data: bytes) -> list[int]:
    """Return where to cut a block into parts of whole lines, one a thread."""
    cuts = [data.find(b"\n", len(data) * part // _THREADS) + 1 for part in range(1, _THREADS)]
    return [0, *sorted({cut for cut in cuts if 0 < cut < len(data)}), len(data)]


def _columns(header: Header, start: int) -> tuple[tuple[bytes, int], ...]:
    names = [name.encode() for name in header.columns]
    places = pairwise(np.cumsum([start, *map(len, names)]).tolist())
    return tuple((name, place) for name, (place, _) in zip(names, places, strict=True))


@cache
def _categories() -> tuple[_lines.Category, ...]:
    plain = [(name.encode(), _SHEETS.index(entity.category), False) for name, entity in CATEGORIES.items()]
    other = [(name.encode(), _SHEETS.index(entity.category), True) for name, entity in OTHER_CATEGORIES.items()]
    return (*plain, *other)


@cache
def _names(category: str) -> _lines.Names:
    return tuple((name.encode(), _KINDS[kind], _FORMS.get(name, 0)) for name, kind in json_types(category).items())


@dataclass(frozen=True, slots=True)
class _Part:
    lines: Ints
    """Starts, ends without line ends and nexts of the lines."""
    left: Ints
    sheets: dict[str, pl.DataFrame]


class _Room:
    """What is to be filled for one category; only as many rows of it mean anything as are then found."""

    def __init__(self, category: str, room: int) -> None:
        self.category, self.names = category, _names(category)
        self.rows = np.empty(room, dtype=np.int64)
        self.sent, self.null, self.wrong, self.sure = (np.empty(room, dtype=np.uint64) for _ in range(4))
        self.odd = np.empty(room, dtype=np.bool_)
        self.views = np.empty((len(self.names), room * _VIEW), dtype=np.uint8)

    def handed(self) -> _lines.Sheet:
        return self.names, self.rows, self.sent, self.null, self.wrong, self.sure, self.odd, self.views

    def sheet(self, count: int, ever: int, text: npt.NDArray[np.uint8], lines: Ints, offset: int) -> pl.DataFrame:
        rows, sent, null = self.rows[:count], self.sent[:count], self.null[:count]
        starts, ends, nexts = lines[:, rows]
        columns: dict[str, pl.Series | Ints | Words] = {
            "line": rows,
            "byte_offset": starts + offset,
            "byte_length": ends - starts,
            "byte_span": nexts - starts,
        }
        there = sent & ~null
        for bit, (name, *_) in enumerate(self.names):
            is_there = (there >> np.uint64(bit)) & np.uint64(1) != 0 if ever >> bit & 1 else None
            columns[name.decode()] = _texts(self.views[bit], count, is_there, text)
        masks = {"sent": sent, "wrong": self.wrong[:count], "sure": self.sure[:count]}
        return pl.DataFrame({**columns, **masks, "odd": self.odd[:count]})


def _texts(
    views: npt.NDArray[np.uint8], count: int, there: npt.NDArray[np.bool_] | None, text: npt.NDArray[np.uint8]
) -> pl.Series:
    """Return string views as a column that copies no text; null where a text is not `there`, all null when none ever is."""
    if there is None:
        return nulls("", pl.String(), count)
    validity = None if there.all() else pa.py_buffer(np.packbits(there, bitorder="little"))
    buffers = [validity, pa.py_buffer(views[: count * _VIEW]), pa.py_buffer(text)]
    return pl.Series(_Handed(pa.Array.from_buffers(pa.string_view(), count, buffers)), dtype=pl.String)


@dataclass(frozen=True, slots=True)
class _Handed:
    """An array as any library may hand one over: of pyarrow's own, Polars would first import all that pyarrow computes with."""

    array: pa.Array

    def __arrow_c_array__(self, requested_schema: object | None = None) -> tuple[object, object]:
        capsules: tuple[object, object] = self.array.__arrow_c_array__(requested_schema)
        return capsules


def _read(block: Block, text: npt.NDArray[np.uint8], columns: tuple[_lines.Column, ...] | None, low: int, high: int) -> _Part:
    """Read some whole lines of a block; lines are counted from the first of them."""
    room = _lines.count_feeds(block.data, low, high) + 1
    lines, left = np.empty((3, room), dtype=np.int64), np.empty(room, dtype=np.int64)
    rooms = [_Room(category, room) for category in _SHEETS]
    most = _UNKNOWN_A_LINE * room
    unknown_rows, unknown_sheets = np.empty(most, dtype=np.int64), np.empty(most, dtype=np.uint8)
    unknown_null = np.empty(most, dtype=np.bool_)
    names, values = (np.empty(most * _VIEW, dtype=np.uint8) for _ in range(2))
    sheets = tuple(one.handed() for one in rooms)
    unknown = (most, unknown_rows, unknown_sheets, unknown_null, names, values)
    found, lefts, strange, counts = _lines.scan(
        text, low, high, block.data.isascii(), room, lines, left, _categories(), sheets, unknown, columns
    )
    lines = lines[:, :found]
    every = np.ones(strange, dtype=np.bool_)
    fields = pl.DataFrame(
        {
            "row": unknown_rows[:strange],
            "sheet": unknown_sheets[:strange],
            "name": _texts(names, strange, every, text),
            "value": _texts(values, strange, ~unknown_null[:strange], text),
        }
    )
    made = {}
    for number, (one, (count, ever)) in enumerate(zip(rooms, counts, strict=True)):
        if count:
            sheet = one.sheet(count, ever, text, lines, block.offset)
            unknown_fields = _unknown(sheet["line"], fields.filter(pl.col("sheet") == number))
            made[one.category] = sheet.with_columns(unknown_fields, channel=pl.lit(None, dtype=pl.String))
    return _Part(lines, left[:lefts].copy(), made)


def _unknown(rows: pl.Series, fields: pl.DataFrame) -> pl.Series:
    """Return the unknown fields of each row as a list, null when it has none."""
    if fields.is_empty():
        return nulls("unknown", UNKNOWN, len(rows))
    lists = fields.group_by("row", maintain_order=True).agg(pl.struct("name", "value").alias("unknown"))
    return rows.to_frame("row").join(lists, on="row", how="left", maintain_order="left")["unknown"]
