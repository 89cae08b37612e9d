from __future__ import annotations

import csv
import io
import json
import zipfile
from typing import Any

import pytest
from homes import home_in, night

from flows.cli import call
from pipelines.home import Home

MONDAY = "2026-11-16"


def client(client_id: str, **other: Any) -> bytes:
    data = {
        "step": "create",
        "client_id": client_id,
        "name": "Jo Doe",
        "email": "jo@example.com",
        "phone": "+254712345678",
        "address": "1 Main Street, Nairobi, Kenya",
        "country": "KE",
        "is_company": False,
        "registration_number": "ID-1",
        "gender": "male",
    }
    return json.dumps({"category": "client", "data": data | other}).encode() + b"\n"


def loan(loan_id: str, client_id: str) -> bytes:
    data = {"step": "create", "loan_id": loan_id, "client_id": client_id, "amount": 1, "currency": "EUR"}
    data |= {"disbursement_date": MONDAY, "maturity_date": MONDAY}
    return json.dumps({"category": "loan", "data": data}).encode() + b"\n"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """Acme sends a client that is refused, Beta a loan of it; Acme's own loan hangs on it too. Gamma sends half a file."""
    made = home_in(tmp_path_factory.mktemp("home"))
    for day in ("2026-11-13", "2026-11-14"):
        night(made, {f"{day}/acme/clients.jsonl": client(f"C{day}") + client(f"D{day}", country="UK")})
    night(
        made,
        {
            f"{MONDAY}/acme/clients.jsonl": client("C1", country="UK") + client("C2", gender="=1+1"),
            f"{MONDAY}/acme/loans.jsonl": loan("L1", "C1"),
            f"{MONDAY}/beta/secret-loans.jsonl": loan("L2", "C1"),
            f"{MONDAY}/gamma/half.jsonl": b'{"category": ',
            f"{MONDAY}/fine/clients.jsonl": client("C9"),
        },
    )
    return made


def made(capsys: pytest.CaptureFixture[str], home: Home, *arguments: object) -> tuple[int, dict[str, Any]]:
    code = call(["--home", str(home.root), "--json", "report", *map(str, arguments)])
    return code, json.loads(capsys.readouterr().out)


def test_a_pack_has_the_refused_lines_as_they_came_and_plain_words_beside_them(capsys, home, tmp_path) -> None:
    code, told = made(capsys, home, MONDAY, "--for", "acme", "--out", tmp_path)
    pack = tmp_path / f"acme-{MONDAY}"
    assert code == 0
    assert told["pack"] == str(pack)
    assert told["sentence"] == "We took 0 of 3 records; 3 need a fix."
    assert sorted(file.name for file in pack.iterdir()) == sorted(told["files"])
    (lines,) = (file for file in pack.glob("*clients.jsonl.*.rejected.jsonl"))
    assert lines.read_bytes() == client("C1", country="UK") + client("C2", gender="=1+1")
    assert (home.reports / MONDAY / lines.name).read_bytes() == lines.read_bytes()
    rows = list(csv.DictReader(io.StringIO(lines.with_name(f"{lines.name}.reasons.csv").read_text())))
    assert rows[0] | {"what is wrong": ""} == {
        "line in the file of refused lines": "1",
        "line in your file": "1",
        "record": "client C1",
        "field": "country",
        "what you sent": "UK",
        "what is wrong": "",
        "what is wanted": "two capitals, such as GB",
        "what was probably meant": '"GB" (United Kingdom)',
        "because of": "",
    }
    assert rows[1]["what you sent"] == "'=1+1"


def test_a_pack_tells_of_causes_in_the_suppliers_own_files_and_of_no_other_supplier(capsys, home, tmp_path) -> None:
    made(capsys, home, MONDAY, "--for", "acme", "--out", tmp_path)
    made(capsys, home, MONDAY, "--for", "beta", "--out", tmp_path)
    (own,) = (tmp_path / f"acme-{MONDAY}").glob("*loans*.reasons.csv")
    assert f"line 1 of {MONDAY}/acme/clients.jsonl" in own.read_text()
    for supplier, others in (("acme", ("beta", "gamma", "secret")), ("beta", ("acme", "gamma", "clients.jsonl"))):
        for file in (tmp_path / f"{supplier}-{MONDAY}").iterdir():
            assert not [name for name in others if name in file.read_text() + file.name], file
    assert "refused elsewhere" in next((tmp_path / f"beta-{MONDAY}").glob("*.reasons.csv")).read_text()


