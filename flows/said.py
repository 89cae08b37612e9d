"""What is said for every command, before or after its name: the home, and whether to answer in JSON."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipelines.home import Home
from pipelines.problems import UsageError

if TYPE_CHECKING:
    from flows.terminal import Answer

HomeOption = Annotated[
    Path | None, typer.Option("--home", help="The home: the folder that holds data/ and reports/.", show_default=False)
]
JsonOption = Annotated[bool, typer.Option("--json", help="One JSON object on standard output, all else on standard error.")]


@dataclass(slots=True)
class Call:
    """One call of the command line."""

    home: Home
    json: bool
    quiet: bool = False
    """A command that changes something says no words but failures."""
    verbose: bool = False
    log_file: Path | None = None
    changes: bool = False
    """Whether the command may change something: only then is a log kept."""

    def answer(self, answer: Answer | None) -> int:
        """Print an answer, None when standard output has it already, and return its exit code."""
        if answer is None:
            return 0
        from flows.terminal import give

        give(answer, as_json=self.json, quiet=self.quiet and self.changes)
        return answer.code


def said(ctx: typer.Context, home: Path | None, json: bool) -> Call:
    """Note what stands before or after the command's name; what stands after it counts."""
    call: Call = ctx.find_root().obj
    if home is not None:
        call.home = Home(home.absolute())
    call.json = call.json or json
    if ctx.invoked_subcommand is None:  # all options are read
        _refuse_unfit(call.home.root)
        names = {ctx.info_name, ctx.parent.info_name if ctx.parent else None}
        call.changes = bool(names & _CHANGING) and "plan" not in names
        if call.changes:
            from flows import logs
            from flows.terminal import hush

            hush(call.quiet)
            ctx.find_root().with_resource(
                logs.kept(call.home, str(ctx.info_name), to=call.log_file, verbose=call.verbose and not call.quiet)
            )
    return call


_CHANGING = {"run", "fetch", "withdraw", "rerun", "release", "resubmit", "rebuild"}


def _refuse_unfit(root: Path) -> None:
    """Refuse a home under a path that DuckDB cannot work with."""
    for char in str(root):
        if char == "?":
            what = "`?`, after which DuckDB reads settings"
        elif char == "\\":
            what = "`\\`, which DuckDB takes for `/`"
        elif "\ud800" <= char <= "\udfff":
            what = f"the byte {os.fsencode(char)!r}, which is no UTF-8 and DuckDB cannot open"
        else:
            continue
        raise UsageError(
            f"{root}: a home cannot lie here: its path has {what}. Nothing was changed. Rename it, or choose another place."
        )


def date_said(text: str | None, *, option: str = "--date") -> date | None:
    """Return the business date that an option gives, None without it."""
    if text is None:
        return None
    try:
        if re.fullmatch(r"[0-9]{4}-?[0-9]{2}-?[0-9]{2}", text):
            return date.fromisoformat(text)
    except ValueError:
        pass
    raise UsageError(f"{option} must be a business date, YYYY-MM-DD or YYYYMMDD (got {text!r}). Nothing was changed.")
