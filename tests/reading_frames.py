"""What the tests of reading share: a drop read into plain Python."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import polars as pl

from pipelines.dialects import PLAIN, Dialect
from pipelines.reading import read_chunks
from pipelines.sheets import FILLER, PLACE, UNREAD, Chunk, sheet_schema
from validation.entities import ENTITIES


@dataclass
class Read:
    """A whole drop, its chunks put together."""

    sheets: dict[str, pl.DataFrame] = field(default_factory=dict)
    unread: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=UNREAD))
    filler: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=FILLER))

    def events(self) -> Iterator[dict[str, Any]]:
        """Yield the events in the order of the lines: line, category, what was sent, what is wrong, what is unknown."""
        rows = []
        for category, sheet in self.sheets.items():
            names = ENTITIES[category].spellings
            for row in sheet.iter_rows(named=True):
                sent = {name: row[name] for bit, name in enumerate(names) if row["sent"] >> bit & 1}
                assert all(row[name] is None for name in names if name not in sent)
                wrong = [name for bit, name in enumerate(names) if row["wrong"] >> bit & 1]
                unknown = [(one["name"], one["value"]) for one in row["unknown"] or []]
                assert row["unknown"] is None or unknown
                rows.append({"line": row["line"], "category": category, "sent": sent, "wrong": wrong, "unknown": unknown})
        yield from sorted(rows, key=lambda row: row["line"])

    def reasons(self) -> list[tuple[int, str]]:
        """Return line and code of the unread records."""
        return self.unread.select("line", "code").rows()


def read(
    data: bytes, format: str, chunk_bytes: int = 1 << 20, *, first_bytes: int | None = None, dialect: Dialect = PLAIN
) -> Read:
    """Read a drop and hold every chunk to its shape and to the order of its lines."""
    whole = Read()
    for chunk in read_chunks(io.BytesIO(data), format, chunk_bytes=chunk_bytes, first_bytes=first_bytes, dialect=dialect):
        _hold_to_shape(chunk)
        for category, sheet in chunk.sheets.items():
            # How many texts are looked at twice is each reader's own affair.
            told = sheet.drop("odd", "sure")
            whole.sheets[category] = pl.concat([whole.sheets[category], told]) if category in whole.sheets else told
        whole.unread = pl.concat([whole.unread, chunk.unread])
        whole.filler = pl.concat([whole.filler, chunk.filler])
    assert_tiles(whole, data)
    return whole


def assert_tiles(whole: Read, data: bytes) -> None:
    """Hold a reading to the conservation of bytes, and each record's place to what stands there."""
    position = 0
    records = pl.concat([frame.select(*PLACE) for frame in (*whole.sheets.values(), whole.unread)])
    places = records.select("byte_offset", "byte_span").vstack(whole.filler.select("byte_offset", "byte_span"))
    for offset, span in places.sort("byte_offset").rows():
        assert offset == position
        position += span
    assert position == len(data)
    for line, offset, length, span in records.rows():
        assert line == data.count(b"\n", 0, offset) + 1
        assert data[offset + length : offset + span] in (b"\n", b"\r\n", b"")
    for offset, span, kind in whole.filler.rows():
        piece = data[offset : offset + span]
        assert kind in ("bom", "header", "blank")
        assert kind != "bom" or (offset, piece) == (0, b"\xef\xbb\xbf")
        assert kind != "blank" or not piece.strip(b" \t\n\r\v\f")


def _hold_to_shape(chunk: Chunk) -> None:
    for category, sheet in chunk.sheets.items():
        assert dict(sheet.schema) == sheet_schema(category)
        assert sheet["line"].is_sorted()
        assert len(sheet)
        odd = r"\p{Cc}|^\p{White_Space}|\p{White_Space}$|^$"
        strange = pl.any_horizontal(
            pl.col(name).str.contains(odd) & (pl.col("wrong") & pl.lit(1 << bit, dtype=pl.UInt64) == 0)
            for bit, name in enumerate(ENTITIES[category].spellings)
            if ENTITIES[category].field(name).type.is_string
        )
        assert sheet.filter(strange)["odd"].all()
    assert dict(chunk.unread.schema) == UNREAD
    assert dict(chunk.filler.schema) == FILLER
