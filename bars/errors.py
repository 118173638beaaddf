"""Named errors. Each says what is wrong, where, what was found, what is allowed, and what to do.

The command line prints such an error as one message and exits with status 2 (bad input) or 1 (a failure inside).
"""

from __future__ import annotations

from typing import Self


class BarsError(Exception):
    """Base of every error a user can cause or mend; ``exit_status`` is what the command line returns."""

    exit_status = 2

    def __init__(
        self,
        what: str,
        *,
        where: str | None = None,
        got: object = None,
        allowed: str | None = None,
        do: str | None = None,
    ) -> None:
        self.what, self.where, self.got, self.allowed, self.do = what, where, got, allowed, do
        told = {"where:": where, "got:": got, "allowed:": allowed, "do:": do}
        super().__init__("\n".join([what, *(f"  {key:8} {text}" for key, text in told.items() if text is not None)]))

    def at(self, where: str) -> Self:
        """The same error, found at another place."""
        return type(self)(self.what, where=where, got=self.got, allowed=self.allowed, do=self.do)


class ParamsError(BarsError):
    """A key or value of params.yaml is wrong."""


class GridError(BarsError):
    """An experiment, scale, seed or data set that the grid does not name."""


class SpaceError(BarsError):
    """A search space that cannot be built, such as one without full width."""


class BudgetError(BarsError):
    """A BiOps budget that no architecture of the space meets."""


class GenotypeError(BarsError):
    """A genotype that is malformed, altered, or of another search space."""


class OtherSpaceError(GenotypeError):
    """A genotype of another search space than the one it is wanted for."""


class DataError(BarsError):
    """Images that are missing, unreadable or too few."""


class RecordError(BarsError):
    """A stage file that is missing, truncated, malformed, or whose hashes do not chain."""


class CheckpointError(RecordError):
    """A checkpoint that is truncated or belongs to another run."""


class OutputError(BarsError):
    """An output folder that cannot be written, or that another process is writing."""


class DeviceError(BarsError):
    """A device, precision or worker that was asked for and is not there."""


class ExportError(BarsError):
    """A network that cannot be exported: a package is missing, or the copy computes something else."""


class PackedError(BarsError):
    """A model file that is truncated, foreign or altered, a network that has no packed form, or a missing package."""


class DivergenceError(BarsError):
    """A loss that became NaN or infinite."""

    exit_status = 1
