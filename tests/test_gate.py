"""The gate: a warehouse that adds up passes, and a fault in any row of any table is named."""

from __future__ import annotations

from datetime import date, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines import database, gate, schema
from pipelines.problems import NightdropError
from pipelines.tables import TABLES, past
from validation.entities import ENTITIES

D1, D2 = date(2026, 1, 1), date(2026, 1, 2)
CLOCK = datetime(2026, 1, 3, 4, 5, 6)
DROPS = {D1: "a/2026-01-01.jsonl", D2: "a/2026-01-02.jsonl"}

CLIENT = {"name": "Ann", "address": "1, A, B", "country": "NL", "is_company": False}
LOAN = {"client_id": "C1", "amount": 100, "currency": "EUR", "disbursement_date": D1, "maturity_date": D2}
PAYMENT = {"loan_id": "L1", "amount": 10, "currency": "EUR", "status": "paid", "due_date": D2}
DEPOSIT = {"client_id": "C2", "account_number": "A1", "currency": "EUR"}


def insert(con, table, **values):
    names = ", ".join(f'"{name}"' for name in values)
    con.execute(f"INSERT INTO {table} ({names}) VALUES ({', '.join('?' * len(values))})", list(values.values()))


def add_record(con, category, key, *versions):
    """Add a record of (business date, fields, deleted) versions and its row."""
    entity = ENTITIES[category]
    ends = [day for day, _, _ in versions[1:]] + [None]
    for (day, fields, deleted), end in zip(versions, ends, strict=True):
        version = {entity.id: key, **fields, "created_on": versions[0][0], "updated_on": day}
        version["deleted_on"] = day if deleted else None
        if end is None:
            insert(con, entity.table, **version)
        else:
            insert(con, past(entity), **version, valid_from=day, valid_to=end)


def add_event(con, day, line, event, *codes):
    """Add an event (category, step, id); with codes it is rejected for them."""
    at = {"business_date": day, "path": DROPS[day], "line": line}
    category, step, key = event
    what = {"category": category, "step": step, "entity_id": key}
    insert(con, "events", **at, **what, verdict="rejected" if codes else "applied", decided_at=CLOCK)
    for code in codes:
        insert(con, "rejections", **at, **what, code=code, message="no")
    if codes:
        insert(con, "rejected_lines", **at, sha256="s", byte_offset=line * 10, byte_length=2, raw=b"{}")


def add_warning(con, day, code, field, value):
    at = {"business_date": day, "path": DROPS[day], "line": 1}
    insert(con, "warnings", **at, category="client", entity_id="C1", code=code, field=field, value=value, message="odd")


@pytest.fixture(scope="module")
def warehouse(tmp_path_factory):
    """A warehouse of two days that adds up, with every table filled."""
    con = database.connect(tmp_path_factory.mktemp("home") / "warehouse.duckdb")
    schema.create(con)
    add_record(con, "client", "C1", (D1, CLIENT, False), (D2, CLIENT | {"name": "Anne"}, False))
    add_record(con, "client", "C2", (D1, CLIENT, False), (D2, CLIENT, True))
    add_record(con, "loan", "L1", (D1, LOAN, False), (D2, LOAN | {"amount": 90}, False))
    add_record(con, "payment", "P1", (D1, PAYMENT, False), (D2, PAYMENT | {"amount": 9}, False))
    add_record(con, "payment", "P2", (D2, PAYMENT, False))
    add_record(con, "deposit", "A1", (D1, DEPOSIT, False), (D2, DEPOSIT | {"balance": 7}, False))
    for line, (category, key) in enumerate(
        [("client", "C1"), ("client", "C2"), ("loan", "L1"), ("payment", "P1"), ("deposit", "A1")], start=1
    ):
        add_event(con, D1, line, (category, "create", key))
    add_event(con, D1, 6, ("client", "create", "C3"), "invalid_email", "invalid_phone")
    add_event(con, D1, 7, (None, None, None), "malformed_json")
    add_event(con, D2, 1, ("client", "update", "C1"))
    add_event(con, D2, 2, ("client", "delete", "C2"))
    add_event(con, D2, 3, ("loan", "update", "L1"))
    add_event(con, D2, 4, ("payment", "update", "P1"))
    add_event(con, D2, 5, ("payment", "create", "P2"))
    add_event(con, D2, 6, ("deposit", "update", "A9"), "deposit_unknown")
    add_event(con, D2, 7, ("deposit", "update", "A1"))
    change = {"loan_id": "L1", "change_date": D2, "field": "amount", "old_value": "100.0000", "new_value": "90.0000"}
    insert(con, "loan_changes", **change, change_reason="partial", business_date=D2, path=DROPS[D2], line=3)
    add_warning(con, D1, "implausible_phone", "phone", "+1234567890")
    add_warning(con, D2, "unknown_field", "colour", "red")
    add_warning(con, D2, "incomplete_address", "address", "Dam")
    for day, counts in ((D1, (7, 5, 2, 1)), (D2, (7, 6, 1, 1))):
        run = f"r{day.day}"
        told = dict(zip(("records", "applied", "rejected", "warned"), counts, strict=True))
        insert(con, "runs", run_id=run, started_at=CLOCK + timedelta(days=day.day), state="done")
        insert(
            con, "drops", business_date=day, path=DROPS[day], sha256="s", **told,
            status="applied", picked_at=CLOCK, run_id=run,
        )  # fmt: skip
    insert(con, "drops", path="b/readme.jsonl", status="held", reason="no_business_date", picked_at=CLOCK, run_id="r2")
    at = {"business_date": D1, "path": DROPS[D1], "line": 7}
    insert(con, "corrections", **at, sha256="t", its_line=1, submitted_at=CLOCK)
    insert(con, "verdict_changes", run_id="r2", **at, was="applied", now="rejected", because_path=DROPS[D2])
    yield con
    con.close()


