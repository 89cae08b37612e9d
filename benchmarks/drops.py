"""The drops that are measured: each mix by name, the same bytes for the same number of events, whole columns at once.

    python -m benchmarks.drops MIX EVENTS INBOX

Most are samples (`nightdrop sample`); the rest are made of their lines.
"""

from __future__ import annotations

import gzip
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import polars as pl

from pipelines.sampling import draw_sample, make_sample

DAY = date(2026, 11, 16)
FIRST_OF_YEAR = date(2025, 11, 17)
SEED = 1
EVENTS_A_DAY = 3_000
PART = 1_000_000
"""Events drawn at a time for a file larger than memory should hold."""


@dataclass(frozen=True, slots=True)
class Mix:
    """One kind of drop to measure on."""

    title: str
    events: int
    """How many at full size."""
    write: Callable[[int, Path], None]
    """Writes so many events under an inbox."""
    sides: tuple[str, ...] = ("floor", "nightdrop")
    once: tuple[str, ...] = ()
    """Sides that take so long that they run in the first round only."""
    again: bool = False
    """Also a run with nothing to do, what it imports, and `--help`."""
    times_common: float = 2.0
    """Goal: at most so many times the time per event of the common mix."""
    smallest: int = 1_000
    """The quick form has at least so many events."""


def _clients(rejected: float, *, format: str = "jsonl") -> Callable[[int, Path], None]:
    def write(events: int, inbox: Path) -> None:
        make_sample(inbox, events=events, seed=SEED, rejected=rejected, categories=["client"], first_day=DAY, format=format)

    return write


def _all_refused(events: int, inbox: Path) -> None:
    """Break every line of a sample, each in one of the ways in which partners' files are broken."""
    line = pl.col("line")
    broken = pl.coalesce(
        _replaced(0, '"email":"', '"email":"mail to '),
        _replaced(1, '"phone":"+', '"phone":"00'),
        _replaced(2, '"country":"', '"country":"x'),
        _replaced(3, '"registration_number":"', '"registration_number":null,"id":"'),
        line.str.replace('"client_id":"', '"client_id":" ', literal=True),
    )
    _write(inbox, DAY, "clients", _drawn(events, rejected=0.04).to_frame("line").select(broken).to_series())


def _replaced(which: int, old: str, new: str) -> pl.Expr:
    """Return every fifth create with one field broken, null for all other lines."""
    line = pl.col("line")
    chosen = (pl.int_range(pl.len()) % 5 == which) & line.str.contains('"step":"create"', literal=True)
    return pl.when(chosen & line.str.contains(old, literal=True)).then(line.str.replace(old, new, literal=True))


def _all_categories(events: int, inbox: Path) -> None:
    make_sample(inbox, events=events, seed=SEED, first_day=DAY)


def _compressed(events: int, inbox: Path) -> None:
    _clients(0.04)(events, inbox)
    plain = inbox / f"{DAY}" / "clients.jsonl"
    with plain.open("rb") as source, gzip.GzipFile(f"{plain}.gz", "wb", compresslevel=6, mtime=0) as packed:
        shutil.copyfileobj(source, packed, 1 << 20)
    plain.unlink()


def _one_client(events: int, inbox: Path) -> None:
    """Write one client's life: a create, then updates of which every other one is refused by a record rule."""
    create = _drawn(1, rejected=0)
    number = pl.int_range(1, events, eager=True)
    sent = pl.select(
        pl.when(number % 2 == 0)
        .then(pl.concat_str(pl.lit('"phone":"+336'), 10_000_000 + number))
        .otherwise(pl.concat_str(pl.lit('"registration_number":"CR-'), number))
    ).to_series()
    start = '{"category":"client","data":{"step":"update","client_id":"CL-10000001",'
    updates = pl.select(pl.concat_str(pl.lit(start), sent, pl.lit('"}}'))).to_series()
    _write(inbox, DAY, "clients", pl.concat([create, updates]))


def _unusual_addresses(events: int, inbox: Path) -> None:
    """Write creates whose addresses are all different and none of plain letters."""
    creates = _drawn(2 * events + 100, rejected=0)
    creates = creates.filter(creates.str.contains('"step":"create"', literal=True)).head(events)
    number = pl.int_range(events, eager=True)
    address = pl.concat_str(pl.lit("müller"), number, pl.lit("@bücher-"), number % 977, pl.lit(".example.com"))
    parts = creates.to_frame("line").select(
        before=pl.col("line").str.extract(r'^(.*"email":")'), after=pl.col("line").str.extract(r'"email":"[^"]*(".*)$')
    )
    _write(inbox, DAY, "clients", parts.select(pl.concat_str("before", address, "after")).to_series())


def _year(events: int, inbox: Path) -> None:
    days = max(3, events // EVENTS_A_DAY)
    make_sample(inbox, events=events, seed=SEED, categories=["client"], days=days, first_day=FIRST_OF_YEAR)


def _huge(events: int, inbox: Path) -> None:
    """Write one file part by part, each with ids of its own."""
    folder = inbox / DAY.isoformat()
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "clients.jsonl").open("wb") as stream:
        for part, start in enumerate(range(0, events, PART)):
            lines = _drawn(min(PART, events - start), seed=SEED + part, rejected=0.04)
            lines = lines.str.replace_all('"CL-', f'"P{part:03}-', literal=True)
            lines.to_frame().write_csv(stream, include_header=False, quote_style="never")


def _drawn(events: int, *, rejected: float, seed: int = SEED) -> pl.Series:
    """Return the lines of client events."""
    (lines,) = draw_sample(events=events, seed=seed, rejected=rejected, categories=["client"], first_day=DAY).drops.values()
    return lines


def _write(inbox: Path, day: date, name: str, lines: pl.Series) -> None:
    folder = inbox / day.isoformat()
    folder.mkdir(parents=True, exist_ok=True)
    lines.to_frame().write_csv(folder / f"{name}.jsonl", include_header=False, quote_style="never")


COMMON = "clients-4"
"""The mix that goals are set on: clients, 4 % of the events refused."""
SMALL = "clients-4-small"
"""The same in a size that the slowest side ends with."""
HUGE = "huge"
_MILLION = 1_000_000

MIXES: dict[str, Mix] = {
    COMMON: Mix("clients, 4 % refused", _MILLION, _clients(0.04), ("floor", "loop", "nightdrop"), once=("dlt",), again=True),
    SMALL: Mix(
        "clients, 4 % refused, a tenth", _MILLION // 10, _clients(0.04), ("floor", "loop", "dlt", "dlt-parquet", "nightdrop")
    ),
    "clients-0": Mix("clients, none refused", _MILLION, _clients(0)),
    "clients-50": Mix("clients, 50 % refused", _MILLION, _clients(0.5)),
    "clients-100": Mix("clients, all refused", _MILLION, _all_refused),
    "categories": Mix("all four categories", _MILLION, _all_categories),
    "csv": Mix("CSV", _MILLION, _clients(0.04, format="csv")),
    "gzip": Mix("gzip", _MILLION, _compressed),
    "one-client": Mix("one client, every other event refused", 300_000, _one_client),
    "addresses": Mix("unusual e-mail addresses, all different", 200_000, _unusual_addresses, times_common=4.0),
    "year": Mix("365 daily files in one run", 365 * EVENTS_A_DAY, _year, again=True),
    HUGE: Mix("one large file, 4 % refused", 20 * _MILLION, _huge, ("nightdrop",)),
}


def main() -> None:
    """Write the drops of one mix."""
    mix, events, inbox = sys.argv[1:]
    MIXES[mix].write(int(events), Path(inbox))


if __name__ == "__main__":
    main()
