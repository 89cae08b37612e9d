"""Charts as inline SVG: drawn by pygal, stripped of its scripts, styles, comments and clock, coloured by the page's own CSS."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from types import ModuleType
from typing import Any
from xml.etree import ElementTree

from markupsafe import Markup

_SVG = "{http://www.w3.org/2000/svg}"
_DROPPED = {f"{_SVG}defs", f"{_SVG}desc", f"{_SVG}title"}
_DROPPED_CLASSES = {"background", "plot tooltip-overlay", "plot overlay", "titles"}
_LABEL_LENGTH = 24
_FONT = 13


@dataclass(frozen=True, slots=True)
class Bar:
    """One bar: what it counts, how many, and where a click on it leads."""

    label: str
    count: int
    href: str | None = None


def bars(title: str, counted: Sequence[Bar]) -> Markup:
    """Draw horizontal bars, the first one on top; `title` says for a screen reader what is counted."""
    chart = _pygal().HorizontalBar(
        _config(width=520, height=34 + 30 * len(counted), print_values=True, print_values_position="top")
    )
    shown = list(reversed(counted))  # pygal begins at the bottom
    chart.x_labels = [_short(bar.label) for bar in shown]
    most = max((bar.count for bar in counted), default=1)
    chart.range = (0, most * 1.12)  # room for the number behind the longest bar
    chart.value_formatter = lambda value: f"{int(value):,}" if value == int(value) else ""
    chart.show_x_labels, chart.show_x_guides, chart.truncate_label = False, False, -1
    chart.add(
        "", [{"value": bar.count, **({"xlink": {"href": bar.href, "target": "_self"}} if bar.href else {})} for bar in shown]
    )
    return _inline(chart, f"{title}: " + ", ".join(f"{bar.label} {bar.count:,}" for bar in counted))


def stacked(title: str, labels: Sequence[str], series: Mapping[str, Sequence[float | None]], *, unit: str = "") -> Markup:
    """Draw upright bars side by side, each stacked of the series, as wide as the page and in the order of its colours."""
    chart = _pygal().StackedBar(_config(width=960, height=240, show_x_guides=False, show_y_guides=True))
    few = max(1, -(-len(labels) // 12))
    chart.x_labels, chart.truncate_label = list(labels), -1
    chart.x_labels_major_every, chart.show_minor_x_labels = few, False
    chart.value_formatter = lambda value: (f"{value:,.0f}" if value == int(value) else f"{value:.4g}") + unit
    for name, values in series.items():
        chart.add(name, list(values))
    return _inline(chart, title, wide=True)


@cache
def _pygal() -> ModuleType:
    """Return pygal without the finder of plugins that it leaves among Python's: later imports would trip over its old form."""
    import pygal

    sys.meta_path[:] = [finder for finder in sys.meta_path if type(finder).__module__ != "pygal"]
    return pygal  # type: ignore[no-any-return]


def _config(**settings: Any) -> Any:
    pygal = _pygal()
    from pygal.style import Style

    style = Style(label_font_size=_FONT, major_label_font_size=_FONT, value_font_size=_FONT)
    plain = {"css": [], "js": [], "no_prefix": True, "disable_xml_declaration": True, "show_legend": False, "margin": 6}
    return pygal.Config(**plain, style=style, **settings)


def _inline(chart: Any, words: str, *, wide: bool = False) -> Markup:
    """Return a chart as an SVG element that says to a screen reader what it shows."""
    root = ElementTree.fromstring(_text_of(chart))  # noqa: S314  # it was made here, of escaped labels
    _strip(root)
    root.attrib.pop("id", None)
    root.set("role", "img")
    root.set("aria-label", words)
    root.set("class", "chart wide" if wide else "chart")
    ElementTree.register_namespace("", "http://www.w3.org/2000/svg")
    ElementTree.register_namespace("xlink", "http://www.w3.org/1999/xlink")
    return Markup(ElementTree.tostring(root, encoding="unicode"))  # noqa: S704  # serialised, so escaped


def _text_of(chart: Any) -> str:
    drawn = chart.render()
    return drawn.decode() if isinstance(drawn, bytes) else str(drawn)


def _strip(element: ElementTree.Element) -> None:
    for child in list(element):
        if not isinstance(child.tag, str) or child.tag in _DROPPED or child.get("class") in _DROPPED_CLASSES:
            element.remove(child)
        else:
            _strip(child)


def _short(label: str) -> str:
    return label if len(label) <= _LABEL_LENGTH else f"{label[: _LABEL_LENGTH - 1]}…"
