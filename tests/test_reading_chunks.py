"""However a drop is cut, and whichever way its lines are read, the same comes out and no byte is lost."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import tracemalloc
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal
from reading_frames import Read, read

import pipelines.reading
from pipelines import _lines
from pipelines.blocks import Block, whole_lines
from pipelines.plainlines import read_plain
from pipelines.problems import DropHeldError, NightdropError
from pipelines.reading import read_chunks
from pipelines.sheets import FILLER, UNREAD, Chunk
from pipelines.tiling import tiled_to
from validation.entities import ENTITIES

NAMES = [
    "step",
    "client_id",
    "loan_id",
    "disbursement_id",
    "amount",
    "is_company",
    "info",
    "name",
    "dob",
    "kind",
    "branch",
    "total_expected_margin",
    "disbursement_identity",
]
TAME: dict[str, list[Any]] = {
    "strings": [
        "create",
        "C1",
        "",
        "a, b: {c}",
        "é\U0001f600",
        "loan",
        "true",
        "12",
        "x" * 13,
        "\x7f",
        "NULL",
        ' "b\\c"/\t\u2028',
        "\u0085é",
    ],
    "scalars": ["0", "-1", "1500.00", "1e5", "12345678901234567890.10", "true", "false", "null"],
    "spacing": [(", ", ": "), (",", ":")],
    "more": [""],
}
WILD: dict[str, list[Any]] = {
    "strings": [*TAME["strings"], '"', "\\", "a\tb", "\ud800"],
    "scalars": [*TAME["scalars"], "01", "1.", "NaN", "+1", "-", "tru", "[1, 2]"],
    "spacing": [*TAME["spacing"], (" ,", " : "), (",  ", ": ")],
    "more": ["", ', "trace": 1', ', "kind": "loan"', ', "data": {}', "}", " "],
}


@st.composite
def json_line(draw: st.DrawFn) -> str:
    manner = draw(st.sampled_from([TAME, TAME, WILD]))
    spacing: tuple[str, str] = draw(st.sampled_from(manner["spacing"]))
    comma, colon = spacing
    more: str = draw(st.sampled_from(manner["more"]))

    def members(names: list[str], depth: int) -> str:
        return "{" + comma.join(f'"{name}"{colon}{value(depth)}' for name in names) + "}"

    def value(depth: int) -> str:
        kind = draw(st.integers(0, 8))
        if kind == 0 and depth < 3:
            return members(draw(st.lists(st.sampled_from(["a", "b", "a b"]), max_size=2)), depth + 1)
        if kind < 5:
            text = draw(st.sampled_from(manner["strings"]))
            return json.dumps(text, ensure_ascii=text == "\ud800" or draw(st.booleans()))
        return str(draw(st.sampled_from(manner["scalars"])))

    category = draw(st.sampled_from([*ENTITIES, *ENTITIES, "disbursement", "cards"]))
    names = draw(st.lists(st.sampled_from(NAMES), max_size=5, unique=manner is TAME))
    return f'{{"category"{colon}"{category}"{comma}"data"{colon}{members(names, 1)}{more}}}'


@st.composite
def csv_text(draw: st.DrawFn) -> str:
    columns = draw(st.lists(st.sampled_from(["category", *NAMES[2:]]), max_size=6, unique=True))
    cell = st.sampled_from(
        [
            "",
            "",
            "a",
            "C1",
            "loan",
            "disbursement",
            '"a, b"',
            '"a ""b"""',
            '""',
            '"""a"""',
            "\\N",
            "0015.50",
            "TRUE",
            "false",
            '"{""a"": ""b c"", ""n"": 1.0}"',
            "{}",
            '"[]"',
            "é",
            '"x\ny"',
            'a"b',
            '"a"b',
            '"',
            "\r",
            "\x00",
        ]
    )
    rows = draw(st.lists(st.lists(cell, min_size=len(columns) + 2, max_size=len(columns) + 2).map(",".join), max_size=6))
    return draw(st.sampled_from(["\n", "\r\n"])).join([",".join(["step", "client_id", *columns]), *rows]) + draw(
        st.sampled_from(["", "\n", "\r\n"])
    )


