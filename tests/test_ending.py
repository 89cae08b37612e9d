"""What leaves at once leaves as `sys.exit` does: threads, exit handlers, output and exit code; only nothing is taken apart."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

ENDING = """
import atexit, sys, threading, time
{begin}
class Kept:
    def __del__(self):
        print("taken apart")
kept = Kept()
def work():
    time.sleep(0.1)
    print("the thread has ended")
atexit.register(print, "what was registered is called", file=sys.stderr)
threading.Thread(target=work).start()
print("no line end", end=" ")
{end}
"""
AT_ONCE = "from flows.ending import ends_at_once; leave = ends_at_once()"


def ended(end: str, begin: str = AT_ONCE, *, into: str | None = None) -> subprocess.CompletedProcess[str]:
    """Run a process that has a thread, an exit handler, something to take apart and words that nobody flushed."""
    argv = [sys.executable, "-c", ENDING.format(begin=begin, end=end)]
    env = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"} | {"PYTHONPATH": str(ROOT)}
    with Path(into or os.devnull).open("w") as out:
        to = out if into else subprocess.PIPE
        return subprocess.run(argv, stdout=to, stderr=subprocess.PIPE, text=True, check=False, env=env)


def test_threads_and_handlers_are_waited_for_words_are_written_and_nothing_is_taken_apart() -> None:
    left = ended("leave(3)")
    assert (left.returncode, left.stderr) == (3, "what was registered is called\n")
    assert left.stdout == "no line end the thread has ended\n"
    assert ended("sys.exit(3)", "").stdout == left.stdout + "taken apart\n"


@pytest.mark.parametrize("end", ["leave(0)", "leave(3)"])
def test_words_that_cannot_be_written_are_told_of_as_python_tells_of_them(end: str) -> None:
    plain = ended(end, "leave = sys.exit", into="/dev/full")
    left = ended(end, into="/dev/full")
    assert (left.returncode, left.stderr) == (plain.returncode, plain.stderr)
    assert left.returncode == 120


def test_an_error_that_nobody_caught_keeps_its_exit_code_and_its_traceback() -> None:
    left = ended("raise RuntimeError('nobody caught me')")
    assert left.returncode == 1
    assert "RuntimeError: nobody caught me" in left.stderr


def test_the_command_line_leaves_at_once() -> None:
    left = ended("sys.argv = ['nightdrop', 'no such command']; flows.cli.main()", "import flows.cli")
    assert left.returncode == 2
    assert "the thread has ended" in left.stdout
    assert "taken apart" not in left.stdout
