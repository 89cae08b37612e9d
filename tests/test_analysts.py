"""The ten questions of docs/analysts.md: each answer is what the warehouse says, and what the judge works out by itself."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from datetime import date
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import duckdb
import oracle
import pytest
from fences import DONE, ROOT, commands, fences, run, shows

from flows.cli import call

LATE = "core/2026-11-16/late/sent-2026-11-18/clients.jsonl"
BLOCKS = fences("analysts.md")
QUESTIONS = [(sql, answer) for (language, sql), (shown, answer) in pairwise(BLOCKS) if (language, shown) == ("sql", "text")]


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("analysts")
    for ran in run(commands("analysts.md"), folder):
        assert ran.code in DONE, ran
        assert shows(ran.command.shown, ran.printed), ran
    return folder / "analysts"


@pytest.fixture(scope="module")
def drops(home) -> dict[str, bytes]:
    inbox = home / "data" / "inbox"
    return {file.relative_to(inbox).as_posix(): file.read_bytes() for file in inbox.rglob("*") if file.is_file()}


class Judge:
    """The judge's tables as rows with names."""

    def __init__(self, tables: oracle.Tables) -> None:
        self._tables = tables

    def __getattr__(self, table: str) -> list[SimpleNamespace]:
        return _named(table, self._tables[table])

    def as_of(self, category: str, day: date) -> list[SimpleNamespace]:
        return _named(oracle.TABLE[category], self._tables.as_of(category, day))


def _named(table: str, rows: list[Any]) -> list[SimpleNamespace]:
    return [SimpleNamespace(**dict(zip(oracle.COLUMNS[table], row, strict=True))) for row in rows]


@pytest.fixture(scope="module")
def judge(drops) -> Judge:
    return Judge(oracle.expected(drops))


@pytest.fixture(scope="module")
def judge_without_the_late_drop(drops) -> Judge:
    return Judge(oracle.expected({path: data for path, data in drops.items() if path != LATE}))


@pytest.fixture(scope="module")
def answers(home) -> list[list[tuple[Any, ...]]]:
    with duckdb.connect(str(home / "data" / "warehouse.duckdb"), read_only=True) as con:
        return [con.execute(sql).fetchall() for sql, _ in QUESTIONS]


