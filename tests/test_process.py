"""How the command line sets its process up: one heap however many threads, no thread and no library that does nothing."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]
pytestmark = pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "malloc_info"), reason="the C library is not glibc")

ALLOCATING = """
import ctypes, threading
together = threading.Barrier(6)
def allocate():
    together.wait()
    kept = [bytes(50_000) for _ in range(20)]
    together.wait()
threads = [threading.Thread(target=allocate) for _ in range(6)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
libc = ctypes.CDLL(None)
libc.fopen.restype = ctypes.c_void_p
stream = ctypes.c_void_p(libc.fopen(b"/dev/stdout", b"w"))
libc.malloc_info(0, stream)
libc.fclose(stream)
"""


def heaps(begun: str = "", **environment: str) -> int:
    """Return how many heaps glibc tells of in a process that begins so, after several of its threads have taken memory."""
    env = {name: value for name, value in os.environ.items() if name not in ("MALLOC_ARENA_MAX", "GLIBC_TUNABLES")}
    env |= environment | {"PYTHONPATH": str(ROOT)}
    told = subprocess.run([sys.executable, "-c", begun + ALLOCATING], capture_output=True, text=True, check=True, env=env)
    return told.stdout.count("<heap nr=")


def test_threads_share_one_heap_where_it_is_kept_to_one_and_not_by_themselves() -> None:
    assert heaps("from pipelines.heap import keep_one_heap; keep_one_heap()") == 1
    assert heaps() > 1


def test_the_command_line_keeps_one_heap() -> None:
    assert heaps("import flows.cli, sys; sys.exit = print; sys.argv[1:] = ['--help']; flows.cli.main()") == 1


def test_what_a_deployment_starts_keeps_one_heap_too() -> None:
    told = yaml.safe_load((ROOT / "prefect.yaml").read_text(encoding="utf-8"))
    begun = [deployment["work_pool"]["job_variables"]["env"] for deployment in told["deployments"]]
    assert [heaps(**env) for env in begun] == [1] * 4


AGAIN = """
import resource
def taken(size):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    bytearray(b"1") * size
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
for size in (40_000_000, 24_000_000):
    taken(size)
print("pages", *(taken(size) for size in (39_000_000, 23_000_000)))
"""
"""Takes memory that was just freed, and tells how much of it was had from the system."""


def pages(begun: str = "", **environment: str) -> int:
    """Return how many pages the system has to give to a process that begins so, for memory as large as what it just freed."""
    env = {name: value for name, value in os.environ.items() if not name.startswith(("MALLOC_", "GLIBC_TUNABLES"))}
    env |= environment | {"PYTHONPATH": str(ROOT)}
    told = subprocess.run([sys.executable, "-c", begun + AGAIN], capture_output=True, text=True, check=True, env=env)
    return sum(map(int, told.stdout.rpartition("pages ")[2].split()))


def test_what_the_command_line_frees_it_takes_again_until_it_is_told_to_give_it_back() -> None:
    command_line = "import flows.cli, sys; sys.exit = print; sys.argv[1:] = ['--help']; flows.cli.main()"
    assert pages(command_line) < 100
    assert pages(f"{command_line}; from pipelines.heap import give_back_what_is_freed; give_back_what_is_freed()") > 10_000


def test_what_a_deployment_starts_takes_again_what_it_freed_too() -> None:
    told = yaml.safe_load((ROOT / "prefect.yaml").read_text(encoding="utf-8"))
    (env,) = {frozenset(one["work_pool"]["job_variables"]["env"].items()) for one in told["deployments"]}
    assert pages(**dict(env)) < 100


def test_the_command_line_does_not_look_through_its_imports_again_and_again() -> None:
    begun = "import gc, sys; import flows.cli; sys.exit = print; sys.argv[1:] = ['--help']; {}; before = {count}; "
    begun += "import pipelines.night; print('looks', {count} - before)"
    count = "sum(generation['collections'] for generation in gc.get_stats())"
    looks = []
    for main in ("flows.cli.main()", "pass"):
        words = [sys.executable, "-c", begun.format(main, count=count)]
        told = subprocess.run(words, capture_output=True, text=True, check=True, env=os.environ | {"PYTHONPATH": str(ROOT)})
        looks.append(int(told.stdout.rpartition("looks ")[2]))
    assert looks[0] < 10 < looks[1]


def test_numpy_starts_no_threads_under_the_command_line_but_those_that_the_caller_asks_for() -> None:
    begun = "import flows.cli, os, sys; sys.exit = print; sys.argv[1:] = ['--help']; flows.cli.main(); import numpy; "
    words = [sys.executable, "-c", begun + "print('threads', len(os.listdir('/proc/self/task')))"]
    threads = []
    for asked in ({}, {"OPENBLAS_NUM_THREADS": "2"}):
        env = {name: value for name, value in os.environ.items() if name != "OPENBLAS_NUM_THREADS"} | asked
        told = subprocess.run(words, capture_output=True, text=True, check=True, env=env | {"PYTHONPATH": str(ROOT)})
        threads.append(int(told.stdout.rpartition("threads ")[2]))
    assert threads == [1, 2]


def test_the_command_line_imports_no_library_for_tests_and_nobody_elses_process_is_kept_from_it() -> None:
    asked = "import pandera.strategies.base_strategies as found; print('hypothesis', found.HAS_HYPOTHESIS)"
    begun = "import flows.cli, sys; sys.exit = print; sys.argv[1:] = ['--help']; {}; "
    told = [
        subprocess.run([sys.executable, "-c", begun.format(main) + asked], capture_output=True, text=True, check=True).stdout
        for main in ("flows.cli.main()", "pass")
    ]
    assert [words.rpartition("hypothesis ")[2] for words in told] == ["False\n", "True\n"]


def test_what_a_process_keeps_goes_when_it_is_trimmed() -> None:
    keep = "from pipelines import heap; heap.keep_what_is_freed(); "
    resident = "print('pages', open('/proc/self/statm').read().split()[1])"
    kept, trimmed = (
        subprocess.run(
            [sys.executable, "-c", f"{keep}x = bytearray(b'1') * 40_000_000; del x; {more}{resident}"],
            capture_output=True,
            text=True,
            check=True,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
        ).stdout.rpartition("pages ")[2]
        for more in ("", "heap.trim(); ")
    )
    assert int(kept) - int(trimmed) > 9_000
