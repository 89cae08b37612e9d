"""`explain`: the story of a record is what the drops say, and every value shown comes from the line that is named."""

from __future__ import annotations

import json
import random
import shutil
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pytest
from checked import create, line
from homes import home_in, night, rows
from oracle import path_key, read
from oracle_rules import fields_sent, said_by
from oracle_values import NAMES
from scenarios import sample

from flows.cli import call
from pipelines.archive import Archive
from pipelines.explaining import explain
from pipelines.home import Home
from pipelines.problems import NightdropError, UsageError
from pipelines.stories import Chapter, FieldStory, Told
from validation.entities import ENTITIES

MONDAY, TUESDAY, WEDNESDAY = date(2026, 11, 16), date(2026, 11, 17), date(2026, 11, 18)
CLIENT = line("client", create("client", contact_person="Ann"))
LOAN = line("loan", create("loan", interest_rate=0.125))
PAYMENT = line("payment", create("payment"))


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    monkeypatch.delenv("NIGHTDROP_HOME", raising=False)
    return home_in(tmp_path / "home")


def update(category: str, own_id: str, **fields: Any) -> bytes:
    return line(category, {"step": "update", f"{category}_id": own_id, **fields})


def delete(category: str, own_id: str, **fields: Any) -> bytes:
    return line(category, {"step": "delete", f"{category}_id": own_id, **fields})


def only(home: Home, entity_id: str, **asked: Any) -> Chapter:
    (chapter,) = explain(home, entity_id, **asked).chapters
    return chapter


def field(chapter: Chapter, name: str) -> FieldStory:
    return next(field for field in chapter.fields if field.name == name)


def source(chapter: Chapter, name: str) -> tuple[Any, ...]:
    told = field(chapter, name)
    return (told.value, told.how, told.path, told.line)


def events(chapter: Chapter) -> list[tuple[Any, ...]]:
    return [(told.position.path, told.position.line, told.step, told.verdict) for told in chapter.events]


# --- where a value came from -----------------------------------------------------------------------------------------


def test_each_field_is_shown_with_the_last_applied_line_that_sent_it(home: Home) -> None:
    night(home, {"2026-11-16.jsonl": CLIENT, "2026-11-17.jsonl": update("client", "C1", name="Joan") + update("client", "C1")})
    told = only(home, "C1")
    assert source(told, "name") == ("Joan", "sent", "2026-11-17.jsonl", 1)
    assert source(told, "email") == ("john.doe@example.com", "sent", "2026-11-16.jsonl", 1)
    assert field(told, "name").business_date == TUESDAY
    assert (told.created_on, told.updated_on, told.deleted_on) == (MONDAY, TUESDAY, None)
    assert [event.sent for event in told.events[1:]] == [{"name": "Joan"}, {}]
    assert [warning.code for warning in told.events[2].warnings] == ["empty_update"]


def test_a_field_cleared_by_null_names_the_line_that_cleared_it(home: Home) -> None:
    night(home, {"2026-11-16.jsonl": CLIENT + update("client", "C1", contact_person=None)})
    told = only(home, "C1")
    assert source(told, "contact_person") == (None, "sent", "2026-11-16.jsonl", 2)
    assert told.events[1].sent == {"contact_person": None}


def test_a_field_that_a_create_leaves_out_is_its_default_or_absent(home: Home) -> None:
    night(home, {"2026-11-16.jsonl": CLIENT + LOAN + line("loan", create("loan", loan_id="L2", status=None))})
    told = only(home, "L1")
    assert source(told, "status") == ("active", "default", "2026-11-16.jsonl", 2)
    assert source(told, "installment_count") == (None, "absent", "2026-11-16.jsonl", 2)
    assert "status" not in (told.events[0].sent or {})
    assert source(only(home, "L2"), "status") == (None, "sent", "2026-11-16.jsonl", 3)


def test_values_are_exact(home: Home) -> None:
    night(home, {"2026-11-16.jsonl": CLIENT + LOAN})
    told = only(home, "L1")
    assert field(told, "amount").value == Decimal("1000.0000")
    assert field(told, "interest_rate").value == Decimal("0.125")
    assert field(told, "maturity_date").value == date(2027, 11, 16)


