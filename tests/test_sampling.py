"""Samples: the same for the same seed, as many events as asked for, good where they are meant to be."""

from __future__ import annotations

import csv
import io
import json
import time
from collections import Counter
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import oracle
import phonenumbers
import pytest
from email_validator import validate_email

from pipelines import sample_people as people
from pipelines.problems import UsageError
from pipelines.sampling import Sample, draw_sample, make_sample
from validation.entities import ENTITIES

BROKEN = ("malformed_json", "not_an_object", "duplicate_key", "unknown_category", "missing_data")


def events_of(sample: Sample) -> list[dict[str, Any]]:
    """Return the events in the order in which they are decided, numbers exact."""
    return [
        json.loads(line, parse_float=Decimal, parse_int=Decimal) for path in sorted(sample.drops) for line in sample.drops[path]
    ]


def test_the_same_seed_gives_the_same_bytes(tmp_path: Path) -> None:
    here = make_sample(tmp_path / "here", events=3_000, seed=7, days=2)
    there = make_sample(tmp_path / "there", events=3_000, seed=7, days=2)
    assert [path.read_bytes() for path in here] == [path.read_bytes() for path in there]
    other = make_sample(tmp_path / "other", events=3_000, seed=8, days=2)
    assert here[0].read_bytes() != other[0].read_bytes()


def test_each_day_has_a_file_a_category_that_ends_with_a_line_end(tmp_path: Path) -> None:
    paths = make_sample(tmp_path, events=400, seed=1, days=2, first_day=date(2026, 2, 28))
    assert sorted(path.relative_to(tmp_path).as_posix() for path in paths) == [
        f"{day}/{table}.jsonl" for day in ("2026-02-28", "2026-03-01") for table in ("clients", "deposits", "loans", "payments")
    ]
    assert all(path.read_bytes().endswith(b"}\n") for path in paths)
    assert sorted(path for path in tmp_path.rglob("*") if path.is_file()) == sorted(paths), "nothing else is left behind"


@pytest.mark.parametrize("format", ["jsonl", "csv"])
@pytest.mark.parametrize(("events", "days"), [(0, 1), (1, 1), (2, 3), (3, 1), (7, 30), (100, 1), (1_001, 4)])
def test_a_sample_has_exactly_as_many_events_as_asked_for(events: int, days: int, format: str) -> None:
    sample = draw_sample(events=events, seed=3, days=days, format=format)
    headers = len(sample.drops) if format == "csv" else 0
    assert sum(len(lines) for lines in sample.drops.values()) - headers == events


@pytest.mark.parametrize("rejected", [0, 0.04, 0.5, 0.9])
def test_the_share_refused_is_the_share_asked_for(rejected: float) -> None:
    sample = draw_sample(events=4_000, seed=5, rejected=rejected)
    assert sum(sample.refused.values()) == pytest.approx(rejected * 4_000, abs=2)


@pytest.mark.parametrize("format", ["jsonl", "csv"])
def test_the_law_refuses_what_the_sample_says_and_nothing_else(format: str) -> None:
    sample = draw_sample(events=4_000, seed=3, rejected=0.2, days=3, format=format)
    tables = oracle.expected({path: "\n".join([*lines, ""]).encode() for path, lines in sample.drops.items()})
    assert Counter(row[oracle.COLUMNS["rejections"].index("code")] for row in tables["rejections"]) == sample.refused


def test_a_sample_is_refused_for_many_reasons() -> None:
    codes = set(draw_sample(events=20_000, seed=5).refused)
    assert codes >= {"invalid_email", "client_unknown", "loan_exists", "payment_deleted", "currency_mismatch", *BROKEN}
    assert len(codes) > 35


def test_every_line_of_a_sample_is_an_event_save_the_broken_ones() -> None:
    sample = draw_sample(events=5_000, seed=11, rejected=0.2)
    unread = 0
    for lines in sample.drops.values():
        for line in lines:
            try:
                event = json.loads(line)
            except json.JSONDecodeError:
                unread += 1
                continue
            sound = isinstance(event, dict) and event["category"] != "customer" and "data" in event
            unread += not sound or line.count('"step"') > 1
    assert unread == sum(sample.refused[code] for code in BROKEN) > 0


def test_without_refusals_every_event_follows_from_those_before_it() -> None:
    sample = draw_sample(events=6_000, seed=2, rejected=0, days=3)
    records: dict[tuple[str, str], dict[str, Any]] = {}
    deleted: set[tuple[str, str]] = set()
    for event in events_of(sample):
        category = {"disbursement": "loan"}.get(event["category"], event["category"])
        entity, data = ENTITIES[category], event["data"]
        sent = {entity.field(name).name if name in entity.spellings else name: value for name, value in data.items()}
        key = (category, sent[entity.id])
        if sent["step"] == "create":
            assert key not in records
            if entity.parent is not None:
                parent = (entity.parent, sent[entity.parent_id or ""])
                assert parent in records
                assert parent not in deleted
                if category == "payment":
                    assert sent["currency"] == records[parent]["currency"]
        else:
            assert key in records
            assert key not in deleted
        records[key] = {**records.get(key, {}), **sent}
        if sent["step"] == "delete":
            deleted.add(key)
        if category == "payment":
            assert records[key]["principal"] + records[key]["fee"] == records[key]["amount"]
        if category == "client":
            assert records[key]["is_company"] == (records[key]["gender"] == "company")
            assert records[key]["is_company"] == records[key]["registration_number"].startswith("CR-")
            assert bool(records[key].get("contact_person")) == records[key]["is_company"]
    assert {category for category, _ in deleted} == set(ENTITIES)
    assert not sample.refused


