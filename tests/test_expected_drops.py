"""The calendar of expected drops: what is missing is said in headline, pages, summary, status, hook, log and artifact."""

from __future__ import annotations

import json
import re
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

import pytest
from homes import deliver, home_in
from test_telling import BAD, GOOD, Listener, say

from flows.cli import call
from flows.nightly import artifact
from pipelines.calendar import LOOKED_BACK, Attendance, Expected
from pipelines.home import Home, Settings
from pipelines.night import run_night

MONDAY = date(2026, 11, 16)
WEEKDAYS = frozenset(range(5))


def ago(days: int) -> str:
    """Return a date so many days ago; asked for in each test, since a suite may run over midnight."""
    return str(datetime.now(UTC).date() - timedelta(days=days))


def missing(now: str, came: set[tuple[date, str]], *calendar: Expected) -> list[tuple[str, str]]:
    found = Attendance(calendar, came, datetime.fromisoformat(now + "+00:00")).missing()
    return [(f"{one.business_date:%m-%d}", one.source) for one in found]


def test_what_is_expected_and_not_there_is_missing_once_its_time_is_past():
    came = {(MONDAY, "acme"), (MONDAY + timedelta(1), "other")}
    calendar = [Expected("acme", WEEKDAYS, time(6), 1), Expected("other", frozenset({0, 1}), time(22), since=MONDAY)]
    assert missing("2026-11-16T21:59", came, *calendar) == []
    assert missing("2026-11-16T22:00", came, *calendar) == [("11-16", "other")]
    assert missing("2026-11-18T05:59", came, *calendar) == [("11-16", "other")]
    assert missing("2026-11-18T06:00", came, *calendar) == [("11-16", "other"), ("11-17", "acme")]
    assert missing("2026-11-23T05:00", came, *calendar)[2:] == [(f"11-{day}", "acme") for day in (18, 19, 20)]
    assert ("11-16", "other") not in missing("2026-12-02T00:00", came, *calendar)  # no news any more
    assert [due.missing for due in Attendance(calendar, came, datetime(2027, 1, 1, tzinfo=UTC)).on(MONDAY)] == [False, True]


def test_a_source_is_expected_from_its_first_drop_on_or_since_when_it_is_said():
    came = {(MONDAY, "acme"), (MONDAY + timedelta(2), "late")}
    every = frozenset(range(7))
    assert missing("2026-11-19T00:00", came, Expected("late", every, time(0))) == [("11-19", "late")]
    assert missing("2026-11-17T00:00", came, Expected("late", every, time(0), since=MONDAY)) == [
        ("11-16", "late"),
        ("11-17", "late"),
    ]
    never = Expected("never", every, time(0))
    assert missing("2026-11-17T00:00", came, never) == [("11-16", "never"), ("11-17", "never")]
    assert len(missing("2027-11-17T00:00", came, never)) == LOOKED_BACK + 1


@pytest.mark.parametrize("came", [set(), {(date(2099, 1, 1), "typo")}])
def test_a_home_to_which_nobody_sends_anything_is_not_fine(came):
    found = missing("2026-11-18T07:00", came, Expected("acme", WEEKDAYS, time(6)))
    assert found == [("11-17", "acme"), ("11-18", "acme")]


def test_nothing_is_expected_on_a_holiday():
    calendar = Expected("acme", WEEKDAYS, time(6), holidays=frozenset({MONDAY + timedelta(1)}))
    assert missing("2026-11-18T07:00", {(MONDAY, "acme")}, calendar) == [("11-18", "acme")]


@pytest.fixture
def home(tmp_path, monkeypatch):
    for name in ("NIGHTDROP_HOME", "NIGHTDROP_LOG_FILE"):
        monkeypatch.delenv(name, raising=False)
    return home_in(tmp_path / "night")


DAILY = '[[expected]]\nsource = "acme"\nby = "00:00"\ndays_later = 1\n'


def summary(home: Home, day: str) -> dict[str, Any]:
    return json.loads((home.reports / day / "summary.json").read_text())


def words(page: str) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", page.partition("<main>")[2]))


def index(home: Home) -> str:
    return (home.reports / "index.html").read_text()


