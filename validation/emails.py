"""E-mail addresses by email-validator, asked once per distinct unusual domain or address. Pure.

Source of the rule: email-validator with its default options, syntax only, no network.
"""

from __future__ import annotations

from functools import cache, lru_cache
from string import ascii_letters, digits

import polars as pl

_ATOM = r"[A-Za-z0-9_+-]+"
_LABEL = r"[A-Za-z0-9]+(-[A-Za-z0-9]+)*"
PLAIN = rf"^{_ATOM}(\.{_ATOM})*@({_LABEL}\.)+[A-Za-z]{{2,24}}$"
"""Addresses of this form and at most `LONGEST` bytes are valid unless their domain is special; held to the library by a test."""
_LETTERS = "À-ÖØ-öø-ɏΑ-ΡΣ-ώЀ-ҁ"
_WORD = rf"[A-Za-z0-9_+{_LETTERS}-]+"
PLAIN_LOCAL = rf"^{_WORD}(?:\.{_WORD})*@([^@]+)$"
"""Of addresses of this form and at most `LONGEST` bytes the domain tells whether they are valid; held to the library likewise."""
LONGEST = 64
_ONE_LETTER = str.maketrans(dict.fromkeys(ascii_letters + digits, "a"))
_NOTHING = pl.Series([None], dtype=pl.String)


@cache
def _special() -> str:
    """Return the pattern of domains that the library refuses for what they end with."""
    from email_validator import SPECIAL_USE_DOMAIN_NAMES  # not before there are addresses: it takes some time

    return rf"(?i-u)\.(?:{'|'.join(sorted({name.rpartition('.')[2] for name in SPECIAL_USE_DOMAIN_NAMES}))})$"


def is_email(texts: pl.Series) -> pl.Series:
    """Tell of each address whether email-validator takes it; null stays null."""
    plain = texts.str.contains(PLAIN) & (texts.str.len_bytes() <= LONGEST) & ~texts.str.contains(_special())
    unusual = texts.filter(~plain).unique()
    if unusual.is_empty():
        return plain
    return plain | texts.is_in(unusual.filter(_are_taken(unusual)).implode())


def _are_taken(addresses: pl.Series) -> pl.Series:
    """Tell of each distinct address whether the library takes it."""
    domains = addresses.str.extract(PLAIN_LOCAL).zip_with(addresses.str.len_bytes() <= LONGEST, _NOTHING)
    asked = ("a@" + domains).zip_with(domains.is_not_null(), addresses)
    distinct = asked.unique()
    taken = pl.Series([_refusal(address) is None for address in distinct], dtype=pl.Boolean)
    return asked.is_in(distinct.filter(taken).implode())


def why_not(address: str) -> str:
    """Return `: ` and the library's own words about an address it refuses."""
    words = _refusal(address)
    return f": {words}".rstrip(".") if words else ""


def _refusal(address: str) -> str | None:
    """Return the library's words about an address, None when it takes it.

    It judges what stands before the @ first and by itself, and letters and digits of ASCII are all the same to it there: a
    question about one such text serves all of that shape.
    """
    local, at, domain = address.partition("@")
    if not at or not local.isascii() or '"' in local or "<" in local or len(address.encode()) > LONGEST:
        return _words(address)
    return _words(f"{local.translate(_ONE_LETTER)}@b.co") or _words(f"a@{domain}")


@lru_cache(maxsize=1 << 16)
def _words(address: str) -> str | None:
    from email_validator import EmailNotValidError, validate_email

    try:
        validate_email(address, check_deliverability=False)
    except EmailNotValidError as refusal:
        return str(refusal)
    return None
