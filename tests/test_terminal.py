from __future__ import annotations

import io
from datetime import date

import pytest
from rich.console import Console

from flows.commands.night import held_text
from flows.terminal import indented, table
from pipelines.summary import DropResult

PATH = "core/2026-11-16/late/sent-2026-11-18/a-file-with-a-long-name-in-a-deep-folder.jsonl"


def seen(width: int, *parts: object) -> list[str]:
    written = io.StringIO()
    console = Console(file=written, width=width, force_terminal=True, color_system=None)
    for part in parts:
        console.print(part)
    return written.getvalue().splitlines()


@pytest.mark.parametrize("width", [60, 80, 120])
def test_a_table_keeps_to_the_terminals_width_and_folds_words_not_numbers_or_dates(width: int) -> None:
    rows = [(date(2026, 11, 16), PATH, 1_234_567, 12)]
    lines = seen(width, table(("date", "drop", "records", "rejected"), rows))
    assert max(map(len, lines)) <= width
    assert any("2026-11-16" in line and "1,234,567" in line for line in lines)


def test_what_to_do_about_a_held_drop_has_its_path_and_keeps_to_the_width() -> None:
    held = DropResult(
        "it's half.csv", date(2026, 11, 16), "b" * 64, 10, None, None, None, None, "held", "truncated", "a quote is open"
    )
    lines = seen(60, *held_text([held]))
    assert max(map(len, lines)) <= 60
    together = " ".join(line.strip() for line in lines)
    assert "it's half.csv: truncated, a quote is open" in together
    assert """nightdrop release 'it'"'"'s half.csv'""" in together
    assert all(line.startswith("    ") for line in lines[3:])


def test_a_line_under_another_stays_under_it_when_folded() -> None:
    assert all(line.startswith("    ") for line in seen(40, indented("word " * 30)))
