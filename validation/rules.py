"""What a rule is, and how it becomes a Pandera check whose name is the reason code. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache, reduce
from operator import or_
from typing import TYPE_CHECKING, Any, Literal

import polars as pl

if TYPE_CHECKING:
    import pandera.polars as pa

Severity = Literal["error", "warning"]

BEFORE = "before."
"""Prefix of a field as the record had it before the event; null when there was no record."""
EVENT = "event."
"""Prefix of a field as the event brings it; null when it does not."""
PARENT = "parent."
"""Prefix of a field of the record's parent."""
SOURCE = "drop.source"
"""Column with the name of who sent the drop an event came in; null when nobody's drops are judged by patterns of their own."""
TYPED = "typed."
"""Prefix, in a frame of events as sent, of the value that a text stands for; null when it stands for none."""


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule about one field.

    `broken` gives a boolean expression, never null, over a frame of the rule's kind: events as sent for an event rule,
    merged records for a record rule.
    """

    code: str
    field: str
    broken: pl.Expr
    when: str
    example: str
    """What breaks it: the part of an event that matters, as JSON."""
    message: str
    """What is wrong and what was wanted; `{column}` stands for the text of that column."""
    severity: Severity = "error"
    reads: tuple[str, ...] = ()
    """Columns a record rule reads."""
    test: Callable[..., Any] | None = None
    """A record rule's test over single values, in the order of `reads`; the same function that made `broken`."""
    nullable: tuple[str, ...] = ()
    """Columns a record rule reads that may be null; it is silent when another is."""
    on_create: bool = True
    """A record rule that looks at creates too."""
    waits_for_parent: bool = False
    """A record rule that a create meets only after its lifecycle rules."""
    suspect: pl.Expr | None = None
    """A cheaper expression, true at least wherever `broken` is; where it is false nothing more is asked. None: `broken`."""
    by_source: Mapping[str, str] | None = None
    """The message for events of a source for which it is another."""
    suggest: Callable[[str], str] | None = None
    """What was probably meant, from the value; asked once a distinct value and put for `{suggestion}`."""

    def __deepcopy__(self, memo: object) -> Rule:
        """Return the rule itself: it never changes, and rules copied by Pandera go on sharing what makes rows suspect."""
        return self

    def check(self) -> pa.Check:
        """Return the Pandera check of this rule: named by its code, described by its words."""
        import pandera.polars as pa

        return pa.Check(
            lambda data: data.lazyframe.select(~self.broken),
            name=self.code,
            description=self.when,
            raise_warning=False,
            statistics={"rule": self},
        )


def record_rule(
    code: str,
    field: str,
    reads: tuple[str, ...],
    test: Callable[..., Any],
    *,
    when: str,
    example: str,
    message: str,
    nullable: tuple[str, ...] = (),
    on_create: bool = True,
    waits_for_parent: bool = False,
    severity: Severity = "error",
    by_source: Mapping[str, str] | None = None,
) -> Rule:
    """Make a field dependency out of one function that serves whole columns and single values alike.

    `test` is called with expressions for whole columns and with plain values for the contested events that are
    decided one by one; it may use comparison, arithmetic, `&`, `|`, `^` and the words of `validation.words`.
    """
    broken = test(*(pl.col(name) for name in reads)).fill_null(False)
    known = [pl.col(name).is_not_null() for name in reads if name not in nullable]
    broken = pl.all_horizontal(*known, broken)
    return Rule(
        code,
        field,
        broken,
        when,
        example,
        message,
        severity=severity,
        reads=reads,
        test=test,
        nullable=nullable,
        on_create=on_create,
        waits_for_parent=waits_for_parent,
        by_source=by_source,
    )


def schema(name: str, dtypes: dict[str, pl.DataType], rules: Iterable[Rule]) -> pa.DataFrameSchema:
    """Return the Pandera schema of those columns, each with the checks of its rules."""
    import pandera.polars as pa

    by_field: dict[str, list[pa.Check]] = {column: [] for column in dtypes}
    for rule in rules:
        by_field[rule.field].append(rule.check())
    columns = {
        column: pa.Column(dtypes[column], checks=checks, nullable=True, required=bool(checks))
        for column, checks in by_field.items()
    }
    return pa.DataFrameSchema(columns, name=name)


def rules_of(schema: pa.DataFrameSchema) -> Iterator[Rule]:
    """Yield the rules of a schema in the order of its columns and their checks."""
    for column in schema.columns.values():
        for check in column.checks:
            yield check.statistics["rule"]


@cache
def flagged(mask: str, bit: int) -> pl.Expr:
    """Return whether that bit of a mask column is set."""
    return (pl.col(mask) & bits(1 << bit)) != bits(0)


@cache
def bits(mask: int) -> pl.Expr:
    """Return a mask as Polars takes it: made once, since each takes as long as a small column to look at."""
    return pl.lit(mask, dtype=pl.UInt64)


def any_of(expressions: Iterable[pl.Expr]) -> pl.Expr:
    """Return an expression that is true where one of them is; false when there is none."""
    return reduce(or_, expressions, pl.lit(False))
