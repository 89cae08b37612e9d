"""`serve` and `key`, as the command line takes them. It only parses."""

from __future__ import annotations

from typing import Annotated

import typer

from flows.said import HomeOption, JsonOption, said

app = typer.Typer()
key_app = typer.Typer()
app.add_typer(key_app, name="key", help="The keys of the Clients API: new, list, revoke.")

NameOption = Annotated[str, typer.Option("--name", metavar="N", help="Whose key it is.")]


@app.command()
def serve(
    ctx: typer.Context,
    *,
    port: Annotated[
        int, typer.Option("--port", metavar="N", min=0, max=65535, help="Where to listen (0: any free port).")
    ] = 8321,
    host: Annotated[str, typer.Option("--host", metavar="H", help="Address to listen at; loopback unless said.")] = "127.0.0.1",
    rate: Annotated[float, typer.Option("--rate", metavar="R", min=0.1, help="Requests a second and key.")] = 200.0,
    home: HomeOption = None,
    json: JsonOption = False,
) -> int:
    """Serve the Clients API until interrupted."""
    call = said(ctx, home, json)
    from flows.commands import api

    return api.serve(call.home, host=host, port=port, rate=rate, as_json=call.json)


@key_app.callback()
def _before_key(ctx: typer.Context, home: HomeOption = None, json: JsonOption = False) -> None:
    said(ctx, home, json)


@key_app.command("new")
def key_new(
    ctx: typer.Context,
    name: NameOption,
    read_only: Annotated[bool, typer.Option("--read-only", help="It may read and not write.")] = False,
    home: HomeOption = None,
    json: JsonOption = False,
) -> int:
    """Make a key and show its secret, once."""
    call = said(ctx, home, json)
    from flows.commands import api

    return call.answer(api.key_new(call.home, name, read_only=read_only))


@key_app.command("list")
def key_list(ctx: typer.Context, home: HomeOption = None, json: JsonOption = False) -> int:
    """List the keys, without their secrets."""
    call = said(ctx, home, json)
    from flows.commands import api

    return call.answer(api.key_list(call.home))


@key_app.command("revoke")
def key_revoke(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name or id of the key.")],
    home: HomeOption = None,
    json: JsonOption = False,
) -> int:
    """End a key, at once."""
    call = said(ctx, home, json)
    from flows.commands import api

    return call.answer(api.key_revoke(call.home, name))
