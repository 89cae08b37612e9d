"""Any order of deliveries, nights and acts: after each of them every table equals the naive loop over the living drops."""

from __future__ import annotations

import hashlib
import itertools
import json
import shutil
import tempfile
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from random import Random

import pytest
from homes import JudgedHome
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test
from oracle_living import FINAL, Edition
from scenario_writing import COLUMN_CHANGES, Broken, Entry, Long, compressed, csv_file, jsonl
from scenarios import FOLDERS, FORMATS, PRELUDE, entry, sample

DATES = ["2025-01-05", "2025-01-06", "2025-01-07"]
DAMAGES = ["none"] * 8 + ["cut"]
CHUNKS = (20, 200, 1_000, 1 << 20)
QUIET = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example, HealthCheck.filter_too_much]
SHORT = settings(max_examples=6, stateful_step_count=16, deadline=None, suppress_health_check=QUIET)
LONG = settings(max_examples=60, stateful_step_count=30, deadline=None, suppress_health_check=QUIET)

# --- what is delivered -----------------------------------------------------------------------------------------------


def some_lines(chance: Random) -> list[Entry]:
    """Return events of a file: few or many, mostly good, or mostly broken."""
    many = chance.choice([3, 7, 12, 22, 25])
    lines = [entry(chance.choice) for _ in range(many)]
    lines = [line.event if isinstance(line, Long) else line for line in lines]
    if chance.random() < 0.2:
        lines = [Broken(chance.randrange(1000)) if chance.random() < 0.5 else line for line in lines]
    return [*PRELUDE, *lines] if chance.random() < 0.4 else lines


def written(chance: Random, path: str) -> bytes:
    """Return uncompressed bytes that suit the format of a path, now and then cut short."""
    lines, style = some_lines(chance), chance.randrange(20)
    columns = chance.choice(COLUMN_CHANGES)
    plain = csv_file(lines, style, b"\n", columns) if ".csv" in path else jsonl(lines, style, b"\n")
    return plain[: -chance.randrange(1, 40)] if chance.random() < 0.2 else plain


def packed(chance: Random, path: str, plain: bytes) -> bytes:
    """Return the bytes as the suffix of a path says they are compressed."""
    if not path.endswith((".gz", ".zst")):
        return plain
    return compressed(plain, zst=path.endswith(".zst"), damage=chance.choice(DAMAGES))


def some_path(chance: Random, formats: Sequence[str] = FORMATS, day: str | None = None) -> str:
    """Return a path of one of the formats; one in twelve has no date."""
    stem = chance.choice(["undated/a", "undated/b"]) if day is None and chance.random() < 1 / 12 else chance.choice(FOLDERS)
    day = day or chance.choice(DATES)
    return stem.format(iso=day, compact=day.replace("-", "")) + chance.choice(formats)


def manifest_of(chance: Random, data: bytes, plain: bytes | None) -> bytes:
    """Return a manifest that is kept, mostly, or is not."""
    lines = (plain or b"").count(b"\n") + (not (plain or b"\n").endswith(b"\n"))
    said = {"sha256": hashlib.sha256(data).hexdigest(), "lines": lines}
    wrong = [("lines", lines + 1), ("sha256", "0" * 64), ("lines", None), ("sha256", None), *[("note", "as agreed")] * 4]
    return json.dumps({**said, **dict([chance.choice(wrong)])}).encode()


# --- the machine -----------------------------------------------------------------------------------------------------

SEEDS = st.integers(0, 2**20).map(Random)


