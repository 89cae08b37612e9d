"""What a person starts from the Prefect page: rerun, withdraw, release. The acts of the command line, told as an artifact."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

from prefect import flow
from prefect.artifacts import create_markdown_artifact
from pydantic import Field

from flows.commands.acts import inbox_path, require_home, target_of
from flows.failures import without_values
from flows.fetching import Brought
from flows.nightly import DayOrNone, HomeFolder, acted, as_task, cell
from flows.settings import load_settings
from pipelines import acts
from pipelines.acts import Acted
from pipelines.home import Home, Settings
from pipelines.summary import Night

# What a person reads beside a parameter on the page, Prefect takes from the docstring of the flow.
Target = Annotated[str, Field(min_length=1, max_length=4096)]
DropPath = Annotated[str, Field(min_length=1, max_length=4096)]
ARTIFACT = "nightdrop-act"
_SHOWN = 200


@flow(
    name="rerun",
    flow_run_name="rerun {target}",
    description="Decide drops again from their archived bytes.",
    persist_result=False,
)
def rerun(target: Target, home: HomeFolder = ".") -> Night:
    """Decide the drops of a date or path again; of a path, undo its withdrawal.

    Args:
        target: A business date (YYYY-MM-DD), or a drop's path in the inbox.
        home: The home: the folder that holds data/ and reports/.

    """
    place = _home(home)
    named = target_of(place, target)
    return _do(place, f"rerun {target}", lambda settings: acts.rerun(place, settings, named))


@flow(name="withdraw", flow_run_name="withdraw {target}", description="Take a drop out, or all of a date.", persist_result=False)
def withdraw(target: Target, home: HomeFolder = ".") -> Night:
    """Take a drop out, or all of a date; it stays out until `rerun PATH`.

    Args:
        target: A business date (YYYY-MM-DD), or a drop's path in the inbox.
        home: The home: the folder that holds data/ and reports/.

    """
    place = _home(home)
    named = target_of(place, target)
    return _do(place, f"withdraw {target}", lambda settings: acts.withdraw(place, settings, named))


@flow(name="release", flow_run_name="release {path}", description="Accept a held drop as it is.", persist_result=False)
def release(path: DropPath, business_date: DayOrNone = None, home: HomeFolder = ".") -> Night:
    """Accept a held drop as it is.

    Args:
        path: The held drop's path in the inbox.
        business_date: The business date (YYYY-MM-DD) of a drop that has none in its path.
        home: The home: the folder that holds data/ and reports/.

    """
    place = _home(home)
    named = inbox_path(place, path)
    return _do(place, f"release {path}", lambda settings: acts.release(place, settings, named, business_date=business_date))


def _home(home: str) -> Home:
    place = Home(Path(home).absolute())
    require_home(place)
    return place


def _do(home: Home, name: str, act: Callable[[Settings], Acted]) -> Night:
    """Do it with the home to oneself, and tell what came of it."""
    settings = load_settings(home.root)
    done: list[Acted] = []

    def work() -> tuple[Night, Brought]:
        done.append(as_task(name, lambda: without_values(home, lambda: act(settings))))
        return done[-1].night, Brought()

    night, _ = acted(home, settings, f"nightdrop {name.partition(' ')[0]}", work)
    create_markdown_artifact(key=ARTIFACT, markdown=_told(name, done[-1]), description="What an act came to")
    return night


def _told(name: str, came: Acted) -> str:
    """Return what came of an act as Markdown: paths and counts."""
    night = came.night
    parts = [
        f"# {cell(name)}",
        f"{night.events:,} events: **{night.applied:,} applied, {night.rejected:,} rejected**, {night.flipped:,} flipped.",
    ]
    parts.append("\n".join(f"- {cell(path)}" for path in came.drops[:_SHOWN]) or "Nothing to do.")
    if came.left_out:
        parts.append("Left out:\n\n" + "\n".join(f"- {cell(what)}: {cell(why)}" for what, why in came.left_out[:_SHOWN]))
    return "\n\n".join(parts) + "\n"
