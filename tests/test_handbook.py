"""docs/rules.md and docs/warehouse.md are what the code says."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from pipelines import broken_events, handbook
from pipelines.broken_events import BrokenEvents
from pipelines.living import RELEASABLE
from pipelines.summary import WHAT_NEXT
from pipelines.tables import MACROS, SHOWN, TABLES, VIEWS
from validation.catalogue import catalogue
from validation.client import CLIENT
from validation.entities import ENTITIES
from validation.fields import Entity

DOCS = Path(__file__).parent.parent / "docs"


@pytest.fixture(scope="module")
def pages(tmp_path_factory) -> dict[str, str]:
    return {file.name: file.read_text(encoding="utf-8") for file in handbook.write(tmp_path_factory.mktemp("docs"))}


@pytest.mark.parametrize("name", ["rules.md", "warehouse.md"])
def test_the_committed_page_is_what_the_code_makes(pages, name):
    assert (DOCS / name).read_text(encoding="utf-8") == pages[name], f"docs/{name} is out of date: run `make docs` and commit it"


def test_the_rules_page_has_every_code_of_each_category_and_an_example_of_it(pages):
    sections = dict(re.findall(r"^## (\w+)\n(.*?)(?=^## |\Z)", pages["rules.md"], re.MULTILINE | re.DOTALL))
    for entry in catalogue():
        section = sections["Lines" if entry.category == "any" else entry.category]
        assert re.search(rf"^\| `{entry.code}` \|(?:.*\|)? {entry.severity} \|.*`.+` \| .+ \|$", section, re.MULTILINE), entry
    for entity in ENTITIES.values():
        for field in entity.fields:
            assert f"| `{field.name}` | {field.type} |" in sections[entity.category]


def test_every_row_of_the_pages_has_the_cells_of_its_table(pages):
    for text in pages.values():
        for table in re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE):
            assert len({len(re.findall(r"(?<!\\)\|", row)) for row in table.splitlines()}) == 1, table


def test_the_rules_page_has_every_reason_to_hold_a_drop_and_every_status(pages):
    assert set(handbook.HELD_WHEN) == set(WHAT_NEXT)
    assert set(handbook.HELD_WHEN) >= RELEASABLE
    (comment,) = (column.comment for column in TABLES["drops"].columns if column.name == "status")
    assert set(handbook.STATUSES) == set(re.split(r", | or ", comment))
    for code in (*handbook.HELD_WHEN, *handbook.STATUSES):
        assert f"| `{code}` |" in pages["rules.md"]


def test_the_warehouse_page_has_every_table_view_and_macro_with_every_column(pages):
    sections = dict(re.findall(r"^##+ ([\w()]+)\n(.*?)(?=^##+ |\Z)", pages["warehouse.md"], re.MULTILINE | re.DOTALL))
    for relation in ({**TABLES, **VIEWS}[name] for name in SHOWN):
        rows = re.findall(r"^\| `(\w+)` \| (\S+) \| (?:never NULL)? ?\| (.+) \|$", sections[relation.name], re.MULTILINE)
        assert [(name, kind) for name, kind, _ in rows] == [(column.name, column.sql_type) for column in relation.columns]
        assert relation.comment in sections[relation.name]
    for macro in MACROS.values():
        assert f"FROM {macro.name}('2026-11-17')" in sections[f"{macro.name}(d)"]


def test_an_example_that_does_not_break_its_rule_is_an_error_and_no_line_of_the_page(monkeypatch):
    def sound(self: BrokenEvents, entity: Entity, example: dict[str, Any]) -> tuple[tuple[str, int], ...]:
        return ((broken_events._LINES, self._drop.add(entity.category, {"step": "create", entity.id: str(example)})),)

    monkeypatch.setattr(BrokenEvents, "_break", sound)
    with pytest.raises(ValueError, match="does not break it"):
        BrokenEvents().fields(CLIENT)
