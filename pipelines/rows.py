"""The rejections of a date as its page carries them: columns of numbers that point into lists of distinct texts."""

from __future__ import annotations

import base64
import gzip
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import orjson
import polars as pl
from markupsafe import Markup

from pipelines.dialects import PLAIN, Dialect
from pipelines.discovery import drop_format
from pipelines.excerpts import WHOLE, excerpt, place_in_csv, place_in_json, place_of_bad_bytes, visible
from pipelines.sources import ANYBODY, Sources

STATIC_ROWS = 50
"""How many stand in the page as plain HTML, for print and for a browser without scripts."""
PACKED_FROM = 1_000_000
"""Bytes of JSON from which on they are packed: a page of 40,000 rejections is 15 MB else."""

Columns = Mapping[str, Mapping[str, int]]
"""Path of a CSV drop -> column -> its place in the header."""


class Words(NamedTuple):
    """A message in its parts."""

    wrong: str
    meant: str
    """What was probably meant; empty when nobody knows."""
    wanted: str

    @classmethod
    def of(cls, message: str) -> Words:
        """Cut `what is wrong; probably …; wanted …` apart; what a value brings into it stands before the last of each."""
        wrong, found, wanted = message.rpartition("; wanted ")
        if not found:
            wrong, wanted = message, ""
        said, found, meant = wrong.rpartition("; probably ")
        said, meant = (said, meant) if found else (wrong, "")
        return cls(visible(said), visible(meant), visible(wanted))


def rejection_rows(
    day: str, frame: pl.DataFrame, columns: Columns, again: Mapping[tuple[str, int], str], known: Sources = ANYBODY
) -> dict[str, Any]:
    """Return what the page's script reads, out of `Morning.rejections`; `again`: words about lines corrected in vain.

    A column a key: of records `path line category step id`, of reasons `record code field message raw from to cause`; numbers
    are places in the lists `paths codes …`, -1 for none.
    """
    told = frame.with_columns(
        pl.struct("path", "line").rle_id().alias("record"),
        pl.col("field").fill_null(""),
        cause=pl.format("{}|{}|{}", "cause_date", "cause_path", "cause_line"),
    )
    records = told.filter(pl.col("record").is_first_distinct())
    raw, start, end, raws, cut = _excerpts(told, records, columns, known)
    paths = records["path"].unique(maintain_order=True)
    sources = list(map(visible, map(known.name_of, paths)))
    messages, causes = (
        told["message"].unique().sort(),
        told.filter(pl.col("cause_line").is_not_null()).unique("cause").sort("cause"),
    )
    positions = zip(records["path"], records["line"], strict=True)
    return {
        "day": day,
        "paths": list(map(visible, paths)),
        "sources": sorted(set(sources)),
        "source": [sorted(set(sources)).index(source) for source in sources],
        "codes": _texts(told["code"]),
        "fields": _texts(told["field"]),
        "categories": _texts(records["category"]),
        "steps": _texts(records["step"]),
        "messages": [tuple(Words.of(message)) for message in messages],
        "causes": [(str(when), visible(path), line) for when, path, line in causes.select(*_CAUSE).iter_rows()],
        "raws": raws,
        "cut": cut,
        "again": {str(record): again[position] for record, position in enumerate(positions) if position in again},
        "path": records["path"].rle_id().to_list(),
        "line": records["line"].to_list(),
        "category": _places(records["category"]),
        "step": _places(records["step"]),
        "id": [visible(id_ or "") for id_ in records["id"]],
        "record": told["record"].to_list(),
        "code": _places(told["code"]),
        "field": _places(told["field"]),
        "message": _places(told["message"]),
        "cause": _places(told["cause"]),
        "raw": raw,
        "from": start,
        "to": end,
    }


_CAUSE = ("cause_date", "cause_path", "cause_line")


def _texts(column: pl.Series) -> list[str]:
    """Return the distinct texts of a column, in the order of `_places`."""
    return [visible(text) for text in column.drop_nulls().unique().sort()]


def _places(column: pl.Series) -> list[int]:
    """Return of each value its place among the sorted distinct ones, -1 for null."""
    return (column.rank("dense").cast(pl.Int64) - 1).fill_null(-1).to_list()