def test_a_pack_has_none_of_our_internals(capsys, home, tmp_path) -> None:
    made(capsys, home, MONDAY, "--for", "acme", "--out", tmp_path)
    ours = ("nightdrop", "SELECT", "rejections", "run_id", "warehouse", "cause_path", "entity_id", "verdict", "client_unknown")
    for file in (tmp_path / f"acme-{MONDAY}").iterdir():
        assert not [word for word in ours if word in file.read_text()], file


def test_a_pack_shows_how_the_last_nights_went(capsys, home, tmp_path) -> None:
    made(capsys, home, MONDAY, "--for", "acme", "--out", tmp_path)
    page = (tmp_path / f"acme-{MONDAY}" / "READ-ME-FIRST.html").read_text()
    assert "Your last 3 dates" in page
    assert page.index("<td>2026-11-16</td>") < page.index("<td>2026-11-14</td>") < page.index("<td>2026-11-13</td>")
    assert "<svg" in page
    assert "50.00 %" in page


def test_a_file_that_was_not_taken_at_all_is_told_of(capsys, home, tmp_path) -> None:
    _, told = made(capsys, home, MONDAY, "--for", "gamma", "--out", tmp_path)
    assert (told["state"], told["sentence"]) == ("held", "One file could not be taken at all.")
    assert "send it again" in (tmp_path / f"gamma-{MONDAY}" / "READ-ME-FIRST.html").read_text()


def test_the_zip_has_the_same_files_and_the_same_bytes_each_time(capsys, home, tmp_path) -> None:
    _, folder = made(capsys, home, MONDAY, "--for", "acme", "--out", tmp_path)
    place = tmp_path / f"acme-{MONDAY}.zip"
    made(capsys, home, MONDAY, "--for", "acme", "--out", tmp_path, "--zip")
    first = place.read_bytes()
    made(capsys, home, MONDAY, "--for", "acme", "--out", tmp_path, "--zip")
    assert place.read_bytes() == first
    with zipfile.ZipFile(place) as packed:
        assert sorted(packed.namelist()) == sorted(f"acme-{MONDAY}/{name}" for name in folder["files"])
        for name in folder["files"]:
            assert packed.read(f"acme-{MONDAY}/{name}") == (tmp_path / f"acme-{MONDAY}" / name).read_bytes()
    assert [file.name for file in tmp_path.iterdir() if file.name.startswith(".")] == []


def test_where_there_is_nothing_to_send_or_no_such_source_nothing_is_written(capsys, home, tmp_path) -> None:
    code, told = made(capsys, home, MONDAY, "--for", "fine", "--out", tmp_path)
    assert (code, told["pack"], told["state"]) == (0, None, "fine")
    code, told = made(capsys, home, MONDAY, "--for", "nobody", "--out", tmp_path)
    assert code == 2
    assert "acme, beta, fine, gamma" in told["error"]
    assert made(capsys, home, f"{MONDAY}/acme/clients.jsonl", "--for", "acme", "--out", tmp_path)[0] == 2
    assert made(capsys, home, MONDAY, "--zip")[0] == 2
    assert made(capsys, home, MONDAY, "--for", "acme", "--out", tmp_path / "missing")[0] == 2
    assert list(tmp_path.iterdir()) == []


def test_a_pack_that_somebody_may_be_mending_is_not_overwritten(capsys, home, tmp_path) -> None:
    made(capsys, home, MONDAY, "--for", "acme", "--out", tmp_path)
    code, told = made(capsys, home, MONDAY, "--for", "acme", "--out", tmp_path)
    assert code == 2
    assert "may hold somebody's fixes" in told["error"]


def test_a_mended_file_out_of_a_pack_is_taken_back(capsys, tmp_path) -> None:
    home = home_in(tmp_path / "home")
    night(home, {f"{MONDAY}/acme/clients.jsonl": client("C1", country="UK")})
    made(capsys, home, MONDAY, "--for", "acme", "--out", tmp_path)
    (lines,) = (tmp_path / f"acme-{MONDAY}").glob("*.rejected.jsonl")
    lines.write_bytes(client("C1", country="GB"))
    assert call(["--home", str(home.root), "resubmit", str(lines)]) == 0
    page = (home.reports / MONDAY / "index.html").read_text()
    assert "1 rejection is closed by lines that were handed back" in page
    assert "All 1 records" not in page
    assert "The one record is in the warehouse." in page


def test_a_report_is_written_again_by_date_and_by_path(capsys, home) -> None:
    page = home.reports / MONDAY / "index.html"
    before = page.read_bytes()
    for target in (MONDAY, f"{MONDAY}/acme/clients.jsonl"):
        page.unlink()
        code, told = made(capsys, home, target)
        assert (code, told["pages"]) == (0, [str(page)])
        assert page.read_bytes() == before
    assert made(capsys, home, "2020-01-01")[0] == 2
