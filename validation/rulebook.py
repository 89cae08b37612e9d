"""The rule set as one thing: the schemas under given settings, their catalogue and their fingerprint. Pure."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from validation import client, deposit, loan, payment
from validation.client import REGISTRATION_PATTERNS
from validation.rules import Rule, rules_of

if TYPE_CHECKING:
    import pandera.polars as pa

_REFERENCE_DATA = ("pycountry", "email-validator", "phonenumbers")


@dataclass(frozen=True)
class RuleBook:
    """Every schema, under the settings that touch rules."""

    registration_patterns: Mapping[str, str]
    of_sources: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """The patterns of sources that have their own."""
    reading: str = ""
    """What settings say of how drops are read, as one text."""

    @classmethod
    def of(
        cls,
        registration_patterns: Mapping[str, str] | None = None,
        of_sources: Mapping[str, Mapping[str, str]] | None = None,
        *,
        reading: str = "",
    ) -> RuleBook:
        """Return the rule book under those patterns; a type not named keeps the built-in one, a source's the general one."""
        everywhere = {**REGISTRATION_PATTERNS, **(registration_patterns or {})}
        return cls(everywhere, {name: {**everywhere, **own} for name, own in (of_sources or {}).items()}, reading)

    @cached_property
    def events(self) -> dict[str, pa.DataFrameSchema]:
        """Category -> schema of events as sent."""
        return {"client": client.event(), "loan": loan.event(), "payment": payment.event(), "deposit": deposit.event()}

    @cached_property
    def records(self) -> dict[str, pa.DataFrameSchema]:
        """Category -> schema of merged records."""
        return {
            "client": client.record(self.registration_patterns, self.of_sources),
            "loan": loan.record(),
            "payment": payment.record(),
            "deposit": deposit.record(),
        }

    @cached_property
    def event_rules(self) -> dict[str, tuple[Rule, ...]]:
        """Category -> rules over events as sent."""
        return {category: tuple(rules_of(schema)) for category, schema in self.events.items()}

    @cached_property
    def record_rules(self) -> dict[str, tuple[Rule, ...]]:
        """Category -> rules over merged records."""
        return {category: tuple(rules_of(schema)) for category, schema in self.records.items()}

    @cached_property
    def fingerprint(self) -> str:
        """Digest of the rules' code, the settings that touch them and the versions of the reference data."""
        digest = hashlib.sha256()
        for module in sorted(Path(__file__).parent.glob("*.py")):
            digest.update(module.name.encode() + module.read_bytes())
        versions = {name: version(name) for name in _REFERENCE_DATA}
        settings = [dict(self.registration_patterns), {name: dict(own) for name, own in self.of_sources.items()}, self.reading]
        digest.update(json.dumps([settings, versions], sort_keys=True).encode())
        return digest.hexdigest()[:16]