def test_there_are_ten_questions():
    headings = re.findall(r"^## (\d+)\. ", (ROOT / "docs" / "analysts.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert headings == [str(number) for number in range(1, 11)]
    assert len(QUESTIONS) == 10


@pytest.mark.parametrize("number", range(1, 11))
def test_the_page_shows_the_answer(number, home, capsys):
    sql, answer = QUESTIONS[number - 1]
    assert call(["query", sql, "--home", str(home)]) == 0
    printed = capsys.readouterr().out
    assert shows(answer, printed), printed
    assert "…" not in answer


def test_the_lines_that_connect_in_python_work(home, monkeypatch, capsys):
    (lines,) = (text for language, text in BLOCKS if language == "python")
    monkeypatch.chdir(home)
    exec(compile(lines, "analysts.md", "exec"), {})
    assert "count_star()" in capsys.readouterr().out


def test_1_balances_of_deleted_clients_loans(answers, judge):
    gone = {client.client_id: client.deleted_on for client in judge.clients if client.deleted_on}
    repaid: defaultdict[str, Decimal] = defaultdict(Decimal)
    for payment in judge.payments:
        if payment.status == "paid" and not payment.deleted_on:
            whole = payment.amount - (payment.fee or 0)
            repaid[payment.loan_id] += whole if payment.principal is None else payment.principal
    assert answers[0] == [
        (loan.client_id, gone[loan.client_id], loan.loan_id, loan.currency, loan.amount, loan.amount - repaid[loan.loan_id])
        for loan in sorted(judge.loans, key=lambda loan: loan.loan_id)
        if loan.client_id in gone and not loan.deleted_on and loan.status == "active"
    ]


def test_2_clients_as_of_a_date(answers, judge):
    clients = [one for one in judge.as_of("client", date(2026, 11, 16)) if not one.deleted_on]
    clients.sort(key=lambda one: one.client_id)
    assert answers[1] == [(one.client_id, one.name, one.gender, one.registration_number) for one in clients]


def test_3_shared_registration_numbers(answers, judge):
    sharing: defaultdict[str, list[str]] = defaultdict(list)
    for client in sorted(judge.active_clients, key=lambda one: one.client_id):
        number = "".join(char for char in client.registration_number if char.isascii() and char.isalnum()).upper()
        sharing[number].append(f"{client.client_id} {client.name}")
    assert answers[2] == [(number, ", ".join(who)) for number, who in sorted(sharing.items()) if len(who) > 1]


def test_4_rejections_by_source_and_reason(answers, judge):
    records = {(row.path.partition("/")[0], row.code, row.path, row.line) for row in judge.rejections}
    rows = Counter((row.path.partition("/")[0], row.code, row.path) for row in judge.rejections)
    counts = Counter((source, code) for source, code, _, _ in records)
    expected = []
    for (source, code), count in counts.items():
        mine = {path: times for (its_source, its_code, path), times in rows.items() if (its_source, its_code) == (source, code)}
        expected.append((source, code, count, len(mine), min(path for path in mine if mine[path] == max(mine.values()))))
    assert answers[3] == sorted(expected, key=lambda row: (-row[2], row[0], row[1]))[:6]


def test_5_what_turned_because_of_a_late_drop(answers, judge, judge_without_the_late_drop):
    before = {(row.business_date, row.path, row.line): row.verdict for row in judge_without_the_late_drop.events}
    turned = [
        (row.business_date, row.category, row.entity_id, was, row.verdict, LATE)
        for row in sorted(judge.events, key=lambda row: (row.business_date, row.path, row.line))
        if (was := before.get((row.business_date, row.path, row.line))) not in (None, row.verdict)
    ]
    assert answers[4] == turned
    assert turned


def test_6_overdue_payments(answers, judge):
    day = date(2026, 11, 24)
    overdue: defaultdict[str, list[SimpleNamespace]] = defaultdict(list)
    for payment in judge.as_of("payment", day):
        if payment.status == "expected" and payment.due_date < day and not payment.deleted_on:
            overdue[payment.currency].append(payment)
    assert answers[5] == [
        (currency, len(them), sum(one.amount for one in them), (day - min(one.due_date for one in them)).days)
        for currency, them in sorted(overdue.items())
    ]


def test_7_portfolio_by_country_and_currency(answers, judge):
    countries = {client.client_id: client.country for client in judge.clients}
    lent: defaultdict[tuple[str, str], list[Decimal]] = defaultdict(list)
    for loan in judge.loans:
        if not loan.deleted_on and loan.status == "active":
            lent[countries[loan.client_id], loan.currency].append(loan.amount)
    rows = [(*key, len(amounts), sum(amounts)) for key, amounts in lent.items()]
    assert answers[6] == sorted(rows, key=lambda row: (-row[2], row[0], row[1]))[:6]


def test_8_raised_loans_and_why(answers, judge):
    changes = [change for change in judge.loan_changes if change.field == "amount"]
    raised = [
        (change.loan_id, change.change_date, Decimal(change.new_value) - Decimal(change.old_value), change.change_reason)
        for change in changes
    ]
    assert answers[7] == sorted((row for row in raised if row[2] > 0), key=lambda row: (-row[2], row[0]))[:6]


def test_9_clients_without_a_contact_that_can_be_right(answers, judge):
    wrong = {(warning.entity_id, warning.value) for warning in judge.warnings if warning.code == "implausible_phone"}
    assert answers[8] == [
        (client.client_id, client.name, client.email, client.phone)
        for client in sorted(judge.active_clients, key=lambda one: one.client_id)
        if not client.email or not client.phone or (client.client_id, client.phone) in wrong
    ]


def test_10_share_rejected_by_day(answers, judge):
    records = Counter(event.business_date for event in judge.events)
    refused = Counter(event.business_date for event in judge.events if event.verdict == "rejected")
    rows = [(day, records[day], refused[day], 100 * refused[day] / records[day]) for day in sorted(records)]
    assert [row[:3] for row in answers[9]] == [row[:3] for row in rows]
    for answer, row in zip(answers[9], rows, strict=True):
        assert abs(float(answer[3]) - row[3]) <= 0.05


@pytest.mark.parametrize("sql", [text for language, text in fences("warehouse.md") if language == "sql"])
def test_the_example_of_each_macro_finds_rows(sql, home):
    with duckdb.connect(str(home / "data" / "warehouse.duckdb"), read_only=True) as con:
        assert con.execute(sql).fetchall()
