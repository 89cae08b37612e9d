"""`serve` and `key`: the Clients API and its keys."""

from __future__ import annotations

from flows.settings import load_settings
from flows.terminal import Answer, json_text, line, table, write_note, write_out
from pipelines.heap import give_back_what_is_freed
from pipelines.home import Home


def serve(home: Home, *, host: str, port: int, rate: float, as_json: bool) -> int:
    """Serve until interrupted; say where, and warn when others than this machine reach it."""
    from api.limits import Limits
    from api.serving import is_loopback, serve

    give_back_what_is_freed()  # it lives on, and is at rest most of the time
    if not is_loopback(host):
        write_note(f"warning: {host} is reached from other machines, and keys travel as they are: put TLS before it.")

    def ready(address: str) -> None:
        write_out(
            json_text({"url": address, "home": str(home.root)})
            if as_json
            else f"serving {home.root} at {address}/v1/clients, told at {address}/docs"
        )

    serve(home, load_settings(home.root), host=host, port=port, limits=Limits(rate=rate), ready=ready)
    return 0


def key_new(home: Home, name: str, *, read_only: bool) -> Answer:
    """Make a key."""
    from api.serving import keys_of

    secret = keys_of(home).new(name, read_only=read_only)
    words = [line(secret), line("This is shown once and kept nowhere: store it now. `nightdrop key revoke` ends it.")]
    return Answer({"name": name, "read_only": read_only, "secret": secret}, words)


def key_list(home: Home) -> Answer:
    """List the keys."""
    from api.serving import keys_of

    names = ("name", "id", "read_only", "created_at", "revoked_at")
    rows = [{name: getattr(key, name) for name in names} for key in keys_of(home).all()]
    return Answer({"keys": rows}, [table(names, [[row[name] for name in names] for row in rows])])


def key_revoke(home: Home, name: str) -> Answer:
    """End a key."""
    from api.serving import keys_of

    key = keys_of(home).revoke(name)
    return Answer({"name": key.name, "id": key.id, "revoked_at": key.revoked_at}, [line(f"{key.name} is revoked.")])