def tripped(con, *faults, since=None, checks=gate.CHECKS):
    """Return the names of the checks that trip once the faults are done, and take the faults back."""
    con.execute("BEGIN")
    try:
        for fault in faults:
            con.execute(fault)
        return {failure.check.name for failure in gate.failures(con, since=since, checks=checks)}
    finally:
        con.execute("ROLLBACK")


def rows_of(con, table):
    return [rowid for (rowid,) in con.execute(f"SELECT rowid FROM {table} ORDER BY rowid").fetchall()]


def test_a_warehouse_that_adds_up_passes_and_so_does_an_empty_one(warehouse, tmp_path):
    gate.check(warehouse)
    gate.check(warehouse, since=D2)
    empty = database.connect(tmp_path / "empty.duckdb")
    schema.create(empty)
    gate.check(empty)
    assert all(rows_of(warehouse, table) for table in TABLES)


# Nothing else tells of a row of these, or of one of several at the same event.
UNTOLD = {
    "corrections": "true",
    "verdict_changes": "true",
    "drops": "status <> 'applied'",
    "warnings": "line = 1 AND business_date = DATE '2026-01-02'",
    "rejections": "line = 6 AND business_date = DATE '2026-01-01'",
}


@pytest.mark.parametrize("table", TABLES)
def test_a_row_that_is_missing_trips_the_gate(warehouse, table):
    for row in rows_of(warehouse, table):
        untold = warehouse.execute(f"SELECT ({UNTOLD.get(table, 'false')}) FROM {table} WHERE rowid = {row}").fetchall()
        assert bool(tripped(warehouse, f"DELETE FROM {table} WHERE rowid = {row}")) is not untold[0][0], row


@pytest.mark.parametrize("table", TABLES)
def test_a_row_that_stands_twice_trips_the_gate(warehouse, table):
    for row in rows_of(warehouse, table):
        # The same unknown key may stand in the envelope and under data.
        known = warehouse.execute(f"SELECT to_json(t)->>'code' FROM {table} t WHERE rowid = {row}").fetchall()
        twice = f"INSERT INTO {table} SELECT * FROM {table} WHERE rowid = {row}"
        assert tripped(warehouse, twice, *([twice] if known == [("unknown_field",)] else [])), row


