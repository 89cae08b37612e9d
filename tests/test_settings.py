from __future__ import annotations

import re
from datetime import date, time
from pathlib import Path

import pytest
from fences import fences

from flows.commands.beginning import _SETTINGS
from flows.declared import DeclaredExpected, DeclaredHooks, DeclaredSource
from flows.settings import _Said, load_hooks, load_settings
from pipelines.home import Hooks, Settings
from pipelines.problems import UsageError


@pytest.fixture(autouse=True)
def no_variables(monkeypatch):
    for name in ("HOME", "CHUNK_BYTES"):
        monkeypatch.delenv(f"NIGHTDROP_{name}", raising=False)


def home(tmp_path: Path, text: str) -> Path:
    (tmp_path / "nightdrop.toml").write_text(text)
    return tmp_path


def test_nothing_said_means_the_defaults(tmp_path):
    assert load_settings(tmp_path) == Settings()
    assert load_settings(home(tmp_path, "\ufeff# a comment\n")) == Settings()


def test_the_file_says_sizes_and_patterns(tmp_path):
    text = 'chunk_bytes = "8MiB"\n[registration_patterns]\nindividual = "(ID|PASS)-.+"\ncompany = "CR-[0-9]+"\n'
    patterns = {"individual": "(ID|PASS)-.+", "company": "CR-[0-9]+"}
    assert load_settings(home(tmp_path, text)) == Settings(chunk_bytes=8 * 1024 * 1024, registration_patterns=patterns)


def test_what_is_wrong_is_named_with_its_line(tmp_path):
    text = (
        '# one\n\n[sources.acme]\nmatch = [\n  "a/*",\n]\n# why\ndelimiter = "ab"\n[sources.b]\nencoding = ""\nhold_above = 2\n'
    )
    with pytest.raises(UsageError) as caught:
        load_settings(home(tmp_path, text))
    for place in ("line 8: sources.acme.delimiter", "line 10: sources.b.encoding", "line 11: sources.b.hold_above"):
        assert place in str(caught.value)


def test_sources_are_taken_in_their_order_and_the_first_that_fits_counts(tmp_path):
    text = (
        '[sources.acme]\ndelimiter = ";"\nencoding = "Latin-1"\ncolumns = { No = "client_id" }\nconstants = { step = "create" }\n'
        '[sources.special]\nmatch = "*/acme/s*.csv"\nhold_above = 0.1\n[sources.late]\nmatch = ["x/*", "y/*"]\n'
    )
    sources = load_settings(home(tmp_path, text)).sources
    assert sources.of("2026-11-16/acme/special.csv").name == "acme"
    assert sources.of("2026-11-16/other/special.csv") is None
    assert sources.of("y/2026-11-16.csv").name == "late"
    dialect = sources.dialect_of("acme_2026-11-16.csv")
    assert (dialect.delimiter, dialect.encoding, dialect.renamed, dialect.constants) == (
        ";",
        "iso8859-1",
        {"No": "client_id"},
        (("step", "create"),),
    )


@pytest.mark.parametrize(
    ("first", "second"),
    [("*/acme/s*.csv", "*/acme/*"), ("*/acme/?.csv", "*/acme/a*.csv"), ("*/acme/[a-z]", "*/acme/*"), ("x/*", "*/acme/*")],
)
def test_sources_that_share_some_drops_only_stand_beside_each_other(tmp_path, first, second):
    sources = load_settings(home(tmp_path, f"[sources.a]\nmatch = '{first}'\n[sources.b]\nmatch = '{second}'")).sources
    assert [source.name for source in sources.declared] == ["a", "b"]