def test_an_alias_a_csv_and_a_compressed_drop_are_sources_like_others(home: Home) -> None:
    csv = (
        b"category,step,disbursement_id,disbursement_amount,change_date,change_reason\r\n\r\nloan,update,L1,900,20261117,paid\r\n"
    )
    night(home, {"2026-11-16.jsonl": CLIENT + LOAN, "2026-11-17/x.csv": csv})
    told = only(home, "L1")
    assert source(told, "amount") == (Decimal(900), "sent", "2026-11-17/x.csv", 3)
    assert source(told, "change_reason") == ("paid", "sent", "2026-11-17/x.csv", 3)


def test_a_refused_update_is_no_source(home: Home) -> None:
    refused = update("loan", "L1", amount=5) + update("loan", "L1", status="open")
    night(home, {"2026-11-16.jsonl": CLIENT + LOAN, "2026-11-17.jsonl": refused})
    told = only(home, "L1")
    assert source(told, "amount") == (Decimal(1000), "sent", "2026-11-16.jsonl", 2)
    assert source(told, "status")[1] == "default"
    assert [event.verdict for event in told.events] == ["applied", "rejected", "rejected"]


def test_a_delete_sends_nothing_and_the_record_stays(home: Home) -> None:
    gone = delete("client", "C1", name="Nobody")
    night(home, {"2026-11-16.jsonl": CLIENT, "2026-11-17.jsonl": gone + update("client", "C1", name="Too late")})
    told = only(home, "C1")
    assert told.deleted_on == TUESDAY
    assert told.events[1].sent == {}
    assert source(told, "name") == ("John Doe", "sent", "2026-11-16.jsonl", 1)
    assert [reason.code for reason in told.events[2].reasons] == ["client_deleted"]


# --- the law's order -------------------------------------------------------------------------------------------------


def test_events_stand_in_the_order_of_the_law_not_of_arrival(home: Home) -> None:
    night(home, {"2026-11-17/part-10.jsonl": update("client", "C1", name="Ten")})
    night(home, {"2026-11-17/part-2.jsonl": update("client", "C1", name="Two")})
    night(home, {"2026-11-16.jsonl": CLIENT})
    told = only(home, "C1")
    assert [told_event[0] for told_event in events(told)] == [
        "2026-11-16.jsonl",
        "2026-11-17/part-2.jsonl",
        "2026-11-17/part-10.jsonl",
    ]
    assert source(told, "name") == ("Ten", "sent", "2026-11-17/part-10.jsonl", 1)


def test_a_late_file_shows_as_the_verdicts_it_changed(home: Home) -> None:
    night(home, {"2026-11-17.jsonl": LOAN})
    before = only(home, "L1")
    assert (before.fields, before.created_on, before.events[0].verdict) == ((), None, "rejected")
    night(home, {"2026-11-16.jsonl": CLIENT})
    told = only(home, "L1")
    (flip,) = told.events[0].flips
    assert (flip.was, flip.now, flip.because_path) == ("rejected", "applied", "2026-11-16.jsonl")
    assert source(told, "client_id") == ("C1", "sent", "2026-11-17.jsonl", 1)


def test_as_of_tells_the_story_up_to_the_end_of_that_date(home: Home) -> None:
    drops = {"2026-11-16.jsonl": CLIENT, "2026-11-17.jsonl": update("client", "C1", name="Joan")}
    night(home, {**drops, "2026-11-18.jsonl": update("client", "C1", name="Jean") + LOAN + delete("client", "C1")})
    told = only(home, "C1", as_of=TUESDAY)
    assert source(told, "name") == ("Joan", "sent", "2026-11-17.jsonl", 1)
    assert (len(told.events), told.later, told.deleted_on, told.updated_on) == (2, 2, None, TUESDAY)
    assert told.relatives == ()
    assert [relative.id for relative in only(home, "C1").relatives] == ["L1"]
    assert only(home, "C1", as_of=date(2026, 11, 15)) == Chapter("client", None, None, None, (), (), 4, (), ())


# --- why not ---------------------------------------------------------------------------------------------------------


