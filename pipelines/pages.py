"""A report as one HTML file: no request leaves it, nothing in it runs but its own script, all text from drops is escaped."""

from __future__ import annotations

import base64
import hashlib
import shlex
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import date, datetime
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote, urlencode

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from pipelines.bounce import REASONS_SUFFIX, Bounce
from pipelines.calendar import Due
from pipelines.charts import Bar, bars
from pipelines.headline import headline
from pipelines.mornings import CLOSED_SHOWN, FLIPS_SHOWN, SHOWN_AT_MOST, Morning, Row
from pipelines.rows import STATIC_ROWS, Columns, Words, as_script, rejection_rows, static_rows
from pipelines.sources import ANYBODY, Sources
from pipelines.summary import WHAT_NEXT
from pipelines.visible import visible

_TEMPLATES = Path(__file__).parent / "templates"
_BARS_SHOWN = 12
_DROPS_OPEN = 60
_SIZES = ("bytes", "KiB", "MiB", "GiB", "TiB")


class RefusedRows(NamedTuple):
    """The rejections of a date as they stand in its page."""

    static: list[Row]
    """The first ones, for plain HTML."""
    script: tuple[str, Markup]
    """All: the type of a script element and what is in it."""


def refused_rows(morning: Morning, columns: Columns, sources: Sources = ANYBODY) -> RefusedRows | None:
    """Return the rejections of a date made ready for its page, by far the most work on it; None when there are none.

    `columns`: of the CSV drops with rejections. `sources`: what is said of those who send.
    """
    if morning.rejections.is_empty():
        return None
    again = _corrected_in_vain(morning.corrections)
    data = rejection_rows(morning.day.isoformat(), morning.rejections, columns, again, sources)
    return RefusedRows(static_rows(data), as_script(data))


def date_page(
    morning: Morning,
    bounces: Mapping[tuple[str, str], Bounce],
    refused: RefusedRows | None,
    *,
    sources: Sources = ANYBODY,
    expected: Sequence[Due] = (),
) -> bytes:
    """Return the page of one business date; `bounces` by path and SHA-256, `refused` as `refused_rows` made it.

    `sources`: what is said of those who send; `expected`: which drops were to come.
    """
    totals = morning.totals
    told = headline(
        drops=totals["drops"],
        records=totals["records"],
        rejected=totals["rejected"],
        roots=morning.followed["roots"],
        held=len(morning.held),
        missing=sum(due.missing for due in expected),
    )
    return rendered(
        "date.html",
        day=morning.day,
        told=told,
        totals=totals,
        drops=[_drop(drop, bounces) for drop in morning.drops],
        drops_open=_DROPS_OPEN,
        expected=expected,
        held=with_what_next(morning.held),
        followed=morning.followed,
        causes=[_cause(row) for row in morning.causes],
        codes=[row | {"href": link(code=row["code"])} for row in morning.reasons],
        reasons=sum(row["reasons"] for row in morning.reasons),
        by_field=_by_field(morning.fields),
        by_source=_by_source(morning.paths, sources),
        flips=morning.flips,
        flips_shown=FLIPS_SHOWN,
        corrections=morning.corrections,
        closed_shown=CLOSED_SHOWN,
        warnings=morning.warnings,
        static=refused.static if refused else [],
        static_count=STATIC_ROWS,
        shown_at_most=SHOWN_AT_MOST,
        data=refused and refused.script,
    )


def with_what_next(held: Sequence[Row]) -> list[Row]:
    """Return held drops with what a person may do about each: words and, every second part, a command with its path."""
    told = [(drop, WHAT_NEXT.get(drop["reason"], "").split("`")) for drop in held]
    return [drop | {"what_next": [part.replace("PATH", shell_word(drop["path"])) for part in parts]} for drop, parts in told]


def link(**wanted: str) -> str:
    """Return the address, within a date's page, of the rejections that fit."""
    return "#" + urlencode({name: visible(value) for name, value in wanted.items()}, quote_via=quote)


def rendered(template: str, **values: Any) -> bytes:
    """Return a page made of one of our templates."""
    text: str = _environment().get_template(template).render(values)
    return text.encode()


def make_ready() -> None:
    """Read and compile every template, which takes longer than to fill one."""
    for template in sorted(_TEMPLATES.glob("*.html")):
        _environment().get_template(template.name)


