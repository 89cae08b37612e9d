"""`nightdrop`: the command line. It parses, calls one function, prints what that gives, and turns failures into words.

Exit: 0 done, 1 failed, 2 usage, 3 done and some drop is held, 4 another run has the home, 130 interrupted.
Nothing heavy is imported before a command needs it.
"""

from __future__ import annotations

import io
import os
import signal
import sys
from contextlib import suppress
from pathlib import Path
from typing import Annotated

import typer
from typer.exceptions import TyperException

from flows import acting, inquiring, serving
from flows.ending import ends_at_once
from flows.process import leave_test_libraries_alone, look_for_cycles_seldom, multiply_in_one_thread
from flows.said import Call, HomeOption, JsonOption, date_said, said
from pipelines.files import keep_files_private
from pipelines.heap import keep_one_heap, keep_what_is_freed
from pipelines.home import Home
from pipelines.problems import HomeBusyError, NightdropError, UsageError

FAILED, USAGE, BUSY, INTERRUPTED = 1, 2, 4, 130
_EXIT_CODES: dict[type[NightdropError], int] = {UsageError: USAGE, HomeBusyError: BUSY}

app = typer.Typer(
    help="Nightdrop: drops of events in, a DuckDB warehouse and rejection reports out.",
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
app.add_typer(inquiring.app)
app.add_typer(acting.app)
app.add_typer(serving.app)


@app.callback()
def _before(
    ctx: typer.Context,
    *,
    home: Annotated[Path | None, typer.Option("--home", envvar="NIGHTDROP_HOME", help="The home (default: .).")] = None,
    json: JsonOption = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="No words but failures, also after the command.")] = False,
    verbose: Annotated[bool, typer.Option("--verbose", help="Each step on standard error, also after the command.")] = False,
    log_file: Annotated[
        Path | None,
        typer.Option("--log-file", envvar="NIGHTDROP_LOG_FILE", help="The log (default: data/state/nightdrop.log)."),
    ] = None,
) -> None:
    call: Call = ctx.find_root().obj
    call.quiet, call.verbose, call.log_file = quiet, verbose, log_file
    said(ctx, home, json)


@app.command()
def run(
    ctx: typer.Context,
    day: Annotated[str | None, typer.Option("--date", metavar="D", help="Only drops of this business date (YYYY-MM-DD).")] = None,
    prefect: Annotated[bool, typer.Option("--prefect", help="As a Prefect flow: the same work, watched.")] = False,
    home: HomeOption = None,
    json: JsonOption = False,
) -> int:
    """Do the nightly job: pick up, decide, publish, report."""
    call = said(ctx, home, json)
    only_date = date_said(day)
    from flows.commands import night

    return call.answer(night.run(call.home, only_date=only_date, prefect=prefect))


@app.command()
def fetch(ctx: typer.Context, home: HomeOption = None, json: JsonOption = False) -> int:
    """Bring what is new in the inboxes elsewhere; `run` does so first."""
    call = said(ctx, home, json)
    from flows.commands import night

    return call.answer(night.fetch(call.home))


@app.command()
def status(ctx: typer.Context, home: HomeOption = None, json: JsonOption = False) -> int:
    """Tell what is in, held, pending and at work, and the disk it takes."""
    call = said(ctx, home, json)
    from flows.commands import inspection

    return call.answer(inspection.status(call.home))


@app.command()
def drops(ctx: typer.Context, home: HomeOption = None, json: JsonOption = False) -> int:
    """List every drop and what became of it."""
    call = said(ctx, home, json)
    from flows.commands import inspection

    return call.answer(inspection.drops(call.home))


@app.command()
def runs(ctx: typer.Context, home: HomeOption = None, json: JsonOption = False) -> int:
    """List the runs."""
    call = said(ctx, home, json)
    from flows.commands import inspection

    return call.answer(inspection.runs(call.home))


@app.command()
def rules(
    ctx: typer.Context,
    countries: Annotated[bool, typer.Option("--countries", help="The country codes instead.")] = False,
    currencies: Annotated[bool, typer.Option("--currencies", help="The currency codes instead.")] = False,
    home: HomeOption = None,
    json: JsonOption = False,
) -> int:
    """Print the catalogue of rules."""
    call = said(ctx, home, json)
    from flows.commands import catalogue

    if countries or currencies:
        return call.answer(catalogue.codes(countries=countries, currencies=currencies))
    return call.answer(catalogue.rules())


@app.command()
def init(ctx: typer.Context, home: HomeOption = None, json: JsonOption = False) -> int:
    """Make a new home."""
    call = said(ctx, home, json)
    from flows.commands import beginning

    return call.answer(beginning.init(call.home))