def test_tables_may_be_said_by_variables_too(tmp_path, monkeypatch):
    monkeypatch.setenv("NIGHTDROP_HOOKS__URL", "https://chat.example/secret")
    monkeypatch.setenv("NIGHTDROP_HOOKS__REJECTS_ABOVE", "0.25")
    monkeypatch.setenv("NIGHTDROP_SOURCES__ACME__HOLD_ABOVE", "0.1")
    monkeypatch.setenv("NIGHTDROP_EXPECTED", '[{"source": "acme", "by": "06:30", "holidays": ["2026-12-25"]}]')
    settings = load_settings(home(tmp_path, "[hooks]\nrejects_above = 0.5\n"))
    assert settings.hooks == Hooks("https://chat.example/secret", (), 0.25)
    assert settings.sources.declared[0].hold_above == 0.1
    assert settings.calendar[0].holidays == {date(2026, 12, 25)}
    # Who is to be told is known though the rest is wrong.
    monkeypatch.setenv("NIGHTDROP_HOLD_ABOVE", "2")
    assert load_hooks(home(tmp_path, "[sources.acme]\nx = 1\n")) == settings.hooks
    monkeypatch.setenv("NIGHTDROP_HOOKS__URL", "nonsense")
    assert load_hooks(tmp_path) == Hooks()


def test_the_days_of_the_calendar_are_taken_as_they_are(tmp_path):
    text = "[[expected]]\nsource = 'acme'\nby = 06:30:00\nsince = '2026-11-16'\nholidays = [2026-12-25]\n"
    (expected,) = load_settings(home(tmp_path, text)).calendar
    assert (expected.by, expected.since, expected.holidays) == (time(6, 30), date(2026, 11, 16), {date(2026, 12, 25)})


