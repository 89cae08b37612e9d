"""Inboxes elsewhere: a real S3-compatible server and a real sshd on loopback, with a key; copied whole and checked, or not at all."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from homes import deliver, home_in, rows
from object_servers import Blob, ObjectServer

from flows.cli import call
from pipelines import fetching
from pipelines.discovery import discover
from pipelines.fetching import Fetched, Listed, fetch
from pipelines.home import Home
from pipelines.problems import NightdropError
from pipelines.stores import RemoteInbox, opened

if TYPE_CHECKING:
    from elsewhere import Elsewhere

pytest_plugins = ["elsewhere"]
EVENT = (
    b'{"category": "client", "data": {"step": "create", "client_id": "C1", "name": "Jo", "email": "jo@example.com", '
    b'"phone": "+254712345678", "address": "1 Main, Nairobi, KE", "country": "KE", "is_company": false, '
    b'"registration_number": "ID-1", "gender": "male"}}\n'
)
PLACES = {
    "2026-11-16/c.jsonl": EVENT,
    "2026-11-16/c.jsonl.manifest.json": b'{"lines": 1}',
    "2026-11-17/deep/ä b.jsonl": EVENT.replace(b"C1", b"C2"),
    "2026-11-17/not.yet.tmp": b"half",
    ".hidden/2026-11-17.jsonl": b"no",
    "2026-11-17/marked/": b"",
}
WANTED = ["2026-11-16/c.jsonl", "2026-11-16/c.jsonl.manifest.json", "2026-11-17/deep/ä b.jsonl"]


@pytest.fixture(params=["s3", "gs", "az", "azurite", "sftp"])
def elsewhere(request) -> Elsewhere:
    return request.getfixturevalue(request.param)


@pytest.fixture
def home(tmp_path) -> Home:
    return home_in(tmp_path / "home")


def brought(home: Home, inbox: RemoteInbox, wrap: Callable[[Any], Any] = lambda store: store) -> Fetched:
    with opened(inbox) as store:
        return fetch(wrap(store), home.inbox / inbox.name, home.state / "fetched.json")


def there(home: Home) -> dict[str, bytes]:
    folder = home.inbox / "partner"
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_what_is_new_is_copied_whole_once_and_again_when_it_changes(home, elsewhere):
    for path, data in PLACES.items():
        elsewhere.put(path, data)
    found = brought(home, elsewhere.inbox)
    assert (sorted(found.copied), found.problems) == ([f"partner/{path}" for path in WANTED], [])
    assert found.copied[0].endswith(".manifest.json")  # before its drop
    assert there(home) == {path: PLACES[path] for path in WANTED}
    (home.inbox / "partner" / WANTED[2]).unlink()
    assert brought(home, elsewhere.inbox).copied == []
    elsewhere.put(WANTED[0], EVENT + EVENT.replace(b"C1", b"C3"))
    assert brought(home, elsewhere.inbox).copied == [f"partner/{WANTED[0]}"]
    assert there(home)[WANTED[0]].count(b"\n") == 2


class Torn:
    """A store whose connection breaks after some bytes, and that counts what it is asked for."""

    def __init__(self, store: Any, after: int) -> None:
        self.store, self.after, self.offsets = store, after, []

    def files(self) -> Any:
        return self.store.files()

    def look(self, path: str) -> Listed:
        return self.store.look(path)

    def checksum(self, listed: Listed) -> Any:
        return self.store.checksum(listed)

    def read(self, listed: Listed, offset: int) -> Iterator[bytes]:
        self.offsets.append(offset)
        for piece in self.store.read(listed, offset):
            yield piece[: self.after]
            raise NightdropError("the line is dead")


def test_an_interrupted_copy_is_no_drop_and_goes_on_where_it_was(home, elsewhere):
    big = EVENT * 20_000
    elsewhere.put("2026-11-16/big.jsonl", big)
    found = brought(home, elsewhere.inbox, lambda store: Torn(store, 100_000))
    assert found.problems == [("partner/2026-11-16/big.jsonl", "the line is dead")]
    assert [path for path in there(home) if not path.split("/")[-1].startswith(".")] == []
    seen: list[Torn] = []

    def whole(store: Any) -> Torn:
        seen.append(Torn(store, 1 << 30))
        seen[0].read = lambda listed, offset: (seen[0].offsets.append(offset), store.read(listed, offset))[1]  # type: ignore[method-assign]  # of this one alone
        return seen[0]

    assert brought(home, elsewhere.inbox, whole).copied == ["partner/2026-11-16/big.jsonl"]
    assert seen[0].offsets == [100_000]
    assert there(home) == {"2026-11-16/big.jsonl": big}


def test_a_copy_of_what_has_changed_since_is_begun_anew(home, elsewhere):
    elsewhere.put("2026-11-16/c.jsonl", EVENT * 2000)
    brought(home, elsewhere.inbox, lambda store: Torn(store, 1000))
    elsewhere.put("2026-11-16/c.jsonl", EVENT.replace(b"C1", b"C9") * 1000)
    assert brought(home, elsewhere.inbox).copied == ["partner/2026-11-16/c.jsonl"]
    assert there(home) == {"2026-11-16/c.jsonl": EVENT.replace(b"C1", b"C9") * 1000}


class Changing(Torn):
    """A store in which the file grows while it is read."""

    def __init__(self, store: Any, grow: Callable[[], None]) -> None:
        super().__init__(store, 0)
        self.grow = grow

    def read(self, listed: Listed, offset: int) -> Iterator[bytes]:
        pieces = list(self.store.read(listed, offset))
        self.grow()
        yield from pieces


def test_a_file_that_changes_while_it_is_copied_is_left_for_the_next_time(home, elsewhere):
    elsewhere.put("2026-11-16/c.jsonl", EVENT)
    more = EVENT + EVENT.replace(b"C1", b"C2")
    found = brought(home, elsewhere.inbox, lambda store: Changing(store, lambda: elsewhere.put("2026-11-16/c.jsonl", more)))
    assert found.problems == [("partner/2026-11-16/c.jsonl", "it changed or went away while it was copied")]
    assert brought(home, elsewhere.inbox).copied == ["partner/2026-11-16/c.jsonl"]
    assert there(home) == {"2026-11-16/c.jsonl": more}


class Lying(Torn):
    """A store that gives other bytes than it says."""

    def __init__(self, store: Any, lie: Callable[[bytes], bytes]) -> None:
        super().__init__(store, 0)
        self.lie = lie

    def read(self, listed: Listed, offset: int) -> Iterator[bytes]:
        yield self.lie(b"".join(self.store.read(listed, offset)))


def refused(home: Home, place: Elsewhere, lie: Callable[[bytes], bytes]) -> str:
    """Return why a copy of other bytes is refused."""
    ((path, problem),) = brought(home, place.inbox, lambda store: Lying(store, lie)).problems
    assert path == "partner/2026-11-16/c.jsonl"
    assert there(home) == {}
    return problem


@pytest.mark.parametrize("elsewhere", ["s3", "gs", "az", "azurite"], indirect=True)
def test_bytes_that_do_not_add_up_are_thrown_away(home, elsewhere):
    elsewhere.put("2026-11-16/c.jsonl", EVENT)
    assert "bytes came of" in refused(home, elsewhere, lambda data: data[:-1])
    assert "do not have the md5" in refused(home, elsewhere, lambda data: data.replace(b"C1", b"C2"))
    found = brought(home, elsewhere.inbox)
    assert (found.copied, found.unsummed) == (["partner/2026-11-16/c.jsonl"], 0)


def test_an_object_that_was_put_together_from_parts_is_held_to_its_crc(home, gs, google):
    google.blobs["out/2026-11-16/c.jsonl"] = Blob(EVENT, summed=False)
    assert "do not have the crc32c" in refused(home, gs, lambda data: data.replace(b"C1", b"C2"))
    assert brought(home, gs.inbox).unsummed == 0
    assert ("HEAD", "signed") in google.asked


def test_where_no_checksum_is_told_the_size_alone_is_looked_at_and_that_is_said(home, az, azure, sftp):
    azure.blobs["out/2026-11-16/c.jsonl"] = Blob(EVENT, summed=False)
    assert brought(home, az.inbox).unsummed == 1
    sftp.put("2026-11-17/c.jsonl", EVENT)
    assert brought(home, sftp.inbox).unsummed == 1


def test_who_encrypts_with_keys_of_their_own_can_say_that_tags_are_no_checksums(home, s3):
    s3.put("2026-11-16/c.jsonl", EVENT)
    inbox = replace(s3.inbox, checksum=False)
    assert brought(home, inbox, lambda store: Lying(store, lambda data: data.replace(b"C1", b"C2"))).unsummed == 1


def declare(home: Home, inbox: RemoteInbox) -> None:
    options = ", ".join(f"{name} = {json.dumps(value)}" for name, value in inbox.options.items())
    keys = "".join(f"{name} = {json.dumps(getattr(inbox, name))}\n" for name in ("key", "known_hosts") if getattr(inbox, name))
    (home.root / "nightdrop.toml").write_text(
        f"[inboxes.{inbox.name}]\nurl = {json.dumps(inbox.url)}\n{keys}options = {{ {options} }}\n"
    )


@pytest.mark.parametrize("kind", ["gs", "az", "sftp"])
def test_a_copy_that_is_killed_leaves_no_drop_and_goes_on_in_the_next_run(home, request, kind):
    place = request.getfixturevalue(kind)
    server = request.getfixturevalue({"gs": "google", "az": "azure", "sftp": "sshd"}[kind])
    blank = b" " * 99_999 + b"\n"
    big = EVENT + blank * (32 if isinstance(server, ObjectServer) else 640)
    place.put("2026-11-16/big.jsonl", big)
    declare(home, place.inbox)
    if isinstance(server, ObjectServer):
        server.pause_after = 5 << 19
    part = home.inbox / "partner" / "2026-11-16" / ".big.jsonl.part"
    with subprocess.Popen([sys.executable, "-m", "flows.cli", "--home", str(home.root), "run"]) as run:
        ends = time.monotonic() + 30
        while not part.exists() or part.stat().st_size < 1 << 20:
            assert time.monotonic() < ends
            assert run.poll() is None
            time.sleep(0.001)
        run.kill()
    had = part.stat().st_size
    assert 0 < had < len(big)
    assert discover(home.inbox) == []
    if isinstance(server, ObjectServer):
        server.pause_after = None
    assert call(["run", "--home", str(home.root)]) == 0
    assert not part.exists()
    assert (home.inbox / "partner" / "2026-11-16" / "big.jsonl").read_bytes() == big
    assert rows(home, "SELECT path, records FROM drops") == [("partner/2026-11-16/big.jsonl", 1)]
    if isinstance(server, ObjectServer):
        assert ("GET", f"bytes={had}-") in server.asked


def test_a_copy_that_was_begun_before_the_machine_went_down_is_begun_anew(home, gs, monkeypatch):
    gs.put("2026-11-16/c.jsonl", EVENT * 2000)
    brought(home, gs.inbox, lambda store: Torn(store, 1000))
    (part,) = home.inbox.rglob("*.part")
    part.write_bytes(b"\0" * 1000)  # what a disk may have of bytes that were not yet written
    monkeypatch.setattr(fetching, "_boot", lambda: "another")
    assert brought(home, gs.inbox).problems == []
    assert there(home) == {"2026-11-16/c.jsonl": EVENT * 2000}


def test_a_file_that_a_sender_laid_here_is_left_as_it_is(home, s3):
    deliver(home, {"partner/2026-11-16/c.jsonl": b"a sender's"})
    s3.put("2026-11-16/c.jsonl", EVENT)
    for _ in range(2):
        ((_, problem),) = brought(home, s3.inbox).problems
        assert "did not come from there" in problem
    assert there(home) == {"2026-11-16/c.jsonl": b"a sender's"}


def test_no_link_here_leads_a_copy_out_of_the_inbox(home, s3, tmp_path):
    (home.inbox / "partner").symlink_to(tmp_path / "outside")
    (tmp_path / "outside").mkdir()
    s3.put("2026-11-16/c.jsonl", EVENT)
    ((_, problem),) = brought(home, s3.inbox).problems
    assert "leads its folder out of the inbox" in problem
    assert [path for path in (tmp_path / "outside").rglob("*") if path.is_file()] == []


@pytest.mark.parametrize(
    "path", ["../out.jsonl", "/etc/x.jsonl", "a/../../b.jsonl", "a//b.jsonl", "x" * 300 + ".jsonl", "a\0b.jsonl"]
)
def test_no_path_leads_out_of_its_folder(home, path):
    class Wicked(Torn):
        def files(self) -> Any:
            return [Listed(path, 1, 0.0)]

    found = fetch(Wicked(None, 0), home.inbox / "partner", home.state / "fetched.json")
    assert (found.copied, len(found.problems)) == ([], 1)
    assert [str(place) for place in home.root.rglob("*") if place.is_file()] == []


def test_an_sftp_server_that_is_not_known_or_does_not_know_us_is_not_talked_to(home, sshd, sftp):
    _, folder = sshd
    for changed, says in (
        ({"key": str(folder / "other")}, "PermissionDenied"),
        ({"known_hosts": os.devnull}, "HostKeyNotVerifiable"),
    ):
        inbox = RemoteInbox(**{name: getattr(sftp.inbox, name) for name in ("name", "url", "key", "known_hosts")} | changed)
        with pytest.raises(NightdropError, match=f"inbox partner .*{says}"):
            brought(home, inbox)


def test_a_link_there_is_not_followed(home, sftp, tmp_path):
    sftp.put("2026-11-16/c.jsonl", EVENT)
    (tmp_path / "secret.jsonl").write_bytes(b"secret")
    (tmp_path / "there" / "2026-11-16" / "link.jsonl").symlink_to(tmp_path / "secret.jsonl")
    assert brought(home, sftp.inbox).copied == ["partner/2026-11-16/c.jsonl"]


def test_a_run_brings_what_is_elsewhere_and_one_that_cannot_be_reached_keeps_nothing_else_from_it(home, s3, capsys):
    s3.put("2026-11-16/c.jsonl", EVENT)
    declare(home, s3.inbox)
    text = (home.root / "nightdrop.toml").read_text()
    assert call(["run", "--home", str(home.root)]) == 0
    assert rows(home, "SELECT path, status FROM drops") == [("partner/2026-11-16/c.jsonl", "applied")]
    away = '[inboxes.away]\nurl = "sftp://nobody@127.0.0.1:1/x"\nknown_hosts = "/dev/null"\n'
    (home.root / "nightdrop.toml").write_text(away + text)
    s3.put("2026-11-17/c.jsonl", EVENT.replace(b"C1", b"C2"))
    deliver(home, {"2026-11-18/c.jsonl": EVENT.replace(b"C1", b"C3")})
    capsys.readouterr()
    assert call(["run", "--home", str(home.root)]) == 1
    assert "inbox away (sftp://nobody@127.0.0.1:1/x): ConnectionRefusedError" in capsys.readouterr().err
    assert rows(home, "SELECT count(*) FROM clients") == [(3,)]
    assert call(["fetch", "--home", str(home.root)]) == 1
    (home.root / "nightdrop.toml").write_text(text)
    assert call(["fetch", "--home", str(home.root)]) == 0
