"""JSON is read exactly or refused."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.jsontext import Members, is_json, json_text, parse, text_of

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)
AWKWARD = st.lists(
    st.sampled_from(
        [
            '{"a":',
            "{}",
            "[",
            "]",
            "}",
            ",",
            '"\\ud83d\\ude00"',
            '"\\ud83d"',
            '"\\\\ud83d"',
            '"\\u0041"',
            "1",
            "-0",
            "01",
            "1.",
            "1e5",
            "NaN",
            "-Infinity",
            "null",
            "tru",
            '"',
            "\\",
            "\x00",
            '"\x01"',
            " ",
            "\t",
            "\x0b",
            "é",
            ":",
            '"k"',
            "[" * 65,
            "]" * 65,
        ]
    ),
    max_size=6,
).map("".join)


@pytest.mark.parametrize(
    "text", ["1.10", "123456789012345678901234567890.00000000000000000001", "-0", "1E400", "0.1e-7", "9007199254740993"]
)
def test_a_number_is_its_text(text: str) -> None:
    assert text_of(parse(text)) == text
    assert json_text(parse(f"[{text}]")) == f"[{text}]"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "NaN",
        "[Infinity]",
        "-Infinity",
        "[1,]",
        '{"a":1,}',
        "01",
        "1.",
        ".5",
        "+1",
        '"\x01"',
        '"\t"',
        "'a'",
        '"\\x"',
        "\ufeff{}",
        "\xa01",
        "{} {}",
        '"\\ud800"',
        '{"\\udc00": 1}',
        '["\\ude00\\ud83d"]',
        "[" * 65 + "]" * 65,
        '{"a":' * 65 + "1" + "}" * 65,
        "[" * 100_000,
    ],
)
def test_what_the_standard_does_not_allow_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        parse(text)
    assert not is_json(text.encode())


@pytest.mark.parametrize(
    "text", ["[" * 64 + "]" * 64, '"' + "[" * 100 + '"', '"\\ud83d\\ude00"', '"\\\\ud800"', ' \t\n\r{"a" : 1 } ']
)
def test_what_the_standard_allows_is_read(text: str) -> None:
    parse(text)
    assert is_json(text.encode())


def test_objects_keep_doubled_keys_order_and_plain_characters_without_white_space() -> None:
    text = '{ "b" : 1.0, "a" : [ "\\u00e9\\/", null, {} ], "b" : "\\"\\\\\\n\\u001f\x7f" }'
    assert text_of(parse(text)) == '{"b":1.0,"a":["é/",null,{}],"b":"\\"\\\\\\n\\u001f\x7f"}'
    assert parse('{"a": 1, "\\u0061": 2}') == Members([("a", "1"), ("a", "2")])


def test_a_text_is_unescaped_and_a_null_is_none() -> None:
    assert [text_of(parse(text)) for text in ('"\\u00e9\\n"', "null", "true", "false")] == ["é\n", None, "true", "false"]


@settings(deadline=None)
@given(VALUES)
def test_any_json_comes_back_as_it_was(value: object) -> None:
    for separators in ((",", ":"), (" , ", " : ")):
        text = json.dumps(value, separators=separators)
        assert json.loads(json_text(parse(text))) == value
        assert json_text(parse(text)) == json.dumps(value, separators=(",", ":"), ensure_ascii=False)
        assert is_json(text.encode())


@settings(deadline=None)
@given(AWKWARD)
def test_the_check_of_long_lines_agrees_with_the_parser(text: str) -> None:
    try:
        parse(text)
    except ValueError:
        assert not is_json(text.encode())
    else:
        assert is_json(text.encode())


@settings(deadline=None)
@given(st.binary(max_size=12))
def test_the_check_of_long_lines_takes_any_bytes(data: bytes) -> None:
    try:
        parse(data.decode())
    except ValueError:
        assert not is_json(data)
    else:
        assert is_json(data)
