"""Named errors. Each says what is wrong, where, what was found, what is allowed, and what to do.

The command line prints such an error as one message and exits with status 2 (bad input) or 1 (a failure inside).
"""

from __future__ import annotations


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
        lines = [what]
        if where is not None:
            lines.append(f"  where:   {where}")
        if got is not None:
            lines.append(f"  got:     {got}")
        if allowed is not None:
            lines.append(f"  allowed: {allowed}")
        if do is not None:
            lines.append(f"  do:      {do}")
        super().__init__("\n".join(lines))


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


class DivergenceError(BarsError):
    """A loss that became NaN or infinite."""

    exit_status = 1
