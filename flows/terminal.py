"""What a person sees: tables, sizes, a progress bar. Standard output gets the answer, standard error all else.

Text from drops is not trusted: control characters come out as escapes, so that no file steers a terminal.
"""

from __future__ import annotations

import contextlib
import io
import json
import math
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from rich.cells import cell_len
from rich.console import Console, RenderableType
from rich.padding import Padding
from rich.progress import BarColumn, MofNCompleteColumn, Task, TaskID, TextColumn, TimeElapsedColumn
from rich.progress import Progress as RichProgress
from rich.table import Table
from rich.text import Text

from pipelines.problems import NightdropError
from pipelines.summary import Progress
from pipelines.visible import visible

_BETWEEN = 2
"""Blanks between the columns of a table."""
_READABLE = 9
"""Columns of the terminal that a column of words needs."""
_WIDE = 100_000
"""Columns when nobody looks: what is piped is cut nowhere."""
_UNITS = ("bytes", "KiB", "MiB", "GiB", "TiB")
_THOUSAND = 1024


@dataclass(frozen=True, slots=True)
class Answer:
    """What a command has to say, for programs and for people, and its exit code."""

    data: dict[str, Any]
    text: Sequence[RenderableType]
    code: int = 0


def give(answer: Answer, *, as_json: bool, quiet: bool = False) -> None:
    """Write an answer to standard output; a reader that went away is no failure. `quiet` leaves the words out."""
    if as_json or not quiet:
        write_out(json_text(answer.data) if as_json else _rendered(answer.text))


def write_out(text: str) -> None:
    """Write to standard output at once, without a word when its reader has gone (`| head`)."""
    with _reader_may_go():
        sys.stdout.write(text)
        sys.stdout.flush()


def write_bytes(pieces: Iterable[bytes]) -> None:
    """Write bytes to standard output, piece by piece; likewise."""
    sys.stdout.flush()
    into = getattr(sys.stdout, "buffer", None)
    with _reader_may_go():
        for piece in pieces:
            into.write(piece) if into else sys.stdout.write(piece.decode())
        sys.stdout.flush()


@contextlib.contextmanager
def _reader_may_go() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        # Python would complain again when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if not isinstance(error, BrokenPipeError):
            raise NightdropError(
                f"standard output: the answer could not be written ({error.strerror}). The work was done; only the words for it "
                "are lost. Look whether the disk is full, then see `nightdrop status`."
            ) from error


def write_note(text: str) -> None:
    """Write to standard error."""
    with contextlib.suppress(OSError):
        sys.stderr.write("nightdrop: " + "\n".join(map(plain, text.split("\n"))) + "\n")
        sys.stderr.flush()


def json_text(data: dict[str, Any]) -> str:
    """Return one JSON object and a line end; exact numbers, dates and bytes as text."""
    text = json.dumps(jsonable(data), ensure_ascii=False, allow_nan=False) + "\n"
    # A lone surrogate (a file name that is no UTF-8) becomes the JSON escape that stands for it.
    return text.encode("utf-8", "backslashreplace").decode()


def plain(value: object) -> str:
    """Return the text of a value, what cannot be printed (control characters and the like) as escapes."""
    return visible(value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else str(value))


def line(text: str, style: str = "") -> Text:
    """Return a line of text, in which nothing is markup."""
    return Text(plain(text), style=style)


def table(columns: Sequence[str], rows: Sequence[Sequence[object]], *, exact: bool = False) -> Table:
    """Return a table: numbers to the right, long cells folded to the terminal's width.

    Counts are told in thousands and None by nothing; `exact` tells values as they are, and NULL.
    """
    made = Table(box=None, header_style="bold", pad_edge=False, padding=(0, _BETWEEN, 0, 0))
    for number, column in enumerate(columns):
        cells = [row[number] for row in rows]
        of_numbers = any(map(_is_number, cells))
        # What a question calls its columns is no more to be trusted than what is in them.
        made.add_column(line(column), justify="right" if of_numbers else "left", overflow="fold", no_wrap=_stays_whole(cells))
    for row in rows:
        made.add_row(*(Text(_exact(value) if exact else _cell(value)) for value in row))
    return made


