"""The OpenAPI document holds: schemathesis asks the server whatever the document allows and forbids, under all its checks."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from api_server import Server, served
from checked import create, line
from homes import home_in, night

EXAMPLES = os.environ.get("API_EXAMPLES", "5")
"""Examples a call; `API_EXAMPLES=500` for the long way."""
CONFIG = Path(__file__).with_name("schemathesis.toml")
HOOKS = Path(__file__).with_name("api_formats.py")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    home = home_in(tmp_path_factory.mktemp("document"))
    night(home, {"core/2026-11-16/c.jsonl": line("client", create("client")) + line("loan", create("loan"))})
    with served(home, "--rate", "100000") as server:
        yield server


def test_the_server_does_what_its_document_says(server: Server, tmp_path: Path) -> None:
    with server.client() as api:
        key = api.headers["Authorization"]
    command = [
        sys.executable,
        "-m",
        "schemathesis.cli",
        "--config-file",
        str(CONFIG),
        "run",
        f"{server.url}/openapi.json",
        "-H",
        f"Authorization: {key}",
    ]
    options = ["--max-examples", EXAMPLES, "--workers", "1", "--seed", "1", "--continue-on-failure", "--no-color"]
    environment = {
        **os.environ,
        "SCHEMATHESIS_HOOKS": "api_formats",
        "PYTHONPATH": os.pathsep.join([str(HOOKS.parent), *sys.path]),
    }
    told = subprocess.run([*command, *options], env=environment, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert told.returncode == 0, told.stdout + told.stderr
    assert "No issues found" in told.stdout, told.stdout


def test_the_document_is_valid_openapi(server: Server) -> None:
    document = httpx.get(f"{server.url}/openapi.json").json()
    assert {f"{method} {path}" for path, item in document["paths"].items() for method in item} == {
        "get /v1/clients",
        "post /v1/clients",
        "get /v1/clients/{clientRef}",
        "patch /v1/clients/{clientRef}",
        "delete /v1/clients/{clientRef}",
        "get /v1/clients/{clientRef}/loans",
        "get /v1/clients/{clientRef}/deposits",
    }
