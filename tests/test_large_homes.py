"""Homes of many of DuckDB's row groups: in any order, after acts and under new rules they end in the same tables, the loop's.

The law's scenarios collide in few records; what a store does with its hundred-thousandth row they cannot tell.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from checked import create, line
from homes import home_in, night, rows, tables
from oracle import expected

from pipelines import acts
from pipelines.database import ROW_GROUP
from pipelines.difference import compare
from pipelines.home import Home, Settings
from pipelines.sampling import draw_sample

CHUNK = 2 << 20
"""A part is five times that: each category is decided in several, and a day is logged in the order of ids."""
OTHER_RULES = {"registration_patterns": {"individual": "(ID-[0-9]+[1-9][0-9]|PASS-.+)"}}

Days = dict[str, bytes]
"""Path in the inbox to bytes; the folder is the date."""


def drawn(events: int, **how: Any) -> Days:
    sample = draw_sample(events=events, seed=5, days=3, **how)
    return {path: "".join(f"{line}\n" for line in lines).encode() for path, lines in sample.drops.items()}


def days(drops: Days) -> list[Days]:
    dates = sorted({path.split("/")[0] for path in drops})
    return [{path: data for path, data in drops.items() if path.startswith(day)} for day in dates]


def in_order(home: Home, drops: Days) -> None:
    for day in days(drops):
        night(home, day, chunk_bytes=CHUNK)


def backwards(home: Home, drops: Days) -> None:
    for day in reversed(days(drops)):
        night(home, day, chunk_bytes=CHUNK)


def at_once(home: Home, drops: Days) -> None:
    night(home, drops)


def the_second_day_sent_anew(home: Home, drops: Days) -> None:
    first, second, third = days(drops)
    night(home, first, chunk_bytes=CHUNK)
    night(home, {path: data[data.index(b"\n") + 1 : len(data) // 2] for path, data in second.items()}, chunk_bytes=CHUNK)
    night(home, third, chunk_bytes=CHUNK)
    night(home, second, chunk_bytes=CHUNK)


def the_first_day_taken_out_and_back(home: Home, drops: Days) -> None:
    in_order(home, drops)
    first = date.fromisoformat(min(drops).split("/")[0])
    acts.withdraw(home, Settings(chunk_bytes=CHUNK), first)
    for path in days(drops)[0]:
        acts.rerun(home, Settings(chunk_bytes=CHUNK), path)


def under_other_rules_first(home: Home, drops: Days) -> None:
    for day in days(drops):
        night(home, day, chunk_bytes=CHUNK, **OTHER_RULES)
    night(home, chunk_bytes=CHUNK)


def few_lines_late(home: Home, drops: Days) -> None:
    path = min(drops)
    lines = drops[path].splitlines(keepends=True)
    for sent in ({**drops, path: b"".join(lines[1000:])}, {path: drops[path]}):
        night(home, sent, chunk_bytes=CHUNK)


WAYS = [
    backwards,
    at_once,
    the_second_day_sent_anew,
    the_first_day_taken_out_and_back,
    under_other_rules_first,
    few_lines_late,
]
Way = Callable[[Home, Days], None]


def assert_large(home: Home, table: str) -> None:
    ((count,),) = rows(home, f"SELECT count(*) FROM {table}")
    assert count > ROW_GROUP


def test_a_large_home_that_is_decided_again_as_a_whole_ends_as_one_that_never_was(tmp_path: Path) -> None:
    drops = drawn(235_000, categories=["client"])
    creates = {
        path: b"".join(sent for sent in data.splitlines(keepends=True) if b'"create"' in sent) for path, data in drops.items()
    }
    homes = [home_in(tmp_path / name) for name in ("at once", "again")]
    at_once(homes[0], creates)
    night(homes[1], creates, **OTHER_RULES)
    again = night(homes[1])
    assert again.flipped > 0
    assert_large(homes[1], "clients")
    assert compare(homes[0].working, homes[1].working).tables == {}


@pytest.mark.long
def test_children_find_their_parents_when_the_first_ids_are_all_refused(tmp_path: Path) -> None:
    count = ROW_GROUP + 10
    bad, good = (line("client", create("client", client_id="0000000", **changes)) for changes in ({"email": "x"}, {}))
    sent = [
        b"".join(one.replace(b"0000000", b"%07d" % n) for n in some) for one, some in zip((bad, good), ids(count), strict=True)
    ]
    last = line("loan", create("loan", loan_id="L1", client_id=f"{max(ids(count)[1]):07}"))
    data = b"".join((*sent, last))
    home = home_in(tmp_path)
    done = night(home, {"2026-11-16.jsonl": data}, chunk_bytes=len(data) // 10 + 1_000, hold_above=1.0)  # two parts
    assert done.reasons == {"invalid_email": len(ids(count)[0])}
    assert rows(home, "SELECT loan_id FROM loans") == [("L1",)]


def ids(count: int) -> tuple[range, range]:
    """Return two ranges of numbers, the second of so many, the first of so many more that a cut in halves is within it."""
    return range(count * 4 // 3), range(2 * count, 3 * count)


@pytest.fixture(scope="module")
def judged(tmp_path_factory: pytest.TempPathFactory) -> tuple[Home, Days]:
    """Return a large home of all categories that came in order and is what the loop says, and its drops. The loop takes minutes."""
    drops = drawn(640_000)
    home = home_in(tmp_path_factory.mktemp("judged"))
    in_order(home, drops)
    for table in ("payments", "events"):
        assert_large(home, table)
    found, wanted = tables(home), expected(drops)
    for table, expected_rows in wanted.items():  # as `assert_same`, which looks up each row in a list
        assert len(found[table]) == len(expected_rows), table
        assert set(found[table]) == set(expected_rows), table
    return home, drops


@pytest.mark.long
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("way", WAYS)
def test_a_large_home_ends_as_the_loop_says_whatever_happened_to_it(way: Way, judged: tuple[Home, Days], tmp_path: Path) -> None:
    home, drops = judged
    other = home_in(tmp_path)
    way(other, drops)
    assert compare(home.working, other.working).tables == {}