AT_D2 = "business_date = DATE '2026-01-02'"
FAULTS = {
    "clients_unique": "INSERT INTO clients SELECT * FROM clients WHERE client_id = 'C1'",
    "clients_dates": "UPDATE clients SET created_on = DATE '2026-01-09'",
    "client_history_chain": "UPDATE past.clients SET valid_to = DATE '2026-01-05'",
    "client_history_events": f"UPDATE events SET entity_id = 'C7' WHERE {AT_D2} AND line = 1",
    "loans_parent": "UPDATE loans SET client_id = 'C7'",
    "payments_parent": "UPDATE payments SET loan_id = 'L7' WHERE payment_id = 'P2'",
    "deposits_parent": "DELETE FROM clients WHERE client_id = 'C2'",
    "events_unique": f"UPDATE events SET line = 1 WHERE {AT_D2} AND line = 2",
    "events_verdict": "UPDATE events SET verdict = 'undecided' WHERE line = 7",
    "rejections_unique": "INSERT INTO rejections SELECT * FROM rejections WHERE line = 7",
    "rejections_events": f"UPDATE events SET verdict = 'applied' WHERE {AT_D2} AND line = 6",
    "rejected_lines_unique": "INSERT INTO rejected_lines SELECT * FROM rejected_lines WHERE line = 7",
    "rejected_lines_events": f"UPDATE rejected_lines SET line = 5 WHERE {AT_D2}",
    "rejected_lines_length": "UPDATE rejected_lines SET byte_length = 3 WHERE line = 7",
    "warnings_unique": "INSERT INTO warnings SELECT * FROM warnings WHERE code = 'implausible_phone'",
    "warnings_events": "UPDATE warnings SET line = 7 WHERE code = 'implausible_phone'",
    "loan_changes_unique": "INSERT INTO loan_changes SELECT * FROM loan_changes",
    "loan_changes_events": "UPDATE loan_changes SET loan_id = 'L7'",
    "loan_changes_whole": "UPDATE loan_changes SET field = 'maturity_date'",
    "drops_living": f"UPDATE drops SET path = 'a/2026-01-01.jsonl' WHERE {AT_D2}",
    "drops_conservation": "UPDATE drops SET warned = 2 WHERE status = 'applied'",
    "drops_unique": "INSERT INTO drops SELECT * FROM drops WHERE status = 'held'",
    "drops_run": "UPDATE drops SET run_id = 'r7'",
    "runs_unique": "UPDATE runs SET run_id = 'r1'",
    "corrections_unique": "INSERT INTO corrections SELECT * FROM corrections",
    "verdict_changes_unique": "INSERT INTO verdict_changes SELECT * FROM verdict_changes",
    "verdict_changes_run": "UPDATE verdict_changes SET run_id = 'r7'",
}


@pytest.mark.parametrize(("name", "fault"), FAULTS.items(), ids=FAULTS)
def test_each_check_trips_on_its_fault(warehouse, name, fault):
    assert name in tripped(warehouse, fault)


def test_every_check_has_its_own_name_and_a_fault_that_trips_it():
    names = [check.name for check in gate.CHECKS]
    assert len(names) == len(set(names))
    clients_stand_for_all = {"unique", "dates", "chain", "open", "events"}
    alike = {
        f"{name}_{kind}"
        for entity in ENTITIES.values()
        for name in (entity.table, entity.history)
        for kind in clients_stand_for_all
    }
    assert set(names) - alike <= set(FAULTS) <= set(names)


@pytest.mark.parametrize(
    "fault",
    [
        "UPDATE clients SET updated_on = DATE '2026-01-03' WHERE client_id = 'C1'",  # a gap
        "UPDATE past.clients SET updated_on = DATE '2026-01-02' WHERE client_id = 'C1'",
        "DELETE FROM past.clients WHERE client_id = 'C1'",  # the first is missing
        "UPDATE past.clients SET created_on = DATE '2025-12-31' WHERE client_id = 'C1'",  # the one it was created with is missing
        "DELETE FROM clients WHERE client_id = 'C1'",  # the last is missing
        "UPDATE past.clients SET valid_to = DATE '2026-01-01' WHERE client_id = 'C1'",  # empty
        "UPDATE past.clients SET valid_to = DATE '2026-01-03' WHERE client_id = 'C1'",  # overlap
    ],
)
def test_versions_with_a_gap_or_an_overlap_trip_the_gate(warehouse, fault):
    assert "client_history_chain" in tripped(warehouse, fault)


WALK = """
    SELECT client_id FROM (
        SELECT client_id, created_on, updated_on, valid_from, valid_to,
            lead(valid_from) OVER versions AS starts, row_number() OVER versions = 1 AS first
        FROM client_history WHERE valid_from >= $since OR valid_to >= $since
        WINDOW versions AS (PARTITION BY client_id ORDER BY valid_from)
    ) WHERE valid_from >= valid_to OR valid_to IS DISTINCT FROM starts OR updated_on <> valid_from
        OR (first AND valid_from <> created_on AND valid_from >= $since)"""
"""The chain of versions looked at one after the other: slower than the days on which they meet, and plain to see."""
DAYS = [date(2026, 1, day) for day in range(1, 6)]
CHAIN = [check for check in gate.CHECKS if check.name in ("clients_unique", "client_history_chain")]


@pytest.fixture(scope="module")
def empty(tmp_path_factory):
    con = database.connect(tmp_path_factory.mktemp("home") / "empty.duckdb")
    schema.create(con)
    yield con
    con.close()


def add_version(con, created, begins, ends):
    version = {"client_id": "C1", **CLIENT, "created_on": created, "updated_on": begins}
    if ends is None:
        insert(con, "clients", **version)
    else:
        insert(con, past(ENTITIES["client"]), **version, valid_from=begins, valid_to=ends)


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from(DAYS), st.sampled_from(DAYS), st.sampled_from([*DAYS, None])), max_size=5),
    st.sampled_from([date.min, *DAYS]),
)
def test_what_a_walk_along_versions_finds_is_found_by_the_days_on_which_they_meet(empty, versions, since):
    empty.execute("BEGIN")
    try:
        for version in versions:
            add_version(empty, *version)
        walked = empty.execute(WALK, {"since": since}).fetchall()
        assert gate.failures(empty, since=since, checks=CHAIN) or not walked
    finally:
        empty.execute("ROLLBACK")


