"""From a red page to a closed rejection, in the steps that the page itself gives."""

from __future__ import annotations

import re
import shlex
from html import unescape
from pathlib import Path

import pytest
from homes import deliver, home_in, rows

from flows.cli import call
from pipelines.home import Home

MONDAY = "2026-11-16"
CLIENT = (
    b'{"category": "client", "data": {"step": "create", "client_id": "C1", "name": "Jo Doe", "email": "jo@example.com", "phone": '
    b'"+254712345678", "address": "1 Main Street, Nairobi, Kenya", "country": "UK", "is_company": false, '
    b'"registration_number": "ID-1", "gender": "male"}}\n'
)
LOAN = (
    b'{"category": "loan", "data": {"step": "create", "loan_id": "L1", "client_id": "C1", "amount": 1, "currency": "EUR", '
    b'"disbursement_date": "2026-11-16", "maturity_date": "2026-11-16"}}\n'
)


@pytest.fixture
def home(tmp_path: Path) -> Home:
    made = home_in(tmp_path / "home")
    deliver(made, {f"{MONDAY}/core/it's clients.jsonl": CLIENT, f"{MONDAY}/core/loans.jsonl": LOAN})
    assert call(["--home", str(made.root), "run"]) == 0
    return made


def page(home: Home) -> str:
    return (home.reports / MONDAY / "index.html").read_text()


def commands(home: Home) -> list[str]:
    fix = page(home).partition('<section id="fix">')[2].partition("</section>")[0]
    return [unescape(found) for found in re.findall(r"<code>(nightdrop .*?)</code>", fix)]


def run(home: Home, command: str) -> int:
    """Run a command out of the page as a shell does, in any folder."""
    program, *arguments = shlex.split(command)
    assert program == "nightdrop"
    return call(["--home", str(home.root), *arguments])


def test_the_pages_command_hands_a_mended_line_back_and_the_page_shows_it_closed_and_by_what(home) -> None:
    assert 'data-state="refused"' in page(home)
    command = commands(home)[0]
    bounce = home.root / shlex.split(command)[2]
    bounce.write_bytes(bounce.read_bytes().replace(b'"UK"', b'"GB"'))
    assert run(home, command) == 0
    now = page(home)
    assert 'data-state="fine"' in now
    assert commands(home) == []
    closed = now.partition('<section id="closed">')[2].partition("</section>")[0]
    ((sha256, its_line, at),) = rows(home, "SELECT sha256, its_line, submitted_at FROM corrections")
    assert "1 rejection is closed" in closed
    for words in (
        f"line 1 of {MONDAY}/core/it",
        "client C1",
        f"line {its_line} of the file",
        sha256[:8],
        f"{at:%Y-%m-%d %H:%M} UTC",
    ):
        assert words in closed, words
    flips = now.partition('<section id="flips">')[2].partition("</section>")[0]
    assert flips.count('<span class="chip applied">applied</span>') == 2  # the client, and the loan that waited for it


def test_a_line_that_is_refused_again_says_so_and_has_its_place_in_the_new_bounce(home) -> None:
    command = commands(home)[0]
    bounce = home.root / shlex.split(command)[2]
    bounce.write_bytes(bounce.read_bytes().replace(b'"UK"', b'"XX"'))
    assert run(home, command) == 0
    now = page(home)
    assert 'data-state="refused"' in now
    closed = now.partition('<section id="closed">')[2].partition("</section>")[0]
    assert "0 rejections are closed" in closed
    assert "refused again" in closed
    assert "corrected on" in now.partition('class="fixed-rows"')[2]
    again = commands(home)[0]
    assert b'"XX"' in (home.root / shlex.split(again)[2]).read_bytes()


def test_the_page_is_the_same_when_nothing_changed_and_when_it_is_written_again(home) -> None:
    files = {file: (file.read_bytes(), file.stat().st_mtime_ns) for file in home.reports.rglob("*.html")}
    assert call(["--home", str(home.root), "run"]) == 0
    assert {file: (file.read_bytes(), file.stat().st_mtime_ns) for file in home.reports.rglob("*.html")} == files
    assert call(["--home", str(home.root), "report", MONDAY]) == 0
    assert {file: file.read_bytes() for file in home.reports.rglob("*.html")} == {file: text for file, (text, _) in files.items()}


def test_a_date_that_is_decided_again_gets_its_page_anew_with_what_flipped_and_why(tmp_path) -> None:
    home = home_in(tmp_path / "home")
    deliver(home, {f"{MONDAY}/core/loans.jsonl": LOAN})
    call(["--home", str(home.root), "run"])
    assert "client_unknown" in page(home)
    deliver(home, {"2026-11-15/late/clients.jsonl": CLIENT.replace(b"UK", b"GB")})
    call(["--home", str(home.root), "run"])
    flips = page(home).partition('<section id="flips">')[2].partition("</section>")[0]
    assert "2026-11-15/late/clients.jsonl" in flips
    assert 'data-state="fine"' in page(home)
    assert (home.reports / "2026-11-15" / "index.html").exists()
