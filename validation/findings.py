"""Run a schema over a whole frame and say which rows break which rules, with the words for a person. Pure.

One pass over what makes a row suspect clears nearly all rows; Pandera names the rules that the others break.
"""

from __future__ import annotations

from collections.abc import Sequence
from string import Formatter

import pandera.polars as pa
import polars as pl

from validation.rules import SOURCE, Rule, schema

FOUND = {"row": pl.UInt32(), "code": pl.String(), "field": pl.String()}
DESCRIBED = {**FOUND, "value": pl.String(), "message": pl.String()}
_LONGEST_QUOTE = 80
"""A message quotes at most this many characters of a value; the value itself is reported whole."""


def find(name: str, rules: Sequence[Rule], frame: pl.DataFrame) -> pl.DataFrame:
    """Return `row` (place in the frame), `code` and `field` of every rule broken, in no promised order.

    `frame` has every column the rules read; `name` is the schema's, for its errors.
    """
    suspected = {id(expression): expression for expression in (_suspect(rule) for rule in rules)}
    if frame.is_empty() or not suspected:
        return pl.DataFrame(schema=FOUND)
    # Lazily: what several rules ask of a column is then worked out once, and columns are worked out side by side.
    asked = (expression.fill_null(False).alias(str(place)) for place, expression in enumerate(suspected.values()))
    rows = frame.lazy().select(asked).collect().select(pl.any_horizontal(pl.all()).arg_true()).to_series().cast(pl.UInt32)
    frame = frame[rows]
    verdicts = frame.select(rule.broken.fill_null(False).alias(str(place)) for place, rule in enumerate(rules))
    fired = [rule for place, rule in enumerate(rules) if verdicts[str(place)].any()]
    if not fired:
        return pl.DataFrame(schema=FOUND)
    broken = verdicts.select(pl.any_horizontal(pl.all()).arg_true()).to_series()
    rows, suspects = rows[broken], frame[broken]
    named = schema(name, {rule.field: suspects.schema[rule.field] for rule in fired}, fired)
    try:
        named.validate(suspects, lazy=True)
    except pa.errors.SchemaErrors as errors:
        cases = errors.failure_cases
        if cases["index"].null_count():
            raise RuntimeError(f"{name}: a rule could not be worked out; nothing was decided") from errors
    else:
        raise RuntimeError(f"{name}: a rule fired that Pandera does not find: {[rule.code for rule in fired]}")
    found: pl.DataFrame = cases.select(
        rows.gather(cases["index"].cast(pl.UInt32)).alias("row"), pl.col("check").alias("code"), pl.col("column").alias("field")
    )
    return found


def _suspect(rule: Rule) -> pl.Expr:
    return rule.broken if rule.suspect is None else rule.suspect


def describe(found: pl.DataFrame, rules: Sequence[Rule], frame: pl.DataFrame) -> pl.DataFrame:
    """Add `value`, the text of what was found, and `message`, the words for a person; same rows as `found`."""
    if found.is_empty():
        return pl.DataFrame(schema=DESCRIBED)
    of_rule = found.partition_by("code", "field", as_dict=True)
    parts = []
    for rule in rules:
        rows = of_rule.get((rule.code, rule.field))
        if rows is not None:
            parts.append(pl.concat([rows, _words(rule, frame[rows["row"]])], how="horizontal"))
    return pl.concat(parts)


def _words(rule: Rule, frame: pl.DataFrame) -> pl.DataFrame:
    """Return `value` and `message` of each row, all of which break the rule."""
    value = as_text(rule.field) if frame.schema[rule.field] in _TEXTUAL else pl.lit(None, dtype=pl.String)
    frame = frame.with_columns(value.alias("value"))
    if rule.suggest:
        distinct = frame["value"].drop_nulls().unique()
        suggestions = pl.Series([rule.suggest(text) for text in distinct], dtype=pl.String)
        frame = frame.with_columns(suggestion=pl.col("value").replace_strict(distinct, suggestions, default=""))
    message = fill(rule.message)
    for source, words in (rule.by_source or {}).items():
        message = pl.when(pl.col(SOURCE) == source).then(fill(words)).otherwise(message)
    return frame.select("value", message=message)


_TEXTUAL = (pl.String, pl.Date, pl.Decimal, pl.Boolean, pl.Int32, pl.Int64)


def as_text(column: str) -> pl.Expr:
    """Return a column's values as the text a report shows."""
    return pl.col(column).cast(pl.String)


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
