"""Horizontal bars are written out without pygal; here pygal draws them too."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import given, settings
from hypothesis import strategies as st
from markupsafe import Markup

from pipelines import charts
from pipelines.charts import Bar, bars
from pipelines.visible import visible

TEXT = st.text(min_size=1, max_size=40).map(visible)
BARS = st.lists(st.builds(Bar, TEXT, st.integers(1, 10**12), st.none() | TEXT), min_size=1, max_size=13)


def by_pygal(title: str, counted: Sequence[Bar]) -> Markup:
    chart = charts._pygal().HorizontalBar(
        charts._config(width=charts._WIDTH, height=charts._height(len(counted)), print_values=True, print_values_position="top")
    )
    shown = list(reversed(counted))  # pygal begins at the bottom
    chart.x_labels = [charts._short(bar.label) for bar in shown]
    chart.range = (0, charts._most(counted))
    chart.value_formatter = lambda value: f"{int(value):,}" if value == int(value) else ""
    chart.show_x_labels, chart.show_x_guides, chart.truncate_label = False, False, -1
    links = [{"xlink": {"href": bar.href, "target": "_self"}} if bar.href else {} for bar in shown]
    chart.add("", [{"value": bar.count} | link for bar, link in zip(shown, links, strict=True)])
    return charts._inline(chart, charts._words(title, counted))


@settings(deadline=None)
@given(TEXT, BARS)
def test_bars_are_byte_for_byte_what_pygal_draws(title: str, counted: list[Bar]) -> None:
    assert bars(title, counted) == by_pygal(title, counted)


def test_nothing_counted_is_nothing_drawn() -> None:
    assert bars("Reasons by field", []) == ""
