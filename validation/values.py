"""From a text to the value it stands for, exactly: dates, booleans, numbers. Pure.

A text that stands for no value of its type gives null; nothing is rounded and nothing passes through a float.
"""

from __future__ import annotations

from decimal import Decimal, InvalidOperation

import polars as pl

from validation.fields import Field, FieldType

_TIME = r"([01][0-9]|2[0-3]):[0-5][0-9](:[0-5][0-9](\.[0-9]+)?)?"
_OFFSET = r"(Z|[+-]([01][0-9]|2[0-3])(:?[0-5][0-9])?)?"
DATE_FORM = rf"^[0-9]{{4}}(-[0-9]{{2}}-[0-9]{{2}}|[0-9]{{4}})([T ]{_TIME}{_OFFSET})?$"
"""`YYYY-MM-DD` or `YYYYMMDD`, alone or with a time (contract, `invalid_date`)."""

DIGITS: dict[FieldType, tuple[int, int]] = {FieldType.MONEY: (14, 4), FieldType.RATE: (10, 8)}
"""How many digits a number may have before and after the point."""
LARGEST_INTEGER = 2_147_483_647
_LONGEST_PLAIN = 64
"""A number of more characters than this goes through Decimal: it may still be small (1.000…0)."""


def typed(texts: pl.Expr, field: Field) -> pl.Expr:
    """Return the value each text stands for, as the field's type; null where it stands for none."""
    match field.type:
        case FieldType.DATE:
            return _date(texts)
        case FieldType.BOOLEAN:
            return pl.when(texts == "true").then(True).when(texts == "false").then(False)
        case FieldType.MONEY | FieldType.RATE:
            return _decimal(texts, field.type)
        case FieldType.INTEGER:
            return _integer(texts)
        case _:
            return texts


def without_exponents(texts: pl.Series) -> pl.Series:
    """Write `1e3` as `1000`: the same numbers in plain digits, what no field can hold as an empty text.

    Only texts with an exponent or of unusual length are looked at, once each.
    """
    if texts.null_count() == len(texts):
        return texts
    column = pl.col(texts.name)
    is_unusual = column.str.contains("[eE]") | (column.str.len_bytes() > _LONGEST_PLAIN)
    unusual = texts.to_frame().select(column.filter(is_unusual).unique()).to_series()
    if unusual.is_empty():
        return texts
    plain = [_plain(text) for text in unusual]
    return texts.replace(unusual, pl.Series(plain, dtype=pl.String))


def _plain(text: str) -> str:
    """Return a number in plain digits, without needless zeros; empty when it has too many digits for any field."""
    try:
        number = Decimal(text)
    except InvalidOperation:
        # Decimal refuses exponents of its own size limit; the number is nought or out of every range.
        mantissa = text.lower().partition("e")[0]
        return "0" if not mantissa.strip("-0.") and mantissa.strip("-.") else ""
    if not number.is_finite():
        return ""
    if number == 0:
        return "0"
    sign, digits, places = number.as_tuple()
    exponent = int(places)
    significant = "".join(map(str, digits)).rstrip("0")
    exponent += len(digits) - len(significant)
    significant = significant.lstrip("0")
    if number.adjusted() > 20 or exponent < -20:
        return ""
    if exponent >= 0:
        whole, fraction = significant + "0" * exponent, ""
    else:
        padded = significant.rjust(1 - exponent, "0")
        whole, fraction = padded[:exponent], "." + padded[exponent:]
    return ("-" if sign else "") + whole + fraction


def _date(texts: pl.Expr) -> pl.Expr:
    shaped = pl.when(texts.str.contains(DATE_FORM)).then(texts)
    day = shaped.str.slice(0, 10).str.replace_all("-", "", literal=True).str.slice(0, 8)
    parsed = day.str.to_date("%Y%m%d", strict=False)
    return pl.when(parsed.dt.year() >= 1).then(parsed)


def _decimal(texts: pl.Expr, kind: FieldType) -> pl.Expr:
    before, after = DIGITS[kind]
    form = rf"^-?0*[0-9]{{1,{before}}}(\.[0-9]{{1,{after}}}0*)?$"
    plain = pl.when(texts.str.contains(form)).then(texts)
    return plain.cast(kind.dtype, strict=False)


def _integer(texts: pl.Expr) -> pl.Expr:
    number = pl.when(texts.str.contains(r"^0*[0-9]{1,10}$")).then(texts).cast(pl.Int64, strict=False)
    return pl.when(number.is_between(1, LARGEST_INTEGER)).then(number).cast(pl.Int32, strict=False)
