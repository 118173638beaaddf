"""How long work reports itself: a bar with the time left on a terminal, one line per epoch elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping
from typing import Any, TextIO

from tqdm import tqdm

from bars.pipeline.durations import duration

HEARTBEAT = 60.0  # seconds between two lines about an epoch that takes long
_SHOWN = ("train_loss", "train_top1", "valid_loss", "valid_top1", "expected_biops", "lr", "weight_lr")


class EpochProgress:
    """Implements the stages' Progress on a stream."""

    def __init__(self, title: str, stream: TextIO | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self._title, self._stream, self._clock = title, stream or sys.stderr, clock
        self._last = self._beat = clock()
        self._seconds: list[float] = []
        self._bar: tqdm[Any] | None = None

    def epoch(self, stage: str, epoch: int, epochs: int, metrics: Mapping[str, float]) -> None:
        """``epoch`` from 1 of ``epochs`` is done. A continued run counts only its own epochs for the time left."""
        now = self._clock()
        self._seconds.append(now - self._last)
        self._last = self._beat = now
        shown = {key: f"{metrics[key]:.4g}" for key in _SHOWN if key in metrics}
        if not self._stream.isatty():
            self._line(epoch, epochs, shown)
            return
        if self._bar is None:
            self._bar = tqdm(total=epochs, initial=epoch - 1, desc=self._title, unit="epoch", file=self._stream)
        self._bar.set_postfix(shown, refresh=False)
        self._bar.update(1)
        if epoch == epochs:
            self.close()

    def _line(self, epoch: int, epochs: int, shown: Mapping[str, str]) -> None:
        pace = sum(self._seconds) / len(self._seconds)
        values = "  ".join(f"{key} {value}" for key, value in shown.items())
        left = duration(pace * (epochs - epoch))
        line = f"{self._title}: epoch {epoch}/{epochs}  {values}  {self._seconds[-1]:.1f} s, {left} left"
        print(line, file=self._stream, flush=True)

    def step(self, step: int, steps: int, images: int) -> None:
        """A sign of life when an epoch takes long: where it is, how fast, and the time left in it."""
        now = self._clock()
        if now - self._beat < HEARTBEAT or step == steps:
            return
        self._beat = now
        pace = (now - self._last) / step
        self.note(
            f"step {step}/{steps}  {images / pace:,.0f} images/s, {duration(pace * (steps - step))} left in this epoch"
        )

    def note(self, line: str) -> None:
        """A line about how the work is done."""
        if self._bar is not None:
            self._bar.write(f"{self._title}: {line}", file=self._stream)
        else:
            print(f"{self._title}: {line}", file=self._stream, flush=True)

    def close(self) -> None:
        """End the bar."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None
