from __future__ import annotations

from pathlib import Path

import pytest

from flows.settings import load_settings
from pipelines.home import Settings
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
            "chunk_byte: no such setting; there are quiet_seconds, hold_above, max_expanded, chunk_bytes, publish_masked, registration_patterns",
        ),
        ("chunk_bytes = 0", "chunk_bytes: .*got 0.*wanted a size of at least 1 byte"),
        ("chunk_bytes = -1", "chunk_bytes: .*got -1"),
        ("chunk_bytes = true", "chunk_bytes: .*got True"),
        ("chunk_bytes = 1.5", "chunk_bytes: .*got 1.5"),
        ("chunk_bytes =", "not TOML"),
        ("registration_patterns = 5", "registration_patterns: .*wanted a table"),
        ("[registration_patterns]\nbank = 'x'", "registration_patterns.bank: no such setting; there are individual, company"),
        ("[registration_patterns]\ncompany = 5", "registration_patterns.company: .*got 5"),
        ("[registration_patterns]\ncompany = '('", "registration_patterns.company: not a regular expression"),
        ("[registration_patterns]\ncompany = '(?=CR-).+'", "registration_patterns.company: .*no look-around"),
    ],
)
def test_what_the_file_says_wrong_is_named_with_what_was_wanted(tmp_path, text, says):
    with pytest.raises(UsageError, match=f"nightdrop.toml: {says}.*") as caught:
        load_settings(home(tmp_path, text))
    assert "Nothing was changed" in str(caught.value)


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("CHUNK_BYTES", "much", "NIGHTDROP_CHUNK_BYTES: .*got 'much'"),
        ("CHUNK_BYTE", "1", "NIGHTDROP_CHUNK_BYTE: no such setting; there are NIGHTDROP_CHUNK_BYTES"),
        ("REGISTRATION_PATTERNS__COMPANY", "(", "NIGHTDROP_REGISTRATION_PATTERNS__COMPANY: not a regular expression"),
        ("REGISTRATION_PATTERNS", "x", "registration_patterns"),
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
