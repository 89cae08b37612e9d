"""Conservation: drop or double any record or row at any step, and the run ends before anything is committed."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import cycle
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pytest
from checked import create, line
from homes import deliver, home_in, night, rows

from pipelines import appending, deciding, eventlog, inserting, pickup, shift
from pipelines.decision import Decision
from pipelines.home import Home
from pipelines.loading import Ready
from pipelines.logged import Logged
from pipelines.problems import NightdropError

Change = Callable[[pl.DataFrame], pl.DataFrame]
Mutant = Callable[[pytest.MonkeyPatch, Change], None]


def lost(frame: pl.DataFrame, at: int) -> pl.DataFrame:
    return pl.concat([frame.head(at), frame.slice(at + 1)])


def doubled(frame: pl.DataFrame, at: int) -> pl.DataFrame:
    return pl.concat([frame.head(at + 1), frame.slice(at)])


FAULTS = {"lost": lost, "doubled": doubled}


def update(category: str, key: str, **changes: Any) -> bytes:
    return line(category, {"step": "update", f"{category}_id": key, **changes})


MONDAY = b"".join(
    [
        line("client", create("client", client_id=f"C{n}", address="x" if n % 2 else "1 High St, A, B", colour="red"))
        for n in range(3)
    ]
    + [line("loan", create("loan", loan_id=f"L{n}", client_id=f"C{n}")) for n in range(5)]
    + [line("payment", create("payment", payment_id=f"P{n}", loan_id=f"L{n}")) for n in range(5)]
    + [line("deposit", create("deposit", deposit_id=f"D{n}", balance=7)) for n in range(3)]
    + [b"no JSON\n", line("client", create("client", client_id="C9", email="x", phone="y"))]
)
TUESDAY = b"".join(
    [line("client", create("client", client_id=f"C{n}", address="x", shape="odd")) for n in (3, 4)]
    + [line("client", create("client", client_id="C8", email="x", phone="y")), b"\n", b"{}\n", b"[]\n"]
    + [update("loan", f"L{n}", amount=900 + n, change_date="2026-11-17", change_reason="paid", tone="x") for n in range(3)]
    + [update("loan", "L1", amount=5, maturity_date="2020-01-01"), update("loan", "L2", client_id="C0", currency="EUR")]
    + [update("payment", f"P{n}", amount=50 + n, fee=1) for n in range(3)]
    + [line("payment", create("payment", payment_id="P9", loan_id="L7"))]
    + [
        update("deposit", "D0", balance=9),
        update("deposit", "D1", balance=None),
        update("client", "C1", address="y", contact_person="Ann"),
    ]
    + [line("loan", create("loan", loan_id="L8", client_id="C4")), line("deposit", create("deposit", deposit_id="D8"))]
    + [line("client", {"step": "delete", "client_id": "C0"})]
)
LATE = line("client", create("client", client_id="C3", address="x")) + line("client", create("client", client_id="C7"))


@pytest.fixture(scope="module")
def yesterday(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """A home with Monday and Wednesday in it; what each mutant of the next night starts from."""
    home = home_in(tmp_path_factory.mktemp("home"))
    night(home, {"2026-11-16.jsonl": MONDAY, "2026-11-18.jsonl": update("payment", "P1", amount=70) + b"x\n"})
    return home


@pytest.fixture
def home(yesterday: Home, tmp_path: Path) -> Home:
    home = Home(tmp_path / "home")
    shutil.copytree(yesterday.root, home.root)
    deliver(home, {"2026-11-17.jsonl": TUESDAY, "2026-11-15.jsonl": LATE})
    return home


# --- where rows are taken on, and by which names ------------------------------------------------------------------------


def of_the_reader(kind: str, *, together: bool = False) -> Mutant:
    """Of a drop that is read by itself, for which small ones are taken too; or of those that are read together."""

    def mutate(patch: pytest.MonkeyPatch, change: Change) -> None:
        name = "read_together" if together else "read_chunks"
        read = getattr(pickup, name)

        def mutated(*arguments: Any, **options: Any) -> Iterator[Any]:
            for chunk in read(*arguments, **options):
                if kind in ("unread", "filler"):
                    yield replace(chunk, **{kind: change(getattr(chunk, kind))})
                else:
                    sheets = {name: change(sheet) if name == kind else sheet for name, sheet in chunk.sheets.items()}
                    yield replace(chunk, sheets=sheets)

        patch.setattr(pickup, name, mutated)
        if not together:
            patch.setattr(pickup, "SMALL", 0)

    return mutate


def with_frames(given: Any, kind: str, change: Change) -> Any:
    """Change one frame of a result: one of its fields, or one of its events by category."""
    if kind.startswith("events "):
        category = kind.removeprefix("events ")
        return replace(given, events={name: change(rows) if name == category else rows for name, rows in given.events.items()})
    return replace(given, **{kind: change(getattr(given, kind))})


def of_a_call(owner: Any, name: str, kind: str) -> Mutant:
    def mutate(patch: pytest.MonkeyPatch, change: Change) -> None:
        call = getattr(owner, name)
        patch.setattr(owner, name, lambda *arguments, **options: with_frames(call(*arguments, **options), kind, change))

    return mutate


def of_the_log_read(kind: str) -> Mutant:
    def mutate(patch: pytest.MonkeyPatch, change: Change) -> None:
        wanted, every = kind.removeprefix("events "), Logged.every
        index = Logged.index

        def of_a_kind(self: Any, asked: str) -> pl.LazyFrame:
            return change(every(self, asked).collect()).lazy() if asked == wanted else every(self, asked)

        patch.setattr(Logged, "every", of_a_kind)
        if kind == "index":
            patch.setattr(Logged, "index", lambda self: change(index(self).collect()).lazy())

    return mutate


def of_settling(category: str, kind: str) -> Mutant:
    def mutate(patch: pytest.MonkeyPatch, change: Change) -> None:
        settle = deciding.settle

        def mutated(entity: Any, *arguments: Any) -> Any:
            settled = settle(entity, *arguments)
            return with_frames(settled, kind, change) if entity.category == category else settled

        patch.setattr(deciding, "settle", mutated)

    return mutate


def of_the_log_written(kind: str) -> Mutant:
    def mutate(patch: pytest.MonkeyPatch, change: Change) -> None:
        write = eventlog.PartWriter.write
        patch.setattr(
            eventlog.PartWriter, "write", lambda self, checked, place: write(self, with_frames(checked, kind, change), place)
        )

    return mutate


def of_loading(table: str) -> Mutant:
    def mutate(patch: pytest.MonkeyPatch, change: Change) -> None:
        insert = inserting.insert

        def mutated(con: Any, name: str, rows: pl.DataFrame | pa.Table) -> None:
            insert(con, name, change(pl.DataFrame(rows)) if name == table and len(rows) else rows)

        patch.setattr(inserting, "insert", mutated)

    return mutate


CATEGORIES = ("client", "loan", "payment", "deposit")
CHECKED = ("index", "reasons", "warnings", *(f"events {category}" for category in CATEGORIES))
TABLES = ("events", "rejections", "warnings", "loan_changes")
TABLES += ("clients", "loans", "payments", "deposits", "past.clients", "past.loans", "past.payments", "past.deposits")
TABLES += ("rejected_lines",)
MUTANTS: dict[str, Mutant] = {
    **{f"read {kind}": of_the_reader(kind) for kind in (*CATEGORIES, "unread", "filler")},
    **{f"read {kind} of small drops": of_the_reader(kind, together=True) for kind in (*CATEGORIES, "unread", "filler")},
    **{f"check {kind}": of_a_call(pickup, "check", kind) for kind in CHECKED},
    **{f"write the log {kind}": of_the_log_written(kind) for kind in CHECKED},
    **{f"read the log {kind}": of_the_log_read(kind) for kind in CHECKED},
    **{
        f"settle {category} {kind}": of_settling(category, kind)
        for category in CATEGORIES
        for kind in ("verdicts", "reasons", "warnings", "changes", "versions", "lives")
        # No loan's kind of change, and no rule that is not of an event: there are no rows.
        if (category, kind) not in {(each, "changes") for each in CATEGORIES if each != "loan"}
        and not (kind == "warnings" and category != "client")
        and not (kind == "reasons" and category == "deposit")
    },
    **{f"decide {kind}": of_a_call(shift, "decide", kind) for kind in ("events", "reasons", "warnings")},
    **{f"load {table}": of_loading(table) for table in TABLES},
}


IN_PARTS = {name: mutant for name, mutant in MUTANTS.items() if not name.endswith("of small drops")}
IN_PARTS |= {f"decide {kind}": of_a_call(appending, "decide_some", kind) for kind in ("events", "reasons", "warnings")}
"""The same where nothing stands after the night's drops, so that they are decided part by part; no drop is small beside a part."""


