"""Worlds that a sender, a shell or a bad day may make, each of which a night survives: odd inboxes, signals, environments."""

from __future__ import annotations

import os
import re
import resource
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path

import duckdb
import pytest
from checked import create, line
from homes import assert_same, deliver, home_in, rows, tables
from oracle import expected
from test_kill import left_behind
from test_people import run

from pipelines.home import Home

DAY = "2025-01-05"
LONG = pytest.mark.long


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return home_in(tmp_path / "home")


def client(number: int) -> bytes:
    return line("client", create("client", client_id=f"C{number}"))


def told(home: Home) -> list[tuple[str, str, str]]:
    return rows(home, "SELECT path, status, reason FROM drops ORDER BY path")


# --- inboxes ------------------------------------------------------------------------------------------------------------


def test_folders_in_folders_without_end_hold_what_lies_in_them_and_nothing_else(home: Home) -> None:
    deliver(home, {f"{DAY}.jsonl": client(1), f"{'d/' * 90}{DAY}.jsonl": client(2)})
    folder = os.open(home.inbox, os.O_RDONLY)
    for _ in range(2500):  # the path to the last is longer than any call takes
        with suppress(FileExistsError):
            os.mkdir("d", dir_fd=folder)
        inner = os.open("d", os.O_RDONLY, dir_fd=folder)
        os.close(folder)
        folder = inner
    os.close(folder)
    try:
        done = run(home, "run")
        assert done.returncode == 3, done.stderr
        (held,) = rows(home, "SELECT reason, detail FROM drops WHERE status = 'held'")
        assert held == ("unreadable", "it lies more than 100 folders deep, and is not looked into")
        assert rows(home, "SELECT count(*) FROM clients") == [(2,)]
    finally:
        subprocess.run(["rm", "-rf", str(home.inbox / "d")], check=True)


NAMES = [
    "x" * 249 + ".jsonl",  # 255 bytes: no name is left for a manifest
    "é" * 124 + ".jsonl",
    "\x1b[31mred\x1b]0;title\x07.jsonl",
    "\u202eevil.jsonl",
    "a\rb\tc.jsonl",
    "-rf.jsonl",
    "A.jsonl",
    "a.jsonl",
    "e\u0301.jsonl",
    "\u00e9.jsonl",
    "a__b.jsonl",
    "a/b.jsonl",
    "folder.jsonl/x.jsonl",
    "<script>alert(1).jsonl",
    os.fsdecode(b"\xff\xfe.jsonl"),
]


def test_every_name_has_its_drop_and_its_bounce_and_none_speaks_to_the_terminal(home: Home) -> None:
    deliver(home, {f"{DAY}/{name}": client(number) + b"bad\n" for number, name in enumerate(NAMES)})
    deliver(home, {"\x1b[31mundated.jsonl": client(1), f"{DAY}\x1b[32m.txt": b""})
    for command in ("run", "status", "drops"):
        done = run(home, command)
        assert done.returncode == (3 if command == "run" else 0), done.stderr
        assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e]", done.stdout + done.stderr), command
    assert sorted({status for _, status, _ in told(home)}) == ["applied", "held"]
    assert rows(home, "SELECT count(*), count(DISTINCT path) FROM rejections") == [(len(NAMES), len(NAMES))]
    assert len(list((home.reports / DAY).glob("*.rejected.jsonl"))) == len(NAMES)
    assert "\x1b" not in (home.state / "nightdrop.log").read_text()


def test_files_dated_before_time_began_and_after_it_ended_are_drops(home: Home) -> None:
    drops = {f"2025-01-0{number}.jsonl": client(number) for number in range(1, 5)}
    deliver(home, drops)
    for path, when in zip(drops, (-1_000_000_000, 0, 2**33, 2**34 - 1), strict=True):
        os.utime(home.inbox / path, (when, when))
    for quiet in ("0", "60"):
        done = run(home, "run", NIGHTDROP_QUIET_SECONDS=quiet)
        assert done.returncode == 0, done.stderr
    assert_same(tables(home), expected(drops))


def test_two_names_of_one_file_are_two_drops(home: Home) -> None:
    deliver(home, {f"{DAY}/a.jsonl": client(1)})
    os.link(home.inbox / DAY / "a.jsonl", home.inbox / DAY / "b.jsonl")
    os.link(home.inbox / DAY / "a.jsonl", home.inbox / "2025-01-06.jsonl")
    assert run(home, "run").returncode == 0
    assert [status for _, status, _ in told(home)] == ["applied", "duplicate", "applied"]


@pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("setpriv"), reason="takes its own right to read everything away")
def test_what_this_user_may_not_read_is_held_until_it_may(home: Home) -> None:
    deliver(home, {f"{DAY}.jsonl": client(1), "2025-01-06.jsonl": client(2), "2025-01-07/x.jsonl": client(3)})
    closed = (home.inbox / "2025-01-06.jsonl", home.inbox / "2025-01-07")
    for place in closed:
        place.chmod(0)
    words = ["setpriv", "--bounding-set=-dac_override,-dac_read_search,-fowner", sys.executable, "-m", "flows.cli"]
    words += ["--home", str(home.root), "run"]
    first = subprocess.run(words, capture_output=True, text=True, check=False)
    assert first.returncode == 3, first.stderr
    assert told(home)[1:] == [("2025-01-06.jsonl", "held", "unreadable"), ("2025-01-07", "held", "unreadable")]
    for place in closed:
        place.chmod(0o750)
    again = subprocess.run(words, capture_output=True, text=True, check=False)
    assert again.returncode == 0, again.stderr
    assert {status for _, status, _ in told(home)} == {"applied"}


