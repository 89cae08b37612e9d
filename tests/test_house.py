"""House rules: which way imports point, what Pandera does for us, and that the catalogue is the schemas'."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pandera.polars as pa
import polars as pl
import pytest
from checked import RULES

from validation.catalogue import catalogue
from validation.entities import ENTITIES
from validation.findings import find
from validation.rules import Rule

ROOT = Path(__file__).parent.parent
LAYERS = ("validation", "pipelines", "api", "flows")


def imported(file: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module.partition(".")[0])
    return found


@pytest.mark.parametrize("layer", LAYERS)
def test_imports_point_one_way(layer: str) -> None:
    above = set(LAYERS[LAYERS.index(layer) + 1 :])
    for file in (ROOT / layer).rglob("*.py"):
        assert not imported(file) & above, file


def test_only_flows_know_prefect_and_validation_knows_no_file_database_or_clock() -> None:
    for file in (path for layer in ("pipelines", "api") for path in (ROOT / layer).rglob("*.py")):
        assert "prefect" not in imported(file), file
    for file in (ROOT / "validation").rglob("*.py"):
        assert not imported(file) & {"prefect", "duckdb", "time", "os", "shutil"}, file


def test_one_door_to_duckdb() -> None:
    files = (file for layer in ("pipelines", "api") for file in (ROOT / layer).glob("*.py"))
    opening = {file.name for file in files if "duckdb.connect(" in file.read_text()}
    assert opening == {"database.py"}


def test_pandera_checks_values_of_a_frame_but_not_of_a_lazy_frame() -> None:
    schema = pa.DataFrameSchema({"a": pa.Column(pl.Int64, pa.Check.gt(0))})
    frame = pl.DataFrame({"a": [-1]})
    schema.validate(frame.lazy())
    with pytest.raises(pa.errors.SchemaError):
        schema.validate(frame)


def test_the_name_of_a_pandera_check_is_the_reason_code() -> None:
    for schemas in (RULES.events, RULES.records):
        for schema in schemas.values():
            for column in schema.columns.values():
                for check in column.checks:
                    rule = check.statistics["rule"]
                    assert (check.name, check.description, column.name) == (rule.code, rule.when, rule.field)


def test_a_rule_that_pandera_does_not_see_broken_is_an_error_not_a_pass() -> None:
    class Deaf(Rule):
        def check(self) -> pa.Check:
            return pa.Check(lambda data: data.lazyframe.select(pl.lit(True)), name=self.code, statistics={"rule": self})

    deaf = Deaf("deaf", "a", pl.col("a") > 0, "", "", "")
    with pytest.raises(RuntimeError, match="Pandera does not find"):
        find("test", [deaf], pl.DataFrame({"a": [1]}))


CONTRACT_CODES = [
    "line_too_long",
    "invalid_encoding",
    "malformed_json",
    "not_an_object",
    "duplicate_key",
    "unknown_category",
    "missing_data",
    "ragged_row",
    "conflicting_alias",
    "missing_field",
    "wrong_type",
    "blank_value",
    "invalid_characters",
    "invalid_id",
    "unknown_step",
    "invalid_email",
    "invalid_phone",
    "invalid_country",
    "invalid_choice",
    "invalid_amount",
    "invalid_currency",
    "invalid_date",
    "client_exists",
    "client_unknown",
    "client_deleted",
    "loan_exists",
    "loan_unknown",
    "loan_deleted",
    "payment_exists",
    "payment_unknown",
    "payment_deleted",
    "deposit_exists",
    "deposit_unknown",
    "deposit_deleted",
    "gender_company_mismatch",
    "contact_person_required",
    "registration_number_type",
    "maturity_before_disbursement",
    "change_reason_required",
    "immutable_field",
    "currency_mismatch",
    "split_mismatch",
    "unknown_field",
    "unused_contact_person",
    "implausible_phone",
    "incomplete_address",
    "empty_update",
]


def test_the_catalogue_has_every_code_of_the_contract_and_no_other() -> None:
    entries = catalogue()
    assert {entry.code for entry in entries} == set(CONTRACT_CODES)
    warnings = {entry.code for entry in entries if entry.severity == "warning"}
    assert warnings == set(CONTRACT_CODES[-5:])


def test_every_entry_of_the_catalogue_says_when_and_gives_an_example() -> None:
    for entry in catalogue():
        assert entry.when and entry.example, entry
        assert entry.category in (*ENTITIES, "any")


def test_the_readme_is_short_and_names_its_two_commands_first() -> None:
    lines = (ROOT / "README.md").read_text().splitlines()
    assert len(lines) <= 120
    commands = [line.split()[1] for line in lines if re.match(r"    make \w+", line)]
    assert commands == ["run", "test"]


def test_the_lock_has_hashes_and_no_address() -> None:
    lock = (ROOT / "requirements.lock").read_text()
    assert "--hash=sha256:" in lock
    assert "://" not in lock
    assert not re.search(r"^--?(index|extra-index|find-links|trusted)", lock, re.MULTILINE)
