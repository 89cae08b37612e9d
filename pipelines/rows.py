"""The rejections of a date as its page carries them: columns of numbers that point into lists of distinct texts."""

from __future__ import annotations

import base64
import gzip
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
import orjson
import polars as pl
from markupsafe import Markup

from pipelines.dialects import PLAIN, Dialect
from pipelines.discovery import drop_format
from pipelines.excerpts import WHOLE, excerpt, place_in_csv, place_in_json, place_of_bad_bytes
from pipelines.marks import places_in_json, plain_texts
from pipelines.sources import ANYBODY, Sources
from pipelines.visible import visible

STATIC_ROWS = 50
"""How many stand in the page as plain HTML, for print and for a browser without scripts."""
PACKED_FROM = 1_000_000
"""Bytes of JSON from which on they are packed: a page of 40,000 rejections is 15 MB else."""

_MANY = 2_000
"""From so many reasons on it pays to look at lines in whole columns, which asks Polars some hundred questions."""
_SOUGHT = ("record", "path", "code", "field", "value")

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
        wrong, found, wanted = visible(message).rpartition("; wanted ")
        if not found:
            wrong, wanted = wanted, ""
        said, found, meant = wrong.rpartition("; probably ")
        return cls(said, meant, wanted) if found else cls(meant, "", wanted)


def rejection_rows(
    day: str, frame: pl.DataFrame, columns: Columns, again: Mapping[tuple[str, int], str], known: Sources = ANYBODY
) -> dict[str, Any]:
    """Return what the page's script reads, out of `Morning.rejections`; `again`: words about lines corrected in vain.

    A column a key: of records `path line category step id`, of reasons `record code field message raw from to cause`; numbers
    are places in the lists `paths codes …`, -1 for none.
    """
    told = frame.with_columns(pl.col("is_first").cum_sum().cast(pl.Int64()).alias("record") - 1, pl.col("field").fill_null(""))
    records = told.filter("is_first")
    raw, start, end, raws, cut = _excerpts(told, records, columns, known)
    paths = records["path"].unique(maintain_order=True)
    sources = list(map(visible, map(known.name_of, paths)))
    named = sorted(set(sources))
    causes, cause = _causes(told)
    (codes, code), (fields, field), (messages, message) = (_numbered(told[name]) for name in ("code", "field", "message"))
    (categories, category), (steps, step) = (_numbered(records[name]) for name in ("category", "step"))
    lines = records["line"].to_list()
    again_at = again and enumerate(zip(records["path"], lines, strict=True))
    return {
        "day": day,
        "paths": list(map(visible, paths)),
        "sources": named,
        "source": list(map(named.index, sources)),
        "codes": list(map(visible, codes)),
        "fields": list(map(visible, fields)),
        "categories": list(map(visible, categories)),
        "steps": list(map(visible, steps)),
        "messages": [tuple(Words.of(message)) for message in messages],
        "causes": causes,
        "raws": raws,
        "cut": cut,
        "again": {str(record): again[position] for record, position in again_at or () if position in again},
        "path": records["path"].rle_id().to_list(),
        "line": lines,
        "category": category,
        "step": step,
        "id": [visible(id_ or "") for id_ in records["id"].to_list()],
        "record": told["record"].to_list(),
        "code": code,
        "field": field,
        "message": message,
        "cause": cause,
        "raw": raw,
        "from": start,
        "to": end,
    }


def _numbered(column: pl.Series) -> tuple[list[str], list[int]]:
    """Return the distinct texts of a column, sorted, and of each row the place of its own among them (-1 for none)."""
    values = column.to_list()
    texts = sorted(set(values) - {None})
    places: dict[str | None, int] = {text: place for place, text in enumerate(texts)}
    places[None] = -1
    return texts, list(map(places.__getitem__, values))


def _causes(told: pl.DataFrame) -> tuple[list[tuple[str, str, int]], list[int]]:
    """Return the distinct causes and of each row the place of its own among them (-1 for none)."""
    if told["cause_line"].null_count() == len(told):
        return [], [-1] * len(told)
    causes, places = _numbered(told.select(pl.format("{}|{}|{}", "cause_date", "cause_path", "cause_line")).to_series())
    # No date and no number has the separator in it.
    parts = ((when, *rest.rpartition("|")) for when, _, rest in (cause.partition("|") for cause in causes))
    return [(when, visible(path), int(line)) for when, path, _, line in parts], places


def _excerpts(
    told: pl.DataFrame, records: pl.DataFrame, columns: Columns, known: Sources
) -> tuple[list[int], list[int], list[int], list[str], dict[str, tuple[int, int]]]:
    """Return per reason the place of what is shown of its line and the mark in it; the texts; what is left out of some.

    The texts are first those of plain lines, shown as they are. What the whole columns leave is looked at one by one.
    """
    raws: list[str] = []
    place, start, end = (np.full(len(told), -1, dtype=np.int64) for _ in range(3))
    if len(told) >= _MANY:
        plain, found = _found(told, records)
        raws += plain.to_list()
        place, start, end = (found[name].fill_null(-1).to_numpy(writable=True) for name in ("place", "start", "end"))
    left = np.flatnonzero((place < 0) | (start < 0))
    dialects = {path: known.dialect_of(path) if _is_csv(path) else PLAIN for path in records["path"].unique()}
    finders = {path: _finder(path, columns.get(path, {}), dialect) for path, dialect in dialects.items()}
    whole: dict[int, int] = {}
    cut: dict[str, tuple[int, int]] = {}
    rows_left = told.select(*_SOUGHT, "raw", "length")[left].iter_rows()
    for row, (record, path, code, field, value, raw, length) in zip(left.tolist(), rows_left, strict=True):
        in_bytes = raw or b""
        line = in_bytes.decode(dialects[path].encoding, "backslashreplace")
        start[row], end[row] = marked = finders[path](in_bytes, line, code, field, value)
        if place[row] >= 0:
            continue
        text, start[row], end[row], before, after = excerpt(line, marked)
        after += (length or 0) - len(in_bytes)
        if before or after:
            cut[str(len(raws))] = (before, after)
        elif record in whole:
            place[row] = whole[record]
            continue
        else:
            whole[record] = len(raws)
        place[row] = len(raws)
        raws.append(text)
    return place.tolist(), start.tolist(), end.tolist(), raws, cut


def _found(told: pl.DataFrame, records: pl.DataFrame) -> tuple[pl.Series, pl.DataFrame]:
    """Return the texts of records to be shown as they are, and place, start, end of each reason.

    Null where it is to be looked at by itself.
    """
    json = [path for path in records["path"].unique() if not _is_csv(path)]
    size = pl.col("raw").bin.size()
    lines = records.select("raw", is_whole=(size == pl.col("length")) & (size <= WHOLE), is_json=pl.col("path").is_in(json))
    lines = lines.with_columns(text=plain_texts(lines.select(pl.when("is_json").then("raw")).to_series()))
    is_shown = lines.select(pl.col("text").is_not_null() & pl.col("is_whole")).to_series()
    lines = lines.select("text", place=pl.when(is_shown).then(is_shown.cast(pl.Int64).cum_sum() - 1))
    of_reasons = lines[told["record"]]
    found = places_in_json(told.select("code", "field").with_columns(of_reasons["text"]))
    return lines["text"].filter(is_shown), found.with_columns(of_reasons["place"])


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
