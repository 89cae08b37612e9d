"""Countries and currencies from pycountry, and what a wrong code probably meant. Pure.

Sources: ISO 3166-1 alpha-2 and ISO 4217 as pycountry ships them; the version is part of the rule set's fingerprint.
"""

from __future__ import annotations

from functools import cache

import pycountry

_HABITS = {
    "UK": "GB",
    "EL": "GR",
    "EN": "GB",
    "ENGLAND": "GB",
    "SCOTLAND": "GB",
    "WALES": "GB",
    "USA": "US",
    "UAE": "AE",
}
"""Codes in daily use that are no ISO code, or another country's: what their senders mean."""
_SIGNS = {"€": "EUR", "$": "USD", "£": "GBP", "¥": "JPY", "₦": "NGN", "₹": "INR", "KSH": "KES", "RMB": "CNY"}


@cache
def countries() -> dict[str, str]:
    """Return alpha-2 code -> name."""
    return {country.alpha_2: country.name for country in sorted(pycountry.countries, key=lambda c: c.alpha_2)}


@cache
def currencies() -> dict[str, str]:
    """Return alphabetic code -> name."""
    return {currency.alpha_3: currency.name for currency in sorted(pycountry.currencies, key=lambda c: c.alpha_3)}


def suggest_country(value: str) -> str:
    """Return `; probably "GB" (United Kingdom)` or nothing."""
    wanted = value.strip().upper()
    code = _HABITS.get(wanted)
    if code is None:
        try:
            code = pycountry.countries.lookup(wanted).alpha_2 if wanted else None
        except LookupError:
            code = None
    return f'; probably "{code}" ({countries()[code]})' if code else ""


def suggest_currency(value: str) -> str:
    """Return `; probably "EUR" (Euro)` or nothing."""
    wanted = value.strip().upper()
    code = _SIGNS.get(wanted)
    if code is None:
        try:
            code = pycountry.currencies.lookup(wanted).alpha_3 if wanted else None
        except LookupError:
            code = None
    return f'; probably "{code}" ({currencies()[code]})' if code else ""


def country_named(value: str) -> str | None:
    """Return the alpha-2 code of a country that is named by its code or one of its names, in any case; None when none is."""
    return _country_names().get(value.casefold())


@cache
def _country_names() -> dict[str, str]:
    kinds = ("official_name", "common_name", "name", "alpha_2")
    return {
        name.casefold(): country.alpha_2
        for kind in kinds
        for country in pycountry.countries
        if (name := getattr(country, kind, None))
    }
