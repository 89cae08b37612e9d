"""The offending values of many JSON lines at once, in whole columns: where `excerpts.place_in_json` finds them one by one. Pure.

Only what is plain to see is told of; the rest is left to it.
"""

from __future__ import annotations

from itertools import product

import polars as pl

from pipelines.excerpts import spellings

_OF_NO_FIELD = ("malformed_json", "invalid_encoding", "duplicate_key")
"""Codes whose place is no value of a field."""
_BETWEEN = ('":"', '": "')
"""What stands between a name and its text as most write it."""
_SPAN: dict[str, pl.DataType] = {"start": pl.UInt32(), "end": pl.UInt32()}


def places_in_json(reasons: pl.DataFrame) -> pl.DataFrame:
    """Return `start` and `end`, in characters, of the offending value in each line; null where only `place_in_json` can tell.

    `reasons`: text (null where it is not to be looked at), code, field (empty for none), value.
    """
    sought = pl.when(pl.col("code") == "unknown_category").then(pl.lit("category")).otherwise("field")
    asked = reasons.select("text", "value", sought.alias("sought"), of_a_field=~pl.col("code").is_in(_OF_NO_FIELD))
    asked = asked.with_row_index("row").filter(pl.col("text").is_not_null() & pl.col("of_a_field"))
    parts = [_of_field(str(field), some) for (field,), some in asked.partition_by("sought", as_dict=True).items()]
    found = pl.concat([pl.DataFrame(schema={"row": pl.UInt32(), **_SPAN}), *parts])
    return reasons.select(pl.row_index("row")).join(found, on="row", how="left", maintain_order="left").select(*_SPAN)


def _of_field(field: str, asked: pl.DataFrame) -> pl.DataFrame:
    """Return row, start, end of the reasons about one field of which they are plain to see."""
    if not field:
        return asked.select("row", *(pl.lit(0, kind).alias(name) for name, kind in _SPAN.items()))
    names, text, value, at = spellings(field), pl.col("text"), pl.col("value"), pl.col("at")
    named = asked.with_columns(at=pl.min_horizontal(text.str.find(f'"{name}"', literal=True) for name in names))
    # The first of these names in the line is that of a text: there the pattern of `excerpts` begins to look.
    keys = [f'"{name}{between}' for name, between in product(names, _BETWEEN)]
    start = pl.coalesce(pl.when(text.str.find(key, literal=True) == at).then(at + len(key) - 1) for key in keys)
    # What has neither of these two in it is sent as it is, and its end is the next quote.
    plain = pl.concat_str(pl.lit('"'), pl.when(~value.str.contains(r'["\\]')).then(value), pl.lit('"'))
    told = named.with_columns(start.alias("start"), plain.alias("plain"), plain.str.len_bytes().alias("long"))
    is_it = text.cast(pl.Binary()).bin.slice(pl.col("start"), pl.col("long")) == pl.col("plain").cast(pl.Binary())
    told = told.filter(is_it | at.is_null())
    # In characters, which are bytes in most lines.
    head = pl.when(text.str.len_bytes() != text.str.len_chars()).then(text).cast(pl.Binary()).bin.slice(0, pl.col("start"))
    start, long = pl.coalesce(head.cast(pl.String()).str.len_chars(), "start"), pl.col("plain").str.len_chars()
    nowhere = pl.when(at.is_null()).then(0)
    return told.select("row", nowhere.otherwise(start).alias("start"), nowhere.otherwise(start + long).alias("end")).cast(
        pl.Schema(_SPAN)
    )