class _Environment(Environment):
    """One that looks into a dict first: templates ask for its items, 1,000 a page, and a miss among its methods takes longer."""

    def getattr(self, obj: Any, attribute: str) -> Any:
        """Return an item of a dict, or what is asked for of anything else."""
        return obj[attribute] if type(obj) is dict and attribute in obj else super().getattr(obj, attribute)


@cache
def _environment() -> Environment:
    """Return the one environment of all templates: what they print is made visible, then escaped."""
    made = _Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_visible,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    style, script = ((_TEMPLATES / name).read_text(encoding="utf-8") for name in ("page.css", "page.js"))
    made.globals |= {
        "style": Markup(f"\n{style}"),  # noqa: S704  # our own files
        "script": Markup(f"\n{script}"),  # noqa: S704  # the same
        "policy": _policy(f"\n{style}", f"\n{script}"),
    }
    made.filters |= {
        "n": lambda number: f"{number or 0:,}",
        "size": _size,
        "url": lambda name: quote(name, safe=""),
        "words": Words.of,
        "weekday": lambda day: f"{day:%A}",
        "moment": _moment,
        "resubmit": _resubmit,
    }
    return made


def _policy(style: str, script: str) -> str:
    """Return the Content-Security-Policy: this one style, this one script, and no request to anywhere."""
    hashes = [base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in (style, script)]
    return (
        f"default-src 'none'; style-src 'sha256-{hashes[0]}'; script-src 'sha256-{hashes[1]}'; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )


def _visible(value: Any) -> Any:
    return visible(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _size(count: int | None) -> str:
    if count is None:
        return ""
    size, unit = float(count), 0
    while size >= 1024 and unit < len(_SIZES) - 1:
        size, unit = size / 1024, unit + 1
    return f"{count:,} {'byte' if count == 1 else 'bytes'}" if unit == 0 else f"{size:,.1f} {_SIZES[unit]}"


def _moment(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M} UTC"


def _resubmit(name: str, day: date) -> str:
    return f"nightdrop resubmit {shell_word(f'reports/{day}/{name}')}"


def shell_word(text: str) -> str:
    """Return a text as a shell takes it for one word; what cannot be seen is an escape that bash and zsh understand."""
    if text.isprintable():
        return shlex.quote(text)
    return "$'" + visible(text.replace("\\", "\\\\").replace("'", "\\'")) + "'"


def _drop(drop: Row, bounces: Mapping[tuple[str, str], Bounce]) -> Row:
    bounce = bounces.get((drop["path"], drop["sha256"])) if drop["status"] == "applied" else None
    return drop | {
        "bounce": bounce and {"name": bounce.name, "lines": bounce.lines, "reasons": bounce.name + REASONS_SUFFIX},
        "href": link(drop=drop["path"]),
    }


def _cause(row: Row) -> Row:
    key = f"{row['business_date']}|{visible(row['path'])}|{row['line']}"
    return row | {"words": [Words.of(message) for message in row["messages"].split("\n")], "href": link(cause=key)}


def _by_field(fields: Sequence[Row]) -> Markup:
    counts: Counter[str | None] = Counter()
    for row in fields:
        counts[row["field"]] += row["reasons"]
    return _bars("Reasons by field", counts, "the line itself", "field")


def _by_source(paths: Sequence[Row], sources: Sources) -> Markup:
    counts: Counter[str | None] = Counter()
    for row in paths:
        counts[sources.name_of(row["path"])] += row["reasons"]
    return _bars("Reasons by source", counts, "", "source")


def _bars(title: str, counts: Counter[str | None], unnamed: str, filter_: str) -> Markup:
    most = sorted(counts.items(), key=lambda item: (-item[1], item[0] or ""))
    shown = [
        Bar(visible(name or unnamed), count, link(**{filter_: name}) if name else None) for name, count in most[:_BARS_SHOWN]
    ]
    left = most[_BARS_SHOWN:]
    if left:
        shown.append(Bar(f"{len(left):,} others", sum(count for _, count in left)))
    return bars(title, shown)


def _corrected_in_vain(corrections: Sequence[Row]) -> dict[tuple[str, int], str]:
    return {
        (row["path"], row["line"]): f"on {_moment(row['submitted_at'])}, by line {row['its_line']} of the file "
        f"{row['sha256'][:8]}…: refused again"
        for row in corrections
        if row["verdict"] == "rejected"
    }