@st.composite
def drops(draw: st.DrawFn) -> tuple[bytes, str]:
    format = draw(st.sampled_from(["jsonl", "csv"]))
    if format == "jsonl":
        lines = draw(st.lists(st.one_of(json_line(), st.sampled_from(["", " ", "[]", "{"])), max_size=6))
        text = draw(st.sampled_from(["\n", "\r\n"])).join(lines) + draw(st.sampled_from(["", "\n"]))
    else:
        text = draw(csv_text())
    data = text.encode("utf-8", "surrogatepass")
    if draw(st.booleans()):
        at = draw(st.integers(0, len(data)))
        data = (
            data[:at]
            + draw(st.sampled_from([b"\xff", b'"', b"\\", b",", b"}", b"\n", b"\r", b"\0", b" ", b""]))
            + data[at + draw(st.integers(0, 1)) :]
        )
    return draw(st.sampled_from([b"", b"", b"\xef\xbb\xbf"])) + data, format


def outcome(data: bytes, format: str, chunk_bytes: int = 1 << 20, first_bytes: int | None = None) -> Read | str:
    try:
        return read(data, format, chunk_bytes, first_bytes=first_bytes)
    except DropHeldError as held:
        return held.reason


def assert_same(one: Read | str, other: Read | str) -> None:
    if isinstance(one, str) or isinstance(other, str):
        assert one == other
        return
    assert one.sheets.keys() == other.sheets.keys()
    for category, sheet in one.sheets.items():
        assert_frame_equal(sheet, other.sheets[category])
    assert_frame_equal(one.unread, other.unread)
    assert_frame_equal(one.filler, other.filler)


@given(drops(), st.sampled_from([1, 2, 7, 64]), st.sampled_from([None, 1, 5, 100]))
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_what_is_read_does_not_depend_on_where_the_drop_is_cut(
    drop: tuple[bytes, str], chunk_bytes: int, first_bytes: int | None
) -> None:
    assert_same(outcome(*drop, chunk_bytes, first_bytes), outcome(*drop))


@given(drops())
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_lines_read_in_whole_columns_say_what_the_exact_reader_says(drop: tuple[bytes, str]) -> None:
    in_columns = outcome(*drop)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pipelines.reading, "read_plain", lambda *_, **__: None)
        assert_same(in_columns, outcome(*drop))


def dirty(*shape: Any, **options: Any) -> np.ndarray:
    """Return an array as `numpy.empty` may give it: of memory that held something else before."""
    made = np.full(*shape, fill_value=0, **options)
    made.reshape(-1).view(np.uint8)[:] = 0xAB
    return made


@given(st.lists(json_line(), min_size=1, max_size=8))
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_what_memory_held_before_is_in_no_column(lines: list[str]) -> None:
    data = "".join(f"{line}\n" for line in lines).encode("utf-8", "surrogatepass")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(np, "empty", dirty)
        plain = read_plain(Block(data, offset=0, line=1))
    assert plain is not None
    for sheet in (sheet for parts in plain.parts.values() for sheet in parts):
        for column in sheet.select(pl.col(pl.String)):
            text = column.to_arrow(compat_level=pl.CompatLevel.newest())
            views = np.frombuffer(text.buffers()[1], dtype=np.uint8).reshape(-1, 16)[: len(column)]
            # Polars adds up the lengths of texts that are not there, too.
            assert not views[column.is_null().to_numpy()].any(), column.name


def test_texts_are_handed_over_without_what_pyarrow_computes_with() -> None:
    reading = (
        "import sys; from pipelines.blocks import Block; from pipelines.plainlines import read_plain; "
        """line = b'{"category": "client", "data": {"step": "create", "client_id": "C1"}}\\n'; """
        "print(read_plain(Block(line, 0, 1)).sheets()['client']['client_id'].item(), 'pyarrow.compute' in sys.modules)"
    )
    told = subprocess.run([sys.executable, "-c", reading], capture_output=True, text=True, check=True)
    assert told.stdout == "C1 False\n"