class Nights(RuleBasedStateMachine):
    """Files come, nights and acts go, in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.judged = JudgedHome(self.folder / "home")

    def teardown(self) -> None:
        shutil.rmtree(self.folder)

    # --- the inbox

    @property
    def lasts(self) -> list[Edition]:
        """Return the last edition of each path, judged."""
        self.judged.history.judge()
        return [editions[-1] for editions in self.judged.history.editions.values()]

    @rule(chance=SEEDS)
    def a_new_file(self, chance: Random) -> None:
        path = some_path(chance)
        self.judged.put(path, packed(chance, path, written(chance, path)))

    @precondition(lambda self: self.judged.history.editions)
    @rule(chance=SEEDS)
    def a_new_edition(self, chance: Random) -> None:
        of_path = chance.choice(list(self.judged.history.editions.values()))
        path, plain = of_path[-1].path, of_path[-1].plain or b""
        changed = chance.choice([written(chance, path), plain + written(chance, path), plain[:-5], plain.partition(b"\n")[2]])
        self.judged.put(path, packed(chance, path, changed))

    @precondition(lambda self: self.judged.history.editions)
    @rule(chance=SEEDS)
    def earlier_bytes_again(self, chance: Random) -> None:
        of_path = chance.choice(list(self.judged.history.editions.values()))
        self.judged.put(of_path[0].path, chance.choice(of_path).data)

    @precondition(lambda self: self.judged.history.editions)
    @rule(chance=SEEDS, other_date=st.booleans())
    def the_same_bytes_elsewhere(self, chance: Random, other_date: bool) -> None:
        edition = chance.choice(chance.choice(list(self.judged.history.editions.values())))
        formats = [form for form in FORMATS if ("csv" in form) == (".csv" in edition.path)]
        path = some_path(chance, formats, None if other_date or edition.date is None else edition.date.isoformat())
        if edition.plain is not None:
            self.judged.put(path, packed(chance, path, edition.plain))

    @precondition(lambda self: self.judged.history.editions)
    @rule(chance=SEEDS)
    def a_manifest(self, chance: Random) -> None:
        edition = chance.choice(self.lasts)
        self.judged.put_manifest(edition.path, manifest_of(chance, edition.data, edition.plain))

    @rule(chance=SEEDS)
    def a_new_file_with_its_manifest(self, chance: Random) -> None:
        path = some_path(chance)
        plain = written(chance, path)
        data = packed(chance, path, plain)
        self.judged.put(path, data)
        self.judged.put_manifest(path, manifest_of(chance, data, plain))

    # --- nights and acts

    @rule(chunk_bytes=st.sampled_from(CHUNKS))
    def a_night(self, chunk_bytes: int) -> None:
        self.judged.night(chunk_bytes=chunk_bytes)

    @rule(day=st.sampled_from(DATES))
    def a_night_over_one_date(self, day: str) -> None:
        self.judged.night(only_date=date.fromisoformat(day))

    @precondition(lambda self: any(not edition.withdrawn for edition in self.lasts))
    @rule(chance=SEEDS, whole_date=st.booleans())
    def withdraw(self, chance: Random, whole_date: bool) -> None:
        edition = chance.choice([edition for edition in self.lasts if not edition.withdrawn])
        self.judged.withdraw(edition.date if whole_date and edition.date else edition.path)

    @precondition(lambda self: any(edition.withdrawn for edition in self.lasts))
    @rule(chance=SEEDS)
    def take_back_in(self, chance: Random) -> None:
        self.judged.rerun(chance.choice([edition for edition in self.lasts if edition.status == "withdrawn"]).path)

    @precondition(lambda self: any(edition.status != "withdrawn" for edition in self.lasts))
    @rule(chance=SEEDS, whole_date=st.booleans())
    def rerun(self, chance: Random, whole_date: bool) -> None:
        edition = chance.choice([edition for edition in self.lasts if edition.status != "withdrawn"])
        self.judged.rerun(edition.date if whole_date and edition.date and edition.status == "applied" else edition.path)

    @precondition(lambda self: any(edition.status == "held" and edition.reason not in FINAL for edition in self.lasts))
    @rule(chance=SEEDS, day=st.sampled_from(DATES))
    def release(self, chance: Random, day: str) -> None:
        held = [edition for edition in self.lasts if edition.status == "held" and edition.reason not in FINAL]
        path = chance.choice(held).path
        self.judged.release(path, date.fromisoformat(day) if path.startswith("undated") else None)

    @invariant()
    def at_most_one_edition_of_a_path_lives(self) -> None:
        for editions in self.judged.history.statuses().values():
            assert sum(status == "applied" for status, _ in editions) <= 1


def test_nights_and_acts_in_any_order_equal_the_loop() -> None:
    run_state_machine_as_test(Nights, settings=SHORT)


@pytest.mark.long
def test_many_nights_and_acts_in_any_order_equal_the_loop() -> None:
    run_state_machine_as_test(Nights, settings=LONG)


# --- permutations ----------------------------------------------------------------------------------------------------


def in_groups(chance: Random, paths: Sequence[str]) -> list[list[str]]:
    """Cut a sequence of files into nights."""
    groups: list[list[str]] = [[]]
    for path in paths:
        if groups[-1] and chance.random() < 0.6:
            groups.append([])
        groups[-1].append(path)
    return groups


def orders(chance: Random, paths: Sequence[str], at_most: int) -> list[tuple[str, ...]]:
    """Return all orders of up to four files, some of those of more."""
    if len(paths) <= 4:
        return list(itertools.permutations(paths))
    return [tuple(chance.sample(list(paths), len(paths))) for _ in range(at_most)]


def one_order(folder: Path, chance: Random, scenario: dict[str, bytes], order: Sequence[str]) -> None:
    """Deliver the files in that order, with acts that undo each other in between."""
    judged = JudgedHome(folder)
    for group in in_groups(chance, order):
        judged.night({path: scenario[path] for path in group}, chunk_bytes=chance.choice(CHUNKS[1:]))
        known = [path for path in judged.history.editions if not judged.history.editions[path][-1].withdrawn]
        if known and chance.random() < 0.3:
            path = chance.choice(known)
            judged.withdraw(path)
            if chance.random() < 0.5:
                judged.night()
            judged.rerun(path)


def some_orders(folder: Path, number: int, at_most: int) -> None:
    """Try orders of one scenario, one of its files coming twice: at another path, mostly under another date."""
    chance = Random(number)
    scenario = {path: data for path, data in sample(number).items() if len(data) < 1 << 16}
    path, data = chance.choice(list(scenario.items()))
    scenario[f"2025-01-06/copy/{path}"] = data
    tried = orders(chance, list(scenario), at_most)
    for turn, order in enumerate(chance.sample(tried, min(at_most, len(tried)))):
        one_order(folder / str(turn), chance, scenario, order)


@pytest.mark.parametrize("number", range(3000, 3002))
def test_files_in_any_order_equal_the_loop_after_each_step(tmp_path: Path, number: int) -> None:
    some_orders(tmp_path, number, at_most=2)


@pytest.mark.long
@pytest.mark.parametrize("number", [3002, 3003, *range(3100, 3200)])
def test_files_in_all_orders_equal_the_loop_after_each_step(tmp_path: Path, number: int) -> None:
    some_orders(tmp_path, number, at_most=24)
