"""The API's journal: which drop it is, and how it differs from every other drop. Pure.

A journal grows while it is read, so it counts up to its last whole line; what is in it was acknowledged, so nothing holds it.
"""

from __future__ import annotations

import re
from datetime import date

CHANNEL = "channel"
"""Key of the envelope that names the way an event came; honoured in the journal alone."""
API = "api"
"""The one channel there is."""
_NAME = f"{API}.jsonl"
_JOURNAL = re.compile(rf"([0-9]{{4}}-[0-9]{{2}}-[0-9]{{2}})/{re.escape(_NAME)}", re.ASCII)


def journal_path(day: date) -> str:
    """Return the path of a day's journal in the inbox: a reserved name."""
    return f"{day.isoformat()}/{_NAME}"


def journal_day(path: str) -> date | None:
    """Return the day whose journal lies at that path of the inbox; None when it is another drop."""
    found = _JOURNAL.fullmatch(path)
    try:
        return date.fromisoformat(found[1]) if found else None
    except ValueError:
        return None


def is_journal(path: str) -> bool:
    """Tell whether a path of the inbox is that of a journal."""
    return journal_day(path) is not None