def test_a_line_that_breaks_an_event_rule_is_shown_as_it_came_with_every_reason(home: Home) -> None:
    broken = line("client", create("client", email="x", country="UK"))
    night(home, {"2026-11-16.jsonl": broken})
    told = only(home, "C1")
    (event,) = told.events
    assert (event.sent, event.raw, told.fields) == (None, broken.rstrip(b"\n"), ())
    assert [(reason.code, reason.field, reason.value) for reason in event.reasons] == [
        ("invalid_country", "country", "UK"),
        ("invalid_email", "email", "x"),
    ]
    assert event.why_not == f"{event.reasons[0].message}; {event.reasons[1].message}."


def test_a_refusal_names_the_rejected_create_it_follows_from_and_what_was_wrong_with_it(home: Home) -> None:
    night(home, {"2026-11-16.jsonl": line("client", create("client", email="x")), "2026-11-17.jsonl": LOAN + PAYMENT})
    (event,) = only(home, "P1").events
    (reason,) = event.reasons
    assert (reason.code, str(reason.cause)) == ("loan_unknown", "line 1 of 2026-11-16.jsonl (2026-11-16)")
    assert event.sent and event.sent["amount"] == 100
    assert event.why_not
    assert "It follows from line 1 of 2026-11-16.jsonl (2026-11-16), which was rejected: email" in event.why_not


def test_an_id_that_only_others_name_tells_who_waits_for_it(home: Home) -> None:
    night(home, {"2026-11-17.jsonl": LOAN + PAYMENT})
    told = only(home, "C1")
    assert (told.category, told.fields, told.events) == ("client", (), ())
    assert [(waits.category, waits.id, waits.code, waits.position.line) for waits in told.refused] == [
        ("loan", "L1", "client_unknown", 1)
    ]
    assert [waits.id for waits in only(home, "L1").refused] == ["P1"]
    assert only(home, "C1", as_of=MONDAY).refused == ()


def test_an_id_nobody_named_is_a_failure_that_says_what_to_look_for(home: Home) -> None:
    night(home, {"2026-11-16.jsonl": CLIENT})
    with pytest.raises(NightdropError, match=r"nothing is known of 'c1 '.*Much like it: 'C1'.*nightdrop drops"):
        explain(home, "c1 ")
    with pytest.raises(NightdropError, match="known as a client: leave --category out"):
        explain(home, "C1", category="loan")
    with pytest.raises(UsageError, match="--category must be one of client, loan, payment, deposit"):
        explain(home, "C1", category="clients")


def test_a_home_without_a_warehouse_says_so(home: Home) -> None:
    with pytest.raises(NightdropError, match="nightdrop run"):
        explain(home, "C1")


# --- who belongs to whom ---------------------------------------------------------------------------------------------


def test_a_client_names_its_loans_and_deposits_a_loan_its_client_and_payments(home: Home) -> None:
    everything = CLIENT + LOAN + PAYMENT + line("deposit", create("deposit")) + delete("loan", "L1")
    night(home, {"2026-11-16.jsonl": everything})
    assert [(r.parent, r.category, r.id, r.deleted_on) for r in only(home, "C1").relatives] == [
        (False, "loan", "L1", MONDAY),
        (False, "deposit", "D1", None),
    ]
    assert [(r.parent, r.category, r.id) for r in only(home, "L1").relatives] == [
        (True, "client", "C1"),
        (False, "payment", "P1"),
    ]
    assert [(r.parent, r.category, r.id) for r in only(home, "P1").relatives] == [(True, "loan", "L1")]


@pytest.mark.parametrize("change", [{}, {"amount": -1}])
def test_a_record_that_was_never_made_names_the_parent_it_asked_for(home: Home, change: dict[str, Any]) -> None:
    night(home, {"2026-11-16.jsonl": line("loan", create("loan", **change))})
    (parent,) = only(home, "L1").relatives
    assert (parent.parent, parent.category, parent.id, parent.created_on) == (True, "client", "C1", None)


def test_an_id_in_several_categories_has_a_chapter_in_each(home: Home) -> None:
    night(
        home,
        {"2026-11-16.jsonl": line("client", create("client", client_id="L1")) + line("loan", create("loan", client_id="L1"))},
    )
    assert [chapter.category for chapter in explain(home, "L1").chapters] == ["client", "loan"]
    assert only(home, "L1", category="loan").events[0].position.line == 2


