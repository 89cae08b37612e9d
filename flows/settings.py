r"""What `nightdrop.toml` and `NIGHTDROP_*` say, checked: an unknown key or a wrong value stops the command at once.

A variable stands above the file: `NIGHTDROP_CHUNK_BYTES=8MiB`, `NIGHTDROP_REGISTRATION_PATTERNS__COMPANY='CR-\d+'`.
"""

from __future__ import annotations

import os
import re
import tomllib
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ByteSize, ConfigDict, Field, ValidationError, field_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, SettingsError

from pipelines.home import Settings
from pipelines.problems import UsageError

PREFIX = "NIGHTDROP_"
HOME_VARIABLE = "NIGHTDROP_HOME"


class _Patterns(BaseModel):
    """The wanted form of a registration number per client type."""

    model_config = ConfigDict(extra="forbid", strict=True)

    individual: str | None = None
    company: str | None = None

    @field_validator("individual", "company")
    @classmethod
    def _means_the_same_everywhere(cls, pattern: str | None) -> str | None:
        # Whole columns are matched by Polars (Rust), single values by Python: a pattern must be one in both.
        if pattern is not None:
            _compile(pattern)
        return pattern


class _Said(BaseSettings):
    """Settings as they are written in the file and in the environment."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, env_nested_delimiter="__", extra="forbid")

    quiet_seconds: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None
    hold_above: Annotated[float, Field(ge=0, le=1)] | None = None
    max_expanded: Annotated[ByteSize, Field(ge=1)] | None = None
    chunk_bytes: Annotated[ByteSize, Field(ge=1)] | None = None
    publish_masked: bool | None = None
    registration_patterns: _Patterns = _Patterns()

    @field_validator("quiet_seconds", "hold_above", "max_expanded", "chunk_bytes", mode="before")
    @classmethod
    def _is_no_boolean(cls, value: object) -> object:
        if isinstance(value, bool):  # `true` would count as 1
            raise ValueError("not a number")
        return value

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


_WANTED = {
    "quiet_seconds": "seconds, 0 or more",
    "hold_above": "a share from 0 to 1, such as 0.5",
    "max_expanded": 'a size of at least 1 byte, such as "64GiB"',
    "chunk_bytes": 'a size of at least 1 byte, such as 33554432 or "32MiB"',
    "publish_masked": "true or false",
    "registration_patterns": 'a table with `individual` and `company`, each a regular expression such as "CR-.+"',
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
        raise UsageError(f"{PREFIX}*: {error}; wanted {_WANTED['registration_patterns']}. Nothing was changed.") from None
    # What is not said stays as `Settings` has it.
    return Settings(**said.model_dump(exclude_none=True))


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
    known = {HOME_VARIABLE, *(f"{PREFIX}{name.upper()}" for name in _Said.model_fields)}
    for variable in sorted(os.environ):
        name = variable.upper()
        if name.startswith(PREFIX) and name.split("__")[0] not in known:
            raise UsageError(f"{variable}: no such setting; there are {', '.join(sorted(known))}. Nothing was changed.")


def _explain(problem: Any, file: Path) -> str:
    top = str(problem["loc"][0]) if problem["loc"] else ""
    place = _place(problem["loc"], file)
    if problem["type"] == "extra_forbidden":
        names = _Patterns.model_fields if len(problem["loc"]) > 1 else _Said.model_fields
        return f"{place}: no such setting; there are {', '.join(names)}. Nothing was changed."
    reason = str(problem.get("ctx", {}).get("error", problem["msg"]))
    wanted = _WANTED.get(top, "another value")
    return f"{place}: {reason} (got {problem['input']!r}); wanted {wanted}. Nothing was changed."


def _place(loc: tuple[Any, ...], file: Path) -> str:
    """Name where a value stands: its variable, which wins, or its key in the file."""
    names = {variable.upper(): variable for variable in os.environ}
    for depth in range(len(loc), 0, -1):
        variable = PREFIX + "__".join(str(part).upper() for part in loc[:depth])
        if variable in names:
            return names[variable]
    return f"{file}: {'.'.join(str(part) for part in loc)}"


def _compile(pattern: str) -> None:
    try:
        re.compile(pattern)
    except re.error as error:
        raise ValueError(f"not a regular expression: {error}") from None
    import polars as pl

    try:
        pl.select(pl.lit("").str.contains(f"^(?:{pattern})$"))
    except pl.exceptions.ComputeError:
        raise ValueError("not a regular expression for whole columns (no look-around, no back references)") from None
