"""The law: every table of the warehouse equals the naive loop over the living drops, on every input, in every order."""

from __future__ import annotations

import random
import tempfile
from pathlib import Path

import pytest
from homes import assert_same, home_in, night, tables
from hypothesis import HealthCheck, given, settings
from oracle import expected
from scenarios import drops, sample

QUIET = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example]
CHUNKS = (150, 1_000, 1 << 20)


def one_night(folder: Path, scenario: dict[str, bytes], chunk_bytes: int) -> None:
    home = home_in(folder / "home")
    night(home, scenario, chunk_bytes=chunk_bytes)
    assert_same(tables(home), expected(scenario))


def several_nights(folder: Path, scenario: dict[str, bytes], chance: random.Random) -> None:
    """Deliver the files in any order, in groups, and compare after every night."""
    home = home_in(folder / "home")
    paths = chance.sample(sorted(scenario), len(scenario))
    delivered: dict[str, bytes] = {}
    while paths:
        count = chance.randint(1, max(1, len(paths) // 2))
        group, paths = paths[:count], paths[count:]
        delivered |= {path: scenario[path] for path in group}
        night(home, {path: scenario[path] for path in group}, chunk_bytes=chance.choice(CHUNKS))
        assert_same(tables(home), expected(delivered))


@settings(max_examples=10, deadline=None, suppress_health_check=QUIET)
@given(drops())
def test_one_night_over_any_drops_equals_the_loop(scenario: dict[str, bytes]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        one_night(Path(folder), scenario, 1 << 20)


@pytest.mark.parametrize("number", [*range(12), *(pytest.param(number, marks=pytest.mark.long) for number in range(12, 60))])
def test_a_night_equals_the_loop_however_it_is_cut(tmp_path: Path, number: int) -> None:
    one_night(tmp_path, sample(number), CHUNKS[number % len(CHUNKS)])


@pytest.mark.parametrize("number", [*range(1000, 1004), 2002, 2042])
def test_nights_in_any_order_equal_the_loop_after_each(tmp_path: Path, number: int) -> None:
    several_nights(tmp_path, sample(number), random.Random(number))


@pytest.mark.long
@pytest.mark.parametrize("number", [*range(1004, 1030), *range(2000, 2600)])
def test_many_nights_in_any_order_equal_the_loop_after_each(tmp_path: Path, number: int) -> None:
    several_nights(tmp_path, sample(number), random.Random(number))


@pytest.mark.parametrize("number", [203, 316, 321, 388, 391, 398, 475, 521])
def test_drops_that_once_differed_equal_the_loop(tmp_path: Path, number: int) -> None:
    one_night(tmp_path, sample(number), 1 << 20)
