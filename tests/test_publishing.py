"""Publishing: readers see one whole warehouse, always, whoever dies and whoever writes where he should not."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from pipelines import database, schema
from pipelines.problems import NightdropError
from pipelines.publishing import Publication, is_published, publish

ROOT = Path(__file__).parents[1]


class House:
    """A home with a working warehouse of which each run adds a row to `runs` and as many to `drops`."""

    def __init__(self, root: Path) -> None:
        self.working = root / "data" / "state" / "warehouse.duckdb"
        self.published = root / "data" / "warehouse.duckdb"
        self.working.parent.mkdir(parents=True)
        con = database.connect(self.working)
        schema.create(con)
        database.seal(con)
        self.runs = 0

    def run(self) -> None:
        """Commit one more run and do not publish it."""
        self.runs += 1
        con = database.connect(self.working)
        with database.transaction(con):
            started = datetime(2026, 1, 1) + timedelta(days=self.runs)
            con.execute("INSERT INTO runs (run_id, started_at, state) VALUES (?, ?, 'done')", [f"r{self.runs}", started])
            con.execute(
                "INSERT INTO drops (path, status, picked_at, run_id) "
                "SELECT repeat('x', 500) || i, 'held', now()::TIMESTAMP, ? FROM range(1000) AS t(i)",
                [f"r{self.runs}"],
            )
        database.seal(con)

    def publish(self) -> Publication:
        return publish(self.working, self.published)

    @property
    def is_published(self) -> bool:
        return is_published(self.working, self.published)

    def seen(self) -> int:
        """Return how many runs a reader sees, and fail on a half state."""
        con = database.connect(self.published, read_only=True)
        [(runs, drops)] = con.execute("SELECT (SELECT count(*) FROM runs), (SELECT count(*) FROM drops)").fetchall()
        con.close()
        assert drops == runs * 1000
        return int(runs)

    def beside(self) -> list[str]:
        return sorted(path.name for path in self.published.parent.iterdir())


@pytest.fixture
def house(tmp_path):
    house = House(tmp_path)
    house.run()
    return house


def python(code, *arguments):
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def ended(process, timeout=60):
    out, err = process.communicate(timeout=timeout)
    return process.returncode, out, err


def test_the_published_warehouse_is_a_byte_copy_that_nobody_may_write(house):
    done = house.publish()
    assert done == Publication(house.published, "r1", house.working.stat().st_size)
    assert house.published.read_bytes() == house.working.read_bytes()
    assert house.published.stat().st_mode & 0o777 == 0o440
    assert house.beside() == ["state", "warehouse.duckdb"]
    assert sorted(path.name for path in house.working.parent.iterdir()) == ["published.json", "warehouse.duckdb"]
    assert house.is_published


def test_the_mode_does_not_depend_on_the_umask(house):
    before = os.umask(0o077)
    try:
        house.publish()
    finally:
        os.umask(before)
    assert house.published.stat().st_mode & 0o777 == 0o440


def test_a_warehouse_that_never_ran_can_be_published(tmp_path):
    assert House(tmp_path).publish().run_id is None


def test_a_run_that_was_committed_and_not_published_is_noticed(house):
    assert not house.is_published
    house.publish()
    house.run()
    assert not house.is_published
    assert house.publish().run_id == "r2"
    assert house.is_published
    assert house.seen() == 2


def test_opening_the_working_warehouse_without_writing_asks_for_no_publication(house):
    house.publish()
    con = database.connect(house.working)
    con.execute("FROM runs").fetchall()
    database.seal(con)
    assert house.is_published


def rewrite(path):
    path.chmod(0o640)
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    path.chmod(0o440)


def replace_with_link(path):
    path.rename(path.with_name("elsewhere.duckdb"))
    path.symlink_to("elsewhere.duckdb")


@pytest.mark.parametrize(
    "meddle",
    [
        Path.unlink,
        rewrite,
        replace_with_link,
        lambda path: path.chmod(0o660),
        lambda path: path.with_name("warehouse.duckdb.wal").write_bytes(b"foreign"),
        lambda path: path.with_name("warehouse.duckdb.wal.checkpoint").write_bytes(b""),
        lambda path: (path.parent / "state" / "published.json").write_text("{"),
        lambda path: (path.parent / "state" / "published.json").write_text("[]"),
        lambda path: (path.parent / "state" / "published.json").unlink(),
    ],
    ids=["deleted", "rewritten", "linked", "opened up", "log", "checkpoint log", "half marker", "other marker", "no marker"],
)
def test_what_is_done_to_the_published_file_is_noticed_and_put_right(house, meddle):
    house.publish()
    meddle(house.published)
    assert not house.is_published
    house.publish()
    assert house.is_published
    assert house.published.read_bytes() == house.working.read_bytes()
    assert not house.published.is_symlink()
    assert {name for name in house.beside() if "wal" in name} == set()


def test_a_working_warehouse_with_a_log_is_not_published(house):
    house.publish()
    con = database.connect(house.working)
    con.execute("DELETE FROM drops")
    before = house.published.read_bytes()
    assert not house.is_published
    with pytest.raises(NightdropError, match=r"warehouse\.duckdb\.wal: the working warehouse was not checkpointed"):
        house.publish()
    assert house.published.read_bytes() == before
    con.close()


def test_without_a_working_warehouse_nothing_is_published_and_the_error_says_so(house):
    house.working.unlink()
    with pytest.raises(NightdropError, match="there is no working warehouse to publish"):
        house.publish()
    assert not house.is_published
    assert not house.published.exists()


@pytest.mark.parametrize("content", [b"", b"junk" * 5000])
def test_a_working_file_that_is_no_warehouse_is_not_published(house, content):
    house.publish()
    before = house.published.read_bytes()
    house.working.write_bytes(content)
    with pytest.raises(NightdropError):
        house.publish()
    assert house.published.read_bytes() == before
    assert house.beside() == ["state", "warehouse.duckdb"]


def test_a_database_without_runs_is_not_published(house):
    con = database.connect(house.working)
    con.execute("DROP TABLE runs")
    database.seal(con)
    with pytest.raises(NightdropError, match="does not read as a warehouse"):
        house.publish()
    assert house.beside() == ["state"]


def test_a_place_that_cannot_be_written_is_named(house):
    house.published.mkdir()
    with pytest.raises(NightdropError, match=r"warehouse\.duckdb: could not publish \(.*Is a directory.*run again"):
        house.publish()
    assert house.beside() == ["state", "warehouse.duckdb"]


READER = """
import sys
from pathlib import Path
from pipelines import database
published, stop = map(Path, sys.argv[1:])
reads, last, seen = 0, 0, set()
print("ready", flush=True)
while not stop.exists():
    con = database.connect(published, read_only=True)
    [(runs,)] = con.execute("SELECT count(*) FROM runs").fetchall()
    [(drops,)] = con.execute("SELECT count(*) FROM drops").fetchall()
    con.close()
    assert drops == runs * 1000, (runs, drops)
    assert runs >= last, (runs, last)
    last, reads = runs, reads + 1
    seen.add(runs)
