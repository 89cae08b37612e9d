"""Texts of others as a person may safely look at them. Pure."""

from __future__ import annotations


def visible(text: str) -> str:
    """Return a text with every character that cannot be seen, or that moves others about, as its escape."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)
