"""Drops of sources that write otherwise: what comes out is what their plain twins would give, places and bytes their own."""

from __future__ import annotations

import csv
import io
import json
import re
from datetime import date
from typing import Any

import polars as pl
import pytest
from homes import deliver, home_in, night, rows
from hypothesis import given
from hypothesis import settings as effort
from hypothesis import strategies as st
from reading_frames import read

from api.pending import checked, placed
from api.publication import frame_of
from flows.cli import call
from pipelines import acts
from pipelines.database import connect
from pipelines.dialects import PLAIN, Dialect
from pipelines.explaining import explain
from pipelines.home import Settings
from pipelines.journals import journal_path
from pipelines.packs import LETTER, write_pack
from pipelines.problems import DropHeldError
from pipelines.settled import lives_schema
from pipelines.settling import settle
from pipelines.sources import Source, Sources
from validation.client import CLIENT
from validation.rulebook import RuleBook

HEADER = ("step", "client_id", "name", "email", "phone", "address", "country", "is_company", "registration_number", "gender")
ROW = ("create", "C1", "José Müller", "j@example.com", "+254712345678", "1 Main, Nairobi, KE", "KE", "false", "ID-1", "male")
GERMAN = Dialect(";", "cp1252", (("Kundennummer", "client_id"), ("Größe", "info")), (("step", "create"), ("country", "KE")))


def written(table: list[tuple[str, ...]], dialect: Dialect = PLAIN) -> bytes:
    text = io.StringIO()
    csv.writer(text, delimiter=dialect.delimiter, lineterminator="\n").writerows(table)
    return text.getvalue().encode(dialect.encoding)


def said(dialect: Dialect, name: str = "acme", **more: Any) -> Sources:
    return Sources((Source(name, dialect=dialect, **more),))


cells = st.text(st.sampled_from('aé;,|\t"\n\\N 1'), max_size=5)


@given(
    table=st.lists(st.tuples(st.just("create"), cells, cells, cells), min_size=1, max_size=4),
    delimiter=st.sampled_from([";", "\t", "|", "^", "-", ","]),
    encoding=st.sampled_from(["cp1252", "iso8859-15", "utf-8", "cp437"]),
    chunk_bytes=st.sampled_from([1, 7, 1 << 20]),
)
@effort(max_examples=150, deadline=None)
def test_another_dialect_says_the_same_events_at_its_own_places(table, delimiter, encoding, chunk_bytes):
    dialect = Dialect(delimiter, encoding)
    whole = [("step", "client_id", "name", "é"), *table]
    # reading_frames holds every place to the bytes that stand there.
    found = read(written(whole, dialect), "csv", chunk_bytes, dialect=dialect)
    twin = read(written(whole), "csv", chunk_bytes)
    assert list(found.events()) == list(twin.events())
    assert found.reasons() == twin.reasons()


def test_columns_are_called_otherwise_and_constants_stand_in_every_row():
    data = written([("Kundennummer", "name", "Größe"), ("C1", "Jürgen", '{"a": 1}'), ("C2", "x")], GERMAN)
    found = read(data, "csv", dialect=GERMAN)
    (event,) = found.events()
    assert event["sent"] == {"client_id": "C1", "name": "Jürgen", "info": '{"a":1}', "step": "create", "country": "KE"}
    assert (event["unknown"], found.reasons()) == ([], [(3, "ragged_row")])


def test_a_constant_of_another_category_is_no_unknown_field():
    dialect = Dialect(constants=(("amount", "5"), ("category", "client")))
    (event,) = read(written([("step", "client_id", "x"), ("create", "C1", "1")]), "csv", dialect=dialect).events()
    assert (event["sent"], event["unknown"]) == ({"step": "create", "client_id": "C1"}, [("x", "1")])


@pytest.mark.parametrize(
    ("header", "dialect", "says"),
    [
        ("step;client_id;country", GERMAN, "column 'step' is there 2 times .with what nightdrop.toml says"),
        ("Kundennummer;client_id", GERMAN, "column 'client_id' is there 2 times"),
        ("Kundennummer", Dialect(";"), "must have 'step'"),
        ("step,client_id", Dialect(";"), "must have 'step'"),
        ("\x81", Dialect(encoding="cp1252"), "not CP1252"),
    ],
)
def test_a_header_that_cannot_be_relied_on_holds_the_drop(header, dialect, says):
    with pytest.raises(DropHeldError, match=says):
        read(header.encode("latin-1") + b"\n", "csv", dialect=dialect)


def test_bytes_that_the_encoding_does_not_have_are_refused_by_the_line():
    dialect = Dialect(encoding="cp1252")
    found = read(b"step,client_id\ncreate,\x81\ncreate,C1\n", "csv", dialect=dialect)
    assert found.reasons() == [(2, "invalid_encoding")]


def test_a_bounce_is_in_the_sources_own_format_and_comes_back_in_it(tmp_path):
    columns = tuple("Kundennummer" if name == "client_id" else name for name in HEADER if name not in ("step", "country"))
    good = tuple(value for name, value in zip(HEADER, ROW, strict=True) if name not in ("step", "country"))
    bad = ("Ö;2", 'Jo "Jö" Ö', "nobody", *good[3:])
    data = written([columns, good, bad], GERMAN)
    home = home_in(tmp_path)
    night(home, {"2026-11-16/acme/c.csv": data}, sources=said(GERMAN))
    assert rows(home, "SELECT client_id, name, country FROM clients") == [("C1", "José Müller", "KE")]
    wanted = written([bad], GERMAN)
    assert rows(home, "SELECT line, byte_offset, byte_length, raw FROM rejected_lines") == [
        (3, data.index(wanted), len(wanted) - 1, wanted[:-1])
    ]
    bounce = next((home.reports / "2026-11-16").glob("*.rejected.csv"))
    assert bounce.read_bytes() == written([columns, bad], GERMAN)
    fixed = bounce.read_bytes().replace(b"nobody", b"o@example.com")
    (tmp_path / "mine.csv").write_bytes(fixed)
    acted = acts.resubmit(home, Settings(sources=said(GERMAN)), tmp_path / "mine.csv")
    assert acted.drops == ("2026-11-16/acme/c.csv line 3",)
    assert rows(home, "SELECT client_id, name, email FROM clients ORDER BY 1 DESC") == [
        ("Ö;2", 'Jo "Jö" Ö', "o@example.com"),
        ("C1", "José Müller", "j@example.com"),
    ]
    assert acts.verify(home, Settings(sources=said(GERMAN))).is_empty
    (chapter,) = explain(home, "Ö;2", sources=said(GERMAN)).chapters
    assert [event.verdict for event in chapter.events] == ["applied"]


def test_the_page_and_the_pack_show_the_lines_of_a_source_as_it_wrote_them(tmp_path):
    home = home_in(tmp_path)
    bad = dict(zip(HEADER, ROW, strict=True)) | {"client_id": "Ö2", "email": "nobody"}
    sources = Sources((Source("berlin", ("*/acme/*",), Dialect(";", "cp1252", (("Kundennummer", "client_id"),))),))
    header = tuple("Kundennummer" if name == "client_id" else name for name in HEADER)
    data = written([header, tuple(bad.values())], Dialect(";", "cp1252"))
    night(home, {"2026-11-16/acme/c.csv": data}, sources=sources, hold_above=1.0)
    page = (home.reports / "2026-11-16" / "index.html").read_text()
    assert "source=berlin" in page
    assert "source=acme" not in page
    shown = "create;Ö2;José Müller;<mark>nobody</mark>;"
    assert shown in page
    with connect(home.working, read_only=True) as con:
        pack = write_pack(con, home, date(2026, 11, 16), "berlin", tmp_path, zipped=False, sources=sources)
    assert pack.place is not None
    assert shown in (pack.place / LETTER).read_text()
    assert (tmp_path / "berlin-2026-11-16" / pack.files[0]).read_bytes() == data


def test_the_api_decides_as_the_night_does_where_sources_have_numbers_of_their_own(tmp_path):
    home = home_in(tmp_path)
    day = date(2026, 11, 16)
    sources = Sources((Source("api", registration_patterns={"individual": "P[0-9]{2}"}),))
    rules = RuleBook.of({}, sources.patterns(), reading=sources.reading())
    names = dict(zip(HEADER, ROW, strict=True)) | {"is_company": False}
    lines = [
        json.dumps({"category": "client", "data": names | {"client_id": number, "registration_number": number}})
        for number in ("P12", "ID-1")
    ]
    update = {"step": "update", "client_id": "P12", "registration_number": "ID-9"}
    lines.append(json.dumps({"category": "client", "data": update}))
    data = "".join(line + "\n" for line in lines).encode()
    source = sources.name_of(journal_path(day))
    found = checked(data, 1, 0, rules, source)
    events = placed(found.events["client"], day, rules, source)
    settled = settle(
        CLIENT, rules.record_rules["client"], frame_of("client", []), events, pl.DataFrame(schema=lives_schema(CLIENT))
    )
    night(home, {journal_path(day): data}, sources=sources, hold_above=1.0)
    refused = [row for part in (found, settled) for row in part.reasons.select("code", "value").iter_rows()]
    assert rows(home, "SELECT code, value FROM rejections") == refused
    assert refused == [("registration_number_type", "ID-1"), ("registration_number_type", "ID-9")]
    assert rows(home, "SELECT client_id FROM clients") == [("P12",)]


