"""What a person asks the published warehouse, as the command line takes it: `query`, `export`, `explain`. It only parses."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from flows.said import Call, HomeOption, JsonOption, date_said, said
from pipelines.problems import UsageError

app = typer.Typer()

FormatOption = Annotated[
    str | None,
    typer.Option(
        "--format",
        metavar="F",
        help="table, csv, json or parquet (default: what FILE is called).",
        autocompletion=lambda: ["table", "csv", "json", "parquet"],
    ),
]
OutOption = Annotated[Path | None, typer.Option("--out", metavar="FILE", help="A file instead of standard output.")]


@app.command()
def query(
    ctx: typer.Context,
    *,
    sql: Annotated[str, typer.Argument(metavar="SQL", help="One question to the published warehouse.")],
    format: FormatOption = None,
    out: OutOption = None,
    home: HomeOption = None,
    json: JsonOption = False,
) -> int:
    """Ask the published warehouse, read-only."""
    call = said(ctx, home, json)
    from flows.commands import asking

    _refuse_two_answers(call, out, format if format != "table" else None)
    if out is None and format in (None, "table"):
        return call.answer(asking.query(call.home, sql, whole=call.json))
    return call.answer(asking.write_query(call.home, sql, format=format, out=out))


def _tables() -> list[str]:
    from pipelines.tables import SHOWN

    return list(SHOWN)


@app.command()
def export(
    ctx: typer.Context,
    *,
    name: Annotated[
        str, typer.Argument(metavar="TABLE", help="A table or view of the published warehouse.", autocompletion=_tables)
    ],
    as_of: Annotated[str | None, typer.Option("--as-of", metavar="D", help="As it stood at the end of that date.")] = None,
    format: FormatOption = None,
    out: OutOption = None,
    home: HomeOption = None,
    json: JsonOption = False,
) -> int:
    """Take a table out: CSV (the default), JSON or Parquet."""
    call = said(ctx, home, json)
    _refuse_two_answers(call, out, format or "csv")
    by_then = date_said(as_of, option="--as-of")
    from flows.commands import asking

    return call.answer(asking.export(call.home, name, format=format, out=out, as_of=by_then))


def _refuse_two_answers(call: Call, out: Path | None, format: str | None) -> None:
    if call.json and out is None and format:
        raise UsageError(
            f"--json and {format} cannot both have standard output; say where to with --out FILE. Nothing was written."
        )


@app.command()
def explain(
    ctx: typer.Context,
    *,
    entity_id: Annotated[str, typer.Argument(metavar="ID", help="Id of a client, loan, payment or deposit.")],
    as_of: Annotated[str | None, typer.Option("--as-of", metavar="D", help="As it stood at the end of that date.")] = None,
    category: Annotated[str | None, typer.Option("--category", metavar="C", help="Only as a client, loan …")] = None,
    home: HomeOption = None,
    json: JsonOption = False,
) -> int:
    """Tell the whole story of a client, loan, payment or deposit."""
    call = said(ctx, home, json)
    by_then = date_said(as_of, option="--as-of")
    from flows.commands import explain

    return call.answer(explain.explain(call.home, entity_id, category=category, as_of=by_then))
