r"""What `nightdrop.toml` and `NIGHTDROP_*` say, checked: an unknown key or a wrong value stops the command at once.

A variable stands above the file: `NIGHTDROP_CHUNK_BYTES=8MiB`, `NIGHTDROP_REGISTRATION_PATTERNS__COMPANY='CR-\d+'`.
"""

from __future__ import annotations

import json
import os
import re
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ByteSize, Field, ValidationError, field_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, SettingsError

from flows import declared
from flows.declared import DeclaredExpected, DeclaredHooks, DeclaredInbox, DeclaredSource, InboxName, Patterns, no_boolean
from flows.toml_lines import line_of
from pipelines.home import Hooks, Settings
from pipelines.problems import UsageError
from pipelines.sources import Source, Sources

PREFIX = "NIGHTDROP_"
HOME_VARIABLE = "NIGHTDROP_HOME"
LOG_VARIABLE = "NIGHTDROP_LOG_FILE"
ABOUT_VARIABLE = "NIGHTDROP_ABOUT"
"""What a hook's command is told of; it may call nightdrop itself."""


class _Said(BaseSettings):
    """Settings as they are written in the file and in the environment."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, env_nested_delimiter="__", extra="forbid")

    quiet_seconds: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None
    hold_above: Annotated[float, Field(ge=0, le=1)] | None = None
    max_expanded: Annotated[ByteSize, Field(ge=1)] | None = None
    max_line: Annotated[ByteSize, Field(ge=1024**2)] | None = None
    chunk_bytes: Annotated[ByteSize, Field(ge=1)] | None = None
    publish_masked: bool | None = None
    registration_patterns: Patterns = Patterns()
    sources: dict[str, DeclaredSource] = {}
    expected: list[DeclaredExpected] = []
    inboxes: dict[InboxName, DeclaredInbox] = {}
    hooks: DeclaredHooks = DeclaredHooks()

    @field_validator("quiet_seconds", "hold_above", "max_expanded", "max_line", "chunk_bytes", mode="before")
    @classmethod
    def _is_no_boolean(cls, value: object) -> object:
        return no_boolean(value)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return (env_settings, init_settings)


class _SaidOfHooks(BaseSettings):
    """The hooks alone, whatever else is said."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, env_nested_delimiter="__", extra="ignore")

    hooks: DeclaredHooks = DeclaredHooks()

    @classmethod
    def settings_customise_sources(cls, *args: Any, **kwargs: Any) -> tuple[PydanticBaseSettingsSource, ...]:
        return _Said.settings_customise_sources(*args, **kwargs)


_WANTED = {
    "quiet_seconds": "seconds, 0 or more",
    "hold_above": "a share from 0 to 1, such as 0.5",
    "max_expanded": 'a size of at least 1 byte, such as "64GiB"',
    "max_line": 'a size of at least 1 MiB, such as "128MiB"',
    "chunk_bytes": 'a size of at least 1 byte, such as 16777216 or "16MiB"',
    "publish_masked": "true or false",
    "registration_patterns": declared.WANTED["registration_patterns"],
    "sources": "a table for each source, such as [sources.acme]",
    "expected": 'tables such as [[expected]] with source = "acme", weekdays = ["mon"], by = "06:30"',
    "inboxes": 'a table for each, such as [inboxes.acme] with url = "s3://bucket/folder"; the name is that of a folder',
    "hooks": "a table with url, command or rejects_above",
}


def load_settings(root: Path) -> Settings:
    """Return the settings of the home at `root`; the defaults where nothing is said.

    Raises UsageError that names the file or variable, the key and what was wanted.
    """
    file = root / "nightdrop.toml"
    _refuse_unknown_variables()
    try:
        said = _Said(**_read(file))
    except ValidationError as error:
        raise UsageError(" ".join(_explain(problem, file) for problem in error.errors())) from None
    except SettingsError as error:
        named = re.search(r'field "(\w+)"', str(error))
        variable = f"{PREFIX}{named[1].upper()}" if named else f"{PREFIX}*"
        wanted = f"{_WANTED[named[1]]}, as JSON" if named else "JSON"
        raise UsageError(f"{variable}: not JSON; wanted {wanted}. Nothing was changed.") from None
    sources = Sources(tuple(source.source(name) for name, source in said.sources.items()))
    if idle := list(sources.idle()):
        raise UsageError(" ".join(_explain_idle(source, taken, file) for source, taken in idle))
    # What is not said stays as `Settings` has it.
    return Settings(
        **said.model_dump(exclude_none=True, exclude={"sources", "expected", "inboxes", "hooks"}),
        sources=sources,
        calendar=tuple(one.expected() for one in said.expected),
        inboxes=tuple(inbox.inbox(name) for name, inbox in said.inboxes.items()),
        hooks=said.hooks.hooks(),
    )


