"""The reference pages docs/rules.md and docs/warehouse.md, made out of the schemas that check and the COMMENTs of the tables.

`python -m pipelines.handbook docs` writes them; a test fails when the files are not what is made here.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from pathlib import Path

import duckdb

from pipelines import database, schema
from pipelines.broken_events import Broken, BrokenEvents
from pipelines.living import RELEASABLE
from pipelines.summary import WHAT_NEXT
from validation.entities import ENTITIES
from validation.fields import STEP, Entity, Field

_MADE = "<!-- Made by `make docs` out of the code. Change the code, not this page. -->"

HELD_WHEN = {
    "no_business_date": "the path has no valid `YYYY-MM-DD` or `YYYYMMDD`",
    "unknown_format": "the name does not end in `.jsonl`, `.ndjson` or `.csv`, plain or with `.gz` or `.zst`",
    "unreadable": "a damaged `.gz` or `.zst`, or no permission to read the file",
    "not_a_file": "a link out of the inbox, a pipe or a device",
    "too_large": "it expands beyond the setting `max_expanded`, or a record beyond `max_line`",
    "truncated": "it breaks off: a last line without a line end that is no JSON; in CSV an open quote, or a last row with "
    "too few cells",
    "manifest_mismatch": "its `.manifest.json` tells another SHA-256 or another count of lines",
    "csv_header": "a CSV without a header, with a column twice, or without `step` or an id column",
    "too_many_rejects": "of 20 records or more, a larger share than the setting `hold_above` is refused by line and event rules",
    "same_bytes_other_date": "20 records or more, the same bytes as a drop of an earlier date",
}
"""When a drop is held, by reason code (contract, section 2)."""

STATUSES = {
    "applied": "read, decided, in the warehouse",
    "held": "nothing of it is in the warehouse; every run looks at it again",
    "duplicate": "the same bytes and date as the drop that `detail` names; that one counts",
    "superseded": "the file came again with other bytes: the newer edition has its place",
    "withdrawn": "taken out by a person, until `nightdrop rerun PATH`",
}
"""What becomes of an edition of a drop, by status (contract, section 2)."""


def write(folder: Path) -> list[Path]:
    """Write both pages into a folder; return the files."""
    pages = {"rules.md": rules_page(), "warehouse.md": warehouse_page()}
    for name, text in pages.items():
        (folder / name).write_text(text, encoding="utf-8")
    return [folder / name for name in pages]


def rules_page() -> str:
    """Return docs/rules.md: every rule with an example that breaks it and what a real night says of that example."""
    broken = BrokenEvents()
    parts = [*_RULES_HEAD, *_reasons(broken.lines())]
    for entity in ENTITIES.values():
        parts += _category(entity, broken)
    return _page([*parts, *_drops_part()])


def _category(entity: Entity, broken: BrokenEvents) -> Iterator[str]:
    category = entity.category
    yield from (f"## {category}", "")
    if entity.other_category:
        yield from (f"Also sent as `{entity.other_category}`, with `kind` `loan` or none.", "")
    rows = [[f"`{field.name}`", field.type, _presence(entity, field), _cell(_about(field))] for field in (STEP, *entity.fields)]
    yield from _table(("field", "type", "required", "what it is"), rows)
    for name, rules in groupby(broken.fields(entity), key=lambda rule: rule.field):
        yield from (f"### {category}: {f'`{name}`' if name else 'the event as a whole'}", "", *_reasons(rules))
    yield from (f"### {category}: its life", "", *_LIFE_HEAD, *_reasons(broken.life(entity), with_field=True))
    between = broken.between(entity)
    if between:
        yield from (f"### {category}: fields that hang together", "", *_BETWEEN_HEAD, *_reasons(between, with_field=True))


def _presence(entity: Entity, field: Field) -> str:
    if field in (STEP, entity.fields[0]):
        return "always"
    return "on create" if field.required else ""


def _about(field: Field) -> str:
    told = [field.comment]
    if field.choices and not all(choice in field.comment for choice in field.choices):
        told.append(f"one of {', '.join(field.choices)}")
    if field.default:
        told.append(f"{field.default} when a create leaves it out")
    if field.alias:
        told.append(f"also spelled `{field.alias}`")
    return "; ".join(told)


def _reasons(rules: Iterable[Broken], *, with_field: bool = False) -> Iterator[str]:
    heads = ["code", *(["field"] if with_field else []), "severity", "when", "an example", "what is said of it"]
    rows = []
    for rule in rules:
        field = [f"`{rule.field}`"] if with_field else []
        rows.append([f"`{rule.code}`", *field, rule.severity, _cell(rule.when), _code(rule.example), _cell(rule.message)])
    yield from _table(heads, rows)


def _drops_part() -> Iterator[str]:
    yield from ("## Drops: why one is held", "", *_HELD_HEAD)
    rows = [
        [f"`{code}`", _cell(HELD_WHEN[code]), "yes" if code in RELEASABLE else "no", _cell(WHAT_NEXT[code])] for code in HELD_WHEN
    ]
    yield from _table(("code", "when", "can be released", "what to do"), rows)
    yield from ("## Drops: statuses", "")
    yield from _table(("status", "what it means"), [[f"`{status}`", _cell(words)] for status, words in STATUSES.items()])


def warehouse_page() -> str:
    """Return docs/warehouse.md: what an empty warehouse says of its own tables, views and macros."""
    with tempfile.TemporaryDirectory(prefix="nightdrop-handbook-") as folder:
        con = database.connect(Path(folder) / "warehouse.duckdb")
        schema.create(con)
        try:
            return _page([*_WAREHOUSE_HEAD, *_contents(con), *_relations(con), *_macros(con)])
        finally:
            con.close()


def _contents(con: duckdb.DuckDBPyConnection) -> Iterator[str]:
    rows = [[f"[`{name}`](#{name})", _cell(comment)] for name, comment in _told_of(con).items()]
    yield from _table(("table or view", "what it holds"), rows)
    keys = [
        [f"`{child.table}.{child.parent_id}`", f"`{ENTITIES[child.parent].table}`"] for child in ENTITIES.values() if child.parent
    ]
    yield from ("What hangs on what:", "")
    yield from _table(("column", "names a row of"), keys)


def _told_of(con: duckdb.DuckDBPyConnection) -> dict[str, str]:
    """Return the comments of all tables and views, in the order in which they were made."""
    shown = "SELECT table_name, comment FROM duckdb_tables() WHERE schema_name = 'main' ORDER BY table_oid"
    found = con.execute(shown).fetchall()
    found += con.execute("SELECT view_name, comment FROM duckdb_views() WHERE NOT internal ORDER BY view_oid").fetchall()
    return dict(found)


def _relations(con: duckdb.DuckDBPyConnection) -> Iterator[str]:
    query = (
        "SELECT column_name, data_type, is_nullable, comment FROM duckdb_columns() "
        "WHERE schema_name = 'main' AND table_name = ? ORDER BY column_index"
    )
    views = {name for (name,) in con.execute("SELECT view_name FROM duckdb_views() WHERE NOT internal").fetchall()}
    for name, comment in _told_of(con).items():
        columns = con.execute(query, [name]).fetchall()
        yield from (f"## {name}", "", f"{comment}{' (a view)' if name in views else ''}.", "")
        # A view's columns are nullable to DuckDB whatever its table's are, so nothing is said of them there.
        rows = [
            [f"`{column}`", kind, "" if nullable or name in views else "never NULL", _cell(words)]
            for column, kind, nullable, words in columns
        ]
        yield from _table(("column", "type", "", "what it is"), rows)


def _macros(con: duckdb.DuckDBPyConnection) -> Iterator[str]:
    query = (
        "SELECT function_name, parameters, comment FROM duckdb_functions() WHERE function_type = 'table_macro' AND NOT internal"
    )
    told = {name: (parameters, comment) for name, parameters, comment in con.execute(query).fetchall()}
    yield from ("## Macros", "", *_MACROS_HEAD)
    for entity in ENTITIES.values():
        name = f"{entity.table}_as_of"
        parameters, comment = told.pop(name)
        shown = ", ".join(entity.names[:3])
        yield from (
            f"### {name}({', '.join(parameters)})",
            "",
            f"{comment}. Its columns are those of [`{entity.table}`](#{entity.table}).",
        )
        yield from ("", "```sql", f"SELECT {shown}", f"FROM {name}('2026-11-17')", "WHERE deleted_on IS NULL;", "```", "")
    if told:
        raise ValueError(f"the handbook has no example for the macros {sorted(told)}")


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    yield f"| {' | '.join(heads)} |"
    yield f"|{'---|' * len(heads)}"
    for row in rows:
        yield f"| {' | '.join(row)} |"
    yield ""


def _cell(text: str) -> str:
    """Return text as a cell of a Markdown table shows it."""
    for character in "\\|*<":
        text = text.replace(character, f"\\{character}")
    return text


def _code(text: str) -> str:
    return f"`{text}`".replace("|", "\\|")


def _page(parts: Iterable[str]) -> str:
    return "\n".join(parts).rstrip("\n") + "\n"


_RULES_HEAD = (
    "# The rules",
    "",
    _MADE,
    "",
    "What a record must be to get into the warehouse. For suppliers: look up the code that a bounce's `.reasons.csv`",
    "gives. For analysts: the codes are those of `rejections` and `warnings`. What is said of an example is what a real",
    "night said of it; the rest of the event was sound.",
    "",
    "A record meets the rules in this order. The first group that refuses it ends it.",
    "",
    "1. **Lines**: can it be read at all? The first reason that applies, and no other.",
    "2. **Fields**: is each value right by itself? All reasons at once. For a field, `conflicting_alias`, `wrong_type`,",
    "   `blank_value` and `invalid_characters`, in this order, stand alone. Of a create, the rules about fields that hang",
    "   together are told in the same breath.",
    "3. **Life**: is the record there, and its parent? Asked at the record's own position: business date, path, line.",
    "4. **Fields that hang together**: does the record as the event leaves it make sense? All reasons at once.",
    "",
    "An `error` refuses the record. A `warning` does not: the record is applied and the warning is listed. A delete needs",
    "its `step` and id alone. `nightdrop rules` prints the same catalogue; `nightdrop rules --countries` and",
    "`--currencies` print the codes that are taken.",
    "",
    "## Lines",
    "",
)
_LIFE_HEAD = ("The first reason that applies, and no other. Asked only of events that pass the rules above.", "")
_BETWEEN_HEAD = (
    "They look at the whole record as the event leaves it. A rule is silent when a field it reads has a reason of its own.",
    "",
)
_HELD_HEAD = (
    "A held drop is a file that cannot be taken as it is. Nothing of it is in the warehouse, and every run looks at it",
    "again. `nightdrop status` names it.",
    "",
)
_WAREHOUSE_HEAD = (
    "# The warehouse",
    "",
    _MADE,
    "",
    "`data/warehouse.duckdb` is a DuckDB file. Open it at any moment, read-only: [analysts.md](analysts.md) shows how, and",
    "has ten questions with their SQL. Each run puts a new file in its place, whole; who has the old one open keeps reading",
    "the old one. Dates are business dates, clocks are UTC. What is written here is in the file too, as comments:",
    "`SELECT column_name, comment FROM duckdb_columns() WHERE table_name = 'loans'`.",
    "",
    "There are no keys and no indexes. Ids are unique all the same: each run asserts it before it publishes.",
    "",
)
_MACROS_HEAD = ("A macro is called like a table. The date may be a DATE or a text `YYYY-MM-DD`.", "")


if __name__ == "__main__":
    for file in write(Path(sys.argv[1])):
        print(file)
