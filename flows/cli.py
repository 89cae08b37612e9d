"""`nightdrop`: the command line. It parses, calls one function, prints what that gives, and turns failures into words.

Exit: 0 done, 1 failed, 2 usage, 3 done and some drop is held, 4 another run has the home, 130 interrupted.
Nothing heavy is imported before a command needs it.
"""

from __future__ import annotations

import os
import re
import sys
import tempfile
import traceback
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from typer.exceptions import TyperException

from pipelines.home import Home
from pipelines.problems import HomeBusyError, NightdropError, UsageError

if TYPE_CHECKING:
    from flows.terminal import Answer

FAILED, USAGE, BUSY, INTERRUPTED = 1, 2, 4, 130
_EXIT_CODES: dict[type[NightdropError], int] = {UsageError: USAGE, HomeBusyError: BUSY}

HomeOption = Annotated[
    Path | None, typer.Option("--home", help="The home: the folder that holds data/ and reports/.", show_default=False)
]
JsonOption = Annotated[bool, typer.Option("--json", help="One JSON object on standard output, all else on standard error.")]

app = typer.Typer(
    help="Nightdrop: drops of events in, a DuckDB warehouse and rejection reports out.",
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)


@dataclass(slots=True)
class _Call:
    """What is said once for every command, before or after its name."""

    home: Home
    json: bool

    def answer(self, answer: Answer) -> int:
        """Print an answer and return its exit code."""
        from flows.terminal import give

        give(answer, as_json=self.json)
        return answer.code


@app.callback()
def _before(
    ctx: typer.Context,
    home: Annotated[Path | None, typer.Option("--home", envvar="NIGHTDROP_HOME", help="The home (default: .).")] = None,
    json: JsonOption = False,
) -> None:
    _said(ctx, home, json)


@app.command()
def run(
    ctx: typer.Context,
    day: Annotated[str | None, typer.Option("--date", metavar="D", help="Only drops of this business date (YYYY-MM-DD).")] = None,
    prefect: Annotated[bool, typer.Option("--prefect", help="As a Prefect flow: the same work, watched.")] = False,
    home: HomeOption = None,
    json: JsonOption = False,
) -> int:
    """Do the nightly job: pick up, decide, publish, report."""
    call = _said(ctx, home, json)
    only_date = _date(day)
    from flows.commands import night

    return call.answer(night.run(call.home, only_date=only_date, prefect=prefect))


@app.command()
def status(ctx: typer.Context, home: HomeOption = None, json: JsonOption = False) -> int:
    """Tell what is in, held, pending and at work, and the disk it takes."""
    call = _said(ctx, home, json)
    from flows.commands import inspection

    return call.answer(inspection.status(call.home))


@app.command()
def drops(ctx: typer.Context, home: HomeOption = None, json: JsonOption = False) -> int:
    """List every drop and what became of it."""
    call = _said(ctx, home, json)
    from flows.commands import inspection

    return call.answer(inspection.drops(call.home))


@app.command()
def runs(ctx: typer.Context, home: HomeOption = None, json: JsonOption = False) -> int:
    """List the runs."""
    call = _said(ctx, home, json)
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
    call = _said(ctx, home, json)
    from flows.commands import catalogue

    if countries or currencies:
        return call.answer(catalogue.codes(countries=countries, currencies=currencies))
    return call.answer(catalogue.rules())


@app.command()
def init(ctx: typer.Context, home: HomeOption = None, json: JsonOption = False) -> int:
    """Make a new home."""
    call = _said(ctx, home, json)
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
    call = _said(ctx, home, json)
    from flows.commands import beginning

    place = out if out is not None else call.home.inbox
    return call.answer(beginning.sample(place, events=events, seed=seed, rejected=rejected, days=days, format=format))


@app.command()
def query(
    ctx: typer.Context,
    sql: Annotated[str, typer.Argument(metavar="SQL", help="One question to the published warehouse.")],
    home: HomeOption = None,
    json: JsonOption = False,
) -> int:
    """Ask the published warehouse, read-only."""
    call = _said(ctx, home, json)
    from flows.commands import inspection

    return call.answer(inspection.query(call.home, sql))


def main() -> None:
    """Run the command line and leave with its exit code."""
    for stream in (sys.stdout, sys.stderr):
        # A path that is no UTF-8, or a terminal that knows none, must not end in a traceback.
        stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    sys.exit(call(sys.argv[1:]))


def call(arguments: list[str]) -> int:
    """Run one command and return its exit code; every failure is told in words."""
    said = _Call(Home(Path.cwd()), json="--json" in arguments)
    try:
        code = app(arguments, prog_name="nightdrop", standalone_mode=False, obj=said)
    except TyperException as error:
        return _fail(said, f"{error.format_message()} `nightdrop --help` lists what there is.", USAGE)
    except NightdropError as error:
        return _fail(said, str(error), _EXIT_CODES.get(type(error), FAILED))
    except KeyboardInterrupt:
        code = INTERRUPTED
    except Exception as error:  # the last place where it can become a sentence; the traceback is kept
        return _fail(said, _unexpected(said.home, error), FAILED)
    if code == INTERRUPTED:
        return _fail(said, "interrupted. The published warehouse is as it was before; run again to go on.", INTERRUPTED)
    return code if isinstance(code, int) else 0


def _said(ctx: typer.Context, home: Path | None, json: bool) -> _Call:
    """Note what stands before or after the command's name; what stands after it counts."""
    said: _Call = ctx.find_root().obj
    if home is not None:
        said.home = Home(home.absolute())
    said.json = said.json or json
    return said


def _date(text: str | None) -> date | None:
    if text is None:
        return None
    try:
        if re.fullmatch(r"[0-9]{4}-?[0-9]{2}-?[0-9]{2}", text):
            return date.fromisoformat(text)
    except ValueError:
        pass
    raise UsageError(f"--date must be a business date, YYYY-MM-DD or YYYYMMDD (got {text!r}). Nothing was changed.")


def _fail(said: _Call, words: str, code: int) -> int:
    from flows.terminal import json_text, write_note, write_out

    if said.json:
        write_out(json_text({"error": words, "exit": code}))
    write_note(words)
    return code


def _unexpected(home: Home, error: Exception) -> str:
    summary = f"{type(error).__name__}: {error}".strip().splitlines()[0]
    return (
        f"{summary}. This was not expected; what was published before stands. The details are in "
        f"{_keep_traceback(home)}. Run again; if it fails again, hand that file to whoever looks after nightdrop."
    )


def _keep_traceback(home: Home) -> Path:
    """Append the traceback to the home's failure log, or put it where temporary files go when there is no such home."""
    words = f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC, process {os.getpid()}: {sys.argv}\n{traceback.format_exc()}\n"
    if home.state.is_dir():
        try:
            return _append(home.state / "failures.log", words)
        except OSError:
            pass  # a full or read-only disk may be what failed
    return _append(Path(tempfile.gettempdir()) / f"nightdrop-failure-{os.getpid()}.log", words)


def _append(file: Path, words: str) -> Path:
    with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o640), "a", errors="backslashreplace") as log:
        log.write(words)
    return file


if __name__ == "__main__":
    main()
