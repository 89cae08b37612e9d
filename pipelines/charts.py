"""Charts as inline SVG as pygal draws them, without its scripts, styles, comments and clock, coloured by the page's own CSS."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from types import ModuleType
from typing import Any
from xml.etree import ElementTree
from xml.sax.saxutils import escape

from markupsafe import Markup

_QUOTES = {'"': "&quot;"}
_SVG = "{http://www.w3.org/2000/svg}"
_DROPPED = {f"{_SVG}defs", f"{_SVG}desc", f"{_SVG}title"}
_DROPPED_CLASSES = {"background", "plot tooltip-overlay", "plot overlay", "titles"}
_LABEL_LENGTH = 24
_FONT = 13
_MARGIN = 6
_WIDTH = 520
"""Of horizontal bars."""


@dataclass(frozen=True, slots=True)
class Bar:
    """One bar: what it counts, how many, and where a click on it leads."""

    label: str
    count: int
    href: str | None = None


def bars(title: str, counted: Sequence[Bar]) -> Markup:
    """Draw horizontal bars, the first one on top, of nothing none; `title` says for a screen reader what is counted.

    A report has two of these a date, and pygal takes longer for them than all else on the page: so they are written out
    here, byte for byte as pygal would have them (a test draws both).
    """
    if not counted:
        return Markup()
    room = _Room.of(counted)
    shown = list(enumerate(reversed(counted)))  # pygal begins at the bottom
    labels = "".join(room.label(place, bar) for place, bar in shown)
    drawn = "".join(room.bar(place, bar) for place, bar in shown)
    values = "".join(room.value(place, bar) for place, bar in shown)
    linked = ' xmlns:xlink="http://www.w3.org/1999/xlink"' if any(bar.href for bar in counted) else ""
    plot = f'transform="translate({int(room.left)}, {_MARGIN})"'
    series = '<g class="series serie-0 color-0">'
    return Markup(  # noqa: S704  # numbers, and words that are escaped
        f'<svg xmlns="http://www.w3.org/2000/svg"{linked} class="chart" viewBox="0 0 {_WIDTH} {room.total_height}" role="img" '
        f'aria-label="{escape(_words(title, counted), _QUOTES)}"><g class="graph horizontalbar-graph horizontal">'
        f'<g {plot} class="plot"><g class="axis y">{labels}</g>{series}<g class="bars">{drawn}</g></g></g>'
        f'<g {plot} class="plot text-overlay">{series}{values}</g></g></g></svg>'
    )


@dataclass(frozen=True, slots=True)
class _Room:
    """The places of horizontal bars. Each number is worked out in pygal's own steps: in others its last digit would differ."""

    bars: int
    left: float
    width: float
    height: float
    most: float
    """What the right edge stands for."""
    total_height: int

    @classmethod
    def of(cls, counted: Sequence[Bar]) -> _Room:
        longest = max(len(_short(bar.label)) for bar in counted)
        left = _MARGIN + (10 + max(longest * 0.6 * _FONT, _FONT))
        total, most = _height(len(counted)), _most(counted)
        height = total - 2 * _MARGIN
        most += 1.1 * (_FONT / height) * most  # pygal's own room for the numbers
        return cls(len(counted), left, _WIDTH - (left + _MARGIN), height, most, total)

    def label(self, place: int, bar: Bar) -> str:
        y = self._down((place + 0.5) / self.bars) + 0.35 * _FONT
        return f'<g class="guides"><text x="-5" y="{y}" class="">{escape(_short(bar.label))}</text></g>'

    def bar(self, place: int, bar: Bar) -> str:
        top, thick, end = self._extent(place, bar)
        long = -(self._right(0) - end)
        rect = (
            f'<rect x="{end - long}" y="{top + thick}" rx="0" ry="0" width="{long}" height="{-thick}" '
            'class="rect reactive tooltip-trigger" />'
        )
        if bar.href:
            rect = f'<a target="_self" xlink:href="{escape(bar.href, _QUOTES)}">{rect}</a>'
        return f'<g class="bar">{rect}</g>'

    def value(self, place: int, bar: Bar) -> str:
        top, thick, end = self._extent(place, bar)
        y = top + thick / 2 + _FONT / 3
        return f'<text text-anchor="middle" x="{end + _FONT / 2}" y="{y}" class="value">{bar.count:,}</text>'

    def _extent(self, place: int, bar: Bar) -> tuple[float, float, float]:
        """Return where a bar starts downwards, its thickness (upwards, so negative), and where it ends to the right."""
        thick = (self._down(1) - self._down(0)) / self.bars
        top = self._down(place / self.bars)
        for _ in range(2):  # the margin around all series, then that around one
            margin = thick * 0.06
            top += margin
            thick -= 2 * margin
        return top, thick, self._right(bar.count)

    def _down(self, share: float) -> float:
        return self.height - self.height * (share - -0.02) / (1.02 - -0.02)

    def _right(self, count: float) -> float:
        margin = 0.02 * self.most
        return self.width * (count - (0 - margin)) / (self.most + margin - (0 - margin))


def _height(bars: int) -> int:
    return 34 + 30 * bars


def _most(counted: Sequence[Bar]) -> float:
    return max(bar.count for bar in counted) * 1.12  # room for the number behind the longest bar


def _words(title: str, counted: Sequence[Bar]) -> str:
    return f"{title}: " + ", ".join(f"{bar.label} {bar.count:,}" for bar in counted)


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


def make_ready() -> None:
    """Load what draws."""
    _pygal()


@cache
def _pygal() -> ModuleType:
    """Return pygal without the finder of plugins that it leaves among Python's: later imports would trip over its old form."""
    import pygal

    sys.meta_path[:] = [finder for finder in sys.meta_path if type(finder).__module__ != "pygal"]
    loaded: ModuleType = pygal
    return loaded


def _config(**settings: Any) -> Any:
    pygal = _pygal()
    from pygal.style import Style

    style = Style(label_font_size=_FONT, major_label_font_size=_FONT, value_font_size=_FONT)
    plain = {"css": [], "js": [], "no_prefix": True, "disable_xml_declaration": True, "show_legend": False, "margin": _MARGIN}
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
