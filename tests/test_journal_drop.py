"""The API's journal as a drop: last of its date, read to its last whole line, held for nothing, its channel honoured there alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from checked import create, line
from homes import JudgedHome, night, rows

JOURNAL = "2026-11-20/api.jsonl"
CORE = "core/2026-11-20/clients.jsonl"
LATE_NAME = "zzz/2026-11-20/zzz.jsonl"


def event(step: str, client_id: str, **fields: Any) -> bytes:
    return (
        json.dumps({"category": "client", "channel": "api", "data": {"step": step, "client_id": client_id, **fields}}) + "\n"
    ).encode()


def person(client_id: str, **fields: Any) -> bytes:
    plain = {"name": "Ada Byron", "dob": "1990-12-10", "address": "1 Main Street, Nairobi, Kenya", "state": "Nairobi"}
    return event("create", client_id, **{**plain, "country": "KE", "is_company": False, **fields})


def test_a_client_of_the_journal_needs_no_email_phone_number_or_gender(tmp_path: Path) -> None:
    home = JudgedHome(tmp_path)
    home.night({JOURNAL: person("A1") + person("A2", dob=None) + person("A3", state=None, email="ada@example.com")})
    assert rows(home.home, "SELECT client_id, email, phone, registration_number, gender FROM clients") == [
        ("A1", None, None, None, None)
    ]
    assert rows(home.home, "SELECT entity_id, code, field FROM rejections ORDER BY 1") == [
        ("A2", "missing_field", "dob"),
        ("A3", "missing_field", "state"),
    ]
    assert rows(home.home, "SELECT * FROM warnings") == []


def test_elsewhere_the_channel_is_an_unknown_field_and_changes_nothing(tmp_path: Path) -> None:
    home = JudgedHome(tmp_path)
    whole = {key: value for key, value in create("client", client_id="F2").items() if key not in ("step", "client_id")}
    home.night({CORE: person("F1") + event("create", "F2", **whole), "2026-11-20/sub/api.jsonl": person("F3")})
    assert rows(home.home, "SELECT entity_id, field FROM warnings WHERE code = 'unknown_field'") == [("F2", "channel")]
    assert rows(home.home, "SELECT DISTINCT entity_id FROM rejections WHERE code = 'missing_field' ORDER BY 1") == [
        ("F1",),
        ("F3",),
    ]


def test_another_channel_is_an_unknown_field_in_the_journal_too(tmp_path: Path) -> None:
    home = JudgedHome(tmp_path)
    other = person("A1", email="ada@example.com", phone="+254712345678", registration_number="ID-1", gender="female")
    home.night({JOURNAL: other.replace(b'"api"', b'"post"')})
    assert rows(home.home, "SELECT field, value FROM warnings") == [("channel", "post")]


def test_an_update_in_the_journal_may_clear_what_the_channel_does_not_ask_for(tmp_path: Path) -> None:
    home = JudgedHome(tmp_path)
    home.night(
        {CORE: line("client", create("client")), JOURNAL: event("update", "C1", email=None) + event("update", "C1", dob=None)}
    )
    assert rows(home.home, "SELECT email FROM clients") == [(None,)]
    assert rows(home.home, "SELECT line, code, field FROM rejections") == [(2, "missing_field", "dob")]
    home.night({"core/2026-11-21/c.jsonl": line("client", {"step": "update", "client_id": "C1", "phone": None})})
    assert rows(home.home, "SELECT code, field FROM rejections WHERE path LIKE 'core%'") == [("missing_field", "phone")]


def test_the_journal_comes_after_every_other_drop_of_its_date(tmp_path: Path) -> None:
    home = JudgedHome(tmp_path)
    late = line("client", {"step": "update", "client_id": "C1", "city": "from the file"})
    home.night({JOURNAL: event("update", "C1", city="from the API"), LATE_NAME: late, CORE: line("client", create("client"))})
    assert rows(home.home, "SELECT city FROM clients") == [("from the API",)]


def test_the_journal_counts_up_to_its_last_whole_line_and_grows(tmp_path: Path) -> None:
    home = JudgedHome(tmp_path, quiet_seconds=3600)
    first, second = person("A1"), person("A2")
    home.night({JOURNAL: first + second[:40]})
    assert rows(home.home, "SELECT bytes, records, status FROM drops") == [(len(first), 1, "applied")]
    home.night({JOURNAL: first + second[:50]})
    assert rows(home.home, "SELECT count(*) FROM drops") == [(1,)]
    home.night({JOURNAL: first + second})
    assert rows(home.home, "SELECT records, status FROM drops ORDER BY status") == [(2, "applied"), (None, "superseded")]
    home.night({JOURNAL: b'{"category"'})
    assert rows(home.home, "SELECT records FROM drops WHERE status = 'applied'") == [(0,)]


def test_nothing_holds_the_journal(tmp_path: Path) -> None:
    home = JudgedHome(tmp_path, max_expanded=100)
    bad = b"".join(event("update", f"A{number}", email="x") for number in range(30))
    home.put_manifest(JOURNAL, b'{"lines": 1}')
    home.night({JOURNAL: bad, "2026-11-21/api.jsonl": bad})
    assert rows(home.home, "SELECT DISTINCT status, rejected FROM drops") == [("applied", 30)]


def test_the_journal_is_compared_with_no_other_drop(tmp_path: Path) -> None:
    home = JudgedHome(tmp_path)
    many = b"".join(person(f"A{number}", email="a@example.com") for number in range(30))
    home.night({JOURNAL: many, "core/2026-11-20/copy.jsonl": many})
    assert rows(home.home, "SELECT DISTINCT status FROM drops ORDER BY 1") == [("applied",), ("held",)]
    assert rows(home.home, "SELECT count(*) FROM clients") == [(30,)]


def test_a_withdrawn_journal_that_grows_is_judged_afresh(tmp_path: Path) -> None:
    home = JudgedHome(tmp_path)
    home.night({JOURNAL: person("A1")})
    home.withdraw(JOURNAL)
    assert rows(home.home, "SELECT count(*) FROM clients") == [(0,)]
    home.night({JOURNAL: person("A1") + person("A2")})
    assert rows(home.home, "SELECT count(*) FROM clients") == [(2,)]


def test_a_rejected_line_of_the_journal_is_mended_by_its_bounce(tmp_path: Path) -> None:
    from flows.cli import call

    home = JudgedHome(tmp_path).home
    night(home, {JOURNAL: person("A1", email="ada@") + person("A2")})
    (bounce,) = (tmp_path / "reports" / "2026-11-20").glob("*.rejected.jsonl")
    bounce.write_bytes(bounce.read_bytes().replace(b"ada@", b"ada@example.com"))
    assert call(["--home", str(tmp_path), "resubmit", str(bounce)]) == 0
    assert rows(home, "SELECT client_id, email FROM clients ORDER BY 1") == [("A1", "ada@example.com"), ("A2", None)]