@settings(deadline=None)
@given(st.binary(max_size=60), st.sampled_from(["jsonl", "csv"]), st.sampled_from([1, 5, 1 << 20]))
def test_any_bytes_are_read_or_held(data: bytes, format: str, chunk_bytes: int) -> None:
    header = b"step,client_id\n" if format == "csv" else b""
    assert_same(outcome(header + data, format, chunk_bytes), outcome(header + data, format))


def test_ordinary_lines_never_reach_the_exact_reader(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("an ordinary line was read one by one")

    monkeypatch.setattr(pipelines.reading, "read_line", refuse)
    monkeypatch.setattr(pipelines.reading, "read_record", refuse)
    data = {
        "step": "create",
        "client_id": "C1",
        "name": 'Zoë, of "Łódź"',
        "is_company": False,
        "info": {"a": "b c", "n": 1.5},
        "dob": None,
        "branch": ["north", {"of": 1}],
    }
    text = "".join(
        json.dumps({"category": "client", "data": data}, ensure_ascii=plain, separators=separators) + "\n"
        for separators, plain in (((", ", ": "), False), ((",", ":"), True))
    )
    text += '{"category": "disbursement", "data": {"kind": "loan", "disbursement_amount": 1500.00, "interest_rate": 1.25e-1}}\r\n'
    assert [event["line"] for event in read(text.encode(), "jsonl").events()] == [1, 2, 3]
    rows = 'step,client_id,address,is_company,info,branch\ncreate,C1,"12 High St, Leeds",TRUE,"{""a"": 1}",north\ncreate,C2,,false,,\n'
    assert [event["line"] for event in read(rows.encode(), "csv").events()] == [2, 3]


def test_a_line_of_twenty_megabytes_takes_a_few_times_its_size() -> None:
    size = 20_000_000
    for format, data in (
        ("jsonl", b'{"a":"' + b"x" * size + b'"}\n'),
        ("csv", b'step,client_id\n"' + (b"x" * 9999 + b"\n") * (size // 10_000) + b'",a\n'),
    ):
        tracemalloc.start()
        codes = [code for chunk in read_chunks(io.BytesIO(data), format, chunk_bytes=1 << 20) for code in chunk.unread["code"]]
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert codes == ["line_too_long"]
        assert peak < 5 * size


def test_bytes_that_do_not_add_up_are_an_error_not_a_drop() -> None:
    filler = pl.DataFrame([(0, 3, "bom"), (4, 1, "blank")], schema=FILLER, orient="row")
    chunk = Chunk({}, pl.DataFrame(schema=UNREAD), filler)
    with pytest.raises(NightdropError, match="after byte 3 was found at byte 4"):
        tiled_to(chunk, 0)
    assert tiled_to(Chunk({}, chunk.unread, filler.head(1)), 0) == 3
    assert tiled_to(Chunk({}, chunk.unread, filler.clear()), 7) == 7


def test_a_line_in_a_million_pieces_costs_what_its_length_costs() -> None:
    data = b"x" * 1_000_000 + b"\nab\nc"
    blocks = list(whole_lines(io.BytesIO(data), 1))  # hours, where each piece looks at those before it
    assert [(block.data[-2:], block.offset, block.line) for block in blocks] == [
        (b"x\n", 0, 1),
        (b"b\n", 1_000_001, 2),
        (b"c", 1_000_004, 3),
    ]


@given(st.binary(max_size=90), st.integers(0, 3), st.integers(0, 900_000), st.integers(0, 900_000))
def test_line_feeds_are_counted_as_bytes_counts_them(some: bytes, times: int, start: int, end: int) -> None:
    data = (some + b"\n") * (times * 100_000 // (len(some) + 1) * 4) + some
    low, high = sorted((min(start, len(data)), min(end, len(data))))
    assert _lines.count_feeds(data, low, high) == data.count(b"\n", low, high)


@pytest.mark.parametrize(("low", "high"), [(-1, 1), (2, 1), (0, 4)])
def test_bytes_that_are_not_there_are_not_counted(low: int, high: int) -> None:
    with pytest.raises(ValueError, match="not within 3"):
        _lines.count_feeds(b"\n\n\n", low, high)
