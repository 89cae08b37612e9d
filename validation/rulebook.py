"""The rule set as one thing: the schemas under given settings, their catalogue and their fingerprint. Pure."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
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

    @classmethod
    def of(cls, registration_patterns: Mapping[str, str] | None = None) -> RuleBook:
        """Return the rule book under those patterns; types that are not named keep the built-in one."""
        return cls({**REGISTRATION_PATTERNS, **(registration_patterns or {})})

    @cached_property
    def events(self) -> dict[str, pa.DataFrameSchema]:
        """Category -> schema of events as sent."""
        return {"client": client.event(), "loan": loan.event(), "payment": payment.event(), "deposit": deposit.event()}

    @cached_property
    def records(self) -> dict[str, pa.DataFrameSchema]:
        """Category -> schema of merged records."""
        return {
            "client": client.record(self.registration_patterns),
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
        digest.update(json.dumps([dict(self.registration_patterns), versions], sort_keys=True).encode())
        return digest.hexdigest()[:16]
