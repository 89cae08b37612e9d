"""Places from which drops are fetched, as fixtures: an S3-compatible server, an sshd with a key, Google's and Azure's stores."""

from __future__ import annotations

import contextlib
import getpass
import hmac
import json
import os
import shutil
import socket
import subprocess
import time
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterator
from email.utils import formatdate
from pathlib import Path
from typing import Any

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from object_servers import Blob, ObjectServer

from pipelines.stores import RemoteInbox

SSHD = shutil.which("sshd", path=f"{os.environ['PATH']}:/usr/sbin:/usr/local/sbin")
AZURITE = shutil.which("azurite-blob")
DEVELOPER = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
"""The key of Azurite's account, the same everywhere and no secret."""


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
    port = free_port()
    (folder / "config").write_text(
        f"Port {port}\nListenAddress 127.0.0.1\nHostKey {folder}/host\nAuthorizedKeysFile {folder}/authorized\nStrictModes no\n"
        f"PidFile none\nUsePAM no\nPasswordAuthentication no\nPermitRootLogin yes\nSubsystem sftp internal-sftp\n"
    )
    (folder / "known").write_text(f"[127.0.0.1]:{port} {(folder / 'host.pub').read_text()}")
    if os.getuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)
    server = subprocess.Popen([SSHD, "-D", "-e", "-f", str(folder / "config")], stderr=subprocess.DEVNULL)
    await_port(port)
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


@pytest.fixture(scope="session")
def signing_key() -> str:
    key = generate_private_key(public_exponent=65537, key_size=2048)
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


@pytest.fixture
def google() -> Iterator[ObjectServer]:
    server = ObjectServer("google")
    yield server
    server.stop()


@pytest.fixture
def gs(google, signing_key) -> Elsewhere:
    names = {"client_email": "us@lender", "private_key_id": "1"}
    account = json.dumps({"gcs_base_url": google.url, "private_key": signing_key, **names})
    options = {"service_account_key": account, "bearer_token": "t", "base_url": google.url}
    return Elsewhere(RemoteInbox("partner", "gs://drops/out", options=options), laid(google))


@pytest.fixture
def azure() -> Iterator[ObjectServer]:
    server = ObjectServer("azure")
    yield server
    server.stop()


@pytest.fixture
def az(azure) -> Elsewhere:
    options = {"endpoint": azure.url, "account_name": "lender", "account_key": DEVELOPER}
    return Elsewhere(RemoteInbox("partner", "az://drops/out", options=options), laid(azure))


def laid(server: ObjectServer) -> Callable[[str, bytes], None]:
    """Return how a partner lays files into a store of ours."""
    return lambda path, data: server.blobs.update({f"out/{path}": Blob(data)})


@pytest.fixture(scope="session")
def azurite_server(tmp_path_factory) -> Iterator[str]:
    if AZURITE is None:
        pytest.skip("there is no Azurite here (npm install azurite)")
    port = free_port()
    where = str(tmp_path_factory.mktemp("azurite"))
    options = ["--blobPort", str(port), "--location", where, "--silent", "--disableTelemetry", "--skipApiVersionCheck"]
    server = subprocess.Popen([AZURITE, *options], stdout=subprocess.DEVNULL)
    await_port(port)
    yield f"http://127.0.0.1:{port}/devstoreaccount1"
    server.terminate()
    server.wait(10)


@pytest.fixture
def azurite(azurite_server, request) -> Elsewhere:
    """Microsoft's emulator, which looks at signatures."""
    import obstore
    from obstore.store import AzureStore

    options = {"endpoint": azurite_server, "account_name": "devstoreaccount1", "account_key": DEVELOPER}
    container = f"b{abs(hash(request.node.nodeid))}"
    store = AzureStore(container, prefix="out", client_options={"allow_http": True}, **options)
    make_container(azurite_server, container)
    return Elsewhere(
        RemoteInbox("partner", f"az://{container}/out", options=options), lambda path, data: obstore.put(store, path, data)
    )


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def await_port(port: int) -> None:
    """Wait till somebody listens on a port."""
    for _ in range(300):
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.1)
    raise AssertionError(f"nobody listens on {port}")


def make_container(url: str, name: str) -> None:
    """Have Azurite make a container; obstore makes none. Signed by the rules for a shared key."""
    account = url.rpartition("/")[2]
    headers = {"x-ms-date": formatdate(usegmt=True), "x-ms-version": "2023-11-03"}
    told = "".join(f"{key}:{value}\n" for key, value in headers.items())
    words = "PUT" + "\n" * 12 + told + f"/{account}/{account}/{name}\nrestype:container"
    signature = b64encode(hmac.digest(b64decode(DEVELOPER), words.encode(), "sha256")).decode()
    headers["Authorization"] = f"SharedKey {account}:{signature}"
    httpx.put(f"{url}/{name}?restype=container", headers=headers, trust_env=False).raise_for_status()