# --- what is lost, and what was corrected ----------------------------------------------------------------------------


def test_without_the_log_the_archive_tells_what_was_sent(home: Home) -> None:
    big = b"".join(line("client", create("client", client_id=f"X{number}")) for number in range(30))
    night(home, {"2026-11-16.jsonl": CLIENT + big, "2026-11-17.jsonl": big + update("client", "C1", name="Joan")})
    whole = explain(home, "C1")
    shutil.rmtree(home.log)
    assert explain(home, "C1") == whole


def test_without_log_and_archive_the_warehouse_tells_since_when_a_value_stands(home: Home) -> None:
    drops = {"2026-11-16.jsonl": CLIENT, "2026-11-17.jsonl": update("client", "C1", name="Joan")}
    night(home, {**drops, "2026-11-18.jsonl": update("client", "C1", email="joan@example.com")})
    shutil.rmtree(home.log)
    archive = Archive(home.archive)
    ((sha256,),) = rows(home, "SELECT sha256 FROM drops WHERE path = '2026-11-17.jsonl'")
    archive.path(sha256).unlink()
    told = only(home, "C1")
    assert [event.sent is None for event in told.events] == [False, True, False]
    assert source(told, "email") == ("joan@example.com", "sent", "2026-11-18.jsonl", 1)
    assert field(told, "name") == FieldStory("name", "Joan", "unknown", TUESDAY, None, None)
    assert field(told, "phone").business_date == MONDAY


def test_a_corrected_line_shows_what_the_resubmitted_file_sent(home: Home, tmp_path: Path) -> None:
    """As if line 1 of the drop had been mended: the warehouse is that of the mended drop, the archive has both files."""
    wrong, other = line("client", create("client", contact_person="Bob")), line("client", create("client", client_id="C2"))
    bounce = tmp_path / "bounce.jsonl"
    bounce.write_bytes(b"\n" + CLIENT)
    mended = home_in(tmp_path / "mended")
    night(mended, {"2026-11-16.jsonl": CLIENT + other})
    night(home, {"2026-11-16.jsonl": wrong + other})
    ((original,),) = rows(home, "SELECT sha256 FROM drops")
    resubmitted = Archive(home.archive).store(bounce).sha256
    shutil.copy(mended.warehouse, home.warehouse.with_suffix(".new"))
    home.warehouse.with_suffix(".new").chmod(0o640)
    home.warehouse.with_suffix(".new").replace(home.warehouse)
    with duckdb.connect(str(home.warehouse)) as con:
        con.execute("UPDATE drops SET sha256 = ?", [original])
        con.execute(
            "INSERT INTO corrections VALUES ('2026-11-16', '2026-11-16.jsonl', 1, ?, 2, '2026-11-17 09:00')", [resubmitted]
        )
    told = only(home, "C1")
    assert told.events[0].sent and told.events[0].sent["contact_person"] == "Ann"
    assert told.events[0].replaced_by
    assert (told.events[0].replaced_by.sha256, told.events[0].replaced_by.its_line) == (resubmitted, 2)
    assert source(told, "email") == ("john.doe@example.com", "sent", "2026-11-16.jsonl", 1)
    assert only(home, "C2").events[0].replaced_by is None


# --- the property ----------------------------------------------------------------------------------------------------


Sent = dict[tuple[str, int], tuple[dict[str, Any], set[str]]]


def sent_by(scenario: dict[str, bytes], applied: list[Told]) -> Sent:
    """Return by path and line what the judge reads there: the typed fields (defaults too), and the names really sent."""
    wanted = {told.position[1:] for told in applied}
    lines = {(path, event.line): event for path, _ in wanted for event in read(path, scenario[path])}
    said = {here: said_by(lines[here]) for here in wanted}
    return {here: (fields_sent(words), set(words.sent)) for here, words in said.items()}


