"""People's data: who may read what is made, what no log says, and what the masked warehouse has instead of names."""

from __future__ import annotations

import hashlib
import hmac
import os
import sqlite3
import stat
import subprocess
import sys
from datetime import date
from pathlib import Path

import duckdb
import pytest
from checked import create, line
from homes import deliver, home_in, night, rows

from pipelines import database
from pipelines.files import private_folder, secret
from pipelines.home import Home
from pipelines.masking import is_masked
from pipelines.problems import NightdropError
from pipelines.tables import TABLES

ROOT = Path(__file__).parent.parent
MARKERS = {
    "name": "Zanzibara Quillfeather",
    "email": "quillfeather@example.com",
    "phone": "+254712999888",
    "address": "77 Quokka Street, Nairobi, Kenya",
    "registration_number": "ID-MARKER-4711",
    "contact_person": "Ottoline Zebrafinch",
}
SHIFTED = {"client_id": "Quillfeather Person", "step": "MARKER-STEP", "country": "ID-MARKER-4712", "is_company": "Zebrafinch"}
WORDS = (
    "Quillfeather",
    "quillfeather",
    "Quokka",
    "ID-MARKER",
    "Zebrafinch",
    "712999888",
    "MARKER-STEP",
    "MARKER-KEY",
    "Rue Marker",
)


def marked_drops() -> dict[str, bytes]:
    """Return drops with markers in every place where a sender may put them: values, keys, ids, lines that are no JSON, headers."""
    good = create("client", **MARKERS, info={"note": "Ottoline Zebrafinch"}, dob="1980-05-17", image="Quillfeather.png")
    lines = [
        line("client", good),
        line(
            "client",
            {**create("client", client_id="C2"), **MARKERS, "phone": "712999888", "MARKER-KEY Quillfeather": "Rue Marker"},
        ),
        line("client", {**create("client"), **SHIFTED}),
        line("Quillfeather", {}),
        b'{"Quillfeather": 1, "Quillfeather": 2}\n',
        b"Zanzibara Quillfeather, 77 Quokka Street\n",
        line("client", {"step": "update", "client_id": "C1", "name": "Zanzibara Quillfeather-Zebrafinch"}),
        line("loan", create("loan")),
        line(
            "loan",
            {"step": "update", "loan_id": "L1", "amount": 5, "change_date": "2026-11-16", "change_reason": "Quillfeather died"},
        ),
        line("payment", create("payment", bank_ref="Quillfeather")),
        line("deposit", create("deposit", account_name="Quillfeather", account_number="ID-MARKER-1", client_id="Zebrafinch")),
        line("deposit", create("deposit", account_name="Quillfeather", account_number="ID-MARKER-1")),
    ]
    return {
        "2026-11-16.jsonl": b"".join(lines),
        "2026-11-17.csv": b"Zanzibara Quillfeather,Quokka\n1,2\n",
        "2026-11-18.jsonl": line("client", good)[:-9],
        "2026-11-19.jsonl": b"Quillfeather\n" * 25,
        "2026-11-20.csv": b'step,client_id\ncreate,"Quillfeather',
    }


def run(home: Home, *words: str, umask: int = 0o022, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run the command in a process of its own."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("PREFECT", "NIGHTDROP"))}
    return subprocess.run(
        [sys.executable, "-m", "flows.cli", "--home", str(home.root), *words],
        capture_output=True, text=True, check=False, env=clean | variables, umask=umask, timeout=240,
    )  # fmt: skip


def too_open(home: Home) -> list[tuple[str, str]]:
    """Return what others may read, or the group write, of all that a run makes."""
    made = [home.state, home.reports, *home.state.rglob("*"), *home.reports.rglob("*")]
    made += [file for file in home.warehouse.parent.iterdir() if file.is_file()]
    modes = [(str(file.relative_to(home.root)), stat.S_IMODE(file.lstat().st_mode)) for file in made if not file.is_symlink()]
    return [(name, oct(mode)) for name, mode in modes if mode & 0o027]


# --- modes --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("umask", [0o000, pytest.param(0o022, marks=pytest.mark.long), 0o077])
def test_what_a_run_makes_is_for_its_owners_group_at_most_whatever_the_umask(tmp_path: Path, umask: int) -> None:
    home = home_in(tmp_path / "home")
    deliver(home, marked_drops())
    (home.root / "nightdrop.toml").write_text("publish_masked = true\n")
    assert run(home, "run", umask=umask).returncode == 3
    assert too_open(home) == []
    for published in (home.warehouse, home.masked):
        assert stat.S_IMODE(published.stat().st_mode) == 0o440
    assert stat.S_IMODE((home.state / "mask.key").stat().st_mode) == 0o600
    assert any(home.archive.rglob("*")) and any(home.reports.rglob("*.reasons.csv"))


def test_folders_that_were_left_open_are_closed(tmp_path: Path) -> None:
    home = home_in(tmp_path / "home")
    for folder in (home.state, home.reports):
        folder.mkdir()
        folder.chmod(0o777)
    night(home)
    assert {stat.S_IMODE(folder.stat().st_mode) for folder in (home.state, home.reports)} == {0o750}
    strict = tmp_path / "strict"
    strict.mkdir(mode=0o700)
    private_folder(strict)
    assert stat.S_IMODE(strict.stat().st_mode) == 0o700


# --- what no log says ---------------------------------------------------------------------------------------------------


def said_in(text: str | bytes) -> list[str]:
    content = text if isinstance(text, bytes) else text.encode()
    return [word for word in WORDS if word.encode() in content]


def test_no_name_address_or_document_is_in_what_a_run_says(tmp_path: Path) -> None:
    home = home_in(tmp_path / "home")
    deliver(home, marked_drops())
    told, log = tmp_path / "told", tmp_path / "night.log"
    (home.root / "nightdrop.toml").write_text(f'[hooks]\ncommand = ["tee", "{told}"]\nrejects_above = 0.1\n')
    for words in (["run", "--verbose"], ["run", "--json"], ["run", "--log-file", str(log)], ["status"], ["drops"], ["runs"]):
        done = run(home, *words)
        assert done.returncode in (0, 3)
        assert said_in(done.stdout + done.stderr) == [], words
    for said in (told, log, home.state / "nightdrop.log", home.state / "metrics.prom"):
        assert said.stat().st_size and said_in(said.read_bytes()) == [], said
    assert not (home.state / "failures.log").exists()


def test_no_value_is_in_what_the_gate_says(tmp_path: Path) -> None:
    home = home_in(tmp_path / "home")
    night(home, marked_drops())
    with database.connect(home.working) as con:
        for table in ("rejections", "warnings", "clients", "rejected_lines"):
            con.execute(f"INSERT INTO {table} SELECT * FROM {table}")
        con.execute("UPDATE past.clients SET name = name || 'x', valid_from = valid_to")
        from pipelines import gate

        with pytest.raises(NightdropError) as told:
            gate.check(con)
    assert [word for word in said_in(str(told.value)) if word != "MARKER-STEP"] == []


@pytest.mark.prefect
def test_no_name_address_or_document_is_in_what_prefect_keeps(tmp_path: Path) -> None:
    home = home_in(tmp_path / "home")
    deliver(home, marked_drops())
    done = run(home, "run", "--prefect", umask=0)
    assert done.returncode == 3, done.stderr
    assert said_in(done.stdout + done.stderr) == []
    kept = [file for file in (home.state / "prefect").rglob("*") if file.is_file()]
    assert {file.name: said_in(file.read_bytes()) for file in kept if said_in(file.read_bytes())} == {}
    with sqlite3.connect(home.state / "prefect" / "prefect.db") as db:
        counts = [
            db.execute(f"SELECT count(*) FROM {name}").fetchall()[0][0] for name in ("artifact", "flow_run_state", "task_run")
        ]
    db.close()
    assert all(counts)
    assert too_open(home) == []


# --- the masked warehouse -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def masked(tmp_path_factory: pytest.TempPathFactory) -> Home:
    home = home_in(tmp_path_factory.mktemp("home"))
    night(home, marked_drops(), publish_masked=True)
    return home


def asked(home: Home, sql: str) -> list[tuple[object, ...]]:
    with duckdb.connect(str(home.masked), read_only=True) as con:
        return con.execute(sql).fetchall()


def test_the_masked_warehouse_holds_no_marker_anywhere_in_its_bytes(masked: Home) -> None:
    assert said_in(masked.warehouse.read_bytes()), "the plain one does: the test can fail"
    assert said_in(masked.masked.read_bytes()) == []
    for table in TABLES:
        assert said_in(repr(asked(masked, f"SELECT * FROM {table}"))) == [], table


def test_the_masked_warehouse_has_the_same_tables_rows_and_comments(masked: Home) -> None:
    what = "SELECT table_name, column_name, data_type, comment FROM duckdb_columns() WHERE NOT internal ORDER BY ALL"
    assert asked(masked, what) == rows(masked, what)
    for table in TABLES:
        plain = ", ".join(name for name in TABLES[table].names if not is_masked(table, name))
        same = f"SELECT {plain} FROM {table} ORDER BY ALL"
        assert asked(masked, same) == rows(masked, same), table


def test_what_joins_in_the_warehouse_joins_in_the_masked_one(masked: Home) -> None:
    for sql in (
        "SELECT count(*) FROM loans JOIN clients USING (client_id)",
        "SELECT count(*) FROM events JOIN rejections USING (business_date, path, line, entity_id)",
        "SELECT count(*) FROM events AS e JOIN clients AS c ON c.client_id = e.entity_id",
        "SELECT count(*) FROM clients JOIN client_history AS h USING (client_id, name) WHERE h.valid_to IS NULL",
        "SELECT count(DISTINCT account_name) FROM deposits",
        "SELECT count(*) FROM clients_as_of('2026-11-16') WHERE year(dob) = 1980",
        "SELECT count(*) FROM rejected_lines JOIN rejections USING (business_date, path, line)",
    ):
        assert asked(masked, sql) == rows(masked, sql), sql


def test_a_token_is_the_keyed_hash_of_the_value_and_stays_the_same_next_night(masked: Home, tmp_path: Path) -> None:
    key = secret(masked.state / "mask.key")
    wanted = hmac.new(key, MARKERS["email"].encode(), hashlib.sha256).hexdigest()[:32]
    assert asked(masked, "SELECT DISTINCT email FROM clients WHERE client_id = 'C1'") == [(f"t_{wanted}",)]
    raw = rows(masked, "SELECT raw FROM rejected_lines WHERE line = 6")[0][0]
    wanted = hmac.new(key, raw, hashlib.sha256).hexdigest()[:32]
    assert asked(masked, "SELECT raw FROM rejected_lines WHERE line = 6") == [(f"t_{wanted}".encode(),)]
    night(
        masked,
        {"2026-11-21.jsonl": line("client", create("client", client_id="C7", email=MARKERS["email"]))},
        publish_masked=True,
    )
    assert asked(masked, "SELECT count(DISTINCT email), count(*) FROM clients WHERE client_id IN ('C1', 'C7')") == [(1, 2)]
    assert asked(masked, "SELECT dob, json_type(info) FROM clients WHERE client_id = 'C1'") == [(date(1980, 1, 1), "VARCHAR")]


def test_another_home_has_other_tokens(masked: Home, tmp_path: Path) -> None:
    other = home_in(tmp_path / "other")
    night(other, marked_drops(), publish_masked=True)
    name = "SELECT name FROM clients WHERE client_id = 'C1'"
    assert asked(other, name) != asked(masked, name)


def test_every_text_column_is_masked_or_known_to_hold_no_name() -> None:
    known = {
        "path",
        "sha256",
        "run_id",
        "because_path",
        "cause_path",
        "category",
        "verdict",
        "code",
        "was",
        "now",
        "status",
        "reason",
    }
    known |= {
        "state",
        "version",
        "rule_set",
        "country",
        "city",
        "gender",
        "currency",
        "source",
        "product_type",
        "old_value",
        "new_value",
    }
    known |= {"client_id", "loan_id", "payment_id", "deposit_id"}
    open_ = {
        column.name
        for table in TABLES.values()
        for column in table.columns
        if column.sql_type in ("VARCHAR", "JSON", "BLOB") and not is_masked(table.name, column.name)
    }
    # `field` of loan_changes is one of ours.
    assert open_ - known == {"field"}, "a new column: mask it (identifies=True), or add it here"


def test_the_masked_file_goes_when_it_is_not_wanted_any_more(tmp_path: Path) -> None:
    home = home_in(tmp_path / "home")
    night(home, marked_drops(), publish_masked=True)
    assert home.masked.exists()
    night(home)
    assert not home.masked.exists()
    assert (home.state / "mask.key").exists(), "tokens stay the same when it comes back"


def test_the_masked_warehouse_is_never_older_than_the_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = home_in(tmp_path / "home")
    night(home, {"2026-11-16.jsonl": line("client", create("client"))}, publish_masked=True)
    with monkeypatch.context() as patch:
        patch.setattr("pipelines.night.publish", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            night(home, {"2026-11-17.jsonl": line("client", create("client", client_id="C2"))}, publish_masked=True)
    assert asked(home, "SELECT count(*) FROM runs") == [(2,)]
    assert rows(home, "SELECT count(*) FROM runs") == [(1,)]
    with monkeypatch.context() as patch:
        patch.setattr(
            "pipelines.publishing.write_masked", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device"))
        )
        with pytest.raises(NightdropError, match="could not publish"):
            night(home, publish_masked=True)
    assert rows(home, "SELECT count(*) FROM runs") == [(1,)]
    assert not list(home.warehouse.parent.glob(".*"))
    night(home, publish_masked=True)
    assert asked(home, "SELECT count(*) FROM runs") == rows(home, "SELECT count(*) FROM runs")


def test_a_key_that_is_no_key_stops_the_publication_and_stays(tmp_path: Path) -> None:
    home = home_in(tmp_path / "home")
    home.state.mkdir()
    (home.state / "mask.key").write_bytes(b"short")
    with pytest.raises(NightdropError, match="it holds 5 bytes, wanted a key of 32"):
        night(home, publish_masked=True)
    assert (home.state / "mask.key").read_bytes() == b"short"


# --- one door -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("memory_limit", [None, "1GB"])
def test_a_connection_reaches_no_other_file_and_nothing_gives_that_back_to_it(tmp_path: Path, memory_limit: str | None) -> None:
    (tmp_path / "secret.csv").write_text("a\n1\n")
    with database.connect(tmp_path / "w.duckdb", memory_limit=memory_limit) as con:
        for sql in (
            f"SELECT * FROM read_csv('{tmp_path}/secret.csv')",
            f"COPY (SELECT 1) TO '{tmp_path}/out.csv'",
            f"ATTACH '{tmp_path}/other.duckdb'",
            "SET enable_external_access = true",
            f"SET allowed_directories = ['{tmp_path}']",
            "INSTALL httpfs",
            *(["SET lock_configuration = false", "SET memory_limit = '2GB'"] if memory_limit is None else []),
        ):
            with pytest.raises(duckdb.Error):
                con.execute(sql)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["secret.csv", "w.duckdb"]
