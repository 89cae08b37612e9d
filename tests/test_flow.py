"""The Prefect flow: one real run in a process of its own, and its words and judgements without Prefect at work."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, date, datetime
from pathlib import Path

import duckdb
import pytest

from pipelines.problems import HomeBusyError, NightdropError, UsageError
from pipelines.summary import DropResult, Night

MONDAY = date(2026, 11, 16)

SCRIPT = """
import sys
from types import SimpleNamespace
from datetime import UTC, date, datetime
from pathlib import Path
from pipelines.home import Home
from pipelines.problems import NightdropError
from pipelines.summary import DropResult, Night

home = Path(sys.argv[1])
tries = []

def flaky():
    tries.append(1)
    if len(tries) < 2:
        raise OSError(5, "Input/output error")
    return [1, 2]

def run_night(place, settings, *, only_date=None, progress=None, around=None):
    assert place == Home(home)
    assert around("discover", flaky) == [1, 2]
    around("pick up 2026-11-16", lambda: None)
    now = datetime.now(UTC)
    held = DropResult("2026-11-16/h.csv", only_date, None, None, None, None, None, None, "held", "truncated", "secret")
    return Night("r1", now, now, (held,), {}, 0, 0, 0, 0, 0.5, {}, True, ())

def bad_data(*_, around=None, **__):
    def fail():
        tries.append(1)
        raise NightdropError("the tables do not add up")
    around("settle", fail)

def busy(*_, **__):
    raise SystemExit("it must not begin")

def with_work(work, *arguments):
    sys.modules["pipelines.night"] = SimpleNamespace(run_night=work)
    return call(["run", "--prefect", "--home", str(home), *arguments])

import flows.commands.orchestration as orchestration
orchestration.prepare_environment(Home(home))
import flows.nightly
flows.nightly.RETRY_DELAYS[:] = [0, 0]
from flows.cli import call
from flows.lock import hold

codes = [with_work(run_night, "--date", "2026-11-16", "--json"), len(tries)]
codes += [with_work(bad_data), len(tries)]
with hold(Home(home), command="nightdrop run"):
    codes.append(with_work(busy))
print(codes)
"""


@pytest.mark.prefect
def test_the_flow_does_the_same_work_watched_and_retries_a_broken_world_only(tmp_path: Path):
    (tmp_path / "data" / "inbox").mkdir(parents=True)
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("PREFECT", "NIGHTDROP"))}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(tmp_path)], capture_output=True, text=True, check=False, env=clean, timeout=240
    )
    answer, codes = done.stdout.splitlines()
    # Held: 3, after two tries. Bad data: 1, after one. A home that another run has: 4.
    assert json.loads(codes) == [3, 2, 1, 3, 4], done.stderr
    assert json.loads(answer)["held"] == 1
    assert "Traceback" not in done.stderr
    assert "nightdrop: the tables do not add up" in done.stderr
    with sqlite3.connect(tmp_path / "data" / "state" / "prefect" / "prefect.db") as db:
        flows = db.execute("SELECT name, state_name, tags FROM flow_run ORDER BY start_time").fetchall()
        tasks = db.execute("SELECT name, state_name, run_count FROM task_run ORDER BY start_time").fetchall()
        ((artifact,),) = db.execute("SELECT data FROM artifact WHERE key = 'nightdrop-night'").fetchall()
    db.close()
    assert flows[0][:2] == ("drops of 2026-11-16", "Completed")
    assert set(json.loads(flows[0][2])) == {"nightdrop", "nightly"}
    assert flows[1][1] == "Failed"
    assert tasks == [("discover", "Completed", 2), ("pick up 2026-11-16", "Completed", 1), ("settle", "Failed", 1)]
    assert "truncated" in artifact
    assert "secret" not in artifact


def servers_of(home: Path) -> list[int]:
    """Return the processes of Prefect servers that were started for a home."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            environment = (folder / "environ").read_bytes().split(b"\0")
            is_of_home = b"PREFECT_HOME=%s" % os.fsencode(home / "data/state/prefect") in environment
            if is_of_home and b"uvicorn" in (folder / "cmdline").read_bytes():
                found.append(int(folder.name))
    return found


def come_to(what: Callable[[], bool], *, seconds: float = 120) -> None:
    ends = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < ends, "it did not come to that"
        time.sleep(0.1)


@pytest.mark.prefect
@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="only Linux tells what a process was started with")
def test_a_run_that_is_killed_takes_its_prefect_server_along(tmp_path: Path):
    (tmp_path / "data" / "inbox").mkdir(parents=True)
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("PREFECT", "NIGHTDROP"))}
    command = [sys.executable, "-m", "flows.cli", "run", "--prefect", "--home", str(tmp_path)]
    with subprocess.Popen(command, env=clean) as run:
        come_to(lambda: bool(servers_of(tmp_path)))
        run.kill()
    come_to(lambda: not servers_of(tmp_path), seconds=30)


@pytest.fixture(scope="module")
def nightly(tmp_path_factory):
    """The module, with Prefect's own files out of the user's way."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PREFECT_HOME", str(tmp_path_factory.mktemp("prefect")))
        from flows import nightly

        yield nightly


def caused_by(error: NightdropError, cause: Exception) -> NightdropError:
    error.__cause__ = cause
    return error


def test_only_a_broken_world_is_worth_another_try(nightly):
    for error in (OSError(28, "No space left"), duckdb.IOException("x"), caused_by(NightdropError("x"), PermissionError())):
        assert nightly.is_broken_world(error)
    for error in (
        NightdropError("x"),
        UsageError("x"),
        HomeBusyError("x"),
        caused_by(UsageError("x"), OSError()),
        caused_by(NightdropError("x"), ValueError()),
        ValueError("x"),
        duckdb.ConstraintException("x"),
    ):
        assert not nightly.is_broken_world(error)


def test_the_artifact_lists_drops_and_reasons_held_ones_first_and_nothing_out_of_a_file(nightly):
    now = datetime(2026, 11, 17, tzinfo=UTC)
    applied = DropResult("2026-11-16/a|b.csv", MONDAY, "a", 9, 3000, 1000, 2000, 0, "applied")
    held = DropResult("x.csv", None, "b", 9, None, None, None, None, "held", "no_business_date", "secret")
    night = Night("r1", now, now, (applied, held), {"invalid_email": 2000}, 3000, 1000, 2000, 0, 1.5, {}, True, ())
    assert nightly.artifact(night) == (
        "# Night r1\n\n"
        "3,000 events: **1,000 applied, 2,000 rejected**, 0 flipped, in 1.5 s.\n\n"
        "**1 held**: nothing of them is in the warehouse until somebody looks at them.\n\n"
        "## Drops\n\n"
        "| date | drop | status | reason | records | applied | rejected | warned |\n"
        "| --- | --- | --- | --- | --- | --- | --- | --- |\n"
        "|  | x.csv | held | no_business_date |  |  |  |  |\n"
        "| 2026-11-16 | 2026-11-16/a\\|b.csv | applied |  | 3,000 | 1,000 | 2,000 | 0 |\n\n"
        "## Reasons\n\n"
        "| reason | times |\n| --- | --- |\n| invalid_email | 2,000 |\n"
    )


def test_a_night_with_nothing_new_says_so(nightly):
    now = datetime(2026, 11, 17, tzinfo=UTC)
    assert "Nothing new" in nightly.artifact(Night("r1", now, now, (), {}, 0, 0, 0, 0, 0.1, {}, False, ()))
