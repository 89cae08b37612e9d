"""Rows found and laid out by number arithmetic are those that joins and sorts over whole frames find."""

from __future__ import annotations

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.positions import Positions
from pipelines.timeline import _laid_out

POSITIONS = st.integers(-1, 2**62)
CLOSE = st.integers(0, 12)
"""So close together that wanted ones are often there."""


@settings(deadline=None)
@given(st.lists(CLOSE | POSITIONS, unique=True), st.lists(CLOSE | POSITIONS))
def test_positions_find_the_rows_that_a_join_finds(stand: list[int], wanted: list[int]) -> None:
    rows = pl.DataFrame({"pos": stand}, schema={"pos": pl.Int64}).with_row_index("row")
    asked = pl.Series("pos", wanted, dtype=pl.Int64)
    joined = asked.to_frame().join(rows, on="pos", how="left", maintain_order="left")["row"]
    there, found = Positions(rows["pos"]).rows_at(asked)
    assert there.tolist() == joined.is_not_null().to_list() == Positions(rows["pos"]).hold(asked).to_list()
    assert found.tolist() == joined.drop_nulls().to_list()


@settings(deadline=None)
@given(st.lists(st.tuples(CLOSE, st.sampled_from("ABCD")), unique_by=lambda row: row[0]))
def test_rows_are_laid_out_record_by_record_each_by_position(rows: list[tuple[int, str]]) -> None:
    frame = pl.DataFrame(rows, schema={"pos": pl.Int64, "id": pl.String}, orient="row")
    order, lengths = _laid_out(frame)
    by_record: dict[str, list[int]] = {}
    for pos, name in sorted(rows):  # records in the order in which they first appear
        by_record.setdefault(name, []).append(pos)
    assert [rows[row][0] for row in order.tolist()] == [pos for some in by_record.values() for pos in some]
    assert lengths.tolist() == [len(some) for some in by_record.values()]
