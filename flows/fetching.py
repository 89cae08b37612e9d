"""What lies in inboxes elsewhere, brought here before a night: one that cannot be reached keeps none of the others from it."""

from __future__ import annotations

from dataclasses import dataclass

from flows.logs import told
from pipelines.fetching import Fetched, fetch
from pipelines.home import Home, Settings
from pipelines.problems import NightdropError
from pipelines.stores import opened


@dataclass(frozen=True, slots=True)
class Brought:
    """What came of all inboxes elsewhere."""

    copied: tuple[str, ...] = ()
    problems: tuple[tuple[str, str], ...] = ()
    """Inbox or path, and what is wrong with it."""


def bring(home: Home, settings: Settings) -> Brought:
    """Copy what is new in the inboxes elsewhere into the inbox; the caller has the home's lock."""
    copied: list[str] = []
    problems: list[tuple[str, str]] = []
    for inbox in settings.inboxes:
        try:
            with opened(inbox) as store:
                found = fetch(store, home.inbox / inbox.name, home.state / "fetched" / f"{inbox.name}.json")
        except NightdropError as error:
            found = Fetched(problems=[(inbox.name, str(error))])
        copied += found.copied
        problems += found.problems
        told("fetched", inbox=inbox.name, copied=len(found.copied), unsummed=found.unsummed, problems=len(found.problems))
    return Brought(tuple(copied), tuple(problems))