def assert_trips(
    home: Home, mutant: Mutant, fault: Callable[[pl.DataFrame, int], pl.DataFrame], share: float, **settings: Any
) -> None:
    """Run a night with one row of a step's result lost or doubled: it must end, and the published warehouse stay."""
    before, reached = rows(home, "SELECT count(*) FROM events"), []

    def change(frame: pl.DataFrame) -> pl.DataFrame:
        if frame.is_empty() or reached:
            return frame
        reached.append(True)
        return fault(frame, int(share * (len(frame) - 1)))

    with pytest.MonkeyPatch.context() as patch:
        mutant(patch, change)
        with pytest.raises((NightdropError, RuntimeError)):
            night(home, **settings)
    assert reached
    assert rows(home, "SELECT count(*) FROM events") == before


@pytest.mark.parametrize(("name", "fault"), list(zip(list(MUTANTS)[::4], cycle(FAULTS), strict=False)))
def test_a_row_lost_or_doubled_at_any_step_trips_the_gate(home: Home, name: str, fault: str) -> None:
    assert_trips(home, MUTANTS[name], FAULTS[fault], 0.5)


@pytest.fixture(scope="module")
def monday(tmp_path_factory: pytest.TempPathFactory) -> Home:
    home = home_in(tmp_path_factory.mktemp("monday"))
    night(home, {"2026-11-16.jsonl": MONDAY})
    return home


