"""What can go wrong outside the data.

NightdropError          a failure that names the file, the line and what to do next (exit 1)
├── UsageError          the command was asked for something it cannot mean (exit 2)
└── HomeBusyError       another run has the home (exit 4)
DropHeldError           one drop cannot be read as it is: it is held, the run goes on
"""

from __future__ import annotations


class NightdropError(Exception):
    """A failure whose message a person can act on."""


class UsageError(NightdropError):
    """The command was asked for something it cannot mean."""


class HomeBusyError(NightdropError):
    """Another run has the home."""


class DropHeldError(Exception):
    """One drop cannot be read as it is; `reason` is a code of the contract's section 2."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail
