"""Who sent a drop, told by its path. Pure."""

from __future__ import annotations

import re

from pipelines.discovery import business_date, drop_format

UNNAMED = "unnamed"
"""The source of a drop whose path has nothing but dates."""
_LIKE_A_DATE = re.compile(r"(?<![0-9])(?:\d{4}-\d{2}-\d{2}|\d{8}(?:\d{6})?)(?![0-9])", re.ASCII)
_SEPARATORS = " ._-~+,;:()[]"


def source_of(path: str) -> str:
    """Return the first folder that is no date, without the dates in its name; else the file's stem without dates.

    So one sender keeps one name over the nights: `2026-11-01/acme/clients.jsonl` and `acme_20261102/c.csv` are of `acme`,
    `clients-2026-11-01.csv.gz` is of `clients`.
    """
    *folders, name = path.split("/")
    return next(filter(None, map(_undated, [*folders, _stem(name)])), UNNAMED)


def _undated(text: str) -> str:
    """Return a name without its dates, nor the separators that stood around them."""
    cut = _LIKE_A_DATE.sub(lambda found: "/" if business_date(found[0]) else found[0], text)
    return "-".join(filter(None, (part.strip(_SEPARATORS) for part in cut.split("/"))))


def _stem(name: str) -> str:
    """Return a file's name without the suffixes that say its format."""
    name = name.removesuffix(".gz").removesuffix(".zst")
    stem, _, suffix = name.rpartition(".")
    return stem if stem and drop_format(f"x.{suffix}") else name
