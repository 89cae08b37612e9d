"""Undo: a drop taken out leaves the warehouse as if it had never come, and taken in again as if nothing had happened."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest
from homes import JudgedHome, assert_same, home_in, night, tables
from oracle import expected
from scenarios import sample


def scenario(number: int) -> dict[str, bytes]:
    """Return a scenario without its very long lines."""
    return {path: data for path, data in sample(number).items() if len(data) < 1 << 16}


def one_by_one(judged: JudgedHome, drops: dict[str, bytes], chance: Random) -> None:
    for path in chance.sample(list(drops), len(drops)):
        judged.night({path: drops[path]})


def without_each(folder: Path, number: int) -> None:
    drops, chance = scenario(number), Random(number)
    judged = JudgedHome(folder / "home")
    one_by_one(judged, drops, chance)
    whole = tables(judged.home)
    for taken_out in judged.history.editions:
        judged.withdraw(taken_out)
        left = {path: data for path, data in drops.items() if path != taken_out}
        found, wanted = tables(judged.home), expected(left)
        found["drops"] = [row for row in found["drops"] if row[1] != taken_out]
        assert_same(found, wanted)
        judged.rerun(taken_out)
        assert tables(judged.home) == whole


@pytest.mark.parametrize("number", [4000])
def test_taking_any_drop_out_equals_its_never_having_come(tmp_path: Path, number: int) -> None:
    without_each(tmp_path, number)


@pytest.mark.long
@pytest.mark.parametrize("number", [4003, *range(4100, 4180)])
def test_taking_any_of_many_drops_out_equals_its_never_having_come(tmp_path: Path, number: int) -> None:
    without_each(tmp_path, number)


def test_taking_out_one_after_another_leaves_an_empty_warehouse_and_all_come_back(tmp_path: Path) -> None:
    drops, chance = scenario(4001), Random(4001)
    judged = JudgedHome(tmp_path / "home")
    judged.night(drops)
    whole = tables(judged.home)
    paths = chance.sample(list(judged.history.editions), len(judged.history.editions))
    for path in paths:
        judged.withdraw(path)
    assert not any(rows for table, rows in tables(judged.home).items() if table != "drops")
    for path in chance.sample(paths, len(paths)):
        judged.rerun(path)
    assert tables(judged.home) == whole


def test_a_date_taken_out_comes_back_path_by_path(tmp_path: Path) -> None:
    drops = scenario(4002)
    judged = JudgedHome(tmp_path / "home")
    judged.night(drops)
    whole = tables(judged.home)
    day = next(row[0] for row in whole["drops"] if row[8] == "applied")
    judged.withdraw(day)
    assert not [row for row in tables(judged.home)["events"] if row[0] == day]
    for path in [row[1] for row in whole["drops"] if row[0] == day]:
        judged.rerun(path)
    assert tables(judged.home) == whole


def test_a_night_after_an_undo_changes_nothing(tmp_path: Path) -> None:
    drops = scenario(4004)
    judged = JudgedHome(tmp_path / "home")
    judged.night(drops)
    path = next(iter(judged.history.living()))
    judged.withdraw(path)
    before = tables(judged.home)
    assert not night(judged.home).changed
    assert tables(judged.home) == before


def test_what_was_undone_on_one_home_equals_another_that_never_saw_it(tmp_path: Path) -> None:
    drops = scenario(4005)
    judged, other = JudgedHome(tmp_path / "one"), home_in(tmp_path / "other")
    judged.night(drops)
    path = sorted(judged.history.living())[0]
    judged.withdraw(path)
    night(other, {each: data for each, data in drops.items() if each != path})
    found, wanted = tables(judged.home), tables(other)
    found["drops"] = [row for row in found["drops"] if row[1] != path]
    assert found == wanted
