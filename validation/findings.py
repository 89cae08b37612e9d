"""Run a schema over a whole frame and say which rows break which rules, with the words for a person. Pure.

One pass over what makes a row suspect clears nearly all rows; the others are judged once, and Pandera names the rules they break.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from string import Formatter

import numpy as np
import pandera.polars as pa
import polars as pl

from validation.rules import SOURCE, Rule

FOUND = {"row": pl.UInt32(), "code": pl.String(), "field": pl.String()}
DESCRIBED = {**FOUND, "value": pl.String(), "message": pl.String()}
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
        return pl.DataFrame(schema=FOUND)
    # Lazily: what several rules ask of a column is then worked out once, and columns are worked out side by side.
    asked = (_suspect(same[0]).fill_null(False).alias(str(place)) for place, same in enumerate(alike.values()))
    suspected = frame.lazy().select(asked).collect()
    fired: list[Rule] = []
    verdicts: list[pl.Series] = []
    for suspects, same in zip(suspected, alike.values(), strict=True):
        if suspects.any():
            for rule, verdict in _fired(same, frame, suspects):
                verdicts.append(verdict.alias(str(len(fired))))
                fired.append(rule)
    return _named(name, fired, pl.DataFrame(verdicts)) if fired else pl.DataFrame(schema=FOUND)


def _fired(rules: Sequence[Rule], frame: pl.DataFrame, suspects: pl.Series) -> Iterator[tuple[Rule, pl.Series]]:
    """Yield those of some rules with the same suspects that are broken, each with where; suspects alone are asked about."""
    if all(rule.suspect is None for rule in rules):
        yield from ((rule, suspects) for rule in rules)
        return
    asked = (rule.broken.fill_null(False).alias(str(place)) for place, rule in enumerate(rules))
    told = frame.lazy().filter(suspects).select(asked).collect()
    rows = suspects.arg_true()
    for rule, broken in zip(rules, told, strict=True):
        if broken.any():
            verdict = np.zeros(len(frame), dtype=np.bool_)
            verdict[rows.filter(broken).to_numpy()] = True
            yield rule, pl.Series(verdict)


def _named(name: str, fired: Sequence[Rule], verdicts: pl.DataFrame) -> pl.DataFrame:
    """Have Pandera name what is broken; `verdicts` has a column a rule that `fired`, named by its place among them."""
    broken = verdicts.with_row_index("row").filter(pl.any_horizontal(verdicts.columns))
    checks = [replace(rule, broken=pl.col(str(place))).check() for place, rule in enumerate(fired)]
    # All checks stand at one column, whose number of a check tells its rule's field: Pandera's cost is by the column. A schema of
    # the frame would make up all it says a second time.
    schema = pa.Column(broken.schema["row"], checks, name="row")
    try:
        schema.validate(broken, lazy=True)
    except pa.errors.SchemaErrors as errors:
        cases = errors.failure_cases
        if cases["index"].null_count():
            raise RuntimeError(f"{name}: a rule could not be worked out; nothing was decided") from errors
    else:
        raise RuntimeError(f"{name}: a rule fired that Pandera does not find: {[rule.code for rule in fired]}")
    fields = pl.Series([rule.field for rule in fired])
    found: pl.DataFrame = cases.select(
        row=broken["row"].gather(cases["index"].cast(pl.UInt32)), code="check", field=fields.gather(cases["check_number"])
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
