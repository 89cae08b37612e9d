"""Telephone numbers: is it plausible, by libphonenumber, asked once per distinct number it must be asked for. Pure."""

from __future__ import annotations

from functools import cache

import phonenumbers
import polars as pl
from phonenumbers import COUNTRY_CODE_TO_REGION_CODE, PhoneMetadata

FORM = r"^\+[1-9][0-9]{6,14}$"
"""What the contract's `invalid_phone` asks for."""
_KINDS = (
    "fixed_line",
    "mobile",
    "toll_free",
    "premium_rate",
    "shared_cost",
    "personal_number",
    "voip",
    "pager",
    "uan",
    "voicemail",
)


def is_plausible(numbers: pl.Series) -> pl.Series:
    """Tell of each number of the right form whether libphonenumber calls it valid; null stays null.

    A pattern made of the library's own metadata proves most valid numbers at once; a test holds it to the library.
    """
    distinct = pl.DataFrame({"number": numbers.drop_nulls().unique()})
    coded = distinct.with_columns(code=pl.col("number").str.extract(_codes_pattern(), 1))
    plausible = [_plausible_of_one_code(part["number"], part["code"][0]) for part in coded.partition_by("code")]
    if not plausible:
        return pl.Series([None], dtype=pl.Boolean).new_from_index(0, len(numbers))
    found = pl.concat(plausible)
    return pl.select(pl.when(numbers.is_not_null()).then(numbers.is_in(found.implode()))).to_series()


def _plausible_of_one_code(numbers: pl.Series, calling_code: str | None) -> pl.Series:
    """Return the plausible ones of distinct numbers that begin with one calling code."""
    patterns = _patterns(calling_code) if calling_code else None
    if patterns:
        surely = numbers.str.contains(patterns[0]) & numbers.str.contains(patterns[1])
    else:
        surely = pl.repeat(False, len(numbers), dtype=pl.Boolean, eager=True)
    unknown = numbers.filter(~surely)
    taken = pl.Series([_library_takes(number) for number in unknown], dtype=pl.Boolean)
    return pl.concat([numbers.filter(surely), unknown.filter(taken)])


@cache
def _codes_pattern() -> str:
    codes = sorted((str(code) for code in COUNTRY_CODE_TO_REGION_CODE), key=len, reverse=True)
    return rf"^\+({'|'.join(codes)})"


_FIRST_DIGITS = {None: "[1-9]", "0": "[1-9]", "1": "[2-9]", "8": "[1-79]"}
"""Per national prefix: how a number starts from which the parser strips nothing."""


@cache
def _patterns(calling_code: str) -> tuple[str, str] | None:
    """Return two patterns that together only a valid number matches, or None where only the library can tell.

    They cover the code's main region, and numbers that the library's parser takes as they stand.
    """
    region = COUNTRY_CODE_TO_REGION_CODE[int(calling_code)][0]
    metadata = (
        PhoneMetadata.metadata_for_nongeo_region(int(calling_code), None)
        if region == "001"
        else PhoneMetadata.metadata_for_region(region, None)
    )
    if metadata is None or metadata.leading_digits or metadata.national_prefix_for_parsing not in _FIRST_DIGITS:
        return None
    kinds = (getattr(metadata, kind) for kind in _KINDS)
    forms = [kind.national_number_pattern for kind in kinds if kind is not None and kind.national_number_pattern]
    if not forms:
        return None
    first = _FIRST_DIGITS[metadata.national_prefix_for_parsing]
    return rf"^\+{calling_code}{first}", rf"^\+{calling_code}(?:{'|'.join(forms)})$"


def _library_takes(number: str) -> bool:
    try:
        return phonenumbers.is_valid_number(phonenumbers.parse(number))
    except phonenumbers.NumberParseException:
        return False
