"""Running variants one after the other, each within its time, and keeping what came of each."""

from __future__ import annotations

import gc
import signal
import statistics
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch

from benchmarks.timing import Clock

Step = Callable[[], object]


class OutOfTimeError(Exception):
    """A variant took longer than it may."""


@dataclass
class Plan:
    """Runs variants one after the other and keeps what came of each."""

    device: torch.device
    steps: int
    deadline: float
    rows: list[dict[str, Any]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def measure(self, what: str, variant: str, images: int, make: Callable[[], Step], limit_s: int = 60) -> None:
        """Median time of a step and peak memory; building and warming up (and so compiling) is timed apart."""
        left = int(self.deadline - time.monotonic())
        row: dict[str, Any] = {"what": what, "variant": variant}
        self.rows.append(row)
        if left < 10:
            row["note"] = "no time left"
            return
        self._clear()
        try:
            with time_limit(min(limit_s, left)):
                start = time.monotonic()
                step = make()
                for _ in range(3):
                    step()
                self._wait()
                row["first_s"] = time.monotonic() - start
                clock = Clock(self.device)
                seconds = [clock(step) for _ in range(self.steps)]
            row["ms"] = statistics.median(seconds) * 1e3
            row["min_ms"] = min(seconds) * 1e3
            row["images_per_s"] = images / statistics.median(seconds)
            if self.device.type == "cuda":
                row["peak_gib"] = torch.cuda.max_memory_allocated() / 2**30
                row["reserved_gib"] = torch.cuda.max_memory_reserved() / 2**30
        except (Exception, OutOfTimeError) as error:  # noqa: BLE001
            row["note"] = f"{type(error).__name__}: {str(error)[:160]}"
            self.notes.append(f"{what} / {variant}\n{traceback.format_exc()[-3000:]}")
        finally:
            print(f"{what:38s} {variant:44s} {row.get('ms', float('nan')):9.1f} ms  {row.get('note', '')}", flush=True)

    def profile(self, title: str, make: Callable[[], Step]) -> str:
        """Device time of one step by kernel, largest first."""
        if self.deadline - time.monotonic() < 15:
            return f"{title}: no time left"
        self._clear()
        try:
            with time_limit(45):
                step = make()
                for _ in range(3):
                    step()
                self._wait()
                activities = [torch.profiler.ProfilerActivity.CPU]
                if self.device.type == "cuda":
                    activities = [torch.profiler.ProfilerActivity.CUDA]
                with torch.profiler.profile(activities=activities) as profiler:
                    step()
                    self._wait()
            key = "self_device_time_total" if self.device.type == "cuda" else "self_cpu_time_total"
            return f"{title}\n{profiler.key_averages().table(sort_by=key, row_limit=40, max_name_column_width=110)}"
        except (Exception, OutOfTimeError):
            return f"{title}\n{traceback.format_exc()[-3000:]}"

    def _wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize()

    def _clear(self) -> None:
        gc.collect()
        if self.device.type == "cuda":
            torch.cuda.synchronize()
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()


@contextmanager
def time_limit(seconds: int) -> Iterator[None]:
    """Raise OutOfTimeError in this thread after so many seconds."""

    def stop(*_: object) -> None:
        raise OutOfTimeError(f"more than {seconds} s")

    previous = signal.signal(signal.SIGALRM, stop)
    signal.alarm(max(1, seconds))
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, previous)
