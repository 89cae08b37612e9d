"""The benchmark harness: small runs of the real thing, and that its page says what was measured."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import duckdb
import pytest

from benchmarks import capacity, page
from benchmarks.drops import COMMON, HUGE, MIXES, SMALL
from benchmarks.figures import Results, Spread
from benchmarks.goals import goals
from benchmarks.sides import OTHERS, ROOT, BenchError, Place, environment, measure, run, same_result
from pipelines.home import Home, Settings
from pipelines.night import run_night

EVENTS = 1_200


def drops_of(mix: str, root: Path, events: int = EVENTS) -> Place:
    place = Place(root)
    place.inbox.mkdir(parents=True)
    MIXES[mix].write(events, place.inbox)
    place.clear()
    return place


@pytest.mark.parametrize("mix", [name for name in MIXES if name not in (COMMON, SMALL)])
def test_a_mix_has_the_same_bytes_each_time_and_is_refused_as_it_says(mix: str, tmp_path: Path) -> None:
    place, second = (drops_of(mix, tmp_path / name) for name in ("first", "second"))
    assert [Path(drop).read_bytes() for drop in place.drops()] == [Path(drop).read_bytes() for drop in second.drops()]
    night = run_night(Home(place.root), Settings(hold_above=1))
    assert len(night.drops) == len(place.drops()) == {"year": 3, "categories": 4}.get(mix, 1)
    share = {"clients-0": 0.0, "clients-50": 0.5, "clients-100": 1.0, "one-client": 0.5, "addresses": 0.0}.get(mix, 0.04)
    assert (night.events, night.rejected) == (EVENTS, pytest.approx(share * EVENTS, abs=1))
    if mix in ("clients-50", "clients-100", "one-client", "addresses"):
        the_loop_comes_to_the_same(place)


def the_loop_comes_to_the_same(place: Place) -> None:
    """The loop is worth a comparison only if it does the same work."""
    said = measure("loop", place)
    columns = "client_id, name, email, phone, address, country, is_company, registration_number, gender, contact_person, dob"
    with (
        duckdb.connect(str(place.out / "warehouse.duckdb"), read_only=True) as loop,
        duckdb.connect(str(Home(place.root).warehouse), read_only=True) as ours,
    ):
        rows = [
            con.execute(f"SELECT {columns}, {gone} FROM clients ORDER BY 1").fetchall()
            for con, gone in ((loop, "deleted"), (ours, "deleted_on IS NOT NULL"))
        ]
        ((rejected,),) = ours.execute("SELECT sum(rejected)::INT FROM drops").fetchall()
    assert rows[0] == rows[1]
    assert said["rejected"] == rejected


def test_the_huge_file_has_ids_of_its_own_in_each_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.drops.PART", 500)
    (drop,) = drops_of(HUGE, tmp_path).drops()
    ids = [re.search(rb'"client_id":"(P\d+)-', line) for line in Path(drop).read_bytes().splitlines()]
    assert {found[1] for found in ids if found} == {b"P000", b"P001", b"P002"}


def test_a_short_bench_runs_all_sides_and_keeps_what_it_measured(tmp_path: Path) -> None:
    argv = [sys.executable, "-m", "benchmarks.bench", "--quick", "--rounds", "1", "--without-dlt"]
    argv += ["--mixes", COMMON, "one-client", "--keep", str(tmp_path / "results"), "--work", str(tmp_path)]
    done = subprocess.run(argv, cwd=ROOT, env=environment(), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (kept,) = (tmp_path / "results").iterdir()
    results = Results.read(kept)
    assert {side: len(runs) for side, runs in results.mixes[COMMON]["sides"].items()} == dict.fromkeys(
        ("floor", "loop", "nightdrop", "again", "imports", "help"), 1
    )
    for loop, nightdrop in zip(results.runs(COMMON, "loop"), results.runs(COMMON, "nightdrop"), strict=True):
        assert (loop["applied"], loop["rejected"]) == (nightdrop["applied"], nightdrop["rejected"]) == (1_920, 80)
        assert 0 < sum(nightdrop["steps"].values()) < nightdrop["seconds"]
    assert [one["late"]["events"] > 0 for one in results.data["late"]] == [True]
    assert "| clients, 4 % refused | 2,000 |" in done.stdout
    assert {goal.verdict for goal in goals(results)} == {"too small", "not measured"}
    assert [child.name for child in tmp_path.iterdir()] == ["results"]  # drops and homes are gone


@pytest.mark.skipif(not OTHERS.exists(), reason="dlt is installed for the benchmark alone (make bench)")
@pytest.mark.parametrize("side", ["dlt", "dlt-parquet"])
def test_dlt_keeps_the_last_event_of_each_client(side: str, tmp_path: Path) -> None:
    place = drops_of("one-client", tmp_path, 50)
    assert measure(side, place)["events"] == 50
    with duckdb.connect(str(place.out / "warehouse.duckdb"), read_only=True) as con:
        assert con.execute("SELECT client_id, position FROM lender.clients").fetchall() == [("CL-10000001", 50)]


def test_sides_that_do_not_agree_or_fail_end_the_bench(tmp_path: Path) -> None:
    same = {"events": 10, "applied": 9, "rejected": 1}
    same_result({"loop": same, "nightdrop": same}, 10)
    with pytest.raises(BenchError, match="do not agree"):
        same_result({"loop": same | {"applied": 10, "rejected": 0}, "nightdrop": same}, 10)
    with pytest.raises(BenchError, match="is a drop held"):
        same_result({"nightdrop": same}, 11)
    with pytest.raises(BenchError, match=r"exit 3\n.*no good"):
        run([sys.executable, "-c", "import sys; print('no good'); sys.exit(3)"], tmp_path)


def test_peak_memory_is_the_commands_own_and_that_of_its_children(tmp_path: Path) -> None:
    megabyte = 1_000_000
    ours = bytearray(300 * megabyte)
    _, idle = run([sys.executable, "-S", "-c", "pass"], tmp_path)
    assert idle["peak_bytes"] < 60 * megabyte < len(ours)
    hold = "import time; held = b'x' * 80_000_000; time.sleep(0.5)"
    _, one = run([sys.executable, "-S", "-c", hold], tmp_path)
    assert 80 * megabyte < one["peak_bytes"] < 150 * megabyte
    two = f"import subprocess, sys; c = [subprocess.Popen([sys.executable, '-S', '-c', {hold!r}]) for _ in 'ab']; [p.wait() for p in c]"
    _, both = run([sys.executable, "-c", two], tmp_path)
    assert 160 * megabyte < both["peak_bytes"] < 300 * megabyte
    assert 0.5 < one["seconds"] < 30


def made_up(seconds: dict[str, list[float]], *, scale: float = 1, peak: int = 10**9) -> Results:
    sides = {
        side: [{"seconds": one, "cpu_seconds": one, "peak_bytes": peak, "steps": {"settle": one / 2}} for one in runs]
        for side, runs in seconds.items()
    }
    mixes = {name: {"title": MIXES[name].title, "events": 1_000_000, "bytes": 1, "files": 1, "sides": sides} for name in MIXES}
    machine = {"processor": "P", "cores": 2, "memory_bytes": 8 * 10**9, "system": "Linux", "load_before": 0.0}
    late = [{"first": {"seconds": 10, "decided_seconds": 4}, "late": {"seconds": 2, "decided_seconds": 0.1}}]
    data: dict[str, Any] = {"made_at": "2026-11-21T00:00:00+00:00", "commit": "0123456789", "scale": scale, "rounds": 3}
    return Results(data | {"machine": machine, "versions": {"duckdb": "2"}, "mixes": mixes, "late": late})


FAST = {
    "floor": [2, 2, 2],
    "loop": [44, 40, 48],
    "dlt": [500.0],
    "nightdrop": [4, 5, 4],
    "again": [1.5],
    "imports": [0.75],
    "help": [0.1],
}


def test_goals_are_met_or_not_by_the_median_of_paired_ratios() -> None:
    met = {goal.what: goal for goal in goals(made_up(FAST))}
    floor = met["the common mix beside DuckDB alone"]
    assert (floor.figure, floor.verdict) == (Spread(2, 2, 2.5), "met")
    assert met["faster than the orjson + Pydantic loop"].figure == Spread(11, 8, 12)
    assert met["faster than dlt"].figure == Spread(125, 125, 125)
    assert met["a run with nothing to do, over importing its libraries"].figure == Spread(0.75, 0.75, 0.75)
    assert met["a late drop's share of the first run: settling and loading"].figure == Spread(0.025, 0.025, 0.025)
    assert {goal.verdict for goal in met.values()} == {"met"}
    slow = made_up(FAST | {"nightdrop": [40], "again": [9], "help": [1]}, peak=4 * 10**9)
    missed = {goal.what for goal in goals(slow) if goal.verdict == "not met"}
    assert {
        "the common mix beside DuckDB alone",
        "faster than dlt",
        "faster than the orjson + Pydantic loop",
        "`nightdrop --help`",
    } < missed
    assert {"peak memory, 1,000,000 events (the mix with most)", "peak memory, 20,000,000 events in one file"} < missed
    assert {goal.verdict for goal in goals(made_up(FAST, scale=0.1))} == {"too small"}


def test_a_goal_that_was_not_measured_is_not_met() -> None:
    without = made_up({"nightdrop": [4]})
    assert {goal.verdict for goal in goals(without) if "floor" in goal.what or "dlt" in goal.what} == {"not measured"}
    assert not any(goal.is_met for goal in goals(without) if goal.figure is None)


def test_the_page_says_what_the_newest_kept_results_say() -> None:
    text = page.PAGE.read_text(encoding="utf-8")
    assert page.with_part(text, page.generated(page.kept())) == text, "python -m benchmarks.page writes it"
    assert page.PICTURE.exists() == (page.newest_whole(page.kept()) is not None)


def test_the_generated_part_has_whole_tables_and_nothing_outside_the_markers_changes() -> None:
    part = page.generated([made_up(FAST)])
    tables = [block.splitlines() for block in part.split("\n\n") if block.startswith("|")]
    assert len(tables) == 4
    for table in tables:
        assert len({line.count("|") for line in table}) == 1
    assert len(tables[1]) == 2 + len(MIXES)
    changed = page.with_part(f"before\n{page.BEGIN}\nold\n{page.END}\nafter\n", part)
    assert changed == f"before\n{page.BEGIN}\n{part}{page.END}\nafter\n"
    for broken in ("no markers", f"{page.END}{page.BEGIN}", page.BEGIN * 2 + page.END):
        with pytest.raises(ValueError, match="The page was not changed"):
            page.with_part(broken, part)


def test_only_full_runs_of_all_mixes_reach_the_page() -> None:
    assert "No full run" in page.generated([])
    small = json.loads(json.dumps(made_up(FAST).data))
    del small["mixes"]["year"]
    assert "No full run" in page.generated([Results(small)])


def test_what_the_benchmark_alone_needs_is_locked_by_hash_and_no_dependency_of_the_project() -> None:
    lock = (ROOT / "benchmarks" / "requirements.lock").read_text()
    assert "--hash=sha256:" in lock and "://" not in lock
    assert not re.search(r"^--?(index|extra-index|find-links|trusted)", lock, re.MULTILINE)
    pinned = [
        dict(re.findall(r"^([\w.-]+)==(\S+)", text, re.MULTILINE)) for text in (lock, (ROOT / "requirements.lock").read_text())
    ]
    assert "dlt" in pinned[0] and not {"dlt", "matplotlib"} & pinned[1].keys()
    assert {name: number for name, number in pinned[0].items() if pinned[1].get(name, number) != number} == {}


def test_capacity_tells_what_a_home_takes() -> None:
    taken = capacity.measure(600)
    assert taken.disk.keys() == {"archive", "working", "warehouse", "reports", "log and book"}
    assert all(size > 0 for size in taken.disk.values())
    assert min(taken.first.peak_bytes, taken.night.peak_bytes, taken.verify.peak_bytes) > 50e6
    costs, disk = capacity.page([taken]).split("\n\n")
    assert costs.splitlines()[0] == "| events | first run | CPU | peak | a night more | CPU | peak | verify | CPU | peak |"
    assert {line.count("|") for line in disk.splitlines()} == {9}
    assert all(head in (ROOT / "docs" / "operate.md").read_text() for head in (costs.splitlines()[0], disk.splitlines()[0]))
