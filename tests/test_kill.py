"""Killed anywhere, the next run finishes the job; whoever reads meanwhile notices nothing, and nothing is left behind."""

from __future__ import annotations

import json
import random
import re
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path

import duckdb
import pytest
from homes import assert_same, deliver, home_in, rows, tables
from killing import Process
from oracle import business_date, expected
from oracle_reading import Held, expand
from scenarios import sample

from pipelines.home import Home
from pipelines.tables import TABLES

DONE = ("0", "3")
OURS = [
    r"warehouse\.duckdb",
    r"warehouse\.masked\.duckdb",
    r"state/mask\.key",
    r"state/(warehouse\.duckdb|lock|seen\.json|published\.json)",
    r"state/book/[^/.]+\.json",
    r"state/archive/[0-9a-f]{2}/[0-9a-f]{64}",
    r"state/log/[^/.]+\.\d{6}/(index\.)?[a-z]+(-\d+)?\.parquet",
    r"state/bounces/[^/.][^/]*\.parquet",
    r"state/nightdrop\.log",
    r"state/metrics\.prom",
]
"""What lies under data/, the inbox aside, when nobody is at work."""


@contextmanager
def servant() -> Iterator[Process]:
    process = Process("serve")
    try:
        yield process
    finally:
        code, _, said = process.ended()
    assert code == 0, said


@contextmanager
def reader_of(home: Home) -> Iterator[None]:
    """Query the published warehouse throughout."""
    reader = Process("read", str(home.warehouse), *([str(home.masked)] if home.masked.exists() else []))
    try:
        yield
    finally:
        code, reads, said = reader.ended()
    assert (code, said) == (0, "")
    assert int(reads) > 0


def left_behind(home: Home) -> list[str]:
    """Return what a finished run should not have left."""
    data = home.root / "data"
    files = [file.relative_to(data).as_posix() for file in data.rglob("*") if not file.is_dir()]
    odd = [name for name in files if not name.startswith("inbox/") and not any(re.fullmatch(kind, name) for kind in OURS)]
    odd += [file.name for file in home.reports.rglob("*") if file.name.startswith(".") or file.name.endswith(".tmp")]
    done = {run_id for (run_id,) in rows(home, "SELECT run_id FROM runs WHERE state = 'done'")}
    odd += [part.name for part in home.log.iterdir() if part.name.partition(".")[0] not in done]
    known = {sha256 for (sha256,) in rows(home, "SELECT sha256 FROM drops")}
    odd += [file.name for file in home.archive.rglob("*") if file.is_file() and file.name not in known]
    return odd + [book.name for book in list(home.book.iterdir())[1:]]


def assert_finished(home: Home, delivered: dict[str, bytes]) -> None:
    """The tables are those of the naive loop, the reports say what the tables say, nothing is left behind."""
    assert_same(tables(home), expected(delivered))
    told: dict[str, int] = {}
    for summary in home.reports.glob("20*/summary.json"):
        told[summary.parent.name] = json.loads(summary.read_text())["totals"]["records"]
    wanted = "SELECT business_date, sum(records) FROM drops WHERE status = 'applied' AND business_date IS NOT NULL GROUP BY 1"
    assert {day: count for day, count in told.items() if count} == {str(day): n for day, n in rows(home, wanted) if n}
    assert left_behind(home) == []
    assert (home.root / "nightdrop.toml").exists() == home.masked.exists()
    if home.masked.exists():
        with duckdb.connect(str(home.masked), read_only=True) as con:
            for table in TABLES:
                assert con.execute(f"SELECT count(*) FROM {table}").fetchall() == rows(home, f"SELECT count(*) FROM {table}")
            assert con.execute("SELECT * FROM runs").fetchall() == rows(home, "SELECT * FROM runs")


def some_drops(number: int) -> dict[str, bytes]:
    """Return drops that no other number has, each in a folder of its own, over the same records."""
    return {f"{number:03}/{path}": data for path, data in sample(number).items() if business_date(path) != date(2024, 2, 29)}


