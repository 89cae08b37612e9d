"""Have Pandera name the rules that rows break: once for every set of rules that are broken together. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pandera.polars as pa
import polars as pl

from validation.rules import Rule

Rows = npt.NDArray[np.uint32]
FOUND = {"row": pl.UInt32(), "code": pl.String(), "field": pl.String()}
_MOST_KNOWN = 10_000
_WORD = 64
"""So many rules stand in one number, by which sets are compared."""
_known: set[tuple[object, ...]] = set()
"""The sets of rules that Pandera named in this process: every chunk of a drop breaks the same few."""


def named(name: str, fired: Sequence[Rule], rows: Sequence[Rows]) -> pl.DataFrame:
    """Return `row`, `code`, `field` (columns `FOUND`) of what fired, once Pandera has named it.

    `rows` has for every rule that `fired` where in a frame it did, and `name` is the schema's, for its errors. A check looks at
    its rule's own verdict on a row alone, so that rows with the same verdicts are one row to Pandera, and so they are over all
    calls. Raises RuntimeError where Pandera names something else.
    """
    row, place = np.concatenate(rows), np.repeat(np.arange(len(fired)), [len(of_rule) for of_rule in rows])
    unknown = []
    for together in _sets(row, place, len(fired)):
        key = (name, *((type(rule), rule.code, rule.field) for rule, is_broken in zip(fired, together, strict=True) if is_broken))
        if key not in _known:
            unknown.append((key, together))
    if unknown:
        _ask(name, fired, np.array([together for _, together in unknown]))
        if len(_known) + len(unknown) > _MOST_KNOWN:
            _known.clear()
        _known.update(key for key, _ in unknown)
    at = pl.Series(place, dtype=pl.UInt32)
    codes, fields = (pl.Series(texts, dtype=pl.String) for texts in ([r.code for r in fired], [r.field for r in fired]))
    return pl.DataFrame({"row": row, "code": codes[at], "field": fields[at]}, schema=FOUND)


def _sets(row: Rows, place: npt.NDArray[np.int64], rules: int) -> npt.NDArray[np.bool_]:
    """Return the different sets of rules that are broken together, a row a set, a column a rule; `place` is that of a rule."""
    is_broken = np.zeros(int(row.max()) + 1, dtype=np.bool_)
    is_broken[row] = True
    number = np.cumsum(is_broken) - 1
    if number[-1] + 1 == len(row):
        return np.identity(rules, dtype=np.bool_)
    together = np.zeros((number[-1] + 1, -(-rules // _WORD) * _WORD), dtype=np.bool_)
    together[number[row], place] = True
    words = np.packbits(together, axis=1).view(np.uint64)
    distinct = np.ascontiguousarray(pl.from_numpy(words).unique().to_numpy())
    return np.unpackbits(distinct.view(np.uint8), axis=1, count=rules).astype(np.bool_)


def _ask(name: str, fired: Sequence[Rule], sets: npt.NDArray[np.bool_]) -> None:
    """Have Pandera name sets of rules; raises RuntimeError unless it names each of them, and no other rule."""
    asked = np.flatnonzero(sets.any(axis=0))
    frame = pl.DataFrame({str(place): sets[:, place] for place in asked}).with_row_index("row")
    checks = [replace(fired[int(place)], broken=pl.col(str(place))).check() for place in asked]
    # All checks stand at one column, whose number of a check tells its rule: Pandera's cost is by the column. A schema of the
    # frame would make up all it says a second time.
    schema = pa.Column(frame.schema["row"], checks, name="row")
    told = np.zeros_like(sets)
    try:
        schema.validate(frame, lazy=True)
    except pa.errors.SchemaErrors as errors:
        cases = errors.failure_cases
        if cases["index"].null_count():
            raise RuntimeError(f"{name}: a rule could not be worked out; nothing was decided") from errors
        told[cases["index"].to_numpy(), asked[cases["check_number"].to_numpy()]] = True
    if not np.array_equal(told, sets):
        otherwise = [fired[int(place)].code for place in np.flatnonzero((told != sets).any(axis=0))]
        raise RuntimeError(f"{name}: a rule fired that Pandera does not find: {otherwise}")
