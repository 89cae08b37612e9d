"""How long the page of one date takes, and how large it is: `python benchmarks/report_page.py 40000`."""

from __future__ import annotations

import sys
import tempfile
import time
from datetime import date
from pathlib import Path

from pipelines import schema
from pipelines.database import connect
from pipelines.home import Home
from pipelines.mornings import mornings
from pipelines.pages import date_page, refused_rows

DAY = date(2026, 11, 16)
_RAW = """'{"category": "client", "data": {"step": "create", "client_id": "CL-' || i || '", "name": "Jo Doe ' || i % 977 || '",
"email": "jo' || i || '@example.com", "phone": "+25471' || i || '", "address": "' || i || ' Main Street, Nairobi, Kenya",
"country": "U' || i % 7 || '", "is_company": false, "registration_number": "ID-' || i || '", "gender": "male"}}'"""


def main(count: int) -> None:
    """Measure a date with so many rejections, of which two thirds have a message of their own."""
    with tempfile.TemporaryDirectory() as folder:
        home = Home(Path(folder))
        home.state.mkdir(parents=True)
        con = connect(home.working)
        schema.create(con)
        con.execute(
            "INSERT INTO drops VALUES ($day, 'core.jsonl', 'ab', 3, $n, 0, $n, 0, 'applied', NULL, NULL, now(), now(), 'r')",
            {"day": DAY, "n": count},
        )
        numbers = f"FROM range({count}) t(i)"
        con.execute(f"INSERT INTO rejected_lines SELECT DATE '{DAY}', 'core.jsonl', i, 'ab', 0, 9, ({_RAW})::BLOB {numbers}")
        con.execute(
            f"INSERT INTO rejections SELECT DATE '{DAY}', 'core.jsonl', i, 'client', 'create', 'CL-' || i, 'invalid_country', "
            "'country', 'U' || i % 7, 'country \"U' || i % 7 || '\"' || CASE WHEN i % 3 > 0 THEN i::VARCHAR ELSE '' END || "
            f"' is no code; wanted two capitals, such as GB', NULL, NULL, NULL {numbers}"
        )
        for _ in range(3):
            wall, cpu = time.perf_counter(), time.process_time()
            (morning,) = mornings(con, [DAY])
            page = date_page(morning, {}, refused_rows(morning, {}))
            seconds = f"{time.perf_counter() - wall:.2f} s ({time.process_time() - cpu:.2f} s of CPU)"
            print(f"{count:,} rejections: {seconds}, {len(page):,} bytes")
        con.close()


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 40_000)
