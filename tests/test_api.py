"""The Clients API as its callers meet it: a real server, a real client. Contract section 7."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from api_server import PERSON, Server, journal_lines, served, until
from checked import create, line
from homes import deliver, home_in, night, rows

from api.keys import Keys
from flows.cli import call
from pipelines.home import Home

PNG = b"\x89PNG\r\n\x1a\n" + bytes(40)
CORE = "core/2026-11-16/events.jsonl"
COMPANY = create(
    "client", client_id="CO", name="Acme", is_company=True, gender="company", registration_number="CR-1", contact_person="Ann"
)
PEOPLE = [
    create("client", client_id=f"C{number:02}", name=f"Person {number}", email=f"p{number}@example.com")
    for number in range(1, 41)
]
OTHERS = [
    line("client", COMPANY),
    line("client", create("client", client_id="a/b c?")),
    line("loan", create("loan", client_id="C01")),
    line("loan", create("loan", loan_id="L2", client_id="C01", interest_rate=0.125)),
    line("loan", {"step": "delete", "loan_id": "L2"}),
    line("deposit", create("deposit", client_id="C02", balance=12)),
    line("client", {"step": "delete", "client_id": "C02"}),
]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    home = home_in(tmp_path_factory.mktemp("api"))
    night(home, {CORE: b"".join(line("client", person) for person in PEOPLE) + b"".join(OTHERS)})
    with served(home) as server:
        yield server


@pytest.fixture
def api(server: Server) -> Iterator[httpx.Client]:
    with server.client() as client:
        yield client


def refused(answer: httpx.Response) -> tuple[int, str, list[tuple[str, str | None]]]:
    """Return status, code and (reason, field) of an answer, which must have the one shape of errors."""
    body = answer.json()
    assert set(body) == {"message", "code", "errors"} and body["message"]
    return answer.status_code, body["code"], sorted((error["code"], error["field"]) for error in body["errors"])


def created(api: httpx.Client, **fields: Any) -> dict[str, Any]:
    answer = api.post("/v1/clients", json={**PERSON, **fields})
    assert answer.status_code == 201, answer.text
    data: dict[str, Any] = answer.json()["data"]
    return data


# --- reading ---------------------------------------------------------------------------------------------------------


def test_clients_come_in_pages_of_fifteen_in_a_stable_order_without_deleted_ones(api: httpx.Client) -> None:
    seen: list[str] = []
    page = 1
    while page:
        body = api.get("/v1/clients", params={"page": page, "search": "example.com"}).json()
        assert body["responseCode"] == "00" and len(body["data"]) <= 15
        seen += [client["clientRef"] for client in body["data"]]
        page = body["pagination"]["nextPage"]
    assert seen == sorted(seen) and len(seen) == len(set(seen)) == body["pagination"]["totalCount"]
    assert "C02" not in seen and "C03" in seen


def test_a_page_says_where_it_stands(api: httpx.Client) -> None:
    body = api.get("/v1/clients", params={"page": 2, "perPage": 10, "search": "Person"}).json()
    assert body["pagination"] == {
        "currentPage": 2,
        "perPage": 10,
        "totalCount": 39,
        "totalPages": 4,
        "previousPage": 1,
        "nextPage": 3,
    }
    beyond = api.get("/v1/clients", params={"page": 9, "perPage": 10, "search": "Person"}).json()
    assert beyond["data"] == [] and beyond["pagination"]["nextPage"] is None


@pytest.mark.parametrize("value", ["0", "-1", "1.5", "x", "", "99999999999999999999", "٣"])
@pytest.mark.parametrize("name", ["page", "perPage"])
def test_a_bad_page_is_refused_with_the_range(api: httpx.Client, name: str, value: str) -> None:
    answer = api.get("/v1/clients", params={name: value})
    assert refused(answer) == (422, "22", [("invalid_amount", name)])
    assert "from 1 to" in answer.json()["message"]


def test_five_hundred_a_page_are_the_most(api: httpx.Client) -> None:
    assert api.get("/v1/clients", params={"perPage": 500}).status_code == 200
    assert refused(api.get("/v1/clients", params={"perPage": 501}))[0] == 422


def test_a_client_is_found_by_reference_whole_deleted_or_not(api: httpx.Client) -> None:
    found = api.get("/v1/clients/C01").json()["data"]
    assert found["id"] == found["clientRef"] == "C01"
    assert (found["name"], found["isCompany"], found["status"]) == ("Person 1", False, "active")
    assert api.get("/v1/clients/C02").json()["data"]["status"] == "deleted"
    assert api.get("/v1/clients/a%2Fb%20c%3F").json()["data"]["clientRef"] == "a/b c?"


@pytest.mark.parametrize("term", ["person 33", "P33@EXAMPLE", "C33"])
def test_another_value_is_a_search_over_name_email_and_reference(api: httpx.Client, term: str) -> None:
    by_path = api.get(f"/v1/clients/{term}").json()
    if term != "C33":
        assert [client["clientRef"] for client in by_path["data"]] == ["C33"]
        assert by_path["pagination"]["totalCount"] == 1
    by_search = api.get("/v1/clients", params={"search": term}).json()
    assert [client["clientRef"] for client in by_search["data"]] == ["C33"]


def test_a_search_finds_phones_and_registration_numbers_and_nothing_else(api: httpx.Client) -> None:
    assert api.get("/v1/clients", params={"search": "+2547123"}).json()["pagination"]["totalCount"] > 30
    assert api.get("/v1/clients/CR-1").json()["data"][0]["clientRef"] == "CO"
    assert api.get("/v1/clients/no-such-thing").json()["data"] == []


def test_loans_and_deposits_are_their_tables_columns(api: httpx.Client) -> None:
    body = api.get("/v1/clients/C01/loans").json()
    assert [(loan["loanId"], loan["deletedOn"]) for loan in body["data"]] == [("L1", None), ("L2", "2026-11-16")]
    assert list(body["data"][0])[:4] == ["loanId", "clientId", "amount", "currency"]
    assert '"interestRate":0.12500000' in api.get("/v1/clients/C01/loans").text
    assert api.get("/v1/clients/C01/loans", params={"perPage": 1, "page": 2}).json()["data"][0]["loanId"] == "L2"


def test_a_deleted_clients_deposits_are_still_listed_and_an_unknown_ones_are_not(api: httpx.Client) -> None:
    assert [deposit["accountNumber"] for deposit in api.get("/v1/clients/C02/deposits").json()["data"]] == ["001"]
    assert refused(api.get("/v1/clients/nobody/deposits")) == (404, "04", [("client_unknown", "clientRef")])


# --- writing ---------------------------------------------------------------------------------------------------------


def test_a_created_client_is_an_individual_with_a_name_of_its_parts(api: httpx.Client) -> None:
    made = created(api, middleName="King", customData={"score": 1.50, "tags": ["a"]}, country="kenya")
    assert (made["name"], made["country"], made["isCompany"], made["gender"]) == ("Ada King Byron", "KE", False, None)
    assert made["customData"] == {"score": 1.5, "tags": ["a"]}
    assert re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", made["id"])
    assert api.get(f"/v1/clients/{made['id']}").json()["data"] == made


def test_a_write_is_an_event_of_the_days_journal(server: Server, api: httpx.Client) -> None:
    made = created(api, clientRef="my ref", phoneNumber="+254712345678")
    assert made["id"] == "my ref"
    event = next(event for event in journal_lines(server.home) if event["data"]["client_id"] == "my ref")
    assert event["category"] == "client" and event["channel"] == "api"
    assert event["data"]["phone"] == "+254712345678" and event["data"]["is_company"] is False


def test_custom_data_may_be_a_text_that_holds_an_object_and_keeps_its_numbers(api: httpx.Client) -> None:
    made = created(api, customData='{"n": 12345678901234567890.10}')
    assert '"customData":{"n":12345678901234567890.10}' in api.get(f"/v1/clients/{made['id']}").text
    answer = api.post("/v1/clients", json={**PERSON, "customData": "[1]"})
    assert refused(answer) == (422, "22", [("wrong_type", "customData")])


def test_everything_that_is_wrong_is_told_at_once_in_the_codes_of_the_rules(api: httpx.Client) -> None:
    body = {"firstName": 5, "email": "x@", "phoneNumber": "0712", "dob": "2999-01-01", "state": " ", "country": "UK", "nick": "A"}
    assert refused(api.post("/v1/clients", json=body)) == (
        422,
        "22",
        [
            ("blank_value", "state"),
            ("invalid_country", "country"),
            ("invalid_date", "dob"),
            ("invalid_email", "email"),
            ("invalid_phone", "phoneNumber"),
            ("missing_field", "address"),
            ("missing_field", "lastName"),
            ("unknown_field", "nick"),
            ("wrong_type", "firstName"),
        ],
    )


def test_a_refused_write_is_not_journalled(server: Server, api: httpx.Client) -> None:
    before = len(journal_lines(server.home))
    assert api.post("/v1/clients", json={**PERSON, "email": "x@"}).status_code == 422
    assert api.delete("/v1/clients/nobody").status_code == 404
    assert len(journal_lines(server.home)) == before


def test_today_is_no_date_of_birth(api: httpx.Client) -> None:
    today = datetime.now(UTC).date()
    assert refused(api.post("/v1/clients", json={**PERSON, "dob": str(today)}))[2] == [("invalid_date", "dob")]
    assert created(api, dob=str(today - timedelta(days=1)))["dob"] == str(today - timedelta(days=1))


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"{", "malformed_json"),
        (b"[]", "not_an_object"),
        (b"\xff", "invalid_encoding"),
        (b'{"city": "a", "city": "b"}', "duplicate_key"),
        (b'{"city": NaN}', "malformed_json"),
        (b"[" * 100_000, "malformed_json"),
    ],
)
def test_a_body_that_is_no_object_is_refused(api: httpx.Client, body: bytes, code: str) -> None:
    answer = api.post("/v1/clients", content=body, headers={"Content-Type": "application/json"})
    assert refused(answer) == (422, "22", [(code, None)])


def test_a_taken_reference_is_a_conflict(api: httpx.Client) -> None:
    assert refused(api.post("/v1/clients", json={**PERSON, "clientRef": "C01"})) == (409, "90", [("client_exists", "clientRef")])
    assert refused(api.post("/v1/clients", json={**PERSON, "clientRef": "C02"}))[:2] == (409, "90")
    assert refused(api.post("/v1/clients", json={**PERSON, "clientRef": " C"})) == (422, "22", [("invalid_id", "clientRef")])


def test_an_update_changes_what_it_sends_and_the_name_with_its_parts(api: httpx.Client) -> None:
    made = created(api, middleName="King", city="Nairobi")
    sent = {"firstName": "Ada", "lastName": "Lovelace", "dob": "1990-12-10", "email": "ada@example.com"}
    changed = api.patch(f"/v1/clients/{made['id']}", json=sent).json()["data"]
    assert (changed["name"], changed["city"], changed["email"]) == ("Ada King Lovelace", "Nairobi", "ada@example.com")
    cleared = api.patch(f"/v1/clients/{made['id']}", json={**sent, "middleName": None}).json()["data"]
    assert (cleared["name"], cleared["middleName"]) == ("Ada Lovelace", None)
    assert refused(api.patch(f"/v1/clients/{made['id']}", json={"city": "X"}))[2] == [
        ("missing_field", "dob"),
        ("missing_field", "firstName"),
        ("missing_field", "lastName"),
    ]


def test_on_a_company_the_name_is_left_alone(api: httpx.Client) -> None:
    changed = api.patch("/v1/clients/CO", json={"firstName": "Ann", "lastName": "Lee", "dob": "1980-01-01"}).json()["data"]
    assert (changed["name"], changed["firstName"], changed["lastName"]) == ("Acme", "Ann", "Lee")


def test_a_deleted_client_is_left_out_of_lists_found_by_reference_and_never_changed(api: httpx.Client) -> None:
    made = created(api, email="gone@example.com")
    assert api.delete(f"/v1/clients/{made['id']}").json()["data"]["status"] == "deleted"
    assert api.get("/v1/clients/gone@example.com").json()["data"] == []
    assert api.get(f"/v1/clients/{made['id']}").json()["data"]["status"] == "deleted"
    assert refused(api.delete(f"/v1/clients/{made['id']}")) == (409, "90", [("client_deleted", "clientRef")])
    assert refused(api.patch(f"/v1/clients/{made['id']}", json=PERSON))[:2] == (409, "90")
    assert refused(api.patch("/v1/clients/nobody", json=PERSON)) == (404, "04", [("client_unknown", "clientRef")])


@pytest.mark.parametrize("prefix", ["", "data:image/png;base64,"])
def test_a_picture_is_stored_under_its_hash_and_the_record_keeps_the_reference(
    server: Server, api: httpx.Client, prefix: str
) -> None:
    made = created(api, image=prefix + base64.b64encode(PNG).decode())
    assert re.fullmatch(r"images/[0-9a-f]{64}\.png", made["image"])
    assert (server.home.warehouse.parent / made["image"]).read_bytes() == PNG


def test_an_image_may_be_a_url_and_nothing_else_is_one(api: httpx.Client) -> None:
    assert created(api, image="https://example.com/ada.png")["image"] == "https://example.com/ada.png"
    for bad in ("ftp://example.com/a.png", "https://", base64.b64encode(b"hello").decode(), "%%%"):
        assert refused(api.post("/v1/clients", json={**PERSON, "image": bad}))[2] == [("invalid_image", "image")]
    large = base64.b64encode(PNG + bytes(2 * 1024 * 1024)).decode()
    assert "smaller" in api.post("/v1/clients", json={**PERSON, "image": large}).json()["errors"][0]["message"]


# --- keys, limits, documents -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("header", [None, "", "Bearer", "Bearer x", "Basic abc", "Bearer nd_0123456789ab_secret"])
def test_without_a_valid_key_nothing_is_told(server: Server, header: str | None) -> None:
    headers = {} if header is None else {"Authorization": header}
    for method, path in [
        ("GET", "/v1/clients"),
        ("GET", "/v1/clients/C01"),
        ("POST", "/v1/clients"),
        ("DELETE", "/v1/clients/C01"),
    ]:
        assert refused(httpx.request(method, server.url + path, headers=headers)) == (403, "92", [])


def test_a_read_only_key_reads_and_does_not_write_and_a_revoked_one_does_neither(server: Server) -> None:
    keys = Keys(server.home.state / "api" / "keys.json")
    with server.client(keys.new("reader", read_only=True)) as reader:
        assert reader.get("/v1/clients/C01").status_code == 200
        assert refused(reader.delete("/v1/clients/C01")) == (403, "92", [])
        keys.revoke("reader")
        assert refused(reader.get("/v1/clients/C01")) == (403, "92", [])


def test_wrong_methods_addresses_and_kinds_of_body_have_the_one_shape_of_errors(api: httpx.Client) -> None:
    answer = api.put("/v1/clients")
    assert refused(answer) == (405, "05", []) and answer.headers["allow"] == "GET, POST"
    assert refused(api.get("/v2/clients")) == (404, "04", [])
    assert refused(api.get("/v1/clients/")) == (404, "04", [])
    assert refused(api.post("/v1/clients", content=b"a=1")) == (415, "15", [])


def test_a_large_body_is_refused_with_and_without_its_length(api: httpx.Client) -> None:
    large = json.dumps({**PERSON, "city": "x" * 5_000_000}).encode()
    kind = {"Content-Type": "application/json"}
    assert refused(api.post("/v1/clients", content=large, headers=kind)) == (413, "13", [])
    assert refused(api.post("/v1/clients", content=iter([large]), headers=kind)) == (413, "13", [])


def test_a_line_over_one_mebibyte_is_refused_like_in_any_drop(api: httpx.Client) -> None:
    answer = api.post("/v1/clients", json={**PERSON, "customData": {"x": "y" * 1_100_000}})
    assert refused(answer) == (422, "22", [("line_too_long", None)])


def test_the_documents_come_from_this_server_alone(server: Server) -> None:
    page = httpx.get(f"{server.url}/docs")
    assert page.status_code == 200 and "/v1/clients/{clientRef}/loans" in page.text
    assert not re.search(r"<script|<link|<img|src=|https?://", page.text)
    assert httpx.get(f"{server.url}/openapi.json").json()["openapi"] == "3.1.0"


def test_the_log_has_every_request_and_nothing_about_people(server: Server, api: httpx.Client) -> None:
    answer = api.get("/v1/clients/Secretive%20Person", params={"search": "hushhush"})
    assert re.fullmatch(r"[0-9a-f]{32}", answer.headers["x-request-id"])
    until(lambda: answer.headers["x-request-id"] in server.log.read_text())
    log = server.log.read_text()
    assert "Secretive" not in log and "hushhush" not in log and "Byron" not in log and "Traceback" not in log
    entry = next(row for row in log.splitlines() if answer.headers["x-request-id"] in row)
    told = json.loads(entry[entry.index("{") :])
    assert (told["route"], told["status"], told["method"]) == ("/v1/clients/{ref}", 200, "GET")


def test_a_key_that_asks_too_often_is_told_when_to_come_back(tmp_path: Path) -> None:
    with served(home_in(tmp_path), "--rate", "2") as server, server.client() as api:
        answers = [api.get("/v1/clients") for _ in range(8)]
        assert refused(answers[-1]) == (429, "29", []) and int(answers[-1].headers["retry-after"]) >= 1
        with server.client() as another:
            assert another.get("/v1/clients").status_code == 200


# --- publications ----------------------------------------------------------------------------------------------------


def test_reads_follow_a_new_publication_within_a_second_and_let_the_old_one_go(tmp_path: Path) -> None:
    home = home_in(tmp_path)
    with served(home) as server, server.client() as api:
        assert api.get("/v1/clients").json()["pagination"]["totalCount"] == 0
        for number in range(1, 4):
            path = f"core/2026-11-{15 + number}/c.jsonl"
            night(home, {path: line("client", create("client", client_id=f"N{number}"))})
            assert until(_is_one(api, f"N{number}")) < 1.0
        links = [link.resolve() for link in Path(f"/proc/{server.process.pid}/fd").iterdir()]
        assert sum("published-" in str(link) for link in links) == 1
        assert not list((home.state / "api").glob("published-*"))


def test_the_night_picks_the_journal_up_and_the_reads_stay_the_same(tmp_path: Path) -> None:
    home = home_in(tmp_path)
    with served(home) as server, server.client() as api:
        made = created(api, email="ada@example.com")
        night(home)
        assert rows(home, "SELECT client_id, email FROM clients") == [(made["id"], "ada@example.com")]
        assert api.get(f"/v1/clients/{made['id']}").json()["data"] == made
        other = created(api)
        assert api.get("/v1/clients").json()["pagination"]["totalCount"] == 2
        night(home)
        assert rows(home, "SELECT count(*) FROM clients") == [(2,)]
        assert rows(home, "SELECT count(*) FROM warnings WHERE code = 'unknown_field'") == [(0,)]
        assert api.get(f"/v1/clients/{other['id']}").json()["data"] == other


def _is_one(api: httpx.Client, reference: str) -> Callable[[], bool]:
    return lambda: "pagination" not in api.get(f"/v1/clients/{reference}").json()


# --- the command line ------------------------------------------------------------------------------------------------


def test_keys_are_made_shown_once_listed_and_revoked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    home = Home(tmp_path)

    def told(*arguments: str) -> Any:
        assert call(["--home", str(tmp_path), "--json", *arguments]) == 0
        return json.loads(capsys.readouterr().out)

    secret = told("key", "new", "--name", "desk", "--read-only")["secret"]
    file = home.state / "api" / "keys.json"
    assert file.stat().st_mode & 0o777 == 0o600 and secret.split("_")[2] not in file.read_text()
    (key,) = told("key", "list")["keys"]
    assert (key["name"], key["read_only"], key["revoked_at"]) == ("desk", True, None)
    assert call(["--home", str(tmp_path), "key", "new", "--name", "desk"]) == 2
    assert told("key", "revoke", "desk")["revoked_at"]
    assert call(["--home", str(tmp_path), "key", "revoke", "desk"]) == 2
    assert Keys(file).holder(secret) is None


def test_a_second_server_of_a_home_is_refused_and_says_why(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    home = home_in(tmp_path)
    with served(home) as server:
        assert call(["--home", str(tmp_path), "serve", "--port", "0"]) == 4
        assert "another server has this home" in capsys.readouterr().err
        assert server.stop() == 0


def test_a_host_that_others_reach_is_warned_of(tmp_path: Path) -> None:
    with served(home_in(tmp_path), "--host", "0.0.0.0") as server:
        assert "reached from other machines" in server.log.read_text()


def test_a_server_starts_on_a_home_with_drops_that_no_run_has_seen(tmp_path: Path) -> None:
    home = home_in(tmp_path)
    deliver(home, {CORE: line("client", create("client"))})
    with served(home) as server, server.client() as api:
        assert api.get("/v1/clients").json()["pagination"]["totalCount"] == 0
