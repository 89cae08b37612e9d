"""What the pages tell people to type works, and prints what they show."""

from __future__ import annotations

import re
import time

import pytest
from fences import DONE, ROOT, commands, run, shows

PAGES = sorted(page.name for page in (ROOT / "docs").glob("*.md"))
TEN_MINUTES = 600


def test_every_command_of_the_quickstart_does_its_work_and_prints_what_is_shown(tmp_path):
    started = time.monotonic()
    for ran in run(commands("quickstart.md"), tmp_path):
        told = f"$ {ran.command.text}\n{ran.printed}"
        assert ran.code in DONE, told
        assert shows(ran.command.shown, ran.printed), f"{told}\nand the page shows\n{ran.command.shown}"
    assert time.monotonic() - started < TEN_MINUTES


def test_the_quickstart_goes_from_nothing_to_a_resubmitted_fix():
    said = [command.text for command in commands("quickstart.md")]
    steps = ("nightdrop init", "nightdrop run", "nightdrop plan resubmit", "nightdrop resubmit", "nightdrop query")
    places = [next(number for number, text in enumerate(said) if text.startswith(step)) for step in steps]
    assert places == sorted(places)


@pytest.mark.parametrize(
    ("shown", "printed", "same"),
    [
        ("a  b", "a b\n", True),
        ("a\n…\nc", "a\nb\nb\nc\n", True),
        ("a …", "a b c\n", True),
        ("a", "a\nb\n", False),
        ("b", "a\nb\n", False),
        ("a.c", "abc\n", False),
        ("", "a\n", False),
        ("a 10", "a 11\n", False),
    ],
)
def test_a_page_that_shows_something_else_is_found_out(shown, printed, same):
    assert shows(shown, printed) is same


@pytest.mark.parametrize("name", [*PAGES, "../README.md"])
def test_every_link_of_a_page_leads_somewhere(name):
    page = ROOT / "docs" / name
    for link in re.findall(r"\]\(([^)]+)\)", page.read_text(encoding="utf-8")):
        file, _, heading = link.partition("#")
        target = (page.parent / file).resolve() if file else page.resolve()
        assert target.is_file(), (name, link)
        if heading:
            assert re.search(rf"^#+ {re.escape(heading)}$", target.read_text(encoding="utf-8"), re.MULTILINE), (name, link)


def test_the_readme_leads_to_every_page():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert [name for name in PAGES if f"docs/{name}" not in readme] == []


@pytest.mark.parametrize("name", ["quickstart.md", "analysts.md"])
def test_a_page_asks_no_table_that_is_not_documented(name):
    documented = set(re.findall(r"^##+ (\w+)", (ROOT / "docs" / "warehouse.md").read_text(encoding="utf-8"), re.MULTILINE))
    page = (ROOT / "docs" / name).read_text(encoding="utf-8")
    asked, own = re.findall(r"(?:FROM|JOIN) (\w+)", page), re.findall(r"WITH (\w+) AS", page)
    assert asked
    assert set(asked) - set(own) <= documented
