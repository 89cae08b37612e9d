"""The entities in the order in which they settle: a parent before what hangs on it. Pure."""

from __future__ import annotations

from validation.client import CLIENT
from validation.deposit import DEPOSIT
from validation.fields import Entity
from validation.loan import LOAN
from validation.payment import PAYMENT

ENTITIES: dict[str, Entity] = {entity.category: entity for entity in (CLIENT, LOAN, PAYMENT, DEPOSIT)}