def test_a_source_may_be_held_from_a_share_of_its_own(tmp_path):
    home = home_in(tmp_path)
    bad = [(*ROW[:1], f"C{n}", *ROW[2:3], "nobody" if n < 5 else ROW[3], *ROW[4:]) for n in range(20)]
    deliver(home, {f"2026-11-16/{who}/c.csv": written([HEADER, *bad, (*ROW[:1], who, *ROW[2:])]) for who in ("acme", "other")})
    night(home, sources=said(PLAIN, hold_above=0.1))
    statuses = dict(rows(home, "SELECT path, status FROM drops"))
    assert statuses == {"2026-11-16/acme/c.csv": "held", "2026-11-16/other/c.csv": "applied"}
    night(home)
    assert {status for (status,) in rows(home, "SELECT status FROM drops")} == {"applied"}


OWN = said(PLAIN, registration_patterns={"individual": "P[0-9]{2}"})


def client(number: str, step: str = "create", **more: str) -> bytes:
    row = dict(zip(HEADER, ROW, strict=True)) | {"registration_number": number, "step": step} | more
    if step == "update":
        row = {"step": step, "client_id": "C1", **more, **({"registration_number": number} if number else {})}
    return written([tuple(row), tuple(row.values())])


def test_a_source_may_have_numbers_of_its_own_form(tmp_path):
    home = home_in(tmp_path)
    night(home, {"2026-11-16/acme/a.csv": client("P12"), "2026-11-16/zed/z.csv": client("P12", client_id="C2")}, sources=OWN)
    assert rows(home, "SELECT client_id FROM clients") == [("C1",)]
    ((message,),) = rows(home, "SELECT message FROM rejections WHERE code = 'registration_number_type'")
    assert "P[0-9]" not in message
    assert "ID-…" in message
    # Another source's update is not held to its own form for a number that it does not send.
    night(home, {"2026-11-17/zed/z.csv": client("", "update", name="Ann", gender="male")}, sources=OWN)
    night(home, {"2026-11-18/zed/z.csv": client("P34", "update"), "2026-11-19/acme/a.csv": client("P34", "update")}, sources=OWN)
    night(
        home, {"2026-11-20/acme/a.csv": client("ID-1", "update"), "2026-11-21/zed/z.csv": client("ID-1", "update")}, sources=OWN
    )
    found = rows(home, "SELECT business_date::VARCHAR, verdict FROM events WHERE entity_id = 'C1' ORDER BY 1")
    assert [verdict for _, verdict in found] == ["applied", "applied", "rejected", "applied", "rejected", "applied"]
    messages = rows(home, "SELECT message FROM rejections WHERE path = '2026-11-20/acme/a.csv'")
    assert "wanted the form P[0-9]{2} for an individual" in messages[0][0]
    assert acts.verify(home, Settings(sources=OWN)).is_empty


def test_whose_number_it_is_does_not_hang_on_the_order_of_arrival(tmp_path):
    drops = {
        "2026-11-16/acme/a.csv": client("P12"),
        "2026-11-17/zed/z.csv": client("", "update", name="Ann"),
        "2026-11-18/zed/z.csv": client("P34", "update"),
        "2026-11-19/acme/a.csv": client("P56", "update"),
    }
    home = home_in(tmp_path)
    for path in reversed(drops):
        night(home, {path: drops[path]}, sources=OWN)
    found = rows(home, "SELECT verdict FROM events ORDER BY business_date")
    assert found == [("applied",), ("applied",), ("rejected",), ("applied",)]
    assert rows(home, "SELECT name, registration_number FROM clients") == [("Ann", "P56")]


def test_settings_that_touch_verdicts_are_in_the_fingerprint(tmp_path):
    def print_of(sources: Sources) -> str:
        return RuleBook.of({}, sources.patterns(), reading=sources.reading()).fingerprint

    plain = RuleBook.of().fingerprint
    prints = {print_of(said(dialect)) for dialect in (GERMAN, Dialect(";"), Dialect(encoding="cp1252"))}
    prints |= {print_of(OWN), print_of(said(Dialect(";"), name="b")), print_of(said(Dialect(";"), match=("b/*",)))}
    assert len(prints | {plain}) == 7
    assert print_of(said(PLAIN, hold_above=0.1)) == plain  # holding is judged anew on every run
    home = home_in(tmp_path)
    night(home, {"2026-11-16/acme/c.csv": written([HEADER, ROW], Dialect(";"))})
    assert rows(home, "SELECT status, reason FROM drops") == [("held", "csv_header")]
    night(home, sources=said(Dialect(";")))
    assert rows(home, "SELECT status FROM drops") == [("applied",)]


def test_the_list_of_drops_says_whose_each_is(tmp_path, capsys):
    home = home_in(tmp_path)
    night(home, {"2026-11-16/acme/c.csv": written([HEADER, ROW])})
    assert call(["drops", "--home", str(home.root)]) == 0
    assert "source" not in capsys.readouterr().out
    (home.root / "nightdrop.toml").write_text('[sources.berlin]\nmatch = "*/acme/*.csv"\n')
    call(["drops", "--home", str(home.root)])
    assert re.search(r"path +source +status.*\n.*c\.csv +berlin +applied", capsys.readouterr().out)
