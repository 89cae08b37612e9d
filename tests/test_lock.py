from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from flows.lock import hold, holder_of
from pipelines.home import Home
from pipelines.problems import HomeBusyError, NightdropError

HOLDER = """
import sys, time
from pathlib import Path
from flows.lock import hold
from pipelines.home import Home
with hold(Home(Path(sys.argv[1])), command="nightdrop run"):
    print("held", flush=True)
    time.sleep(60)
"""


def other_process(home: Home) -> subprocess.Popen[bytes]:
    process = subprocess.Popen([sys.executable, "-c", HOLDER, str(home.root)], stdout=subprocess.PIPE)
    assert process.stdout and process.stdout.readline() == b"held\n"
    return process


def test_the_second_run_is_told_who_has_the_home(tmp_path):
    home = Home(tmp_path)
    with other_process(home) as process:
        try:
            with (
                pytest.raises(HomeBusyError, match=rf"`nightdrop run` \(process {process.pid} on .*Nothing was changed"),
                hold(home, command="x"),
            ):
                pytest.fail("two runs at once")
            holder = holder_of(home)
            assert holder and holder.pid == process.pid
        finally:
            process.kill()


def test_a_lock_left_by_a_killed_run_is_taken_over(tmp_path):
    home = Home(tmp_path)
    with other_process(home) as process:
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert home.lock.exists()
    assert holder_of(home) is None
    with hold(home, command="nightdrop run"):
        holder = holder_of(home)
        assert holder and holder.pid == os.getpid()


def test_nobody_has_the_home_after_a_run_even_one_that_failed(tmp_path):
    home = Home(tmp_path)
    with pytest.raises(ZeroDivisionError), hold(home, command="nightdrop run"):
        raise ZeroDivisionError
    assert holder_of(home) is None
    with hold(home, command="nightdrop run"):
        pass


def test_one_process_does_not_get_the_home_twice(tmp_path):
    home = Home(tmp_path)
    with hold(home, command="a"):
        with pytest.raises(HomeBusyError, match="`a`"), hold(home, command="b"):
            pytest.fail("two runs at once")
        assert holder_of(home)


def test_two_homes_do_not_lock_each_other(tmp_path):
    with hold(Home(tmp_path / "a"), command="x"), hold(Home(tmp_path / "b"), command="x"):
        pass


def test_a_damaged_note_about_the_holder_is_no_obstacle(tmp_path):
    home = Home(tmp_path)
    home.state.mkdir(parents=True)
    for text in ("", "{", "[]", json.dumps({"pid": 1})):
        (home.state / "lock.holder.json").write_text(text)
        assert holder_of(home) is None
    with hold(home, command="x"):
        pass


def test_a_state_folder_that_cannot_be_made_is_named(tmp_path: Path):
    (tmp_path / "data").write_text("a file")
    with pytest.raises(NightdropError, match="cannot be locked"), hold(Home(tmp_path), command="x"):
        pytest.fail("no folder, no lock")
