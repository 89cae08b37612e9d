"""docs/guarantees.md promises nothing without a place and a test."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
ROWS = [
    [cell.strip() for cell in line.strip("|").split(" | ")]
    for line in (ROOT / "docs" / "guarantees.md").read_text().splitlines()
    if line.startswith("| ") and not line.startswith("| promise")
]
TESTS = {name for file in (ROOT / "tests").glob("test_*.py") for name in re.findall(r"^def (test_\w+)", file.read_text(), re.M)}


@pytest.mark.parametrize("row", ROWS, ids=[row[0][:60] for row in ROWS])
def test_every_promise_has_its_place_and_its_test(row: list[str]) -> None:
    promise, kept_in, without, tests = row
    assert promise and without
    places = re.findall(r"`([\w/.]+\.(?:py|c))`", kept_in)
    assert places and all((ROOT / place).is_file() for place in places), kept_in
    named = re.findall(r"`(test_\w+)`", tests)
    assert named and set(named) <= TESTS, set(named) - TESTS


def test_there_are_as_many_promises_as_an_auditor_would_count() -> None:
    assert len(ROWS) >= 30
