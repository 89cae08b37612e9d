"""What the warehouse says of records: asked for less where it is known already, and the same."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import polars as pl
import pytest
from checked import create, line
from homes import home_in, night

from pipelines import database
from pipelines.home import Home
from pipelines.standing import AsOf
from validation.entities import ENTITIES

MONDAY = b"".join(line("client", create("client", client_id=f"C{n}")) for n in range(4))
TUESDAY = b"".join(
    [
        line("client", {"step": "delete", "client_id": "C1"}),
        line("client", {"step": "update", "client_id": "C2", "city": "Oslo"}),
        line("client", create("client", client_id="C8", email="no address")),
        line("client", create("client", client_id="C9")),
        line("client", create("client", client_id="C7")),
        line("client", {"step": "delete", "client_id": "C7"}),
        line("client", {"step": "delete", "client_id": "C3"}),
        line("client", create("client", client_id="C3")),
    ]
)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    home = home_in(tmp_path_factory.mktemp("home"))
    night(home, {"2026-11-16.jsonl": MONDAY, "2026-11-17.jsonl": TUESDAY})
    return home


@pytest.mark.parametrize("since", [date(2026, 11, day) for day in (15, 16, 17, 18)])
@pytest.mark.parametrize("living", [["2026-11-16.jsonl", "2026-11-17.jsonl"], ["2026-11-16.jsonl"]])
def test_lives_told_by_records_and_verdicts_are_those_that_the_warehouse_tells(
    home: Home, since: date, living: list[str]
) -> None:
    client = ENTITIES["client"]
    days = [date(2026, 11, 16), date(2026, 11, 17)][: len(living)]
    ranks = pl.DataFrame({"business_date": days, "path": living, "rank": range(len(living))}, schema_overrides={"rank": pl.Int64})
    with database.connect(Path(home.working), read_only=True) as con:
        stands = AsOf(con, since, ranks)
        ids = pl.DataFrame({"id": [f"C{n}" for n in range(12)]})
        known = stands.records(client, ids), stands.verdicts(client, ids)
        asked, told = stands.lives(client, ids), stands.lives(client, ids, known=known)
    assert len(asked) == 6
    assert told.sort("id").equals(asked.sort("id"))
    assert told.schema == asked.schema