def test_a_missing_drop_is_said_in_the_answer_the_summary_and_the_hook(home, capsys):
    deliver(home, {f"{ago(3)}/acme/c.jsonl": GOOD})
    with Listener() as listener:
        say(home, f'{DAILY}[hooks]\nurl = "{listener.url}"\n')
        assert call(["run", "--home", str(home.root), "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert [late["business_date"] for late in answer["missing"]] == [ago(2), ago(1)]
    (told,) = listener.bodies
    assert (told["about"], [late["source"] for late in told["missing"]]) == (["missing"], ["acme", "acme"])
    assert summary(home, ago(3))["expected"] == [
        {"source": "acme", "by": f"{ago(2)}T00:00:00+00:00", "came": True, "missing": False}
    ]
    assert summary(home, ago(2))["missing"] == [{"source": "acme", "by": f"{ago(1)}T00:00:00+00:00"}]
    log = [json.loads(line) for line in (home.state / "nightdrop.log").read_text().splitlines()]
    assert [line["business_date"] for line in log if line["event"] == "missing"] == [ago(2), ago(1)]


def test_a_missing_drop_is_in_the_headline_and_on_the_pages_until_it_comes(home, capsys):
    deliver(home, {f"{ago(3)}/acme/c.jsonl": GOOD})
    say(home, DAILY)
    call(["run", "--home", str(home.root)])
    assert capsys.readouterr().out.startswith("Missing: 2 expected drops did not come. The one record")
    assert 'data-state="missing"' in index(home)
    assert "2 expected drops did not come." in index(home)
    assert f'<a href="{ago(1)}/index.html">' in index(home)
    assert "acme missing" in words(index(home))
    page = (home.reports / ago(2) / "index.html").read_text()
    assert 'data-state="missing"' in page
    assert "1 expected drop did not come." in page
    assert f"acme {ago(1)} 00:00 UTC missing" in words(page)
    assert 'data-state="fine"' in (home.reports / ago(3) / "index.html").read_text()
    deliver(home, {f"{day}/acme/{day}.jsonl": BAD.replace(b"nobody", b"a@example.com") for day in (ago(2), ago(1))})
    call(["run", "--home", str(home.root)])
    assert "did not come" not in capsys.readouterr().out
    assert summary(home, ago(2))["missing"] == []
    assert "did not come" not in index(home) + (home.reports / ago(2) / "index.html").read_text()


def test_a_page_changes_with_the_clock_only_when_a_time_is_up(home):
    deliver(home, {f"{ago(3)}/acme/c.jsonl": GOOD})
    calendar = (Expected("acme", frozenset(range(7)), time(0), 1),)
    run_night(home, Settings(calendar=calendar))
    before = {file: file.stat().st_mtime_ns for file in home.reports.rglob("*.*")}
    assert run_night(home, Settings(calendar=calendar)).dates == ()
    assert {file: file.stat().st_mtime_ns for file in home.reports.rglob("*.*")} == before
    # Who takes a drop off the calendar is not told of it any more.
    run_night(home, Settings())
    assert not (home.reports / ago(1)).exists()
    assert "did not come" not in index(home)


def test_what_never_came_is_missing_in_a_home_without_a_drop(home, capsys):
    say(home, DAILY)
    assert call(["run", "--home", str(home.root)]) == 0
    assert capsys.readouterr().out.startswith("Missing: 1 expected drop did not come.")
    assert f"acme {ago(0)} 00:00 UTC missing" in words((home.reports / ago(1) / "index.html").read_text())
    assert "Charts" not in index(home)
    assert call(["report", ago(1), "--home", str(home.root)]) == 0


def test_status_and_the_artifact_of_the_night_name_what_is_missing(home, capsys):
    deliver(home, {f"{ago(2)}/acme/c.jsonl": GOOD})
    say(home, DAILY)
    night = run_night(home, Settings(calendar=(Expected("acme", frozenset(range(7)), time(0), 1),)))
    assert f"| {ago(1)} | acme | {ago(0)} 00:00 UTC |" in artifact(night)
    assert call(["status", "--home", str(home.root)]) == 0
    assert "1 missing (expected by now, and not in the inbox)" in capsys.readouterr().out
    call(["status", "--json", "--home", str(home.root)])
    assert [late["source"] for late in json.loads(capsys.readouterr().out)["missing"]] == ["acme"]


def test_status_tells_what_there_is_also_when_the_settings_are_wrong(home, capsys):
    say(home, "hold_above = 2\n")
    assert call(["status", "--home", str(home.root)]) == 0
    assert "nightdrop.toml, line 1: hold_above" in capsys.readouterr().out


def test_a_drop_that_waits_in_the_inbox_is_not_missing(home, capsys):
    deliver(home, {f"{ago(2)}/acme/c.jsonl": GOOD, f"{ago(1)}/acme/c.jsonl": BAD})
    say(home, DAILY)
    for command in (["run", "--date", ago(2)], ["status"]):
        call([*command, "--json", "--home", str(home.root)])
        assert json.loads(capsys.readouterr().out)["missing"] == []
