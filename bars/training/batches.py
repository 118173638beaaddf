"""The batches that a network is trained on: augmented, whole ones only, shared among the processes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from bars.data import Part
from bars.errors import ParamsError
from bars.training.parallel import Parallel


@dataclass(frozen=True)
class Batches:
    """Batches of ``size`` images of a part; ``where`` names the parameter. Raises ParamsError for a size it has not."""

    part: Part
    size: int
    device: torch.device
    parallel: Parallel
    where: str

    def __post_init__(self) -> None:
        if self.per_epoch == 0:
            raise ParamsError(
                "a batch is larger than the images to train on",
                where=self.where,
                got=f"{self.size}, with {self.part.size} images in {self.part.name}",
                allowed=f"at most {self.part.size}",
            )
        self.parallel.require_divisible(self.size, self.where)

    @property
    def per_epoch(self) -> int:
        """How many batches an epoch has."""
        return self.part.steps(self.size, drop_last=True)

    def epoch(self, epoch: int, seed: int) -> Iterator[tuple[Tensor, Tensor]]:
        """This process's slice of every batch of an epoch: images [B, 3, H, W], labels [B]."""
        return self.part.batches(
            self.size,
            device=self.device,
            augment=True,
            seed=seed,
            epoch=epoch,
            drop_last=True,
            rank=self.parallel.rank,
            world_size=self.parallel.world_size,
        )
