"""Inboxes elsewhere: a real S3-compatible server and a real sshd on loopback, with a key; copied whole and checked, or not at all."""

from __future__ import annotations

import contextlib
import getpass
import json
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from homes import deliver, home_in, rows

from flows.cli import call
from pipelines.fetching import Fetched, Listed, fetch
from pipelines.home import Home
from pipelines.problems import NightdropError
from pipelines.stores import RemoteInbox, opened

SSHD = shutil.which("sshd", path=f"{os.environ['PATH']}:/usr/sbin:/usr/local/sbin")
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


class Elsewhere:
    """An inbox elsewhere, and how a partner lays files into it."""

    def __init__(self, inbox: RemoteInbox, put: Callable[[str, bytes], None]) -> None:
        self.inbox, self.put = inbox, put


@pytest.fixture(scope="module")
def s3_server() -> Iterator[tuple[Any, str]]:
    boto3 = pytest.importorskip("boto3")
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    url = f"http://{host}:{port}"
    keys = {"aws_access_key_id": "x", "aws_secret_access_key": "y", "region_name": "us-east-1"}
    client = boto3.client("s3", endpoint_url=url, **keys)
    yield client, url
    client.close()
    server.stop()


@pytest.fixture
def s3(s3_server, request) -> Elsewhere:
    client, url = s3_server
    bucket = f"b{abs(hash(request.node.nodeid))}"
    client.create_bucket(Bucket=bucket)
    options = {"endpoint": url, "access_key_id": "x", "secret_access_key": "y", "region": "us-east-1"}
    inbox = RemoteInbox("partner", f"s3://{bucket}/out", options=options)
    return Elsewhere(inbox, lambda path, data: client.put_object(Bucket=bucket, Key=f"out/{path}", Body=data))


@pytest.fixture(scope="module")
def sshd(tmp_path_factory) -> Iterator[tuple[int, Path]]:
    if SSHD is None:
        pytest.skip("there is no sshd here")
    folder = tmp_path_factory.mktemp("sshd")
    for name in ("host", "mine", "other"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)], check=True)
    (folder / "authorized").write_bytes((folder / "mine.pub").read_bytes())
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    (folder / "config").write_text(
        f"Port {port}\nListenAddress 127.0.0.1\nHostKey {folder}/host\nAuthorizedKeysFile {folder}/authorized\nStrictModes no\n"
        f"PidFile none\nUsePAM no\nPasswordAuthentication no\nPermitRootLogin yes\nSubsystem sftp internal-sftp\n"
    )
    (folder / "known").write_text(f"[127.0.0.1]:{port} {(folder / 'host.pub').read_text()}")
    if os.getuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)
    server = subprocess.Popen([SSHD, "-D", "-e", "-f", str(folder / "config")], stderr=subprocess.DEVNULL)
    for _ in range(100):
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            break
        time.sleep(0.1)
    yield port, folder
    server.terminate()
    server.wait(10)


@pytest.fixture
def sftp(sshd, tmp_path) -> Elsewhere:
    port, folder = sshd
    there = tmp_path / "there"
    there.mkdir()
    url = f"sftp://{getpass.getuser()}@127.0.0.1:{port}{there}"
    inbox = RemoteInbox("partner", url, key=str(folder / "mine"), known_hosts=str(folder / "known"))

    def put(path: str, data: bytes) -> None:
        if path.endswith("/"):
            (there / path).mkdir()
            return
        (there / path).parent.mkdir(parents=True, exist_ok=True)
        (there / path).write_bytes(data)

    return Elsewhere(inbox, put)


@pytest.fixture(params=["s3", "sftp"])
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
        seen[0].read = lambda listed, offset: (seen[0].offsets.append(offset), store.read(listed, offset))[1]  # type: ignore[method-assign]
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
    grow = lambda: elsewhere.put("2026-11-16/c.jsonl", more)  # noqa: E731
    found = brought(home, elsewhere.inbox, lambda store: Changing(store, grow))
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


def test_bytes_that_do_not_add_up_are_thrown_away(home, s3):
    s3.put("2026-11-16/c.jsonl", EVENT)
    for lie, says in (
        (lambda data: data[:-1], "bytes came of"),
        (lambda data: data.replace(b"C1", b"C2"), "do not have the checksum"),
    ):
        ((path, problem),) = brought(home, s3.inbox, lambda store, lie=lie: Lying(store, lie)).problems
        assert (path, says in problem) == ("partner/2026-11-16/c.jsonl", True)
        assert there(home) == {}
    assert brought(home, s3.inbox).copied == ["partner/2026-11-16/c.jsonl"]


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
    options = ", ".join(f"{name} = {json.dumps(value)}" for name, value in s3.inbox.options.items())
    text = f'[inboxes.partner]\nurl = "{s3.inbox.url}"\noptions = {{ {options} }}\n'
    (home.root / "nightdrop.toml").write_text(text)
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
