"""What the code takes from outside: declared libraries, no network, SQL with parameters."""

from __future__ import annotations

import ast
import os
import re
import runpy
import subprocess
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from homes import deliver, home_in
from test_people import marked_drops

ROOT = Path(__file__).parent.parent
PACKAGES = ("flows", "pipelines", "validation", *(name for name in ("api",) if (ROOT / name).is_dir()))
SOURCES = sorted(file for package in PACKAGES for file in (ROOT / package).rglob("*.py"))


def imported(file: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module.partition(".")[0])
    return found


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def declared() -> set[str]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return {normal(re.findall(r"^[\w.-]+", requirement)[0]) for requirement in project["dependencies"]}


def test_nothing_is_imported_that_is_not_declared_and_nothing_declared_that_is_not_imported() -> None:
    names = set().union(*map(imported, SOURCES)) - set(sys.stdlib_module_names) - set(PACKAGES)
    distributions = packages_distributions()
    wanted = {name: {normal(each) for each in distributions.get(name, [name])} for name in names}
    assert {name for name, of in wanted.items() if not of & declared()} == set()
    needed_by_others = {"fastapi", "sqlalchemy"}  # held back for Prefect
    assert declared() - set().union(*wanted.values()) <= needed_by_others


def test_the_lock_has_every_declared_library() -> None:
    locked = {
        normal(name) for name in re.findall(r"^([A-Za-z0-9_.-]+)(?:\[.*\])?==", (ROOT / "requirements.lock").read_text(), re.M)
    }
    assert declared() <= locked


HOLE = {"name": "a", "version": "1", "vulns": [{"id": "CVE-1", "fix_versions": ["2"]}]}
SOUND = {"name": "b", "version": "1", "vulns": []}
SILENT = {"name": "c", "skip_reason": "Dependency not found"}


@pytest.mark.parametrize(
    ("found", "code", "words"),
    [
        ([SOUND, SOUND], 0, "clean: no hole is known of 2 locked libraries."),
        ([SOUND, HOLE], 1, "a 1: CVE-1, mended in 2"),
        ([SOUND, SILENT], 2, "not audited: the registry does not answer about 1 of 2 libraries."),
        ([HOLE, SILENT], 1, "not audited: the registry does not answer about 1 of 2 libraries."),
        ([], 2, "not audited: the registry does not answer at all."),
    ],
)
def test_a_library_of_which_the_registry_says_nothing_is_not_called_clean(
    found: list[dict[str, object]], code: int, words: str
) -> None:
    told = runpy.run_path(str(ROOT / ".ci" / "audit.py"))["verdict"](found)
    assert told[0] == code
    assert words in told[1]


# --- no network ---------------------------------------------------------------------------------------------------------

REFUSING = """
import os, socket
def refuse(self, address, *_):
    local = isinstance(address, tuple) and address[0] in ("127.0.0.1", "::1", "localhost")
    with open(os.environ["CALLS"], "a") as file:
        file.write(f"{'local' if local else 'OUT'} {address}\\n")
    if not (local and os.environ.get("LOOPBACK")):
        raise OSError(101, "the network is refused")
    return (connect if refuse_is == "connect" else connect_ex)(self, address)
connect, connect_ex = socket.socket.connect, socket.socket.connect_ex
refuse_is = "connect"
class Refusing(socket.socket):
    connect = refuse
    def connect_ex(self, address):
        try:
            refuse(self, address)
        except OSError as error:
            return error.errno
        return 0
socket.socket = Refusing
looked_up = socket.getaddrinfo
def getaddrinfo(host, *arguments, **options):
    if host not in (None, "127.0.0.1", "::1", "localhost", b"localhost", b"127.0.0.1"):
        refuse(None, ("lookup", host))
    return looked_up(host, *arguments, **options)
socket.getaddrinfo = getaddrinfo
"""