def test_steps_of_clients_are_mostly_creates_with_some_updates_and_few_deletes() -> None:
    sample = draw_sample(events=10_000, seed=2, rejected=0, categories=["client"])
    steps = [event["data"]["step"] for event in events_of(sample)]
    assert [round(steps.count(step) / 10_000, 1) for step in ("create", "update", "delete")] == [0.6, 0.4, 0]
    assert 300 < steps.count("delete") < 600


def test_csv_says_the_same_events_as_jsonl() -> None:
    asked: dict[str, Any] = {"events": 1_200, "seed": 4, "rejected": 0.0, "days": 2}
    jsonl, sheets = draw_sample(**asked, format="jsonl"), draw_sample(**asked, format="csv")
    for path, lines in sheets.drops.items():
        rows = list(csv.DictReader(io.StringIO("\n".join(lines), newline=""), strict=True))
        events = [json.loads(line, parse_float=str, parse_int=str) for line in jsonl.drops[path.replace(".csv", ".jsonl")]]
        texts = {True: "true", False: "false", None: r"\N"}
        assert [{name: cell for name, cell in row.items() if cell} for row in rows] == [
            {"category": event["category"]}
            | {
                name: json.dumps(value, separators=(",", ":")) if isinstance(value, dict) else texts.get(value, value)
                for name, value in event["data"].items()
            }
            for event in events
        ]


def test_people_can_be_telephoned_and_written_to() -> None:
    sample = draw_sample(events=600, seed=9, rejected=0, categories=["client"])
    created = [event["data"] for event in events_of(sample) if event["data"]["step"] == "create"]
    for client in created:
        assert phonenumbers.is_valid_number(phonenumbers.parse(client["phone"])), client["phone"]
        validate_email(client["email"], check_deliverability=False)
    assert len({client["email"] for client in created}) == len(created)
    assert len({client["name"] for client in created}) > 0.9 * len(created)


def test_every_phone_prefix_makes_valid_numbers_at_both_ends() -> None:
    for country in people.COUNTRIES:
        for digits in ("1" + "0" * (country.phone_digits - 1), "9" * country.phone_digits):
            assert phonenumbers.is_valid_number(phonenumbers.parse(country.phone_prefix + digits)), country.code


def test_every_country_fills_its_part_of_the_pools() -> None:
    for country in people.COUNTRIES:
        assert len(country.women.split()) == len(country.men.split()) == people.GIVEN_NAMES, country.code
        assert len(country.families.split()) == people.FAMILY_NAMES, country.code
        assert len(country.streets.split(",")) == people.STREETS, country.code
        assert len(country.towns.split(",")) == people.TOWNS, country.code


def test_a_file_with_other_bytes_is_never_overwritten(tmp_path: Path) -> None:
    (there,) = make_sample(tmp_path, events=50, seed=1, categories=["client"])
    before = there.read_bytes()
    with pytest.raises(UsageError, match=r"clients\.jsonl: a file with other bytes is already there.*--out"):
        make_sample(tmp_path, events=500, seed=2, days=2)
    assert there.read_bytes() == before
    assert list(tmp_path.rglob("*")) == [there.parent, there]
    assert make_sample(tmp_path, events=50, seed=1, categories=["client"]) == [there]


@pytest.mark.parametrize(
    ("asked", "wanted"),
    [
        ({"events": -1}, "events must be 0 or more"),
        ({"days": 0}, "days must be 1 or more"),
        ({"rejected": 1.5}, "rejected must be a share from 0 to 0.9"),
        ({"format": "xml"}, "format must be one of jsonl, csv"),
        ({"categories": ["payment", "client"]}, "a payment hangs on a loan"),
        ({"categories": ["grant"]}, "categories are client, loan, payment, deposit"),
        ({"categories": []}, "at least one category"),
    ],
)
def test_what_cannot_be_meant_is_said_and_nothing_is_written(tmp_path: Path, asked: dict[str, Any], wanted: str) -> None:
    with pytest.raises(UsageError, match=wanted):
        make_sample(tmp_path, **{"events": 10, "seed": 1, **asked})
    assert list(tmp_path.iterdir()) == []


def test_a_file_cannot_be_the_folder_of_a_sample(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("not a folder")
    with pytest.raises(UsageError, match="--out must be a folder"):
        make_sample(tmp_path / "out", events=1, seed=1)


def test_fifty_thousand_events_are_drawn_in_a_moment() -> None:
    draw_sample(events=10, seed=1)
    start = time.perf_counter()
    draw_sample(events=50_000, seed=1)
    assert time.perf_counter() - start < 2, "whole columns: it takes 0.2 s where this was written"
