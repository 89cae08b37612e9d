"""Broken worlds: full disks, read-only folders, clocks that jump back, analysts who write, two runs at once."""

from __future__ import annotations

import contextlib
import os
import re
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb
import pytest
from checked import create, line
from homes import assert_same, deliver, home_in, night, rows, tables
from oracle import expected
from test_kill import left_behind
from test_people import run

from pipelines import acts, book, moment
from pipelines.home import Home, Settings

CLIENT = line("client", create("client"))
DROPS = {"2025-01-05.jsonl": CLIENT, "2025-01-06.jsonl": line("loan", create("loan")) + b"bad\n"}
AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="mounts a file system")


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return home_in(tmp_path / "home")


def client(number: int) -> bytes:
    return line("client", create("client", client_id=f"C{number}"))


# --- disks --------------------------------------------------------------------------------------------------------------


def assert_told_and_finished_by_the_next_run(
    home: Home, done: subprocess.CompletedProcess[str], delivered: dict[str, bytes]
) -> None:
    assert done.returncode == 1, done.stdout
    assert "Traceback" not in done.stderr
    assert re.search(r"run again", done.stderr), done.stderr
    assert run(home, "run").returncode == 0
    assert_same(tables(home), expected(delivered))
    assert [name for name in left_behind(home) if name != "state/failures.log"] == []


LONG = pytest.mark.long


@pytest.mark.parametrize("limit", [400_000, *(pytest.param(limit, marks=LONG) for limit in (2_000, 3_000_000, 6_000_000))])
def test_a_limit_on_the_size_of_files_is_told_and_the_next_run_finishes_the_job(home: Home, limit: int) -> None:
    night(home, {"2025-01-04.jsonl": client(9)})
    big = b"".join(line("client", create("client", client_id=f"C{n}", info={"x": os.urandom(300).hex()})) for n in range(4000))
    deliver(home, {"2025-01-05.jsonl": big})
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
    try:
        done = subprocess.run(
            [sys.executable, "-m", "flows.cli", "--home", str(home.root), "run"], capture_output=True, text=True, check=False
        )
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, ignored)
    assert rows(home, "SELECT count(*) FROM clients") == [(1,)]
    assert_told_and_finished_by_the_next_run(home, done, {"2025-01-04.jsonl": client(9), "2025-01-05.jsonl": big})


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    place = tmp_path / "disk"
    place.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", str(place)], check=False).returncode:
        pytest.skip("this machine lets nobody mount")
    yield place
    subprocess.run(["umount", str(place)], check=True)


@AS_ROOT
@pytest.mark.parametrize("left", [200_000, *(pytest.param(left, marks=LONG) for left in range(1_000_000, 7_000_000, 1_000_000))])
def test_a_full_disk_is_told_and_the_next_run_finishes_the_job(small_disk: Path, left: int) -> None:
    """The more is left, the later in the run it is full: while it loads, publishes, or publishes the masked file."""
    home = home_in(small_disk / "home")
    (home.root / "nightdrop.toml").write_text("publish_masked = true\n")
    night(home, {"2025-01-04.jsonl": client(9)}, publish_masked=True)
    deliver(home, DROPS)
    filler = small_disk / "filler"
    free = os.statvfs(small_disk)
    filler.write_bytes(bytes(free.f_bavail * free.f_bsize - left))
    done = run(home, "run")
    if left > 200_000 and done.returncode == 0:
        filler.unlink()
        assert_same(tables(home), expected({"2025-01-04.jsonl": client(9), **DROPS}))
        return
    assert rows(home, "SELECT count(*) FROM clients") == [(1,)]
    filler.unlink()
    assert_told_and_finished_by_the_next_run(home, done, {"2025-01-04.jsonl": client(9), **DROPS})


def test_a_reports_folder_that_cannot_be_written_is_told_and_the_warehouse_is_published_all_the_same(home: Home) -> None:
    home.reports.write_text("a file in the place of the folder, which not even root can write into")
    deliver(home, DROPS)
    done = run(home, "run")
    assert done.returncode == 1
    assert str(home.reports) in done.stderr and "Traceback" not in done.stderr
    home.reports.unlink()
    assert run(home, "run").returncode == 0
    assert (home.reports / "2025-01-06" / "summary.json").exists()
    assert_same(tables(home), expected(DROPS))


@AS_ROOT
def test_reports_on_a_read_only_file_system_are_told_and_written_by_the_next_run(home: Home) -> None:
    home.reports.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "ro,mode=750", "tmpfs", str(home.reports)], check=False).returncode:
        pytest.skip("this machine lets nobody mount")
    try:
        deliver(home, DROPS)
        done = run(home, "run")
        assert done.returncode == 1
        assert "Read-only file system" in done.stderr and "Traceback" not in done.stderr
        assert rows(home, "SELECT count(*) FROM events") == [(3,)], "the warehouse is published before the reports"
    finally:
        subprocess.run(["umount", str(home.reports)], check=True)
    assert run(home, "run").returncode == 0
    assert (home.reports / "2025-01-06" / "summary.json").exists()
    assert left_behind(home) == []


# --- clocks -------------------------------------------------------------------------------------------------------------


class Clock(datetime):
    """A clock that somebody sets."""

    shift = timedelta(0)

    @classmethod
    def now(cls, tz: object = None) -> datetime:  # type: ignore[override]  # whatever zone is asked for
        return datetime.now(UTC) + cls.shift


