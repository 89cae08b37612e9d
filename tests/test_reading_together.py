"""Small drops that are read together say what each says by itself."""

from __future__ import annotations

import gzip
import io
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from checked import create, line
from homes import home_in, night, rows
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal
from test_reading_chunks import json_line

from pipelines import pickup
from pipelines.measured import Begun
from pipelines.problems import NightdropError
from pipelines.reading import read_chunks
from pipelines.sheets import Chunk
from pipelines.tiling import tiled_to
from pipelines.together import can_be_followed, read_together

LINES = st.one_of(
    json_line().map(str.encode),
    st.sampled_from([b"", b" \t", b"no JSON", b'{"category": "client"}', b"\xff", b"\xef\xbb\xbf{}", "é".encode()]),
)
DROP = st.lists(st.tuples(LINES, st.sampled_from([b"\n", b"\r\n"])), min_size=1, max_size=4).map(
    lambda lines: b"".join(data + end for data, end in lines)
)


def of_drop(number: int, frame: pl.DataFrame) -> pl.DataFrame:
    return frame.filter(pl.col("drop") == number)


def by_drop(chunks: list[Chunk], kind: str, drop: int) -> pl.DataFrame:
    """Return the rows of one kind (a category, `unread`, `filler`) about a drop."""
    frames = [
        frame
        for chunk in chunks
        if (frame := {**chunk.sheets, "unread": chunk.unread, "filler": chunk.filler}.get(kind)) is not None
    ]
    return pl.concat(frames).filter(pl.col("drop") == drop).drop("drop") if frames else pl.DataFrame()


@settings(deadline=None)
@given(drops=st.lists(DROP.filter(can_be_followed), min_size=1, max_size=5))
def test_drops_read_together_say_what_each_says_by_itself(drops: list[bytes]) -> None:
    together = list(read_together({3 * number + 1: data for number, data in enumerate(drops)}))
    for number, data in enumerate(drops):
        alone = [
            chunk.each(lambda frame: frame.with_columns(drop=pl.lit(0)))
            for chunk in read_chunks(io.BytesIO(data), "jsonl", chunk_bytes=1 << 20)
        ]
        for kind in ("client", "loan", "payment", "deposit", "unread", "filler"):
            found, wanted = by_drop(together, kind, 3 * number + 1), by_drop(alone, kind, 0)
            assert len(found) == len(wanted)
            if len(wanted):
                assert_frame_equal(found, wanted)


@settings(deadline=None)
@given(drops=st.lists(DROP.filter(can_be_followed), min_size=1, max_size=5))
def test_every_byte_of_every_drop_is_of_one_record_or_filler_of_it(drops: list[bytes]) -> None:
    chunks = list(read_together(dict(enumerate(drops))))
    for number, data in enumerate(drops):
        mine = [chunk.each(partial(of_drop, number)) for chunk in chunks]
        sheets = {kind: frame for chunk in mine for kind, frame in chunk.sheets.items()}
        unread, filler = (pl.concat([getattr(chunk, name) for chunk in mine]) for name in ("unread", "filler"))
        assert tiled_to(Chunk(sheets, unread, filler), 0) == len(data)


@pytest.mark.parametrize("data", [b"", b"{}", b"{}\n{", b"\xef\xbb\xbf{}\n"])
def test_a_drop_that_ends_within_a_line_or_begins_with_a_mark_is_read_by_itself(data: bytes) -> None:
    assert not can_be_followed(data)


def test_a_record_of_two_drops_is_a_fault_and_not_taken_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipelines.together.can_be_followed", lambda _: True)
    with pytest.raises(NightdropError, match="please report this"):
        list(read_together({0: b"{", 1: b"}\n"}))


@settings(deadline=None)
@given(data=st.binary(max_size=50), ahead=st.integers(0, 50), size=st.integers(1, 60))
def test_a_stream_that_was_begun_gives_all_its_bytes_and_fewer_than_asked_only_at_the_end(
    data: bytes, ahead: int, size: int
) -> None:
    rest = io.BytesIO(data)
    begun = Begun(rest.read(ahead), rest)
    pieces = list(iter(lambda: begun.read(size), b""))
    assert b"".join(pieces) == data
    assert all(len(piece) == size for piece in pieces[:-1])


def test_many_small_drops_are_read_and_checked_in_one_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: Counter[str] = Counter()
    for name in ("read_together", "read_chunks", "check"):
        called = getattr(pickup, name)

        def counted(*arguments: object, _name: str = name, _called: Any = called, **options: object) -> object:
            asked[_name] += 1
            return _called(*arguments, **options)

        monkeypatch.setattr(pickup, name, counted)
    drops = {f"2026-11-{day:02}.jsonl": line("client", create("client", client_id=f"C{day}")) for day in range(1, 29)}
    drops |= {
        f"2026-12-{day:02}.jsonl.gz": gzip.compress(line("client", create("client", client_id=f"D{day}"))) for day in range(1, 3)
    }
    home = home_in(tmp_path)
    assert night(home, drops).applied == 30
    assert asked == {"read_together": 1, "check": 1}
    assert rows(home, "SELECT DISTINCT line FROM events") == [(1,)]


def test_a_small_drop_among_large_ones_keeps_its_place_and_its_lines(tmp_path: Path) -> None:
    small = line("client", create("client", client_id="S1")) + b"no JSON\n"
    large = b"".join(line("client", create("client", client_id=f"L{n}")) for n in range(3000))
    last = line("client", {"step": "update", "client_id": "L7", "city": "Oslo"})[:-1]
    home = home_in(tmp_path)
    night(
        home,
        {"2026-11-16/a.jsonl": small, "2026-11-16/b.jsonl": large, "2026-11-16/c.jsonl": b"\n" + small, "2026-11-17.jsonl": last},
    )
    told = rows(home, "SELECT path, line, byte_offset, byte_length FROM rejected_lines ORDER BY ALL")
    after = small.index(b"no JSON")
    assert told == [
        ("2026-11-16/a.jsonl", 2, after, 7),
        ("2026-11-16/c.jsonl", 2, 1, after - 1),  # the client was there already
        ("2026-11-16/c.jsonl", 3, after + 1, 7),
    ]
    assert rows(home, "SELECT city FROM clients WHERE client_id = 'L7'") == [("Oslo",)]
