"""What a stage is handed, and what it gives back."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Protocol

from bars.training.progress import Progress

if TYPE_CHECKING:  # what a stage is handed, not what it computes with: the grid and the terminal are not its code
    from bars.pipeline.experiments import Experiment, StageView
    from bars.pipeline.provenance import StageRun

Write = Callable[[Path], None]


class Terminal(Progress, Protocol):
    """What is said while a stage runs."""

    def note(self, line: str) -> None:
        """One line, such as what falls back to what."""


class Processes(NamedTuple):
    """Which of how many processes of one stage this is; ``torchrun`` starts several."""

    rank: int = 0
    size: int = 1

    @classmethod
    def of_environment(cls) -> Processes:
        """What torchrun says in RANK and WORLD_SIZE; without it the only process."""
        if "RANK" not in os.environ or "MASTER_ADDR" not in os.environ:
            return cls()
        return cls(int(os.environ["RANK"]), int(os.environ.get("WORLD_SIZE", "1")))


@dataclass(frozen=True)
class Job:
    """What a stage is handed: its own parameters, its input files, a place for checkpoints."""

    experiment: Experiment
    stage: str
    seed: int
    view: StageView
    results: Path
    run: StageRun
    checkpoint: Path
    progress: Terminal
    processes: Processes = Processes()

    def inputs(self, name: str) -> list[Path]:
        """All input files of this name, in the order in which the grid declares them."""
        return [self.results / path for path in self.run.inputs if path.endswith(f"/{name}")]

    def input(self, name: str) -> Path:
        """The input file of this name. Only what the grid declares as an input can be asked for."""
        for path in self.run.inputs:
            if path.endswith(f"/{name}"):
                return self.results / path
        raise KeyError(f"{name} is no input of {self.stage} of {self.experiment.name}")
