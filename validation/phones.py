"""Telephone numbers: is it plausible, by libphonenumber, asked once per distinct number it must be asked for. Pure.

The library is not imported before there are numbers: it takes some time.
"""

from __future__ import annotations

from functools import cache, lru_cache

import polars as pl

FORM = r"^\+[1-9][0-9]{6,14}$"
"""What the contract's `invalid_phone` asks for."""
_LONGEST_CODE = 3
_LOOKED_AT = 1024
"""Of so many numbers the calling codes are taken to be those of nearly all."""
_NONE = "[^\\s\\S]"
"""A pattern that nothing has."""
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
    """Tell of each number whether libphonenumber calls it valid: false without the right form, null stays null.

    Patterns made of the library's own metadata prove most valid numbers at once; a test holds them to the library.
    """
    codes = _calling_codes(numbers.head(_LOOKED_AT))
    surely = _are_surely(numbers, codes)
    rows = (~surely).arg_true()
    return surely.scatter(rows, _are_plausible(numbers[rows], codes)) if len(rows) else surely


def _are_plausible(numbers: pl.Series, codes: frozenset[int]) -> pl.Series:
    """Tell it of numbers that the patterns of some calling codes did not prove: by those of their own, then by the library."""
    surely = _are_surely(numbers, _calling_codes(numbers) - codes)
    unknown = numbers.filter(~surely & numbers.str.contains(FORM)).unique()
    if unknown.is_empty():
        return surely
    taken = pl.Series([_library_takes(number) for number in unknown], dtype=pl.Boolean)
    return surely | numbers.is_in(unknown.filter(taken).implode())


def _are_surely(numbers: pl.Series, codes: frozenset[int]) -> pl.Series:
    """Tell of each number whether the patterns of some calling codes prove it valid."""
    valid, stripped = _proof(codes)
    return numbers.str.contains(valid) & ~numbers.str.contains(stripped)


def _calling_codes(numbers: pl.Series) -> frozenset[int]:
    """Return the calling codes with which numbers begin; metadata of the others, a module a region, is not loaded."""
    # As bytes: to count characters takes five times as long.
    begins = numbers.cast(pl.Binary).bin.slice(1, _LONGEST_CODE).unique().drop_nulls()
    some = (begin[:length] for begin in begins for length in range(1, _LONGEST_CODE + 1))
    codes = _codes()
    return frozenset(int(code) for code in some if code in codes)  # of all codes none begins with another


@cache
def _codes() -> frozenset[bytes]:
    from phonenumbers import COUNTRY_CODE_TO_REGION_CODE

    return frozenset(str(code).encode() for code in COUNTRY_CODE_TO_REGION_CODE)


@lru_cache(maxsize=256)
def _proof(codes: frozenset[int]) -> tuple[str, str]:
    """Return the patterns of some calling codes, each as one."""
    patterns = [found for code in sorted(codes) if (found := _patterns(code))]
    if not patterns:
        return _NONE, _NONE
    valid, stripped = (rf"^\+(?:{'|'.join(parts)})" for parts in zip(*patterns, strict=True))
    return valid, stripped


def _patterns(calling_code: int) -> tuple[str, str] | None:
    """Return a pattern of valid numbers behind their plus, and one of those of which the parser would strip something first.

    They cover the code's main region; None where only the library can tell.
    """
    from phonenumbers import COUNTRY_CODE_TO_REGION_CODE, PhoneMetadata

    region = COUNTRY_CODE_TO_REGION_CODE[calling_code][0]
    metadata = (
        PhoneMetadata.metadata_for_nongeo_region(calling_code, None)
        if region == "001"
        else PhoneMetadata.metadata_for_region(region, None)
    )
    if metadata is None or metadata.leading_digits:
        return None
    kinds = (getattr(metadata, kind) for kind in _KINDS)
    forms = [kind.national_number_pattern for kind in kinds if kind is not None and kind.national_number_pattern]
    if not forms:
        return None
    # A leading zero is taken as a part of some numbers and not of others, wherever they come from.
    prefixes = ["0", *filter(None, [metadata.national_prefix_for_parsing])]
    return f"{calling_code}(?:{_ascii('|'.join(forms))})$", f"{calling_code}(?:{_ascii('|'.join(prefixes))})"


def _ascii(pattern: str) -> str:
    """Return a pattern of the library's whose digits are ASCII ones, as the rule's form has them."""
    return pattern.replace(r"\d", "[0-9]")


@lru_cache(maxsize=1 << 16)
def _library_takes(number: str) -> bool:
    import phonenumbers

    try:
        return phonenumbers.is_valid_number(phonenumbers.parse(number))
    except phonenumbers.NumberParseException:
        return False
