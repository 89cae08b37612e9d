"""The words record rules are written in: each takes a whole column or one value. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import polars as pl


def is_missing(value: Any) -> Any:
    """Tell whether the value is null."""
    return value.is_null() if isinstance(value, pl.Expr) else value is None


def differs(before: Any, after: Any) -> Any:
    """Tell whether a value changes; null to a value is a change, null to null is none."""
    return before.ne_missing(after) if isinstance(before, pl.Expr) else before != after


def lacks_form(value: Any, pattern: str) -> Any:
    """Tell whether a text does not match a regular expression as a whole."""
    if isinstance(value, pl.Expr):
        return ~value.str.contains(f"^(?:{pattern})$")
    return _compiled(pattern).fullmatch(value) is None


def of_source(source: Any, options: Mapping[str, Any], otherwise: Any) -> Any:
    """Return what the option of an event's source gives, else the other one."""
    if not isinstance(source, pl.Expr):
        return options.get(source, otherwise)()
    chosen = otherwise()
    for name, option in options.items():
        chosen = pl.when(source == name).then(option()).otherwise(chosen)
    return chosen


@lru_cache(maxsize=32)
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern)