def least_width(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> int:
    """Return how many columns of a terminal an exact table needs to be read."""
    needed = 0
    for number, column in enumerate(columns):
        cells = [row[number] for row in rows]
        longest = max(map(cell_len, [plain(column), *map(_exact, cells)]))
        needed += (longest if _stays_whole(cells) else min(longest, _READABLE)) + _BETWEEN
    return needed - _BETWEEN


def record(columns: Sequence[str], row: Sequence[object]) -> Table:
    """Return one row as a list of names and exact values, long values folded beside their name."""
    made = Table.grid(padding=(0, _BETWEEN, 0, _BETWEEN))
    made.add_column(overflow="fold")
    made.add_column(overflow="fold", min_width=_READABLE)
    for name, value in zip(columns, row, strict=True):
        made.add_row(line(name), Text(_exact(value)))
    return made


def _stays_whole(cells: Sequence[object]) -> bool:
    """Tell whether a column is of numbers or dates: a narrow terminal folds words."""
    return any(map(_is_number, cells)) or all(value is None or isinstance(value, date) for value in cells)


def indented(words: str, style: str = "", *, by: int = 4) -> RenderableType:
    """Return a line that stands under another one, also where it is folded."""
    return Padding(line(words, style), (0, 0, 0, by), expand=False)


def counted(count: int, noun: str) -> str:
    """Return a number and what it counts: `1 event`, `1,000 events`."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def size(count: int) -> str:
    """Return a number of bytes in words: `1.5 MiB`."""
    power = min(int(math.log(count, _THOUSAND)), len(_UNITS) - 1) if count > 0 else 0
    return counted(count, "byte") if power == 0 else f"{count / _THOUSAND**power:,.1f} {_UNITS[power]}"


_quiet = False


def hush(quiet: bool) -> None:
    """Show no progress from now on, or show it again."""
    global _quiet  # noqa: PLW0603  # one process is one command
    _quiet = quiet


@contextlib.contextmanager
def progress_bar() -> Iterator[Progress | None]:
    """Show a run's progress on standard error while the block runs; None when that is no terminal."""
    console = Console(stderr=True)
    if _quiet or not console.is_terminal:
        yield None
        return
    columns = (TextColumn("{task.description}"), BarColumn(), _Units(), TimeElapsedColumn())
    with RichProgress(*columns, console=console, transient=True) as shown:
        yield _Bar(shown)


class _Units(MofNCompleteColumn):
    """How many units of how many are done; nothing when nobody knows how many there are."""

    def render(self, task: Task) -> Text:
        return Text() if task.total is None else super().render(task)


class _Bar:
    """A progress bar that shows the step at work."""

    def __init__(self, shown: RichProgress) -> None:
        self._shown = shown
        self._task: TaskID | None = None

    def step(self, name: str, total: int | None) -> None:
        if self._task is not None:
            self._shown.remove_task(self._task)
        self._task = self._shown.add_task(plain(name), total=total)

    def advance(self, n: int = 1) -> None:
        if self._task is not None:
            self._shown.advance(self._task, n)


def terminal_width() -> int | None:
    """Return how many columns standard output has, None when it is no terminal."""
    console = Console()
    return console.width if console.is_terminal else None


def _rendered(text: Sequence[RenderableType]) -> str:
    real = Console()
    written = io.StringIO()
    if real.is_terminal:
        color = real.color_system
        into = Console(file=written, force_terminal=True, width=real.width, color_system=color)  # type: ignore[arg-type]  # the name that rich gave it
    else:
        into = Console(file=written, width=_WIDE, color_system=None, force_terminal=False)
    for part in text:
        into.print(part, soft_wrap=not real.is_terminal)
    return "".join(f"{row.rstrip()}\n" for row in written.getvalue().removesuffix("\n").split("\n"))


def _cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M:%S}"
    return plain(value)


def _exact(value: object) -> str:
    """Return a value as the warehouse has it."""
    if value is None:
        return "NULL"
    if isinstance(value, dict | list | tuple):
        return plain(json.dumps(jsonable(value), ensure_ascii=False))
    return _cell(value).replace(",", "") if isinstance(value, int) else _cell(value)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float | Decimal) and not isinstance(value, bool)


def jsonable(value: Any) -> Any:
    """Return a value as JSON can hold it: exact numbers, dates and bytes as text."""
    if isinstance(value, dict):
        return {str(key): jsonable(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [jsonable(inner) for inner in value]
    if isinstance(value, bytes):
        return value.decode("utf-8", "backslashreplace")
    if isinstance(value, datetime | date):
        return value.isoformat()
    as_it_is = value is None or isinstance(value, int | str) or (isinstance(value, float) and math.isfinite(value))
    return value if as_it_is else str(value)
