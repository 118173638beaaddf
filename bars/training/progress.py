"""What a stage tells about its progress."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """What a stage tells about its progress."""

    def epoch(self, stage: str, epoch: int, epochs: int, metrics: dict[str, float]) -> None:
        """``epoch`` from 1 of ``epochs`` is done."""

    def step(self, step: int, steps: int, images: int) -> None:
        """``step`` from 1 of ``steps`` of this epoch, of so many images, is on its way; called often, so be quick."""


class Silent:
    """A Progress that says nothing."""

    def epoch(self, stage: str, epoch: int, epochs: int, metrics: dict[str, float]) -> None:
        """Say nothing."""

    def step(self, step: int, steps: int, images: int) -> None:
        """Say nothing."""