def run_without_network(folder: Path, *words: str, loopback: bool = False) -> tuple[subprocess.CompletedProcess[str], list[str]]:
    """Run a command in a Python whose sockets reach nobody (or this machine alone); return what it said and whom it called."""
    site = folder / "site"
    site.mkdir(exist_ok=True)
    (site / "sitecustomize.py").write_text(REFUSING)
    calls = folder / "calls"
    calls.touch()
    env = {name: value for name, value in os.environ.items() if not name.startswith(("PREFECT", "NIGHTDROP"))}
    env |= {"PYTHONPATH": os.pathsep.join([str(site), str(ROOT)]), "CALLS": str(calls)} | ({"LOOPBACK": "1"} if loopback else {})
    command = [sys.executable, "-m", "flows.cli", "--home", str(folder / "home"), *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=env, timeout=240)
    return done, calls.read_text().splitlines()


def test_a_run_calls_nobody(tmp_path: Path) -> None:
    deliver(home_in(tmp_path / "home"), marked_drops())
    for words in (["run"], ["status"], ["verify"], ["rules"]):
        done, calls = run_without_network(tmp_path, *words)
        assert done.returncode in (0, 3), done.stderr
        assert calls == []


def test_the_guard_of_that_test_bites(tmp_path: Path) -> None:
    site = tmp_path / "site"
    site.mkdir()
    (site / "sitecustomize.py").write_text(REFUSING)
    env = os.environ | {"PYTHONPATH": str(site), "CALLS": str(tmp_path / "calls")}
    for code in (
        "import socket; socket.create_connection(('127.0.0.1', 9))",
        "import socket; socket.create_connection(('example.com', 80))",
        "import urllib.request; urllib.request.urlopen('http://192.0.2.1/')",
    ):
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, env=env)
        assert "the network is refused" in done.stderr
    assert len((tmp_path / "calls").read_text().splitlines()) == 3


@pytest.mark.prefect
def test_a_prefect_run_calls_this_machine_alone(tmp_path: Path) -> None:
    deliver(home_in(tmp_path / "home"), marked_drops())
    done, calls = run_without_network(tmp_path, "run", "--prefect", loopback=True)
    assert done.returncode == 3, done.stderr
    assert calls and {call.split()[0] for call in calls} == {"local"}


# --- SQL ----------------------------------------------------------------------------------------------------------------

OURS = {
    "acts.py": {"name"},
    "broken_events.py": {"columns"},
    "causes.py": {"_THEIR_CAUSE"},
    "database.py": {"_literal(memory_limit)", "allowed", "_literal(str(path.resolve()))", "name", "wanted"},
    "difference.py": {"_DROPS", "digests"},
    "explaining.py": {"field", "table"},
    "gate.py": {"asked[number].sql", "_SHOWN"},
    "inserting.py": {"table"},
    "inspection.py": {"name"},
    "loading.py": {
        "table",
        "past(entity)",
        "entity.id",
        "entity.table",
        "said",
        "at",
        "', '.join(causes)",
    },
    "masking.py": {"name", "inner", "_DIGITS", "' UNION ALL '.join(ids)"},
    "mornings.py": {"sql", "_OF_DAYS", "_BEFORE", "_UP_TO"},
    "schema.py": {"_FINGERPRINT_MACRO", "_literal(schema_fingerprint())"},
    "rewinding.py": {"table", "past(entity)", "entity.table", "columns", "ended"},
    "standing.py": {
        "columns",
        "entity.history",
        "entity.table",
        "entity.id",
        "shown",
        "source",
        "which",
        "_kept(entity)",
        "_kept(ENTITIES[category])",
    },
}
"""What may be put into the text of a statement, per module: names of ours and SQL made of them, never a value."""
ASKING = {"execute", "executemany", "sql", "query", "_ask", "_rows"}


def put_into_sql(file: Path) -> set[str]:
    """Return the expressions that a module puts into statements where it hands them to DuckDB."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Call) and (name := getattr(node.func, "attr", getattr(node.func, "id", None))) in ASKING:
            for argument in node.args:
                for part in ast.walk(argument) if name != "_rows" else ():
                    if isinstance(part, ast.FormattedValue):
                        found.add(ast.unparse(part.value))
                    elif isinstance(part, ast.BinOp) and isinstance(part.op, ast.Mod | ast.Add):
                        found.add(ast.unparse(part))
    return found


def test_values_reach_sql_as_parameters_only() -> None:
    odd = {file.name: put_into_sql(file) - OURS.get(file.name, set()) for file in SOURCES}
    assert {name: parts for name, parts in odd.items() if parts} == {}, "use a parameter; a name of ours goes into OURS"
