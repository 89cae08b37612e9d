"""`nightdrop report`: a date's report written again, or the pack that goes back to a supplier."""

from __future__ import annotations

from datetime import UTC, date, datetime
from functools import partial
from pathlib import Path
from typing import Any

from flows.commands.acts import require_home, target_of
from flows.lock import hold
from flows.settings import load_settings
from flows.terminal import Answer, line
from pipelines.calendar import attendance
from pipelines.database import connect
from pipelines.discovery import paths_in
from pipelines.home import Home
from pipelines.problems import UsageError

_DATES = "SELECT DISTINCT business_date FROM drops WHERE path = $target OR business_date::VARCHAR = $target ORDER BY 1 NULLS LAST"


def report(home: Home, target: str) -> Answer:
    """Write the report of a date, or of the dates of a drop, and the page over all dates."""
    require_home(home)
    named, settings = target_of(home, target), load_settings(home.root)
    from pipelines.reporting import PAGE, UNDATED, write_reports

    with hold(home, command="nightdrop report"), connect(home.working, read_only=True) as con:
        days = [day for (day,) in con.execute(_DATES, {"target": str(named)}).fetchall()]
        now, inbox = datetime.now(UTC), partial(paths_in, home.inbox)
        calendar = attendance(con, settings.calendar, settings.sources.name_of, now, inbox=inbox)
        if not days and isinstance(named, date) and calendar.missing_on(named):
            days = [named]
        if not days:
            raise UsageError(f"{target}: no drop has this date or path. Nothing was written. See `nightdrop drops`.")
        files = write_reports(con, home, [day for day in days if day], settings, calendar=calendar)
    pages = [home.reports / str(day) / PAGE if day else home.reports / UNDATED / "summary.json" for day in days]
    data: dict[str, Any] = {"dates": [day for day in days if day], "files": list(map(str, files)), "pages": list(map(str, pages))}
    return Answer(data, [line(f"Written  {page}") for page in pages] + [line(f"All dates  {home.reports / PAGE}")])


def pack(home: Home, target: str, source: str, *, out: Path, zipped: bool) -> Answer:
    """Make what goes back to a supplier of a date."""
    require_home(home)
    day = target_of(home, target)
    if not isinstance(day, date):
        raise UsageError(
            f"{target}: a pack is of one business date; wanted YYYY-MM-DD before --for {source}. Nothing was written."
        )
    from pipelines.packs import LETTER, write_pack

    with hold(home, command="nightdrop report"), connect(home.working, read_only=True) as con:
        made = write_pack(con, home, day, source, out, zipped=zipped, sources=load_settings(home.root).sources)
    data = {
        "source": source,
        "business_date": day,
        "pack": str(made.place) if made.place else None,
        "files": list(made.files),
        "state": made.told.state,
        "sentence": made.told.sentence,
    }
    if made.place is None:
        return Answer(data, [line(f"{source}, {day}: {made.told.sentence} There is nothing to send back; no pack was made.")])
    text = [line(f"{source}, {day}: {made.told.sentence}", "bold"), line(f"Pack  {made.place}")]
    text += [line(f"      {name}") for name in made.files]
    return Answer(data, [*text, line(f"Send it as it is; {LETTER} tells its reader what to do.")])
