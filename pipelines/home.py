"""Where everything lies under one home, and the settings of a run. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from pipelines.calendar import Expected
from pipelines.sources import Sources
from pipelines.stores import RemoteInbox

if TYPE_CHECKING:  # it brings Polars, and `nightdrop --help` has no use for that
    from validation.rulebook import RuleBook


@dataclass(frozen=True, slots=True)
class Home:
    """The folders and files of one home."""

    root: Path

    @property
    def inbox(self) -> Path:
        """Where partners drop files, and where `flows.fetching` lays what it brings. A night never writes here."""
        return self.root / "data" / "inbox"

    @property
    def warehouse(self) -> Path:
        """What analysts open: the published warehouse."""
        return self.root / "data" / "warehouse.duckdb"

    @property
    def masked(self) -> Path:
        """The same for analysts who need no names, when `publish_masked` is set."""
        return self.root / "data" / "warehouse.masked.duckdb"

    @property
    def state(self) -> Path:
        """The pipeline's own working files."""
        return self.root / "data" / "state"

    @property
    def working(self) -> Path:
        """The working warehouse, of which the published one is a copy."""
        return self.state / "warehouse.duckdb"

    @property
    def archive(self) -> Path:
        """The original bytes of every drop, named by their SHA-256."""
        return self.state / "archive"

    @property
    def log(self) -> Path:
        """The event log: checked events as Parquet parts."""
        return self.state / "log"

    @property
    def book(self) -> Path:
        """The book of editions, a file a run."""
        return self.state / "book"

    @property
    def lock(self) -> Path:
        """The lock that one run at a time holds."""
        return self.state / "lock"

    @property
    def reports(self) -> Path:
        """The rejection reports, a folder a business date."""
        return self.root / "reports"


@dataclass(frozen=True, slots=True)
class Hooks:
    """Who is told when a run failed, drops are held or missing, or many events are rejected."""

    url: str | None = None
    """Gets a POST with JSON."""
    command: tuple[str, ...] = ()
    """Gets the same on its standard input."""
    rejects_above: float | None = None
    """A larger share of rejected events among those of a run is told."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What `nightdrop.toml` and `NIGHTDROP_*` may set."""

    quiet_seconds: float = 0.0
    """A file that changed less than this ago is left for the next run."""
    hold_above: float = 0.5
    """A drop with a larger share of records refused by themselves is held. Touches rules."""
    max_expanded: int = 64 * 1024**3
    """A drop that expands beyond so many bytes is held."""
    max_line: int = 128 * 1024**2
    """A drop with a longer record is held: the warehouse keeps the bytes of each refused one."""
    chunk_bytes: int = 24 * 1024 * 1024
    """How many uncompressed bytes are read and checked at a time."""
    publish_masked: bool = False
    """Publish `warehouse.masked.duckdb` too, with tokens for what identifies a person."""
    registration_patterns: dict[str, str] = field(default_factory=dict)
    """Wanted form of a registration number per client type (`individual`, `company`): a regular expression for the whole value.

    Touches rules."""
    sources: Sources = field(default_factory=Sources)
    """What is said of single senders. Touches rules."""

    calendar: tuple[Expected, ...] = ()
    """Which drops are expected when."""
    inboxes: tuple[RemoteInbox, ...] = ()
    """Inboxes elsewhere, whose files are brought here before a night."""
    hooks: Hooks = field(default_factory=Hooks)

    def hold_above_for(self, path: str) -> float:
        """Return the share of refused records above which a drop of that path is held."""
        source = self.sources.of(path)
        return self.hold_above if source is None or source.hold_above is None else source.hold_above

    def rules(self) -> RuleBook:
        """Return the rules as these settings have them."""
        from validation.rulebook import RuleBook

        return RuleBook.of(self.registration_patterns, self.sources.patterns(), reading=self.sources.reading())