def content_of(path: str, data: bytes) -> bytes:
    """Return the uncompressed bytes of a drop; of one that cannot be expanded, those it has."""
    suffix = Path(path).suffix
    try:
        return expand(suffix, data) if suffix in (".gz", ".zst") else data
    except Held:
        return data


class Battery:
    """Homes to which drops come one scenario after the other, each taken in by a run that is killed and one that is not."""

    def __init__(self, folder: Path, servant: Process, *, nights: int, chance: random.Random, masked: bool = False) -> None:
        self.folder, self.servant, self.nights, self.chance, self.masked = folder, servant, nights, chance, masked
        self.kills = self.finished_before = self.homes = 0
        self.furthest = 0

    def run(self, home: Home, point: int = 0, seconds: float = 0.0) -> bool:
        """Return whether the run was killed."""
        said = self.servant.ask(f"{home.root}\t{point}\t{seconds}")
        assert said in (*DONE, str(-signal.SIGKILL)), said
        killed = said not in DONE
        self.kills += killed
        self.finished_before += not killed and bool(point or seconds)
        return killed

    def work(self, deaths: list[tuple[int, float]]) -> None:
        """Use up deaths (point, seconds) in homes of a few nights each."""
        deaths = list(deaths)
        while deaths:
            home, delivered = home_in(self.folder / f"home-{self.homes}"), {}
            if self.masked:
                (home.root / "nightdrop.toml").write_text("publish_masked = true\n")
            self.homes += 1
            self.night(home, delivered, [])
            with reader_of(home):
                for _ in range(self.nights):
                    often = self.chance.choice([1, 1, 2])
                    self.night(home, delivered, [deaths.pop(0) for _ in range(often) if deaths])

    def night(self, home: Home, delivered: dict[str, bytes], deaths: list[tuple[int, float]]) -> None:
        drops = some_drops(self.chance.randrange(100, 1000))
        # What lies there may not be delivered again with other bytes: the oracle of this test knows no editions, and no duplicates.
        there = {content_of(path, data) for path, data in delivered.items()}
        drops = {path: data for path, data in drops.items() if path not in delivered and content_of(path, data) not in there}
        deliver(home, drops)
        delivered |= drops
        for point, seconds in deaths:
            self.run(home, point, seconds)
        assert not self.run(home)
        assert_finished(home, delivered)


def points_of_a_run(folder: Path, servant: Process, *, masked: bool = False) -> int:
    """Return about how many points a run of these passes."""
    home = home_in(folder / "counted")
    if masked:
        (home.root / "nightdrop.toml").write_text("publish_masked = true\n")
    deliver(home, some_drops(7))
    point = 1
    while servant.ask(f"{home.root}\t{point}\t0") not in DONE:
        point *= 2
    return point


@pytest.mark.parametrize("masked", [False, True])
def test_killed_at_some_points_of_a_run_the_next_one_finishes_the_job(tmp_path: Path, masked: bool) -> None:
    chance = random.Random(1 + masked)
    with servant() as process:
        battery = Battery(tmp_path, process, nights=3, chance=chance, masked=masked)
        # The masked file is published in the second half.
        points = [chance.randrange(100, 180) for _ in range(3)] if masked else [chance.randrange(1, 180) for _ in range(4)]
        battery.work([(point, 0.0) for point in points] + [(0, chance.uniform(0.05, 0.5))])
    assert battery.kills >= 3


@pytest.mark.long
@pytest.mark.parametrize("masked", [False, True])
def test_killed_at_every_point_and_at_random_moments_the_next_run_finishes_the_job(tmp_path: Path, masked: bool) -> None:
    chance = random.Random(2 + masked)
    with servant() as process:
        most = points_of_a_run(tmp_path, process, masked=masked)
        battery = Battery(tmp_path, process, nights=5, chance=chance, masked=masked)
        deaths = [(point, 0.0) for point in range(1, most)] + [(0, chance.uniform(0.01, 0.8)) for _ in range(250)]
        chance.shuffle(deaths)
        battery.work(deaths)
    print(f"\n{battery.kills} kills, {battery.finished_before} runs were done before, {battery.homes} homes")
    assert battery.kills >= 300