@settings(deadline=None)
@given(st.sets(st.sampled_from(DAYS), min_size=1), st.sampled_from([date.min, *DAYS]))
def test_versions_that_follow_one_another_pass_the_gate(empty, days, since):
    begins = sorted(days)
    empty.execute("BEGIN")
    try:
        for day, ends in zip(begins, [*begins[1:], None], strict=True):
            add_version(empty, begins[0], day, ends)
        assert gate.failures(empty, since=since, checks=CHAIN) == []
    finally:
        empty.execute("ROLLBACK")


def test_a_second_open_version_trips_the_gate(warehouse):
    fault = "INSERT INTO clients SELECT * EXCLUDE (valid_from, valid_to) FROM past.clients WHERE client_id = 'C1'"
    assert tripped(warehouse, fault) == {"clients_unique"}


@pytest.mark.parametrize("since", [None, D1, D2])
def test_two_chains_of_versions_that_meet_trip_the_gate(warehouse, since):
    fault = "INSERT INTO past.clients SELECT * REPLACE (DATE '2025-12-31' AS valid_from, DATE '2025-12-31' AS updated_on)"
    assert "client_history_chain" in tripped(warehouse, f"{fault} FROM past.clients WHERE client_id = 'C1'", since=since)


@pytest.mark.parametrize("table", ["rejections", "rejected_lines"])
def test_a_rejected_event_without_a_row_of_its_own_and_a_row_without_its_event_trip_the_gate(warehouse, table):
    assert f"{table}_events" in tripped(warehouse, f"DELETE FROM {table} WHERE line = 7")
    assert f"{table}_events" in tripped(warehouse, f"UPDATE {table} SET line = 5 WHERE line = 7")
    assert f"{table}_events" in tripped(warehouse, f"UPDATE {table} SET path = 'b.jsonl' WHERE line = 7")


@pytest.mark.parametrize("line", [11, 4_095, 4_096, 4_097, 2**40])
def test_two_events_of_one_line_trip_the_gate_wherever_it_stands(warehouse, line):
    """Lines are looked at in blocks: none may be told apart from itself, nor taken for one of another block."""
    at = f"UPDATE events SET line = {line} WHERE business_date = DATE '2026-01-02' AND line"
    apart = f"{at} = 2", f"UPDATE events SET line = {line} + 4096 WHERE {AT_D2} AND line = 3"
    assert "events_unique" not in tripped(warehouse, *apart)
    assert "events_unique" in tripped(warehouse, f"{at} IN (2, 3)")
    assert "events_unique" in tripped(warehouse, f"{at} IN (2, 3)", since=D2)


def test_since_leaves_alone_what_lies_wholly_before_it(warehouse):
    early = "UPDATE warnings SET code = 'other', line = 7 WHERE business_date = DATE '2026-01-01'"
    late = f"DELETE FROM rejections WHERE {AT_D2}"
    assert "warnings_events" in tripped(warehouse, early, since=D1)
    assert tripped(warehouse, early, since=D2) == set()
    assert tripped(warehouse, late, since=D2) == {"rejections_events"}


@pytest.mark.parametrize("since", [None, D1, D2])
def test_since_still_sees_a_version_that_vanished_from_that_date_on(warehouse, since):
    fault = "DELETE FROM clients WHERE client_id = 'C1' AND updated_on = DATE '2026-01-02'"
    assert "client_history_chain" in tripped(warehouse, fault, since=since)


def test_the_error_names_the_promise_the_row_and_what_to_do(warehouse):
    warehouse.execute("BEGIN")
    warehouse.execute("UPDATE loans SET client_id = 'C7'")
    with pytest.raises(NightdropError) as refused:
        gate.check(warehouse)
    warehouse.execute("ROLLBACK")
    message = str(refused.value)
    assert "every client_id in loans stands in clients; not so: loan_id L1, client_id C7" in message
    assert "nothing of this run was kept or published" in message
    assert "nightdrop rebuild" in message


def test_the_gate_reads_a_file_that_is_opened_for_reading_only(tmp_path):
    con = database.connect(tmp_path / "warehouse.duckdb")
    schema.create(con)
    add_record(con, "loan", "L1", (D1, LOAN, False))
    database.seal(con)
    con = database.connect(tmp_path / "warehouse.duckdb", read_only=True)
    with pytest.raises(NightdropError, match="every client_id in loans stands in clients"):
        gate.check(con)
    con.close()
