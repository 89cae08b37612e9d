"""On which line of a TOML text a key stands: the parser of the standard library does not say. Pure."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from typing import Any


def line_of(text: str, key: Sequence[str | int]) -> int | None:
    """Return the 1-based line on which the value of a dotted key begins, or that of the longest part of it that is there.

    Of an array's elements the whole is found. None when nothing of the key is there, or the text is no TOML.
    """
    for depth in range(len(key), 0, -1):
        found = _begins(text.split("\n"), key[:depth])
        if found:
            return found
    return None


def _begins(lines: Sequence[str], key: Sequence[str | int]) -> int | None:
    # The first lines are TOML by themselves wherever no value runs on: the key came with what follows the last such place before.
    start = 0
    for end in range(1, len(lines) + 1):
        try:
            said = tomllib.loads("\n".join(lines[:end]))
        except tomllib.TOMLDecodeError:
            continue
        if _has(said, key):
            return start + 1
        start = end
    return None


def _has(said: Any, key: Sequence[str | int]) -> bool:
    for part in key:
        try:
            said = said[part]
        except (KeyError, IndexError, TypeError):
            return False
    return True