@app.command()
def sample(
    ctx: typer.Context,
    *,
    events: Annotated[int, typer.Option("--events", metavar="N", help="How many events.")] = 1000,
    seed: Annotated[int, typer.Option("--seed", metavar="S", help="The same seed gives the same files.")] = 1,
    out: Annotated[Path | None, typer.Option("--out", metavar="DIR", help="Where to (default: the home's inbox).")] = None,
    days: Annotated[int, typer.Option("--days", help="Over how many business dates.")] = 1,
    rejected: Annotated[float, typer.Option("--rejected", help="Share of events that the rules refuse.")] = 0.04,
    format: Annotated[str, typer.Option("--format", help="jsonl or csv.")] = "jsonl",
    home: HomeOption = None,
    json: JsonOption = False,
) -> int:
    """Make synthetic drops of any size."""
    call = said(ctx, home, json)
    from flows.commands import beginning

    place = out if out is not None else call.home.inbox
    return call.answer(beginning.sample(place, events=events, seed=seed, rejected=rejected, days=days, format=format))


def main() -> None:
    """Run the command line and leave with its exit code."""
    _speak_utf8()
    leave = ends_at_once()
    _open_standard_streams()
    signal.signal(signal.SIGTERM, _interrupt)
    keep_files_private()
    keep_one_heap()
    keep_what_is_freed()
    look_for_cycles_seldom()
    multiply_in_one_thread()
    leave_test_libraries_alone()
    for stream in (sys.stdout, sys.stderr):
        # A path that is no UTF-8, or a terminal that knows none, must not end in a traceback.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    leave(call(sys.argv[1:]))


def _speak_utf8() -> None:
    """Begin again where the caller's locale has file names in another encoding: ours are UTF-8, a bounce's name too."""
    if sys.getfilesystemencoding() != "utf-8" and os.environ.get("PYTHONUTF8") != "1":
        os.environ["PYTHONUTF8"] = "1"
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])  # noqa: S606  # this very command


def _interrupt(*_: object) -> None:
    """Take a SIGTERM (of a service manager, of a time limit) like a Ctrl-C: what is half done is cleared away."""
    raise KeyboardInterrupt


def _open_standard_streams() -> None:
    """Open what the caller has closed (`>&-`) to nowhere: else the next file, the warehouse even, would stand in its place."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            os.dup2(handle := os.open(os.devnull, os.O_RDWR), number)
            if handle != number:
                os.close(handle)
            setattr(sys, name, os.fdopen(number, "r" if name == "stdin" else "w"))


def call(arguments: list[str]) -> int:
    """Run one command and return its exit code; every failure is told in words."""
    first = Call(Home(Path.cwd()), json="--json" in arguments)
    try:
        code = app(_in_front(arguments), prog_name="nightdrop", standalone_mode=False, obj=first)
    except TyperException as error:
        return _fail(first, f"{error.format_message()} `nightdrop --help` lists what there is.", USAGE)
    except NightdropError as error:
        return _fail(first, str(error), _EXIT_CODES.get(type(error), FAILED))
    except KeyboardInterrupt:
        code = INTERRUPTED
    except Exception as error:  # the last place where it can become a sentence; the traceback is kept
        from flows.failures import broken_world, unexpected

        return _fail(first, broken_world(first.home, error) or unexpected(first.home, error), FAILED)
    if code == INTERRUPTED:
        words = "interrupted. Readers have a whole warehouse, that of before or the new one; run again to go on."
        return _fail(first, words, INTERRUPTED)
    return code if isinstance(code, int) else 0


def _in_front(arguments: list[str]) -> list[str]:
    """Return the arguments with what is said of every command in front, wherever it stood before `--`."""
    end = arguments.index("--") if "--" in arguments else len(arguments)
    front, rest = [], []
    words = iter(arguments[:end])
    for word in words:
        if word in ("--quiet", "--verbose") or word.startswith("--log-file="):
            front.append(word)
        elif word == "--log-file":
            front += [word, *([value] if (value := next(words, None)) is not None else [])]
        else:
            rest.append(word)
    return [*front, *rest, *arguments[end:]]


def _fail(first: Call, words: str, code: int) -> int:
    from flows.terminal import json_text, write_note, write_out

    if first.json:
        with suppress(NightdropError):  # nobody can read it; the note has the same words
            write_out(json_text({"error": words, "exit": code}))
    write_note(words)
    return code


if __name__ == "__main__":
    main()
