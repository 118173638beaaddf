"""What every benchmark is told, and what it returns."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

Row = Mapping[str, Any]
Tables = Iterator[tuple[str, Sequence[Row]]]  # title and rows, each as soon as it is measured


@dataclass(frozen=True)
class Options:
    """How often to time, how; ``quick``: tiny sizes that only show that it runs; ``directory``: of a finished run.

    ``channels`` and ``pixels`` are the sizes that ``passes`` measures.
    """

    rounds: int = 7
    threads: int = 1
    device: torch.device = torch.device("cpu")
    quick: bool = False
    directory: Path = Path()
    channels: tuple[int, ...] = (8, 16)
    pixels: tuple[int, ...] = (32,)
