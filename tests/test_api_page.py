"""docs/api.md: every curl line runs, and the table of codes is the one the server uses."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path

from api_server import served
from homes import home_in

from api.errors import CODES

PAGE = (Path(__file__).parent.parent / "docs" / "api.md").read_text()


def test_every_curl_line_of_the_page_does_what_it_shows(tmp_path: Path) -> None:
    lines = re.search(r"```sh\n(.*?)```", PAGE, re.DOTALL)
    assert lines is not None
    commands = lines[1].splitlines()
    assert len(commands) == 9 and all(command.startswith("curl ") for command in commands)
    with served(home_in(tmp_path)) as server, server.client() as api:
        environment = {**os.environ, "API": server.url, "KEY": api.headers["Authorization"].removeprefix("Bearer ")}
        answers = []
        for command in commands:
            told = subprocess.run(["bash", "-c", command], env=environment, capture_output=True, check=True, timeout=60)
            answers.append(json.loads(told.stdout))
    assert [answer["responseCode"] for answer in answers] == ["00"] * 9, answers
    assert answers[2]["data"]["name"] == "Ada Byron" and answers[4]["data"][0]["clientRef"] == "A-1"
    assert answers[5]["data"]["name"] == "Ada Lovelace" and answers[8]["data"]["status"] == "deleted"


def test_the_pages_table_has_every_status_and_its_code() -> None:
    rows = re.findall(r"^\| (\d{3}) \| (\d\d) \|", PAGE, re.MULTILINE)
    assert rows == [(str(status), code) for status, (code, _) in sorted(CODES.items())]
