"""What a person does about drops, as the command line takes it, and `plan` with each of these behind it. It only parses."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from flows.said import HomeOption, JsonOption, date_said, said
from pipelines.problems import UsageError

app = typer.Typer()
plan_app = typer.Typer()
app.add_typer(plan_app, name="plan", help="Show what one of these would change, and change nothing.")

Target = Annotated[str, typer.Argument(metavar="DATE|PATH", help="A business date, or a drop's path in the inbox.")]
DropPath = Annotated[str, typer.Argument(metavar="PATH", help="A drop's path in the inbox.")]
BounceFile = Annotated[Path, typer.Argument(metavar="FILE", help="The fixed bounce file.")]
DateOption = Annotated[
    str | None, typer.Option("--date", metavar="D", help="The business date of a drop without one (YYYY-MM-DD).")
]
OnlyDateOption = Annotated[str | None, typer.Option("--date", metavar="D", help="Only drops of this business date (YYYY-MM-DD).")]


@app.command()
def withdraw(ctx: typer.Context, target: Target, home: HomeOption = None, json: JsonOption = False) -> int:
    """Take a drop out, or all of a date; it stays out until `rerun PATH`."""
    call = said(ctx, home, json)
    from flows.commands import acts

    return call.answer(acts.withdraw(call.home, target))


@app.command()
def rerun(ctx: typer.Context, target: Target, home: HomeOption = None, json: JsonOption = False) -> int:
    """Decide drops again from their archived bytes; of a path, undo its withdrawal."""
    call = said(ctx, home, json)
    from flows.commands import acts

    return call.answer(acts.rerun(call.home, target))


@app.command()
def release(ctx: typer.Context, path: DropPath, day: DateOption = None, home: HomeOption = None, json: JsonOption = False) -> int:
    """Accept a held drop as it is."""
    call = said(ctx, home, json)
    business_date = date_said(day)
    from flows.commands import acts

    return call.answer(acts.release(call.home, path, business_date=business_date))


@app.command()
def resubmit(ctx: typer.Context, file: BounceFile, home: HomeOption = None, json: JsonOption = False) -> int:
    """Take a fixed bounce file back: each line in its original's place."""
    call = said(ctx, home, json)
    from flows.commands import acts

    return call.answer(acts.resubmit(call.home, file))


@app.command()
def report(
    ctx: typer.Context,
    *,
    target: Target,
    source: Annotated[
        str | None, typer.Option("--for", metavar="SOURCE", help="A pack to send back to this source instead.")
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", metavar="DIR", help="Where the pack goes (default: here).")] = None,
    zipped: Annotated[bool, typer.Option("--zip", help="The pack as one zip instead of a folder.")] = False,
    home: HomeOption = None,
    json: JsonOption = False,
) -> int:
    """Write the report of a date again; with --for, what goes back to a supplier."""
    call = said(ctx, home, json)
    from flows.commands import report

    if source is None:
        if out is not None or zipped:
            raise UsageError("--out and --zip belong to a supplier's pack: say whose with --for SOURCE. Nothing was written.")
        return call.answer(report.report(call.home, target))
    return call.answer(report.pack(call.home, target, source, out=out or Path.cwd(), zipped=zipped))


@app.command()
def verify(ctx: typer.Context, home: HomeOption = None, json: JsonOption = False) -> int:
    """Rebuild the warehouse beside itself and compare every table."""
    call = said(ctx, home, json)
    from flows.commands import acts

    return call.answer(acts.verify(call.home))


@app.command()
def rebuild(ctx: typer.Context, home: HomeOption = None, json: JsonOption = False) -> int:
    """Make the warehouse anew out of the archive."""
    call = said(ctx, home, json)
    from flows.commands import acts

    return call.answer(acts.rebuild(call.home))


@plan_app.callback()
def _before_plan(ctx: typer.Context, home: HomeOption = None, json: JsonOption = False) -> None:
    said(ctx, home, json)


@plan_app.command("run")
def plan_run(ctx: typer.Context, day: OnlyDateOption = None, home: HomeOption = None, json: JsonOption = False) -> int:
    """Show what the nightly job would change."""
    call = said(ctx, home, json)
    only_date = date_said(day)
    from flows.commands import acts

    return call.answer(acts.plan_run(call.home, only_date=only_date))


@plan_app.command("withdraw")
def plan_withdraw(ctx: typer.Context, target: Target, home: HomeOption = None, json: JsonOption = False) -> int:
    """Show what taking out would change."""
    call = said(ctx, home, json)
    from flows.commands import acts

    return call.answer(acts.plan_withdraw(call.home, target))


@plan_app.command("rerun")
def plan_rerun(ctx: typer.Context, target: Target, home: HomeOption = None, json: JsonOption = False) -> int:
    """Show what deciding again would change."""
    call = said(ctx, home, json)
    from flows.commands import acts

    return call.answer(acts.plan_rerun(call.home, target))


@plan_app.command("release")
def plan_release(
    ctx: typer.Context, path: DropPath, day: DateOption = None, home: HomeOption = None, json: JsonOption = False
) -> int:
    """Show what accepting a held drop would change."""
    call = said(ctx, home, json)
    business_date = date_said(day)
    from flows.commands import acts

    return call.answer(acts.plan_release(call.home, path, business_date=business_date))


@plan_app.command("resubmit")
def plan_resubmit(ctx: typer.Context, file: BounceFile, home: HomeOption = None, json: JsonOption = False) -> int:
    """Show what taking a fixed bounce file back would change."""
    call = said(ctx, home, json)
    from flows.commands import acts

    return call.answer(acts.plan_resubmit(call.home, file))