print(reads, len(seen))
"""


def test_readers_see_no_error_and_no_half_state_while_thirty_publications_pass(house, tmp_path):
    house.publish()
    readers = [python(READER, house.published, tmp_path / "stop") for _ in range(2)]
    for reader in readers:
        assert reader.stdout.readline() == "ready\n"
    for _ in range(30):
        house.run()
        house.publish()
    (tmp_path / "stop").touch()
    for reader in readers:
        code, out, err = ended(reader)
        assert (code, err) == (0, "")
        reads, states = map(int, out.split())
        assert reads >= states > 3
    assert house.seen() == 31


def test_a_reader_goes_on_reading_the_warehouse_it_opened(house):
    house.publish()
    reader = python(
        "import sys; from pathlib import Path; from pipelines import database\n"
        "con = database.connect(Path(sys.argv[1]), read_only=True)\n"
        "for _ in sys.stdin:\n"
        "    print(*con.execute('SELECT (SELECT count(*) FROM runs), count(*) FROM drops').fetchall()[0], flush=True)\n",
        house.published,
    )
    for _ in range(3):
        reader.stdin.write("\n")
        reader.stdin.flush()
        assert reader.stdout.readline() == "1 1000\n"
        house.run()
        house.publish()
    assert ended(reader) == (0, "", "")
    assert house.seen() == 4


@pytest.mark.parametrize("end", ["con.close()", "os.kill(os.getpid(), 9)", "con.execute('CHECKPOINT'); os.kill(os.getpid(), 9)"])
def test_a_client_that_writes_to_the_published_file_harms_it_until_the_next_publication_only(house, end):
    house.publish()
    meddler = python(
        "import duckdb, os, sys\n"
        "os.chmod(sys.argv[1], 0o640)  # as root needs not\n"
        "con = duckdb.connect(sys.argv[1])\n"
        "con.execute('DELETE FROM drops')\n" + end,
        house.published,
    )
    ended(meddler)
    assert not house.is_published
    house.publish()
    assert house.seen() == 1
    assert house.beside() == ["state", "warehouse.duckdb"]
    house.run()
    house.publish()
    assert house.seen() == 2


def test_a_client_that_holds_the_published_file_for_writing_does_not_hold_up_the_next_publication(house):
    house.publish()
    meddler = python(
        "import duckdb, os, sys\n"
        "os.chmod(sys.argv[1], 0o640)\n"
        "con = duckdb.connect(sys.argv[1])\n"
        "con.execute('DELETE FROM drops')\n"
        "print('ready', flush=True)\n"
        "sys.stdin.readline()\n"
        "con.close()\n",
        house.published,
    )
    assert meddler.stdout.readline() == "ready\n"
    house.run()
    house.publish()
    assert house.seen() == 2
    assert ended(meddler)[0] == 0
    assert house.seen() == 2
    assert house.is_published


PUBLISHER = """
import os, sys
from pathlib import Path
from pipelines import publishing
working, published, step = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
left = step
def deadly(call):
    def wrapped(*arguments, **options):
        global left
        left -= 1
        if left == 0:
            os.kill(os.getpid(), 9)
        return call(*arguments, **options)
    return wrapped
