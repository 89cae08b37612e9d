"""Run a schema over a whole frame and say which rows break which rules, with the words for a person. Pure.

One pass over what makes a row suspect clears nearly all rows; the others are judged once, and Pandera names the rules they break.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache
from string import Formatter

import polars as pl

from validation.naming import FOUND, Rows, named
from validation.rules import SOURCE, Rule

DESCRIBED = {**FOUND, "value": pl.String(), "message": pl.String()}
_NOTHING_FOUND, _NOTHING_DESCRIBED = pl.DataFrame(schema=FOUND), pl.DataFrame(schema=DESCRIBED)
_LONGEST_QUOTE = 80
"""A message quotes at most this many characters of a value; the value itself is reported whole."""


def find(name: str, rules: Sequence[Rule], frame: pl.DataFrame) -> pl.DataFrame:
    """Return `row` (place in the frame), `code` and `field` of every rule broken, in no promised order.

    `frame` has every column the rules read; `name` is the schema's, for its errors.
    """
    alike: dict[int, list[Rule]] = {}
    for rule in rules:
        alike.setdefault(id(_suspect(rule)), []).append(rule)
    if frame.is_empty() or not alike:
        return _NOTHING_FOUND
    # Not lazily: what an optimizer thinks over takes longer than what it finds to spare.
    asked = (_suspect(same[0]).fill_null(False).alias(str(place)) for place, same in enumerate(alike.values()))
    suspected = frame.select(asked)
    fired = [
        found
        for suspects, same in zip(suspected, alike.values(), strict=True)
        if suspects.any()
        for found in _fired(same, frame, suspects)
    ]
    return named(name, [rule for rule, _ in fired], [rows for _, rows in fired]) if fired else _NOTHING_FOUND


def _fired(rules: Sequence[Rule], frame: pl.DataFrame, suspects: pl.Series) -> Iterator[tuple[Rule, Rows]]:
    """Yield those of some rules with the same suspects that are broken, each with where; suspects alone are asked about."""
    rows = suspects.arg_true().to_numpy()
    if all(rule.suspect is None for rule in rules):
        yield from ((rule, rows) for rule in rules)
        return
    asked = (rule.broken.fill_null(False).alias(str(place)) for place, rule in enumerate(rules))
    told = frame.lazy().filter(suspects).select(asked).collect()  # so that only the columns they read are filtered
    for rule, broken in zip(rules, told, strict=True):
        if broken.any():
            yield rule, rows[broken.to_numpy()]


def _suspect(rule: Rule) -> pl.Expr:
    return rule.broken if rule.suspect is None else rule.suspect


def describe(found: pl.DataFrame, rules: Sequence[Rule], frame: pl.DataFrame) -> pl.DataFrame:
    """Add `value`, the text of what was found, and `message`, the words for a person; same rows as `found`."""
    if found.is_empty():
        return _NOTHING_DESCRIBED
    of_rule = found.partition_by("code", "field", as_dict=True)
    parts = []
    for rule in rules:
        rows = of_rule.get((rule.code, rule.field))
        if rows is not None:
            parts.append(pl.concat([rows, _words(rule, frame, rows["row"])], how="horizontal"))
    return pl.concat(parts)


def _words(rule: Rule, frame: pl.DataFrame, rows: pl.Series) -> pl.DataFrame:
    """Return `value` and `message` of rows of a frame, all of which break the rule."""
    message = fill(rule.message)
    for source, words in (rule.by_source or {}).items():
        message = pl.when(pl.col(SOURCE) == source).then(fill(words)).otherwise(message)
    shown = {rule.field, *message.meta.root_names()} - {"value", "suggestion"}
    value = as_text(rule.field) if frame.schema[rule.field] in _TEXTUAL else pl.lit(None, dtype=pl.String)
    frame = frame.select(*shown)[rows].with_columns(value.alias("value"))
    if rule.suggest:
        distinct = frame["value"].drop_nulls().unique()
        suggestions = pl.Series([rule.suggest(text) for text in distinct], dtype=pl.String)
        frame = frame.with_columns(suggestion=pl.col("value").replace_strict(distinct, suggestions, default=""))
    return frame.select("value", message=message)


_TEXTUAL = (pl.String, pl.Date, pl.Decimal, pl.Boolean, pl.Int32, pl.Int64)


def as_text(column: str) -> pl.Expr:
    """Return a column's values as the text a report shows."""
    return pl.col(column).cast(pl.String)


@cache
def fill(template: str) -> pl.Expr:
    """Return a text with every `{column}` filled from that column, long values cut."""
    text, columns = "", []
    for literal, column, _, _ in Formatter().parse(template):
        text += literal.replace("{", "{{").replace("}", "}}")
        if column is not None:
            text += "{}"
            columns.append(_quoted(column))
    return pl.format(text, *columns) if columns else pl.lit(text)


def _quoted(column: str) -> pl.Expr:
    value = as_text(column).fill_null("nothing")
    cut = pl.concat_str(value.str.slice(0, _LONGEST_QUOTE), pl.lit("…"))
    return pl.when(value.str.len_chars() > _LONGEST_QUOTE).then(cut).otherwise(value)