def _excerpts(
    told: pl.DataFrame, records: pl.DataFrame, columns: Columns, known: Sources
) -> tuple[list[int], list[int], list[int], list[str], dict[str, tuple[int, int]]]:
    """Return per reason the place of what is shown of its line and the mark in it; the texts; what is left out of some."""
    written = {path: known.dialect_of(path) if _is_csv(path) else PLAIN for path in records["path"].unique()}
    lines = zip(records["path"], records["raw"], strict=True)
    texts = [(raw or b"").decode(written[path].encoding, "backslashreplace") for path, raw in lines]
    lost = [(length or 0) - len(raw or b"") for raw, length in zip(records["raw"], records["length"], strict=True)]
    plain = [not missing and len(text) <= WHOLE and text.isprintable() for text, missing in zip(texts, lost, strict=True)]
    finders = {path: _finder(path, columns.get(path, {}), dialect) for path, dialect in written.items()}
    whole: dict[int, int] = {}
    places, starts, ends = [], [], []
    raws: list[str] = []
    cut: dict[str, tuple[int, int]] = {}
    for record, path, raw, code, field, value in told.select("record", "path", "raw", "code", "field", "value").iter_rows():
        start, end = finders[path](raw or b"", texts[record], code, field, value)
        if plain[record]:
            before = after = 0
            text = texts[record]
        else:
            text, start, end, before, after = excerpt(texts[record], (start, end))
            after += lost[record]
        if before or after:
            place = len(raws)
            cut[str(place)] = (before, after)
            raws.append(text)
        elif (place := whole.get(record, -1)) < 0:
            place = whole[record] = len(raws)
            raws.append(text)
        places.append(place)
        starts.append(start)
        ends.append(end)
    return places, starts, ends, raws, cut


def static_rows(data: Mapping[str, Any], count: int = STATIC_ROWS) -> list[dict[str, Any]]:
    """Return the first rows for plain HTML."""
    rows = []
    for i, record in enumerate(data["record"][:count]):
        text, start, end = data["raws"][data["raw"][i]], data["from"][i], data["to"][i]
        category, step = data["category"][record], data["step"][record]
        about = (data["categories"][category] if category >= 0 else "", data["steps"][step] if step >= 0 else "")
        rows.append(
            {
                "code": data["codes"][data["code"][i]],
                "field": data["fields"][data["field"][i]],
                "path": data["paths"][data["path"][record]],
                "line": data["line"][record],
                "about": " ".join(filter(None, (*about, data["id"][record]))),
                "words": Words(*data["messages"][data["message"][i]]),
                "raw": (text[:start], text[start:end], text[end:]),
                "again": data["again"].get(str(record)),
            }
        )
    return rows


def as_script(data: Mapping[str, Any]) -> tuple[str, Markup]:
    """Return the type of a script element and what may stand in it: JSON, packed by gzip and in Base64 where it is large."""
    text = orjson.dumps(data)
    if len(text) > PACKED_FROM:
        packed = gzip.compress(text, compresslevel=1, mtime=0)
        return "application/gzip", Markup(base64.b64encode(packed).decode())  # noqa: S704  # letters, digits, + / =
    # Every `<` of JSON stands within a string, so no text can end the element or begin a comment.
    return "application/json", Markup(text.replace(b"<", b"\\u003c").decode())  # noqa: S704  # escaped the line above


Finder = Callable[[bytes, str, str, str | None, str | None], tuple[int, int]]


def _is_csv(path: str) -> bool:
    shape = drop_format(path)
    return shape is not None and shape[0] == "csv"


def _finder(path: str, columns: Mapping[str, int], dialect: Dialect) -> Finder:
    """Return what finds the offending value in a line (bytes, text) of that drop by code, field and value."""
    is_csv = _is_csv(path)

    def find(raw: bytes, text: str, code: str, field: str | None, value: str | None) -> tuple[int, int]:
        if code == "invalid_encoding":
            return place_of_bad_bytes(raw, dialect.encoding)
        if is_csv:
            return place_in_csv(text, code, field or None, columns, delimiter=dialect.delimiter)
        return place_in_json(text, code, field or None, value)

    return find
