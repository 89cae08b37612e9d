from __future__ import annotations

import pytest

from pipelines.sources import source_of


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("2026-11-01/acme/clients.jsonl", "acme"),
        ("acme/2026-11-01/clients.jsonl", "acme"),
        ("20261101/2026-11-02/acme/x/clients.jsonl", "acme"),
        ("core/2026-11-16/late/sent-2026-11-18/clients.jsonl", "core"),
        ("2026-11-01/clients.jsonl", "clients"),
        ("clients-2026-11-01.jsonl", "clients"),
        ("2026-11-01_clients.csv.gz", "clients"),
        ("clients_20261101083000.ndjson.zst", "clients"),
        ("north-2026-11-01-clients.csv", "north-clients"),
        ("acme-2026-11-01/clients.csv", "acme"),
        ("acme.eu/2026-11-01.csv", "acme.eu"),
        ("2026-11-01 (acme).csv", "acme"),
        ("2026-11-01/x.y.csv", "x.y"),
        ("2026-11-01/20261101.csv", "unnamed"),
        ("20261101.csv.gz", "unnamed"),
        ("2026-11-01/2026/loans.csv", "2026"),
        ("99999999/loans.csv", "99999999"),
        ("2026-11-01/\u05d1\u05e0\u05e7/loans.csv", "\u05d1\u05e0\u05e7"),
    ],
)
def test_a_source_is_the_first_folder_that_is_no_date_else_the_stem_without_dates(path: str, source: str) -> None:
    assert source_of(path) == source


def test_a_source_keeps_its_name_from_night_to_night() -> None:
    nights = ["2026-11-01", "2026-11-02", "20261103"]
    for shape in ("{}/acme/c.csv", "acme/{}/c.csv", "acme-{}.csv", "{}_acme.csv.gz", "acme_{}/c.csv"):
        assert {source_of(shape.format(night)) for night in nights} == {"acme"}, shape
