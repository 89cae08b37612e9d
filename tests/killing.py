"""A process that is killed at a chosen point of a run, and the reader who must not notice: what `test_kill` starts.

The product has no switch for it. Python tells of every file that is opened for writing, renamed, removed or made (audit
events); syncs, commits and steps are wrapped here. Each of these is a point, counted from 1.
"""

from __future__ import annotations

import contextlib
import io
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

TESTS = Path(__file__).parent


class Points:
    """Counts the points of a run and ends the process, as a power cut would, at one of them."""

    def __init__(self, root: str, deadly: int) -> None:
        self.root, self.deadly, self.passed = root, deadly, 0

    def point(self) -> None:
        self.passed += 1
        if self.passed == self.deadly:
            os.kill(os.getpid(), signal.SIGKILL)

    def audit(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open":
            file, _, flags = arguments
            if not isinstance(flags, int) or not flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
                return
        elif event in ("os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.link", "os.chmod"):
            file = arguments[0]
        else:
            return
        if isinstance(file, str | bytes | os.PathLike) and os.fsdecode(file).startswith(self.root):
            self.point()

    def around(self, call: Callable[..., Any]) -> Callable[..., Any]:
        """Put a point before a call and one behind it."""

        def wrapped(*arguments: Any, **options: Any) -> Any:
            self.point()
            given = call(*arguments, **options)
            self.point()
            return given

        return wrapped


def run_and_die(home: Path, deadly: int) -> None:
    """Do `nightdrop run`, killed at that point (0: never)."""
    from flows.cli import call
    from pipelines import database, night, shift

    points = Points(str(home), deadly)
    sys.addaudithook(points.audit)
    os.fsync = points.around(os.fsync)
    database.seal = points.around(database.seal)
    transaction = database.transaction

    @contextmanager
    def committed(con: Any) -> Iterator[None]:
        with transaction(con):
            yield
            points.point()
        points.point()

    database.transaction = committed
    run_night = night.run_night
    # Steps of the night by their names, as Prefect would wrap them.
    night.run_night = lambda *args, **options: run_night(*args, **options, around=lambda name, work: points.around(work)())
    assert shift.database is database
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(said := io.StringIO()):
        code = call(["--home", str(home), "run"])
    if code not in (0, 3):
        os.write(2, said.getvalue().encode())
    os.write(2, f"points {points.passed}\n".encode()) if deadly == 0 else None
    os._exit(code)


def serve() -> None:
    """Answer lines of `HOME POINT SECONDS`: fork a run, kill it there or then (0: not), say how it ended.

    One process with all libraries loaded, so that a kill costs no start. It does no work itself: their threads would not
    survive the fork.
    """
    for module in ("flows.cli", "flows.commands.night", "pipelines.night"):
        import_module(module)

    print("ready", flush=True)
    for line in sys.stdin:
        home, deadly, seconds = line.rstrip("\n").split("\t")
        child = os.fork()
        if child == 0:
            try:
                run_and_die(Path(home), int(deadly))
            finally:
                os._exit(70)
        if float(seconds):
            time.sleep(float(seconds))
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)


def read_on(published: Path, masked: Path | None = None) -> None:
    """Ask the published warehouse until standard input ends; any error, half a run or step back ends with a traceback.

    The masked one too, if given: it may be ahead of the other, never behind.
    """
    import select

    import duckdb

    reads = last = 0
    print("ready", flush=True)
    while not select.select([sys.stdin], [], [], 0)[0]:
        with duckdb.connect(str(published), read_only=True) as con:
            ((events, records, runs, orphans),) = con.execute(
                "SELECT (SELECT count(*) FROM events), (SELECT coalesce(sum(records), 0) FROM drops WHERE status = 'applied'), "
                "(SELECT count(*) FROM runs WHERE state = 'done'), "
                "(SELECT count(*) FROM loans WHERE client_id NOT IN (SELECT client_id FROM clients))"
            ).fetchall()
        assert events == records, (events, records)
        assert orphans == 0
        assert runs >= last, (runs, last)
        last, reads = runs, reads + 1
        if masked:
            with duckdb.connect(str(masked), read_only=True) as con:
                ((events, records, in_masked),) = con.execute(
                    "SELECT (SELECT count(*) FROM events), (SELECT coalesce(sum(records), 0) FROM drops WHERE status = 'applied'), "
                    "(SELECT count(*) FROM runs WHERE state = 'done')"
                ).fetchall()
            assert events == records, (events, records)
            assert in_masked >= runs, (in_masked, runs)
        time.sleep(0.002)
    print(reads, flush=True)


class Process:
    """One of the above in a process of its own."""

    def __init__(self, *words: str) -> None:
        env = {name: value for name, value in os.environ.items() if not name.startswith("NIGHTDROP")}
        env["PYTHONPATH"] = os.pathsep.join([str(TESTS.parent), str(TESTS)])
        self.process = subprocess.Popen(
            [sys.executable, str(TESTS / "killing.py"), *words],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=env,
        )
        assert self.line() == "ready", self.ended()

    def line(self) -> str:
        assert self.process.stdout
        return self.process.stdout.readline().rstrip("\n")

    def ask(self, words: str) -> str:
        assert self.process.stdin
        self.process.stdin.write(words + "\n")
        self.process.stdin.flush()
        return self.line()

    def ended(self) -> tuple[int, str, str]:
        """Close its standard input, and return its exit code and what it said."""
        out, err = self.process.communicate(timeout=120)
        return self.process.returncode, out, err


if __name__ == "__main__":
    {"serve": serve, "read": lambda: read_on(*map(Path, sys.argv[2:]))}[sys.argv[1]]()
