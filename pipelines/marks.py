"""Where the offending values of many JSON lines stand, found in whole columns. Pure.

It says what `excerpts.place_in_json` says, and nothing of a line that is to be looked at by itself: one with signs that cannot
be seen, or in which the field stands more than once, or has another value than a number, a word or a text without escapes.
"""

from __future__ import annotations

import polars as pl

from pipelines.excerpts import spellings

_PRINTABLE = "^[ -~¡-¬®-ͷΑ-ΡΣ-ԯ一-鿋가-힣]*$"
"""European, Chinese and Korean letters and signs: each can be seen, and none but the space is white space."""
_BY_THEMSELVES = ("malformed_json", "duplicate_key", "invalid_encoding")
"""Codes for which no value of a field is looked for."""
_PLACES = {"start": pl.Int64(), "end": pl.Int64()}
_NOWHERE = [pl.lit(0, dtype=dtype).alias(name) for name, dtype in _PLACES.items()]


def plain_texts(raw: pl.Series) -> pl.Series:
    """Return bytes as texts in which nothing has to be made visible; null where they are none."""
    try:
        texts = raw.cast(pl.String)
    except pl.exceptions.ComputeError:  # some are not UTF-8, and Polars does not tell which
        texts = pl.Series([_text_of(one) for one in raw.to_list()], dtype=pl.String)
    return texts.to_frame("text").select(pl.when(pl.col("text").str.contains(_PRINTABLE)).then("text")).to_series()


def _text_of(raw: bytes | None) -> str | None:
    try:
        return None if raw is None else raw.decode()
    except UnicodeDecodeError:
        return None


def places_in_json(lines: pl.DataFrame) -> pl.DataFrame:
    """Return start and end of the offending value, equal when it is not in there, or null.

    A row a row of text (of `plain_texts`), code, field.
    """
    told = pl.when(pl.col("code") == "unknown_category").then(pl.lit("category")).otherwise(pl.col("field"))
    asked = lines.select("text", "code", field=pl.when(told != "").then(told)).with_row_index("row")
    known = asked.filter(pl.col("text").is_not_null() & ~pl.col("code").is_in(_BY_THEMSELVES)).drop("code")
    found = [pl.DataFrame(schema={"row": pl.UInt32(), **_PLACES})]
    for (field,), some in known.partition_by("field", as_dict=True, include_key=False).items():
        found.append(some.select("row", *_NOWHERE) if field is None else _of_value(some, str(field)))
    return asked.select("row").join(pl.concat(found), on="row", how="left", maintain_order="left").select(*_PLACES)


def _of_value(lines: pl.DataFrame, field: str) -> pl.DataFrame:
    """Return row, start, end of the value of a field in each `text`."""
    keys = [f'"{name}"' for name in spellings(field)]
    split = lines.select("row", "text", *(pl.col("text").str.splitn(key, 3).alias(str(at)) for at, key in enumerate(keys)))
    after, again = ([pl.col(str(at)).struct[f"field_{part}"] for at in range(len(keys))] for part in (1, 2))
    times = pl.sum_horizontal(one.is_not_null().cast(pl.Int8) for one in (*after, *again))
    # One step after the other: within one, Polars would work out again whatever is named twice.
    rest = split.select("row", "text", times=times, rest=pl.coalesce(after).str.strip_chars_start(" "))
    is_key = pl.col("rest").str.starts_with(":")
    value = rest.with_columns(is_key=is_key, value=pl.col("rest").str.strip_prefix(":").str.strip_chars_start(" "))
    quoted = pl.col("value").str.strip_prefix('"').str.splitn('"', 2)
    cut = value.with_columns(is_text=pl.col("value").str.starts_with('"'), quoted=quoted)
    inside, closed = (pl.col("quoted").struct[name] for name in ("field_0", "field_1"))
    is_plain = closed.is_not_null() & ~inside.str.contains("\\", literal=True)
    length = (
        pl.when("is_text")
        .then(pl.when(is_plain).then(inside.str.len_chars() + 2))
        .otherwise(pl.col("value").str.extract(r"^([^\[{ ,}\]][^ ,}\]]*)").str.len_chars())
    )
    start = pl.col("text").str.len_chars() - pl.col("value").str.len_chars()
    is_there = (pl.col("times") == 1) & pl.col("is_key") & pl.col("length").is_not_null()
    found = cut.select("row", "times", "is_key", length=length, start=start).with_columns(end=pl.col("start") + pl.col("length"))
    is_nowhere = pl.col("times") == 0
    return found.select(
        "row", *(pl.when(is_nowhere).then(0).when(is_there).then(name).cast(dtype).alias(name) for name, dtype in _PLACES.items())
    )