def test_a_clock_that_jumps_back_changes_nothing(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(moment, "datetime", Clock)
    delivered: dict[str, bytes] = {}
    for number, days in enumerate((0, -3, -700, 2)):
        monkeypatch.setattr(Clock, "shift", timedelta(days=days))
        new = {f"2025-01-0{number + 1}.jsonl": client(number)}
        night(home, new)
        delivered |= new
        assert_same(tables(home), expected(delivered))
        last = rows(home, "SELECT run_id FROM runs ORDER BY rowid DESC LIMIT 1")[0][0]
        assert [file.stem for file in home.book.iterdir()] == [last]
        assert f'"run_id": "{last}"' in (home.state / "published.json").read_text()
    assert rows(home, "SELECT count(*) FROM runs WHERE seconds < 0 OR finished_at < started_at") == [(0,)]
    acts.withdraw(home, Settings(), "2025-01-02.jsonl")
    assert rows(home, "SELECT count(*) FROM clients") == [(3,)]


def test_of_two_books_the_newest_is_the_one_that_continues_the_other_whatever_the_clock(tmp_path: Path) -> None:
    book.write_book(tmp_path, "20260102T000000-a", book.Book(), None)
    book.write_book(tmp_path, "20250101T000000-b", book.Book(), "20260102T000000-a")
    assert book.newest(tmp_path) == "20250101T000000-b"


def test_a_file_dated_in_the_future_is_not_left_for_ever(home: Home) -> None:
    deliver(home, DROPS)
    for path, ahead in zip(DROPS, (10_000, 0), strict=True):
        os.utime(home.inbox / path, (time.time() + ahead,) * 2)
    night(home, quiet_seconds=60)
    assert rows(home, "SELECT path FROM drops") == [("2025-01-05.jsonl",)]


# --- people -------------------------------------------------------------------------------------------------------------

ANALYST = """
import duckdb, os, sys
os.chmod(sys.argv[1], 0o640)  # root needs not
con = duckdb.connect(sys.argv[1])
con.execute("DELETE FROM events")
print("ready", flush=True)
sys.stdin.readline()
con.close()
"""


def test_an_analyst_who_writes_to_the_published_file_keeps_no_run_from_its_work(home: Home) -> None:
    night(home, {"2025-01-05.jsonl": CLIENT})
    words = [sys.executable, "-c", ANALYST, str(home.warehouse)]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as analyst:
        assert analyst.stdout and analyst.stdout.readline() == b"ready\n"
        night(home, {"2025-01-06.jsonl": client(2)})
        assert rows(home, "SELECT count(*) FROM events") == [(2,)]
        analyst.communicate(b"\n")
    assert_same(tables(home), expected({"2025-01-05.jsonl": CLIENT, "2025-01-06.jsonl": client(2)}))
    assert left_behind(home) == []
    with pytest.raises(duckdb.Error):
        duckdb.connect(str(home.warehouse), read_only=True).execute("DELETE FROM events")


SLOW = """
import sys, time
import pipelines.night
run_night = pipelines.night.run_night
def slow(*arguments, **options):
    print("begun", flush=True)
    sys.stdin.readline()
    return run_night(*arguments, **options)
pipelines.night.run_night = slow
from flows.cli import call
sys.exit(call(["--home", sys.argv[1], "run"]))
"""


def test_of_two_runs_at_once_the_second_says_who_holds_the_home_and_exits_4(home: Home) -> None:
    deliver(home, DROPS)
    with subprocess.Popen([sys.executable, "-c", SLOW, str(home.root)], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as first:
        assert first.stdout and first.stdout.readline() == b"begun\n"
        second = run(home, "run")
        assert second.returncode == 4
        assert re.search(
            rf"another run has this home: `nightdrop run` \(process {first.pid} on .*Nothing was changed", second.stderr
        )
        first.communicate(b"\n")
    assert first.returncode == 0
    assert_same(tables(home), expected(DROPS))


def test_the_lock_of_a_dead_run_is_taken_over(home: Home) -> None:
    deliver(home, DROPS)
    with subprocess.Popen([sys.executable, "-c", SLOW, str(home.root)], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as first:
        assert first.stdout and first.stdout.readline() == b"begun\n"
        first.kill()
    assert run(home, "run").returncode == 0
    assert_same(tables(home), expected(DROPS))
    assert left_behind(home) == []


DYING_FLOW = """
import os, sys
import pipelines.night
pipelines.night.run_night = lambda *_, around, **__: around("settle", lambda: os.kill(os.getpid(), 9))
from flows.cli import call
call(["--home", sys.argv[1], "run", "--prefect"])
"""


def servers_of(home: Home) -> list[int]:
    """Return the processes that a killed flow of this home left: its Prefect server, which lives on without it."""
    found = []
    for environ in Path("/proc").glob("[0-9]*/environ"):
        with contextlib.suppress(OSError):
            if f"PREFECT_HOME={home.state}".encode() in environ.read_bytes():
                found.append(int(environ.parent.name))
    return found


@pytest.mark.prefect
def test_a_prefect_run_that_died_does_not_block_the_next(home: Home) -> None:
    deliver(home, DROPS)
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("PREFECT", "NIGHTDROP"))}
    # Not captured: the server would keep the pipe open.
    nowhere = subprocess.DEVNULL
    words = [sys.executable, "-c", DYING_FLOW, str(home.root)]
    died = subprocess.run(words, stdout=nowhere, stderr=nowhere, check=False, env=clean, timeout=240)
    try:
        assert died.returncode == -signal.SIGKILL
        done = run(home, "run", "--prefect")
        assert done.returncode == 0, done.stderr
        assert_same(tables(home), expected(DROPS))
    finally:
        for process in servers_of(home):
            os.kill(process, signal.SIGKILL)