@pytest.mark.parametrize("name", ["data", *(pytest.param(name, marks=LONG) for name in ("data/inbox", "data/state", "reports"))])
def test_a_home_whose_folders_lie_elsewhere_is_a_home(home: Home, name: str) -> None:
    elsewhere = Path(f"/dev/shm/nightdrop-{os.getpid()}-{name.replace('/', '-')}")  # another file system where there is one
    place = home.root / name
    if place.exists():
        shutil.move(place, elsewhere)
    else:
        elsewhere.mkdir()
    place.symlink_to(elsewhere)
    drops = {f"{DAY}.jsonl": client(1) + b"bad\n"}
    deliver(home, drops)
    try:
        for command in (["run"], ["plan", "withdraw", DAY], ["run"], ["verify"]):
            done = run(home, *command)
            assert done.returncode == 0, (command, done.stderr)
        assert_same(tables(home), expected(drops))
    finally:
        shutil.rmtree(elsewhere)


# --- signals ------------------------------------------------------------------------------------------------------------

SIGNALLED = """
import os, sys
import pipelines.night
run_night, at, sent = pipelines.night.run_night, sys.argv[2], int(sys.argv[3])
def around(name, work):
    if name.startswith(at):
        os.kill(os.getpid(), sent)
    return work()
pipelines.night.run_night = lambda *args, **options: run_night(*args, **options | {"around": around})
from flows.cli import main
sys.argv = ["nightdrop", "--home", sys.argv[1], "run"]
main()
"""
STEPS = ["discover", "archive", "pick up", "settle", "load", "publish masked", "publish", "report"]


SIGNALS = [(step, sent) for step in STEPS for sent in (signal.SIGINT, signal.SIGTERM)]
SHORT = [("pick up", signal.SIGINT), ("load", signal.SIGTERM)]


@pytest.mark.parametrize(("step", "sent"), [pytest.param(*each, marks=[] if each in SHORT else LONG) for each in SIGNALS])
def test_a_run_that_is_told_to_stop_says_so_and_the_next_one_finishes_the_job(
    home: Home, step: str, sent: signal.Signals
) -> None:
    (home.root / "nightdrop.toml").write_text("publish_masked = true\n")
    drops = {"2025-01-04.jsonl": client(9) + b"bad\n"}
    deliver(home, drops)
    assert run(home, "run").returncode == 0
    drops |= {f"{DAY}.jsonl": client(1) + b"bad\n"}
    deliver(home, drops)
    words = [sys.executable, "-c", SIGNALLED, str(home.root), step, str(int(sent))]
    stopped = subprocess.run(words, capture_output=True, text=True, check=False, timeout=240)
    assert stopped.returncode == 130, stopped.stderr
    assert stopped.stderr.startswith("nightdrop: interrupted. ") and "Traceback" not in stopped.stderr
    with duckdb.connect(str(home.warehouse), read_only=True) as con:
        assert con.execute("SELECT count(*) FROM clients").fetchall()[0][0] in (1, 2)
    assert run(home, "run").returncode == 0
    assert_same(tables(home), expected(drops))
    assert left_behind(home) == []


# --- environments -------------------------------------------------------------------------------------------------------

Environment = dict[str, str]
ENVIRONMENTS: dict[str, Callable[[Environment], Environment]] = {
    "no home of the user": lambda env: {name: value for name, value in env.items() if name != "HOME"},
    "a home of the user that nobody may write": lambda env: {**env, "HOME": "/proc/1"},
    "nothing but the path of the code": lambda env: {"PYTHONPATH": env["PYTHONPATH"]},
    "ASCII alone": lambda env: {**env, "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "PYTHONIOENCODING": "ascii"},
    "a time zone that is none": lambda env: {**env, "TZ": "nowhere/at/all"},
    "a time zone a day ahead": lambda env: {**env, "TZ": "Pacific/Kiritimati"},
    "no place for temporary files": lambda env: {**env, "TMPDIR": "/nonexistent"},
    "a terminal of one column": lambda env: {**env, "TERM": "", "COLUMNS": "1", "LINES": "x"},
    "asserts left out": lambda env: {**env, "PYTHONOPTIMIZE": "2"},
}
OFTEN = ("ASCII alone",)


@pytest.mark.parametrize("world", [world if world in OFTEN else pytest.param(world, marks=LONG) for world in ENVIRONMENTS])
def test_a_night_is_the_same_in_any_environment(home: Home, world: str) -> None:
    drops = {f"{DAY}.jsonl": client(1) + b"bad\n", f"{DAY}/é💸.jsonl": client(2) + b"bad\n"}
    deliver(home, drops)
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("PREFECT", "NIGHTDROP"))}
    env = ENVIRONMENTS[world](clean | {"PYTHONPATH": str(Path(__file__).parent.parent)})
    words = [sys.executable, "-m", "flows.cli", "--home", str(home.root), "run"]
    done = subprocess.run(words, capture_output=True, check=False, env=env, timeout=240)
    assert (done.returncode, b"Traceback" in done.stderr) == (0, False), done.stderr
    assert_same(tables(home), expected(drops))


def test_a_night_of_many_drops_needs_few_open_files(home: Home) -> None:
    drops = {f"2025-01-{number // 5 + 1:02}/{number}.jsonl": client(number) for number in range(100)}
    deliver(home, drops)
    words = [sys.executable, "-m", "flows.cli", "--home", str(home.root), "run"]
    few = partial(resource.setrlimit, resource.RLIMIT_NOFILE, (24, 24))
    done = subprocess.run(words, capture_output=True, text=True, check=False, preexec_fn=few, timeout=240)
    assert done.returncode == 0, done.stderr
    assert_same(tables(home), expected(drops))
