"""The law: every table of the warehouse equals the naive loop over the living drops, on every input."""

from __future__ import annotations

import tempfile
from pathlib import Path

from homes import assert_same, home_in, night, tables
from hypothesis import HealthCheck, given, settings
from oracle import expected
from scenarios import drops

QUIET = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example]


@settings(max_examples=60, deadline=None, suppress_health_check=QUIET)
@given(drops())
def test_one_night_over_any_drops_equals_the_loop(scenario: dict[str, bytes]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        home = home_in(Path(folder) / "home")
        night(home, scenario)
        assert_same(tables(home), expected(scenario))
