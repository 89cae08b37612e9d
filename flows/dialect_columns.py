"""What a source's dialect may say of columns: which there are, and what a constant may be."""

from __future__ import annotations

from pipelines.csvs import id_columns
from validation.entities import ENTITIES
from validation.fields import STEP

_CELLS = {STEP.name: STEP.choices, "category": (*ENTITIES, "disbursement")}
"""What a constant may say where there is little to choose."""


def assert_known(name: str) -> None:
    """Raise ValueError unless a column of that name is read."""
    spellings = {name for entity in ENTITIES.values() for name in entity.spellings}
    if name not in {"category", "kind", STEP.name, *spellings}:
        raise ValueError(f"{name!r} is no column we know")


def assert_no_id(name: str) -> None:
    """Raise ValueError where every row must say something else."""
    if name in id_columns():
        raise ValueError(f"{name!r} is an id: no two records have the same")


def assert_choice(name: str, cell: str) -> None:
    """Raise ValueError where there is little to choose, and a cell is none of it."""
    if cell not in _CELLS.get(name, (cell,)):
        raise ValueError(f"{name!r} is none of {', '.join(_CELLS[name])}")