@pytest.fixture
def before_tuesday(monday: Home, tmp_path: Path) -> Home:
    """A home after which nothing stands: what comes tonight is decided part by part."""
    home = Home(tmp_path / "home")
    shutil.copytree(monday.root, home.root)
    deliver(home, {"2026-11-17.jsonl": TUESDAY + line("client", create("client", client_id="C0"))})
    return home


@pytest.mark.parametrize("chunk_bytes", [200, 1 << 20])
def test_without_a_fault_the_same_night_in_parts_passes(before_tuesday: Home, chunk_bytes: int) -> None:
    assert night(before_tuesday, chunk_bytes=chunk_bytes).events > 0


@pytest.mark.parametrize(("name", "fault"), list(zip(list(IN_PARTS)[2::4], cycle(FAULTS), strict=False)))
def test_a_row_lost_or_doubled_in_any_part_trips_the_gate(before_tuesday: Home, name: str, fault: str) -> None:
    assert_trips(before_tuesday, IN_PARTS[name], FAULTS[fault], 0.5, chunk_bytes=200)


@pytest.mark.long
@pytest.mark.parametrize("chunk_bytes", [200, 1 << 20])
@pytest.mark.parametrize("share", [0.0, 1.0])
@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("name", IN_PARTS)
def test_any_row_lost_or_doubled_in_any_part_trips_the_gate(
    before_tuesday: Home, name: str, fault: str, share: float, chunk_bytes: int
) -> None:
    assert_trips(before_tuesday, IN_PARTS[name], FAULTS[fault], share, chunk_bytes=chunk_bytes)


@pytest.mark.long
@pytest.mark.parametrize("share", [0.0, 0.3, 0.5, 1.0])
@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("name", MUTANTS)
def test_any_row_lost_or_doubled_at_any_step_trips_the_gate(home: Home, name: str, fault: str, share: float) -> None:
    assert_trips(home, MUTANTS[name], FAULTS[fault], share)


def test_without_a_fault_the_same_night_passes(home: Home) -> None:
    done = night(home)
    assert done.events > 0
    assert rows(home, "SELECT count(*) > 0 FROM rejections JOIN warnings USING (business_date, path)") == [(True,)]


@pytest.mark.parametrize("field", ["amount", "fee"])
def test_money_that_no_event_explains_trips_the_gate(home: Home, monkeypatch: pytest.MonkeyPatch, field: str) -> None:
    insert = inserting.insert

    def mutated(con: Any, name: str, rows: pl.DataFrame | pa.Table) -> None:
        frame = pl.DataFrame(rows)
        if name in ("payments", "past.payments"):  # in step with each other, so no other check sees it
            frame = frame.with_columns((pl.col(field) + pl.lit(1).cast(pl.Decimal(18, 4))).cast(pl.Decimal(18, 4)))
        insert(con, name, frame)

    monkeypatch.setattr(inserting, "insert", mutated)
    with pytest.raises(NightdropError, match=f"table payments: .* is what the applied events add up to in {field}"):
        night(home)


def test_a_rejection_that_is_of_no_event_is_never_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_ready = appending.Adding.make_ready

    def astray(adding: appending.Adding, decision: Decision, *, last: bool) -> Ready:
        reasons = decision.reasons.with_columns(pos=pl.col("pos") + 1_000)
        return make_ready(adding, replace(decision, reasons=reasons), last=last)

    monkeypatch.setattr(appending.Adding, "make_ready", astray)
    with pytest.raises(NightdropError, match="rejections to be written"):
        night(home_in(tmp_path), {"2026-11-16.jsonl": MONDAY})


def test_archived_bytes_that_changed_are_never_read_as_the_drop(home: Home) -> None:
    night(home)
    shutil.rmtree(home.log)
    for file in home.archive.rglob("*"):
        if file.is_file() and b"C3" in file.read_bytes():
            file.chmod(0o640)
            file.write_bytes(file.read_bytes().replace(b"C3", b"C4"))
    with pytest.raises(NightdropError, match="its archived bytes are not the ones that were stored"):
        night(home)