def test_a_variable_stands_above_the_file(tmp_path, monkeypatch):
    monkeypatch.setenv("NIGHTDROP_CHUNK_BYTES", "7")
    monkeypatch.setenv("NIGHTDROP_REGISTRATION_PATTERNS__COMPANY", "X-.+")
    monkeypatch.setenv("NIGHTDROP_HOME", "elsewhere")
    settings = load_settings(home(tmp_path, 'chunk_bytes = 3\n[registration_patterns]\nindividual = "A"\n'))
    assert settings == Settings(chunk_bytes=7, registration_patterns={"individual": "A", "company": "X-.+"})


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (
            "chunk_byte = 1",
            "chunk_byte: no such setting; there are quiet_seconds, hold_above, max_expanded, max_line, chunk_bytes, publish_masked, registration_patterns, sources, expected, inboxes, hooks",
        ),
        ("chunk_bytes = 0", "chunk_bytes: .*got 0.*wanted a size of at least 1 byte"),
        ("chunk_bytes = -1", "chunk_bytes: .*got -1"),
        ("chunk_bytes = true", "chunk_bytes: .*got true"),
        ("chunk_bytes = 1.5", "chunk_bytes: .*got 1.5"),
        ("chunk_bytes =", "not TOML"),
        ("registration_patterns = 5", "registration_patterns: .*wanted a table"),
        ("[registration_patterns]\nbank = 'x'", "registration_patterns.bank: no such setting; there are individual, company"),
        ("[registration_patterns]\ncompany = 5", "registration_patterns.company: .*got 5"),
        ("[registration_patterns]\ncompany = '('", "registration_patterns.company: not a regular expression"),
        ("[registration_patterns]\ncompany = '(?=CR-).+'", "registration_patterns.company: .*no look-around"),
        ("[[expected]]\nsource = 'acme'", "expected.0.by: .*wanted a time of the day"),
        ("[[expected]]\nsource = 'acme'\nby = '25:00'", "expected.0.by: .*got '25:00'"),
        ("[[expected]]\nsource = 'a'\nby = '06:00'\nweekdays = ['monday']", "expected.0.weekdays: .*got 'monday'.*\"mon\""),
        ("[[expected]]\nsource = 'a'\nby = '06:00'\nday = 1", "expected.0.day: no such setting; there are source, weekdays, by"),
        ("[inboxes.a]\nurl = 'http://x'", "inboxes.a.url: .*wanted where it is, without"),
        (
            "[inboxes.a]\nurl = 's3://b'\nregion = 'x'",
            "inboxes.a.region: no such setting; there are url, key, known_hosts, options",
        ),
        ("[inboxes.a]\nurl = 'sftp://me:secret@x/y'", "inboxes.a.url: .*wanted where it is, without a password"),
        ("[inboxes.a-20261121]\nurl = 's3://b'", "inboxes.a-20261121.*a date in it, which all its files would get"),
        ("[inboxes.'../a']\nurl = 's3://b'", "inboxes.../a.*wanted a name that a folder of drops may have"),
        ("[hooks]\nurl = 'ftp://x'", "hooks.url: .*wanted an http"),
        ("[hooks]\ncommand = 'mail'", "hooks.command: .*wanted a list"),
        ("[hooks]\nrejects_above = 2", "hooks.rejects_above: .*got 2"),
        ("[hooks]\nuri = 'x'", "hooks.uri: no such setting; there are url, command, rejects_above"),
        ("sources = 5", "sources: .*wanted a table for each source"),
        ("[sources]\nacme = 5", "sources.acme: .*got 5"),
        ("[sources.acme]\ndelimeter = ';'", "sources.acme.delimeter: no such setting; there are match, delimiter, encoding"),
        ("[sources.acme]\ndelimiter = ';;'", "sources.acme.delimiter: no delimiter .*got ';;'.*wanted one character"),
        ("[sources.acme]\nencoding = 'utf-16'", "sources.acme.encoding: .*got 'utf-16'.*wanted \"utf-8\""),
        ("[sources.acme]\nencoding = 'shift_jis'", "sources.acme.encoding: an encoding of several bytes"),
        ("[sources.acme]\nencoding = 'klingon'", "sources.acme.encoding: no encoding"),
        ("[sources.acme]\ncolumns = {No = 'client'}", "sources.acme.columns: 'client' is no column we know"),
        ("[sources.acme]\ncolumns = {A = 'name', B = 'name'}", "sources.acme.columns: 'name' is given to two columns"),
        ("[sources.acme]\nconstants = {client_id = 'C1'}", "sources.acme.constants: 'client_id' is an id"),
        ("[sources.acme]\nconstants = {steps = 'create'}", "sources.acme.constants: 'steps' is no column"),
        ("[sources.acme]\nhold_above = 50", "sources.acme.hold_above: .*got 50.*wanted a share"),
        ("[sources.acme]\nmatch = []", "sources.acme.match: .*wanted a pattern"),
        ("[sources.acme]\nregistration_patterns = {company = '('}", "sources.acme.registration_patterns.company: not a regular"),
        ("[sources.acme]\nmatch = ['a', 5]", "sources.acme.match: got 5; wanted a pattern"),
        ("[sources.acme]\nmatch = 5", "sources.acme.match: got 5; wanted a pattern of paths in the inbox or a list .*changed.$"),
        ("[sources.acme]\nhold_above = true", "sources.acme.hold_above: not a number .got true.; wanted a share"),
        ("[hooks]\nrejects_above = false", "hooks.rejects_above: not a number .got false.; wanted a share"),
        ("[sources.acme]\nconstants = {step = 'craete'}", "sources.acme.constants: 'step' is none of create, update, delete"),
        ("[sources.acme]\nconstants = {step = ''}", "sources.acme.constants: 'step' has an empty cell"),
        (
            "[sources.acme]\ncolumns = {A = 'step'}\nconstants = {step = 'create'}",
            "sources.acme.constants: 'step' is a column of the file already",
        ),
        (
            "[sources.acme]\nregistration_patterns = {company = ''}",
            "sources.acme.registration_patterns.company: an empty pattern",
        ),
        ("[sources.'']\nhold_above = 1", "sources.: no drop is of this name by itself"),
        ("[sources.'2026-11-16']\nhold_above = 1", "sources.2026-11-16: no drop is of this name by itself"),
        (
            "[sources.acme]\nmatch = '*/acme/*'\n[sources.s]\nmatch = '*/acme/s/*.csv'",
            "sources.s.match: every drop that fits it is one of sources.acme already",
        ),
        ("[sources.acme]\n[sources.s]\nmatch = 'acme/s*'", "sources.s.match: every drop that fits it is one of sources.acme"),
        ("[[expected]]\nsource = 'a'\nby = '6:30'", "expected.0.by: no time of the day .got '6:30'.; wanted"),
        ("[[expected]]\nsource = 'a'\nby = '06:30+02:00'", "expected.0.by: a time with a zone"),
        ("[[expected]]\nsource = 'a'\nby = 06:30:00\nsince = 20261116", "expected.0.since: no date .got 20261116."),
        (
            "[[expected]]\nsource = 'a'\nby = 06:30:00\nholidays = [2026-12-25, 'x']",
            "expected.0.holidays: no date .got ..2026-12",
        ),
        (
            "[[expected]]\nsource = 'a'\nby = 06:30:00\nholidays = 2026-12-25",
            "expected.0.holidays: got 2026-12-25; wanted a list",
        ),
        ("hooks = 'x'", "hooks: this cannot be used; wanted a table"),
        (
            "[sources.acme]\nregistration_patterns = {bank = 'x'}",
            "sources.acme.registration_patterns.bank: .*individual, company",
        ),
    ],
)
def test_what_the_file_says_wrong_is_named_with_what_was_wanted(tmp_path, text, says):
    with pytest.raises(UsageError, match=f"nightdrop.toml(, line [0-9]+)?: {says}.*") as caught:
        load_settings(home(tmp_path, text))
    assert "Nothing was changed" in str(caught.value)


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("CHUNK_BYTES", "much", "NIGHTDROP_CHUNK_BYTES: .*got 'much'"),
        ("CHUNK_BYTE", "1", "NIGHTDROP_CHUNK_BYTE: no such setting; there are NIGHTDROP_CHUNK_BYTES"),
        ("REGISTRATION_PATTERNS__COMPANY", "(", "NIGHTDROP_REGISTRATION_PATTERNS__COMPANY: not a regular expression"),
        ("REGISTRATION_PATTERNS", "x", "NIGHTDROP_REGISTRATION_PATTERNS: not JSON; wanted a table"),
        ("SOURCES", "x", "NIGHTDROP_SOURCES: not JSON; wanted a table for each source"),
    ],
)
def test_what_a_variable_says_wrong_is_named(tmp_path, monkeypatch, name, value, says):
    monkeypatch.setenv(f"NIGHTDROP_{name}", value)
    with pytest.raises(UsageError, match=says):
        load_settings(tmp_path)


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    (tmp_path / "nightdrop.toml").mkdir()
    with pytest.raises(UsageError, match="cannot be read"):
        load_settings(tmp_path)
    (tmp_path / "nightdrop.toml").rmdir()
    (tmp_path / "nightdrop.toml").write_bytes(b"# \xff")
    with pytest.raises(UsageError, match="not TOML"):
        load_settings(tmp_path)


def test_the_page_about_settings_and_the_file_of_a_new_home_have_every_setting_and_no_wrong_one(tmp_path):
    page = "".join(block for language, block in fences("settings.md") if language == "toml")
    begun = re.sub(r"^# (?=[a-z_]+ = |\[)", "", _SETTINGS, flags=re.MULTILINE)
    for text in (page, begun):
        settings = load_settings(home(tmp_path, text))
        assert settings.sources.declared and settings.calendar and settings.hooks.url and settings.hooks.command
        for declared in (DeclaredSource, DeclaredExpected, DeclaredHooks):
            assert [name for name in declared.model_fields if not re.search(rf"^{name} = ", text, re.MULTILINE)] == []
    assert [name for name in _Said.model_fields if name not in begun] == []