def check_story(home: Home, category: str, own_id: str, scenario: dict[str, bytes], as_of: date | None) -> None:
    chapter = only(home, own_id, category=category, as_of=as_of)
    order = [(told.position.business_date, path_key(told.position.path), told.position.line) for told in chapter.events]
    assert order == sorted(order)
    table = ENTITIES[category].table + (f"_as_of('{as_of}')" if as_of else "")
    names = NAMES[category]
    wanted = rows(home, f"SELECT {', '.join(names)} FROM {table} AS t WHERE t.{names[0]} = '{own_id}'")
    assert [tuple(field.value for field in chapter.fields)] == (wanted or [()])
    if wanted:
        applied = [told for told in chapter.events if told.verdict == "applied"]
        check_sources(chapter, applied, sent_by(scenario, applied))


def check_sources(chapter: Chapter, applied: list[Told], sent: Sent) -> None:
    for told in chapter.fields:
        here = [(event, *sent[event.position[1:]]) for event in applied]
        senders = [(event, fields[told.name], names) for event, fields, names in here if told.name in fields]
        if senders:
            event, value, names = senders[-1]
            assert (told.value, told.how) == (value, "sent" if told.name in names else "default")
            assert (told.business_date, told.path, told.line) == event.position
        else:
            assert (told.value, told.how) == (None, "absent")
            assert (told.business_date, told.path, told.line) == applied[0].position


@pytest.mark.parametrize("number", range(300, 304))
def test_every_value_shown_is_the_tables_and_its_line_really_sent_it(tmp_path: Path, number: int) -> None:
    home, scenario = home_in(tmp_path / "home"), sample(number)
    night(home, scenario, chunk_bytes=300)
    ids = rows(home, "SELECT DISTINCT category, entity_id FROM events WHERE entity_id IS NOT NULL AND entity_id NOT LIKE '%''%'")
    for category, own_id in random.Random(number).sample(sorted(ids), min(len(ids), 6)):
        check_story(home, category, own_id, scenario, None)
        check_story(home, category, own_id, scenario, date(2025, 1, 6))


# --- the command -----------------------------------------------------------------------------------------------------


def said(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    code = call([str(argument) for argument in arguments])
    out, err = capsys.readouterr()
    return code, out, err


def test_the_command_tells_the_story_in_words(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    late = line("client", create("client", email="x", name="A\x1b[31m"))
    night(home, {"2026-11-15.jsonl": late, "2026-11-16.jsonl": CLIENT + LOAN, "2026-11-17.jsonl": update("loan", "L1", amount=1)})
    code, out, _ = said(capsys, "explain", "C1", "--home", home.root)
    assert code == 0
    assert "client C1: created 2026-11-16" in out
    assert "why not  invalid_email (email 'x'): email" in out
    assert "    loan L1: created 2026-11-16\n" in out
    assert "\x1b" not in out
    assert "null, for its create left them out and nothing sent them since: info, first_name" in out
    code, out, _ = said(capsys, "--home", home.root, "explain", "L1", "--category", "loan", "--as-of", "20261116")
    assert "    of client C1: created 2026-11-16\n" in out
    assert "1 event about it by the end of 2026-11-16" in out
    assert "1 event after that date" in out
    assert all(row == row.rstrip() for row in out.splitlines())


def test_the_command_gives_one_json_object(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    night(home, {"2026-11-16.jsonl": line("client", create("client", email="x")) + LOAN + PAYMENT})
    code, out, _ = said(capsys, "explain", "L1", "--home", home.root, "--json")
    (chapter,) = json.loads(out)["chapters"]
    (event,) = chapter["events"]
    assert code == 0
    assert (event["business_date"], event["path"], event["line"]) == ("2026-11-16", "2026-11-16.jsonl", 2)
    assert event["reasons"][0]["cause"] == {"business_date": "2026-11-16", "path": "2026-11-16.jsonl", "line": 1}
    assert (event["sent"]["amount"], event["raw"][:12]) == ("1000.0000", '{"category":')
    assert chapter["refused"][0]["line"] == 3


def test_the_command_fails_in_words(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    night(home, {"2026-11-16.jsonl": CLIENT})
    assert said(capsys, "explain", "C9", "--home", home.root)[0] == 1
    code, _, err = said(capsys, "explain", "C1", "--as-of", "soon", "--home", home.root)
    assert (code, "--as-of must be a business date" in err) == (2, True)