for name in ("open", "sendfile", "chmod", "fsync"):
    setattr(os, name, deadly(getattr(os, name)))
Path.replace, Path.unlink = deadly(Path.replace), deadly(Path.unlink)
publishing.publish(working, published)
"""


def test_killed_at_any_step_it_leaves_the_old_warehouse_or_the_new_one(house):
    house.publish()
    (house.published.parent / "warehouse.duckdb.wal").write_bytes(b"")
    step, code = 0, -signal.SIGKILL
    while code == -signal.SIGKILL:
        step += 1
        before = house.seen()
        house.run()
        code, _, err = ended(python(PUBLISHER, house.working, house.published, step))
        assert house.seen() in (before, house.runs)
        assert house.is_published is (code == 0)
        assert set(house.beside()) <= {"state", "warehouse.duckdb", "warehouse.duckdb.wal", ".warehouse.duckdb.publishing"}
        house.publish()
        assert house.seen() == house.runs
        assert house.beside() == ["state", "warehouse.duckdb"]
        assert house.is_published
        (house.published.parent / "warehouse.duckdb.wal").write_bytes(b"")
    assert (code, err) == (0, "")
    assert step > 10


@pytest.mark.long
def test_killed_at_any_moment_it_leaves_the_old_warehouse_or_the_new_one(house):
    house.publish()
    chance = random.Random(2)
    for _ in range(100):
        before = house.seen()
        house.run()
        victim = python(PUBLISHER, house.working, house.published, -1)
        time.sleep(chance.uniform(0.0, 0.3))
        victim.kill()
        ended(victim)
        assert house.seen() in (before, house.runs)
        house.publish()
        assert house.seen() == house.runs
