"""JSON read exactly: numbers as their text, doubled keys kept, nothing that the standard does not allow. Pure."""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Iterator
from json.encoder import encode_basestring
from typing import NoReturn

MAX_DEPTH = 64
"""Levels of objects and arrays; the outermost is the first."""

_STRING_OR_BRACKET = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+"|[\[\]{}]', re.DOTALL)
_PIECE = 1024 * 1024
_SURROGATE = re.compile(r"[\ud800-\udfff]")


class Number(str):
    """A number as it was written."""

    __slots__ = ()


class Members(tuple[tuple[str, "Value"], ...]):
    """The members of an object in their order, doubled ones too."""

    __slots__ = ()


Value = str | Number | bool | None | Members | list["Value"]
"""A JSON value; `Number` before `str` where it matters, since it is one."""


def parse(text: str) -> Value:
    """Return the value of a JSON text; ValueError when it is none, is nested too deeply or holds half a surrogate pair."""
    if text.count("[") + text.count("{") > MAX_DEPTH and _depth(text) > MAX_DEPTH:
        raise ValueError(f"nested over {MAX_DEPTH} levels")
    value: Value = _DECODER.decode(text)
    if "\\u" in text:
        _refuse_half_pairs(value)
    return value


def text_of(value: Value) -> str | None:
    """Return a value's text: a string as it is, null as None, everything else as JSON text."""
    if value is None or type(value) is str:
        return value
    return json_text(value)


def json_text(value: Value) -> str:
    """Return the JSON text of a value without white space: numbers, key order and doubled keys as they were written."""
    return "".join(_pieces(value))


def _pieces(value: Value) -> Iterator[str]:
    if isinstance(value, Number):
        yield value
    elif isinstance(value, str):
        yield encode_basestring(value)
    elif isinstance(value, Members):
        before = "{"
        for key, member in value:
            yield f"{before}{encode_basestring(key)}:"
            yield from _pieces(member)
            before = ","
        yield "}" if value else "{}"
    elif isinstance(value, list):
        before = "["
        for item in value:
            yield before
            yield from _pieces(item)
            before = ","
        yield "]" if value else "[]"
    else:
        yield {True: "true", False: "false", None: "null"}[value]


def _depth(text: str) -> int:
    deepest = depth = 0
    for token in _STRING_OR_BRACKET.finditer(text):
        first = token[0][0]
        if first in "[{":
            depth += 1
            deepest = max(deepest, depth)
        elif first in "]}":
            depth -= 1
    return deepest


def _refuse_half_pairs(value: Value) -> None:
    if isinstance(value, str):
        if _SURROGATE.search(value):
            raise ValueError("an unpaired surrogate")
    elif isinstance(value, Members):
        for key, member in value:
            _refuse_half_pairs(key)
            _refuse_half_pairs(member)
    elif isinstance(value, list):
        for item in value:
            _refuse_half_pairs(item)


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")


_DECODER = json.JSONDecoder(parse_float=Number, parse_int=Number, parse_constant=_refuse_constant, object_pairs_hook=Members)

_SPACE = rb"[ \t\n\r]*+"
_BYTES_STRING = rb'"(?:[^"\\\x00-\x1f]++|\\["\\/bfnrt]|\\u[0-9a-fA-F]{4})*+"'
_TOKEN = re.compile(
    _SPACE
    + rb"(?:(?P<string>"
    + _BYTES_STRING
    + rb")|(?P<scalar>true|false|null|-?(?:0|[1-9][0-9]*+)(?:\.[0-9]++)?+(?:[eE][+-]?[0-9]++)?+)|(?P<mark>[\[\]{}:,]))"
)
_PAIRS = re.compile(rb"(?:\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2})++")
_ESCAPED_SURROGATE = re.compile(rb"\\\\|(\\u[dD][89a-fA-F][0-9a-fA-F]{2})")


def is_json(data: bytes) -> bool:
    """Tell whether `parse` takes these bytes, without building what they say: for lines of any size."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    try:
        for start in range(0, len(data), _PIECE):
            decoder.decode(data[start : start + _PIECE])
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        return False
    open_marks: list[bytes] = []
    expects = "value"
    position = 0
    end = len(data.rstrip(b" \t\n\r"))
    while position < end:
        token = _TOKEN.match(data, position, end)
        if token is None or (token["string"] and _has_half_pair(token["string"])):
            return False
        position = token.end()
        following = _follow(expects, token, open_marks)
        if following is None or len(open_marks) > MAX_DEPTH:
            return False
        expects = following
    return expects == "end"


def _follow(expects: str, token: re.Match[bytes], open_marks: list[bytes]) -> str | None:
    """Return what may come after this token, None when it may not stand here."""
    mark = token["mark"]
    following: str | None
    if expects == ":" and mark == b":":
        following = "value"
    elif expects == "comma" and mark == b",":
        following = "key" if open_marks[-1] == b"{" else "value"
    elif expects in ("key", "key or }") and token["string"]:
        following = ":"
    elif expects in ("value", "value or ]") and mark is None:
        following = "comma" if open_marks else "end"
    elif expects in ("value", "value or ]") and mark in (b"{", b"["):
        open_marks.append(mark)
        following = "key or }" if mark == b"{" else "value or ]"
    else:
        following = _close(expects, mark, open_marks)
    return following


def _close(expects: str, mark: bytes | None, open_marks: list[bytes]) -> str | None:
    closes = {b"}": (b"{", "key or }"), b"]": (b"[", "value or ]")}.get(mark or b"")
    if closes and open_marks and open_marks[-1] == closes[0] and expects in ("comma", closes[1]):
        open_marks.pop()
        return "comma" if open_marks else "end"
    return None


def _has_half_pair(string: bytes) -> bool:
    if b"\\u" not in string:
        return False
    position = 0
    while found := _ESCAPED_SURROGATE.search(string, position):
        position = found.end()
        if found[1]:
            pair = _PAIRS.match(string, found.start())
            if not pair:
                return True
            position = pair.end()
    return False