def load_hooks(root: Path) -> Hooks:
    """Return the hooks of the home at `root`, as far as they are right by themselves, also where other settings are wrong."""
    try:
        in_file = _read(root / "nightdrop.toml")
    except UsageError:
        in_file = {}  # a variable may still say it
    try:
        said = _SaidOfHooks(**in_file)
    except (ValidationError, SettingsError):
        return Hooks()
    return said.hooks.hooks()


def _read(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_bytes().decode("utf-8-sig"))
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise UsageError(f"{file}: cannot be read ({error.strerror}). Nothing was changed.") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{file}: not TOML: {error}. Nothing was changed.") from None


def _refuse_unknown_variables() -> None:
    known = {HOME_VARIABLE, LOG_VARIABLE, ABOUT_VARIABLE, *(f"{PREFIX}{name.upper()}" for name in _Said.model_fields)}
    for variable in sorted(os.environ):
        name = variable.upper()
        if name.startswith(PREFIX) and name.split("__")[0] not in known:
            raise UsageError(
                f"{variable}: no such setting; there are {', '.join(sorted(known - {ABOUT_VARIABLE}))}. Nothing was changed."
            )


def _explain(problem: Any, file: Path) -> str:
    place = _place(problem["loc"], file)
    if problem["type"] == "extra_forbidden":
        return f"{place}: no such setting; there are {', '.join(_names_beside(problem['loc']))}. Nothing was changed."
    if problem["type"] == "missing":
        return f"{place}: {problem['loc'][-1]!r} is missing; wanted {_wanted(problem['loc'])}. Nothing was changed."
    # What the checker says of types speaks of its own; what we say ourselves is of the matter.
    reason = str(problem["ctx"]["error"]) if problem["type"] == "value_error" else None
    # An address may be a secret, and so may what a command is called with.
    secret = problem["loc"][0] == "hooks" and problem["loc"][-1] != "rejects_above"
    got = None if secret else f"got {_shown(problem['input'])}"
    said = f"{reason} ({got})" if reason and got else reason or got or "this cannot be used"
    return f"{place}: {said}; wanted {_wanted(problem['loc'])}. Nothing was changed."


def _explain_idle(source: Source, taken: Source | None, file: Path) -> str:
    if taken is None:
        place = _place(("sources", source.name), file)
        return (
            f"{place}: no drop is of this name by itself (the first folder that is no date, or the file's name without dates); "
            f"wanted `match` = {declared.WANTED['match']}. Nothing was changed."
        )
    place = _place(("sources", source.name, "match"), file)
    return (
        f"{place}: every drop that fits it is one of sources.{taken.name} already, which stands before it; "
        "wanted the narrower one first, or other patterns. Nothing was changed."
    )


def _shown(value: object) -> str:
    """Return a value as the file may have it."""
    if isinstance(value, bool | list | dict):
        return json.dumps(value, ensure_ascii=False, default=str)
    return repr(value) if isinstance(value, str) else str(value)


def _names_beside(loc: tuple[Any, ...]) -> Iterable[str]:
    """Return the names that a table may have in which an unknown one stands."""
    if "registration_patterns" in loc[:-1]:
        return Patterns.model_fields
    tables: dict[str, type[BaseModel]] = {
        "sources": DeclaredSource,
        "expected": DeclaredExpected,
        "inboxes": DeclaredInbox,
        "hooks": DeclaredHooks,
    }
    return (tables.get(str(loc[0]), _Said) if len(loc) > 1 else _Said).model_fields


_DEPTHS = {"sources": 3, "expected": 3, "inboxes": 3, "hooks": 2}
"""How deep the keys of a table stand."""


def _wanted(loc: tuple[Any, ...]) -> str:
    top = str(loc[0]) if loc else ""
    key = str(loc[_DEPTHS[top] - 1]) if len(loc) >= _DEPTHS.get(top, 9) else None
    if key:
        return declared.WANTED.get(f"{top}.{key}") or declared.WANTED.get(key, "another value")
    return _WANTED.get(top, "another value")


def _place(loc: tuple[Any, ...], file: Path) -> str:
    """Name where a value stands: its variable, which wins, or its key and line in the file."""
    names = {variable.upper(): variable for variable in os.environ}
    for depth in range(len(loc), 0, -1):
        variable = PREFIX + "__".join(str(part).upper() for part in loc[:depth])
        if variable in names:
            return names[variable]
    line = line_of(file.read_text("utf-8-sig"), loc) if file.is_file() else None
    where = f"{file}, line {line}" if line else str(file)
    return f"{where}: {'.'.join(_key(loc))}"


def _key(loc: tuple[Any, ...]) -> Iterable[str]:
    # What pydantic adds of its own (the branch of a union, an element's place) is no part of a key.
    depth = 4 if "registration_patterns" in loc else _DEPTHS.get(str(loc[0]), 2)
    return (str(part) for part in loc[:depth])
